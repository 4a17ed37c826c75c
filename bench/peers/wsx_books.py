"""wsx: each message of a flood is applied to the book of its channel, in compiled code from the socket to the book.

After each phase every book has to be valid, or the run fails.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import wsx
from bench.book import BOOKS, many_books
from bench.peers import Phase, Target
from wsx.events import Event, ProtocolError
from wsx.message_handler import MessageHandler


class _Books:
    """The books. The "end" of a flood is no JSON, and comes as an event."""

    def __init__(self) -> None:
        snapshots, _ = many_books()
        self.books = [wsx.OrderBook(name) for name in BOOKS]
        for book, snapshot in zip(self.books, snapshots, strict=True):
            book.apply(snapshot)

    def start(self, client: wsx.Client, count: int) -> asyncio.Future[list[int]]:
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        client.send_nowait(str(count))
        return self.done

    def on_event(self, event: Event) -> None:
        if isinstance(event, ProtocolError):
            assert all(book.state == "valid" and book.best_bid and book.best_ask for book in self.books)
            self.done.set_result([])


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come; the count has to be whole rounds, so that the chains of ids close."""
    books = _Books()
    async with wsx.connect(target.url, ssl=target.tls, on_event=books.on_event) as client:
        handler = MessageHandler(client)
        for book in books.books:
            handler.on_channel(f"book.{book.instrument}.raw", book.apply)
        yield lambda count: books.start(client, count)
