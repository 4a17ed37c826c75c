"""Does data come? A server that answers every PING and sends nothing is the commonest silent failure.

Only messages count: PINGs and PONGs are no data. While reading is paused the watch rests. A loop that was blocked by
user code is told apart from a silent peer: its messages may lie unread in the socket.
Not here: whether the peer is there at all (heartbeat.py).
"""

import asyncio
from collections.abc import Callable

from wsx._telemetry import Telemetry
from wsx.clock import Clock

_LAST_LOOK_NS = 10_000_000


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
            self._plan(self._limit_ns, self._look)

    def stop(self) -> None:
        """Rest, or end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, wait_ns: int, step: Callable[[int], None]) -> None:
        wait_ns = max(wait_ns, _LAST_LOOK_NS)
        self._timer = self._loop.call_later(wait_ns / 1e9, step, self._clock.now_ns() + wait_ns)

    def _look(self, due_ns: int) -> None:
        """Silence counts up to the moment that this look was planned for: a loop that was blocked has seen nothing."""
        assert self._limit_ns is not None
        last_ns = self._last_ns()
        if due_ns - last_ns < self._limit_ns:
            self._plan(last_ns + self._limit_ns - self._clock.now_ns(), self._look)
        else:
            self._plan(_LAST_LOOK_NS, self._judge)

    def _judge(self, due_ns: int) -> None:
        """The socket was looked at once more: a loop that runs timers before reading has read."""
        assert self._limit_ns is not None
        silent_ns = due_ns - self._last_ns()
        if silent_ns < self._limit_ns:
            self._look(due_ns)
        else:
            self._timer = None
            self._on_stale(silent_ns)

    def _last_ns(self) -> int:
        return max(self._since_ns, self._telemetry.snapshot()["last_message_ns"])
