"""wsx: how long it is blind when its connection is cut.

Variants: `restored` is one client that comes back by itself: the clock runs from the request to be cut until a hook has
had its answer and the answers to three subscriptions are there. `bare` is a new `connect` in its place, without any.
A cut waits until the budget of a host (16 immediate attempts in a second) has room: nobody measures that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter_ns

import wsx
from bench.peers import Phase, Target
from wsx.route import Route

PAUSE = 0.07  # seconds between two cuts
STREAMS = ("book", "trades", "quotes")
BACKOFF = wsx.Backoff(stable_after=PAUSE / 2)


async def log_in(route: Route) -> None:
    """A hook, as authentication is one."""
    await route.request("login", lambda message: message.data == b"login", timeout=5)


class _Desk:
    """Counts what the subscriptions bring."""

    client: wsx.Client

    def __init__(self) -> None:
        self.left = 0
        self.restored = asyncio.Event()

    def on_message(self, message: wsx.Message) -> None:
        self.left -= 1
        if not self.left:
            self.restored.set()

    async def subscribe(self) -> None:
        self.left = len(STREAMS)
        for stream in STREAMS:
            await self.client.subscribe(stream)
        await self.restored.wait()

    async def cut(self) -> int:
        """Nanoseconds from the request to be cut until everything is there again."""
        self.left = len(STREAMS)
        self.restored.clear()
        started_ns = perf_counter_ns()
        self.client.send_nowait("cut")
        await self.restored.wait()
        return perf_counter_ns() - started_ns


async def _reopen(target: Target) -> int:
    """Nanoseconds from the request to be cut until another client is there."""
    client = await wsx.connect(target.url, reconnect=False)
    started_ns = perf_counter_ns()
    client.send_nowait("cut")
    await client.wait_closed()
    other = await wsx.connect(target.url, reconnect=False)
    took_ns = perf_counter_ns() - started_ns
    await other.close()
    return took_ns


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """Cuts, one after the other."""
    if target.variant == "bare":
        yield lambda count: _marks(lambda: _reopen(target), count)
        return
    desk = _Desk()
    config = wsx.Config(reconnect=BACKOFF, on_open=[log_in])
    async with wsx.connect(target.url, on_message=desk.on_message, config=config) as desk.client:
        await desk.subscribe()
        yield lambda count: _marks(desk.cut, count)


async def _marks(cut: Callable[[], Awaitable[int]], count: int) -> list[int]:
    """The times of the cuts, laid end to end: the pauses between them are left out."""
    marks = [0]
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        marks.append(marks[-1] + await cut())
    return marks
