"""An asyncio loop without I/O whose time is simulated: when nothing is ready it jumps to the next timer.

Days pass in moments, and what runs on it happens in the same order each time. Clients over a `MemoryServer` live on
it whole: `loop.surroundings` gives them its clock, and randomness from its seed.
Not here: sockets, threads and child processes, which this loop never hears of.
"""

import asyncio
import math
import random
import selectors
from collections.abc import Mapping
from typing import Any

from wsx.driver import Surroundings
from wsx.reconnection import HostBudget

_NS = 1_000_000_000


class NothingLeftToWaitFor(RuntimeError):
    """Everybody waits and no timer is set: outside a simulation this would hang."""

    def __init__(self) -> None:
        super().__init__("every task waits, and no timer is set: nothing can ever happen again")


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`with asyncio.Runner(loop_factory=lambda: SimulatedLoop(seed)) as runner: runner.run(main())`.

    seed: of `random`, the one source of chance. Raises NothingLeftToWaitFor from `run_until_complete` where a real loop
    would wait for ever.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self._time = _SimulatedTime()
        self._suspended_ns = 0
        super().__init__(self._time)
        self.random = random.Random(seed)
        self.surroundings = Surroundings(self, self.random.random, HostBudget())

    def time(self) -> float:
        """Simulated seconds since the loop was made: up to 48 days, after which a float no longer tells nanoseconds."""
        return self._time.now_ns / _NS

    def now_ns(self) -> int:
        """The same in nanoseconds (`Clock`)."""
        return self._time.now_ns

    def suspended_ns(self) -> int:
        """How long the machine has slept (`Clock`)."""
        return self._suspended_ns

    def jump(self, seconds: float) -> None:
        """Let time pass at once, as when the program itself holds the loop for so long: timers come late."""
        self._time.jump(seconds)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: timers do not notice, other clocks have gone on."""
        self._suspended_ns += round(seconds * _NS)

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set and not cancelled: at the end of a test there should be none."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return sorted((timer for timer in timers if not timer.cancelled()), key=asyncio.TimerHandle.when)


class _SimulatedTime(selectors.BaseSelector):
    """Where a loop waits for I/O until its next timer is due: no I/O ever comes, so the time has passed at once."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftToWaitFor
        self.jump(max(timeout, 0))
        return []

    def jump(self, seconds: float) -> None:
        self.now_ns += math.ceil(seconds * _NS)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[fileobj] = selectors.SelectorKey(fileobj, fd, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys
