"""The WebSocket client of aiohttp with its defaults. It has no callback: floods are read with `async for`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns

from aiohttp import ClientSession, ClientWebSocketResponse

from bench.peers import Phase, Target


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[ClientWebSocketResponse]:
    async with ClientSession() as session, session.ws_connect(target.url, ssl=target.tls or True) as client:
        yield client


@asynccontextmanager
async def connection(target: Target) -> AsyncIterator[None]:
    """An idle connection; the closing handshake on leaving."""
    async with _open(target):
        yield


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """`send_bytes` and `receive` in turn."""
    async with _open(target) as client:
        yield lambda count: _exchange(client, bytes(target.size), count)


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Messages as they come."""
    async with _open(target) as client:
        yield lambda count: _iterate(client, count)


async def _exchange(client: ClientWebSocketResponse, payload: bytes, count: int) -> list[int]:
    marks = [perf_counter_ns()]
    for _ in range(count):
        await client.send_bytes(payload)
        await client.receive_bytes()
        marks.append(perf_counter_ns())
    return marks


async def _iterate(client: ClientWebSocketResponse, count: int) -> list[int]:
    await client.send_str(str(count))
    left = count + 1
    async for _ in client:
        left -= 1
        if not left:
            break
    return []
