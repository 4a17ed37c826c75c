"""Does data come? A server that answers every PING and sends nothing is the commonest silent failure.

Only messages count: PINGs and PONGs are no data. While reading is paused the watch rests.
Not here: whether the peer is there at all (heartbeat.py).
"""

import asyncio
from collections.abc import Callable

from wsx._telemetry import Telemetry
from wsx.clock import Clock


class DataWatch:
    """Calls `on_stale(silent_ns)` once no message came for `limit` seconds; None: never."""

    def __init__(
        self,
        limit: float | None,
        telemetry: Telemetry,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        on_stale: Callable[[int], None],
    ) -> None:
        self._limit_ns = None if limit is None else round(limit * 1e9)
        self._telemetry = telemetry
        self._loop, self._clock = loop, clock
        self._on_stale = on_stale
        self._since_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch from now on, also after a rest."""
        self.stop()
        if self._limit_ns is not None:
            self._since_ns = self._clock.now_ns()
            self._plan(self._limit_ns)

    def stop(self) -> None:
        """Rest, or end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, wait_ns: int) -> None:
        self._timer = self._loop.call_later(wait_ns / 1e9, self._look)

    def _look(self) -> None:
        assert self._limit_ns is not None
        last_ns = max(self._since_ns, self._telemetry.snapshot()["last_message_ns"])
        silent_ns = self._clock.now_ns() - last_ns
        if silent_ns < self._limit_ns:
            self._plan(self._limit_ns - silent_ns)
        else:
            self._timer = None
            self._on_stale(silent_ns)
