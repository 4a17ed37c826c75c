"""What a fault leaves behind in the client's process: it has to be nothing.

Not here: the faults (test_faults_*.py), the servers that cause them (faulty_server.py).
"""

import asyncio
import gc
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from faulty_server import SERVERS_INODES

import wsx

LOOPS = ["asyncio", "uvloop"]
_PATIENCE = 1.5  # seconds: what has been begun may end; a thing that only a timeout would end does not count as nothing


@asynccontextmanager
async def nothing_left():
    """After the body no socket or other descriptor, no task and no timer is there that was not there before.

    A server's own sockets do not count.
    """
    before = _alive()
    yield
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while left := [name for key, name in _alive().items() if key not in before]:
        assert asyncio.get_running_loop().time() < deadline, f"left behind: {left}"
        await asyncio.sleep(0.005)


async def ends_with(kind, awaitable, *, within=10, stage=None):
    """Await: it raises `kind` (of `stage`) within so many seconds, and leaves nothing. The error."""
    async with nothing_left(), asyncio.timeout(within):
        with pytest.raises(kind) as caught:
            await awaitable
    error = caught.value
    if stage is not None:
        assert error.stage == stage, error
    return error


async def closes_with(kind, client, *, within=10):
    """Read a client to its end: the error that it ended with (a ConnectionClosed's cause counts as well)."""
    async with asyncio.timeout(within):
        with pytest.raises(kind) as caught:
            async for _ in client:
                pass
        await client.wait_closed()
    assert client.state is wsx.State.CLOSED
    return caught.value


def run_checked(main, loop, *, within=30):
    """Run a coroutine to its end on the named loop: within so many seconds, leaving nothing."""

    async def checked():
        async with nothing_left():
            return await main

    return wsx.run(asyncio.wait_for(checked(), within), loop=loop)


def _alive():
    loop = asyncio.get_running_loop()
    found = {id(task): repr(task) for task in asyncio.all_tasks(loop)}
    found |= {number: repr(timer) for number, timer in enumerate(_timers(loop))}  # a new one may replace an old one
    return found | _descriptors()


def _timers(loop):
    """Every call that is planned. uvloop keeps no list of them: there they are found in memory."""
    planned = getattr(loop, "_scheduled", None)
    if planned is None:
        planned = [thing for thing in gc.get_objects() if type(thing).__name__ == "TimerHandle"]
    return [timer for timer in planned if not timer.cancelled() and timer.when() > loop.time()]


def _descriptors():
    found = {}
    foreign = SERVERS_INODES | _look_ups()
    for link in Path("/proc/self/fd").iterdir():
        try:
            inode, target = link.stat().st_ino, link.readlink()
        except OSError:  # the one that lists them, or closed meanwhile
            continue
        if inode not in foreign:
            found[link.name, inode] = f"descriptor {link.name}: {target}"
    return found


def _look_ups():
    """UDP sockets: the C library's, which looks up names. wsx has none; a look-up given up ends in its own time."""
    tables = (Path("/proc/self/net", name) for name in ("udp", "udp6"))
    lines = (line for table in tables if table.exists() for line in table.read_text().splitlines()[1:])
    return {int(line.split()[9]) for line in lines}
