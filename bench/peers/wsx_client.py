"""wsx, by its public surface alone.

Variants of the flood: `data` and `text` take messages in `on_message` and read that attribute; `for` iterates over the
client, `recv` calls `recv()` for each message, both read `data`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns

import wsx
from bench.peers import Phase, Target


class _Pinger:
    """Answers every message with the same bytes until `total` marks are there."""

    client: wsx.Client

    def start(self, payload: bytes, count: int) -> asyncio.Future[list[int]]:
        self.total = count + 1
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.marks = [perf_counter_ns()]
        self.client.send_nowait(payload)
        return self.done

    def on_message(self, message: wsx.Message) -> None:
        payload = message.data
        self.marks.append(perf_counter_ns())
        if len(self.marks) < self.total:
            self.client.send_nowait(payload)
        else:
            self.done.set_result(self.marks)


class _Counter:
    def start(self, client: wsx.Client, count: int) -> asyncio.Future[list[int]]:
        self.left = count + 1  # and the "end"
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        client.send_nowait(str(count))
        return self.done


class _Data(_Counter):
    def on_message(self, message: wsx.Message) -> None:
        self.payload = message.data
        self.left -= 1
        if not self.left:
            self.done.set_result([])


class _Text(_Counter):
    def on_message(self, message: wsx.Message) -> None:
        self.payload = message.text
        self.left -= 1
        if not self.left:
            self.done.set_result([])


@asynccontextmanager
async def connection(target: Target) -> AsyncIterator[None]:
    """An idle connection with the default configuration, heartbeat included; the closing handshake on leaving."""
    async with wsx.connect(target.url, ssl=target.tls):
        yield


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """The next message is sent with `send_nowait` out of the callback of the last."""
    pinger = _Pinger()
    async with wsx.connect(target.url, on_message=pinger.on_message, ssl=target.tls) as pinger.client:
        yield lambda count: pinger.start(bytes(target.size), count)


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come, by variant."""
    if target.variant in ("for", "recv"):
        read = _iterate if target.variant == "for" else _receive
        async with wsx.connect(target.url, ssl=target.tls) as client:
            yield lambda count: read(client, count)
    else:
        counter = _Text() if target.variant == "text" else _Data()
        async with wsx.connect(target.url, on_message=counter.on_message, ssl=target.tls) as client:
            yield lambda count: counter.start(client, count)


async def _iterate(client: wsx.Client, count: int) -> list[int]:
    client.send_nowait(str(count))
    left = count + 1
    async for message in client:
        _ = message.data
        left -= 1
        if not left:
            break
    return []


async def _receive(client: wsx.Client, count: int) -> list[int]:
    client.send_nowait(str(count))
    for _ in range(count + 1):
        message = await client.recv()
        _ = message.data
    return []
