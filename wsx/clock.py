"""The one source of time: integer nanoseconds that never go back.

Code above the native layer takes a `Clock`, so that a simulation can bring its own.
Not here: wall-clock time, which only timestamps meant for people need; waiting, which is the loop's.
"""

import sys
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never less than before. It rests while the machine sleeps."""

    def suspended_ns(self) -> int:
        """Nanoseconds that the machine has slept since that start, as far as it can be known."""


class MonotonicClock:
    """The machine's monotonic clock: the one that asyncio and the compiled core read too."""

    __slots__ = ()

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def suspended_ns(self) -> int:
        """Linux and macOS have a clock that goes on in sleep; elsewhere this is 0."""
        if sys.platform == "linux":
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        if sys.platform == "darwin":
            return time.clock_gettime_ns(time.CLOCK_MONOTONIC) - time.monotonic_ns()
        return 0
