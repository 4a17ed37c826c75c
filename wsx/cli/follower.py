"""What goes on beside a client while it is watched: round trips are measured, and moments are shown.

Not here: what is watched (watch.py), how it looks (display.py).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsx.cli.display import Display, Moment
from wsx.client import Client
from wsx.errors import WsxError

_SHOW_INTERVAL = 0.5  # seconds: drawing takes the loop's time, so it is done seldom
_MEASURE_INTERVAL = 0.2  # between two round trips


async def follow(end: Awaitable[None], *helpers: Coroutine[Any, Any, None]) -> None:
    """Wait for the end; the helpers go on until then. Raises what the first of them raises."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(helper) for helper in helpers]
            await end
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def ping(client: Client, record: Callable[[int], None]) -> None:
    """Measure round trips (nanoseconds) for ever; while there is no connection there is nothing to measure."""

    async def once() -> None:
        record(round(await client.ping() * 1e9))

    await repeat(once)


async def repeat(measure: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again; what cannot be answered now is asked later."""
    while True:
        with contextlib.suppress(WsxError, TimeoutError):
            await measure()
        await asyncio.sleep(_MEASURE_INTERVAL)


async def show(display: Display, report: Callable[[], Moment]) -> None:
    """Show moments for ever."""
    while True:
        await asyncio.sleep(_SHOW_INTERVAL)
        display.show(report())
