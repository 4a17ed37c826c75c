"""An event loop whose clock stands still while anything can run, and jumps when everything waits."""

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A `Clock` too. Only timers bring it forward: a wait for nothing ends the test with a RuntimeError."""

    def __init__(self) -> None:
        self._now_ns = 0
        super().__init__(_Jumping(self))

    def now_ns(self) -> int:
        return self._now_ns

    def time(self) -> float:
        return self._now_ns / 1e9

    def jump(self, seconds: float) -> None:
        self._now_ns += math.ceil(seconds * 1e9)


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everything waits, and no timer is set")
        self._loop.jump(timeout)
        return super().select(0)


def simulate(main: Coroutine[Any, Any, T], loop: SimulatedLoop | None = None) -> T:
    """Run `main` to its end on a simulated loop."""
    with asyncio.Runner(loop_factory=lambda: loop or SimulatedLoop()) as runner:
        return runner.run(main)
