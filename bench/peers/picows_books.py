"""picows, orjson and sortedcontainers: each message of a flood is parsed and applied to the book of its channel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.book import BOOKS, SortedBook, many_books
from bench.peers import Phase, Target


class _Books(WSListener):
    def __init__(self) -> None:
        snapshots, _ = many_books()
        self.books = {f"book.{name}.raw": SortedBook() for name in BOOKS}
        for book, snapshot in zip(self.books.values(), snapshots, strict=True):
            book.apply(snapshot)

    def start(self, transport: WSTransport, count: int) -> asyncio.Future[list[int]]:
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        transport.send(WSMsgType.TEXT, str(count).encode())
        return self.done

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if len(payload) == 3:  # the "end"
            self.done.set_result([])
            return
        params = orjson.loads(payload)["params"]
        self.books[params["channel"]].update(params["data"])


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come; the count has to be whole rounds, so that the chains of ids close."""
    books = _Books()
    transport, _ = await ws_connect(lambda: books, target.url, ssl_context=target.tls)
    try:
        yield lambda count: books.start(transport, count)
    finally:
        transport.send_close(WSCloseCode.OK)
        await transport.wait_disconnected()
