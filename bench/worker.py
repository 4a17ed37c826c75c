"""One run of one client, in a process of its own: a task in JSON as the only argument, a sample in JSON on stdout.

Not here: which runs there are (rows.py), in which order (run.py), how this process is started (runs.py).
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal

from bench.calls import nanoseconds_per_call
from bench.far_end import client_context
from bench.machine import pin_process
from bench.measure import Window, heap_bytes, open_files, percentiles, resident_bytes
from bench.peers import PEERS, Target

Sample = dict[str, float]
Loop = Literal["asyncio", "uvloop"]


@dataclass(frozen=True)
class Task:
    """What one run is to do; the fields of `Row` say what they mean."""

    row: str
    work: str
    peer: str
    loop: Loop
    count: int
    warm_up: int
    url: str = ""
    authority: str = ""  # a file; "" without TLS
    size: int = 0
    core: int | None = None


async def _timed(task: Task, module: Any, target: Target) -> Sample:
    """Round trips and floods: the first phase warms up, the second is measured."""
    async with getattr(module, task.work)(target) as phase:
        await phase(task.warm_up)
        window = Window()
        marks_ns = await phase(task.count)
        return window.per_unit(task.count) | percentiles(marks_ns)


async def _idle(task: Task, module: Any, target: Target) -> Sample:
    """Bytes for each of `count` connections, after `warm_up` of them that stay open too."""
    async with AsyncExitStack() as held:
        for _ in range(task.warm_up):
            await held.enter_async_context(module.connection(target))
        resident, heap = resident_bytes(), heap_bytes()
        for _ in range(task.count):
            await held.enter_async_context(module.connection(target))
        sample = {"resident_bytes": (resident_bytes() - resident) / task.count}
        heap_now = heap_bytes()
        return sample if heap is None or heap_now is None else sample | {"heap_bytes": (heap_now - heap) / task.count}


async def _cycle(module: Any, target: Target, count: int) -> None:
    for _ in range(count):
        async with module.connection(target):
            pass


async def _cycles(task: Task, module: Any, target: Target) -> Sample:
    """What `count` connections that came and went left behind."""
    await _cycle(module, target, task.warm_up)
    resident, files, tasks = resident_bytes(), open_files(), len(asyncio.all_tasks())
    window = Window()
    await _cycle(module, target, task.count)
    sample = window.per_unit(task.count)
    sample["growth_bytes"] = (resident_bytes() - resident) / task.count
    return sample | {"files_left": open_files() - files, "tasks_left": len(asyncio.all_tasks()) - tasks}


Work = Callable[[Task, Any, Target], Coroutine[Any, Any, Sample]]
WORKS: dict[str, Work] = {"roundtrip": _timed, "flood": _timed, "idle": _idle, "cycles": _cycles}


def _run_on_loop(task: Task, main: Coroutine[Any, Any, Sample]) -> Sample:
    """wsx is run by its own `wsx.run`, the others by the loop itself."""
    if task.peer.startswith("wsx"):
        import wsx

        return wsx.run(main, loop=task.loop)
    if task.loop == "asyncio":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


def perform(task: Task) -> Sample:
    """Do what `task` says, on its core, and give what was measured."""
    pin_process(0, task.core)
    if task.work == "calls":
        return {"cpu_ns": nanoseconds_per_call(task.row, task.peer, task.count)}
    module_name, variant = PEERS[task.peer]
    module = importlib.import_module(f"bench.peers.{module_name}")
    target = Target(task.url, client_context(task.authority) if task.authority else None, task.size, variant)
    return _run_on_loop(task, WORKS[task.work](task, module, target))


if __name__ == "__main__":
    print(json.dumps(perform(Task(**json.loads(sys.argv[1])))))
