"""Did the machine sleep? Its monotonic clock rests meanwhile, and no timer tells: two clocks are compared.

Not here: what follows (session.py).
"""

import asyncio
from collections.abc import Callable

from wsx.clock import Clock

_LOOK_SECONDS = 1.0
_NOTICEABLE_NS = 1_000_000_000  # shorter sleeps hurt no connection, and clocks are not read at the same instant


class SuspendWatch:
    """Calls `on_suspended(suspended_ns)` within a second of waking up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, on_suspended: Callable[[int], None]) -> None:
        self._loop, self._clock = loop, clock
        self._on_suspended = on_suspended
        self._timer: asyncio.TimerHandle | None = None
        self._before_ns = 0

    def start(self) -> None:
        """Watch from now on."""
        self.stop()
        self._before_ns = self._clock.suspended_ns()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        slept_ns = self._clock.suspended_ns() - self._before_ns
        self.start()
        if slept_ns >= _NOTICEABLE_NS:
            self._on_suspended(slept_ns)
