"""wsx: each message of a flood goes to the callback of its channel.

Variants: `routed` parses nothing; `data` parses the payload of each message too (`message.data_json()`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import wsx
from bench.peers import Phase, Target
from wsx.events import Event, ProtocolError
from wsx.message_handler import MessageHandler

BOOKS = 200


class _Books:
    """Counts messages; the "end" of a flood is no JSON, and comes as an event."""

    def start(self, client: wsx.Client, count: int) -> asyncio.Future[list[int]]:
        self.left = count
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        client.send_nowait(str(count))
        return self.done

    def on_book(self, message: wsx.Message) -> None:
        self.left -= 1

    def on_book_parsed(self, message: wsx.Message) -> None:
        self.payload = message.data_json()
        self.left -= 1

    def on_event(self, event: Event) -> None:
        if isinstance(event, ProtocolError):
            assert self.left == 0
            self.done.set_result([])


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come."""
    books = _Books()
    async with wsx.connect(target.url, ssl=target.tls, on_event=books.on_event) as client:
        handler = MessageHandler(client)
        for number in range(BOOKS):
            callback = books.on_book if target.variant == "routed" else books.on_book_parsed
            handler.on_channel(f"book.I{number:03}-PERPETUAL.100ms", callback)
        yield lambda count: books.start(client, count)
