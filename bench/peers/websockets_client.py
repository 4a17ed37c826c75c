"""The asyncio client of `websockets` with its defaults. It has no callback: floods are read with `async for`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns

from websockets.asyncio.client import ClientConnection, connect

from bench.peers import Phase, Target


@asynccontextmanager
async def connection(target: Target) -> AsyncIterator[None]:
    """An idle connection; the closing handshake on leaving."""
    async with connect(target.url, ssl=target.tls):
        yield


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """`send` and `recv` in turn."""
    async with connect(target.url, ssl=target.tls) as client:
        yield lambda count: _exchange(client, bytes(target.size), count)


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come."""
    async with connect(target.url, ssl=target.tls) as client:
        yield lambda count: _iterate(client, count)


async def _exchange(client: ClientConnection, payload: bytes, count: int) -> list[int]:
    marks = [perf_counter_ns()]
    for _ in range(count):
        await client.send(payload)
        await client.recv()
        marks.append(perf_counter_ns())
    return marks


async def _iterate(client: ClientConnection, count: int) -> list[int]:
    await client.send(str(count))
    left = count + 1
    async for _ in client:
        left -= 1
        if not left:
            break
    return []
