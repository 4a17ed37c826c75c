"""The one source of time: integer nanoseconds that never go back.

Code above the native layer takes a `Clock`, so that a simulation can bring its own.
Not here: wall-clock time, which only timestamps meant for people need; waiting, which is the loop's.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never less than before."""


class MonotonicClock:
    """The machine's monotonic clock: the one that asyncio and the compiled core read too."""

    __slots__ = ()

    def now_ns(self) -> int:
        return time.monotonic_ns()
