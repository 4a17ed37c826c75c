"""picows and orjson: each message of a flood is parsed, and goes to the callback of its channel, found in a dict."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.peers import Phase, Target
from bench.peers.wsx_routed import BOOKS


class _Books(WSListener):
    def __init__(self) -> None:
        self.callbacks = {f"book.I{number:03}-PERPETUAL.100ms": self.on_book for number in range(BOOKS)}

    def start(self, transport: WSTransport, count: int) -> asyncio.Future[list[int]]:
        self.left = count
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        transport.send(WSMsgType.TEXT, str(count).encode())
        return self.done

    def on_book(self, data: dict[str, Any]) -> None:
        self.left -= 1

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if len(payload) == 3:  # the "end"
            self.done.set_result([])
            return
        params = orjson.loads(payload)["params"]
        self.callbacks[params["channel"]](params["data"])


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come."""
    books = _Books()
    transport, _ = await ws_connect(lambda: books, target.url, ssl_context=target.tls)
    try:
        yield lambda count: books.start(transport, count)
    finally:
        transport.send_close(WSCloseCode.OK)
        await transport.wait_disconnected()
