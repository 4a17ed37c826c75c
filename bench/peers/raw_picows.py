"""picows without anything on top: a Python subclass of WSListener.

The reference of the ratios is `bytes`: the payload is copied into bytes and counted, and nothing else is done, the type
of the frame is not even looked at. `text` is what a careful user of a JSON feed writes: the type is checked and the
payload decoded as UTF-8. `queue` is what it takes to read messages in a loop: an asyncio.Queue in between.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns
from typing import TypeVar

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.peers import Phase, Target


class _Pinger(WSListener):
    """Answers every message with the same bytes until `total` marks are there."""

    def start(self, transport: WSTransport, payload: bytes, count: int) -> asyncio.Future[list[int]]:
        self.total = count + 1
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.marks = [perf_counter_ns()]
        transport.send(WSMsgType.BINARY, payload)
        return self.done

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        self.marks.append(perf_counter_ns())
        if len(self.marks) < self.total:
            transport.send(WSMsgType.BINARY, payload)
        elif len(self.marks) == self.total:
            self.done.set_result(self.marks)


class _Counter(WSListener):
    def start(self, transport: WSTransport, count: int) -> asyncio.Future[list[int]]:
        self.left = count + 1  # and the "end"
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        transport.send(WSMsgType.TEXT, str(count).encode())
        return self.done


class _Bytes(_Counter):
    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        self.payload = frame.get_payload_as_bytes()
        self.left -= 1
        if not self.left:
            self.done.set_result([])


class _Text(_Counter):
    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.payload = frame.get_payload_as_utf8_text()
            self.left -= 1
            if not self.left:
                self.done.set_result([])


class _Queue(WSListener):
    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        self.messages.put_nowait(frame.get_payload_as_bytes())


Listener = TypeVar("Listener", bound=WSListener)


@asynccontextmanager
async def _open(target: Target, listener: Listener) -> AsyncIterator[tuple[WSTransport, Listener]]:
    transport, _ = await ws_connect(lambda: listener, target.url, ssl_context=target.tls)
    try:
        yield transport, listener
    finally:
        transport.send_close(WSCloseCode.OK)
        await transport.wait_disconnected()


@asynccontextmanager
async def connection(target: Target) -> AsyncIterator[None]:
    """An idle connection; the closing handshake on leaving."""
    async with _open(target, WSListener()):
        yield


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """The next message is sent out of the callback of the last."""
    async with _open(target, _Pinger()) as (transport, listener):
        yield lambda count: listener.start(transport, bytes(target.size), count)


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come, by variant."""
    if target.variant == "queue":
        async with _open(target, _Queue()) as (transport, reader):
            yield lambda count: _drain(transport, reader.messages, count)
    else:
        async with _open(target, _Text() if target.variant == "text" else _Bytes()) as (transport, listener):
            yield lambda count: listener.start(transport, count)


async def _drain(transport: WSTransport, messages: asyncio.Queue[bytes], count: int) -> list[int]:
    transport.send(WSMsgType.TEXT, str(count).encode())
    for _ in range(count + 1):
        await messages.get()
    return []
