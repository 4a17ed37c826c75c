"""Does each subscription bring data? A connection may live, and most of it, while one stream has gone silent.

    watch ──▶ silent for longer than its limit ──▶ StaleData, blind in the ledger ──▶ its next message carries the gap

While no connection is open, or reading is paused, the watch rests. A stream is told once each time it falls silent.
Not here: data on the connection as a whole (data_watch.py), noting the time of a message (_watched.pyx).
"""

import asyncio
from collections.abc import Callable, Mapping

from wsx._message import Message
from wsx._watched import Watched
from wsx.clock import Clock
from wsx.events import Gap, GapEvent, StaleData
from wsx.ledger import Ledger

_NS = 1_000_000_000
_LAST_LOOK_NS = 10_000_000
_CAUSE = "no data"


class StreamWatch:
    """The streams of one client. tell(kind, **fields): says an event. epoch(): number of the newest connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, ledger: Ledger, tell: Callable[..., None],
        epoch: Callable[[], int],
    ) -> None:  # fmt: skip
        self._loop, self._clock = loop, clock
        self._ledger, self._tell, self._epoch = ledger, tell, epoch
        self._watched: dict[
            str, tuple[Watched, int]
        ] = {}  # stream -> what notes its time, nanoseconds it may be silent
        self._since_ns: int | None = None  # None: at rest
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, stream: str, callback: Callable[[Message], object], limit: float) -> Watched:
        """What is to be called instead of `callback`. limit: seconds without data. Raises ValueError."""
        if not limit > 0:
            raise ValueError(f"data_timeout must be above 0 seconds, not {limit!r}")
        if stream in self._watched:
            raise ValueError(f"{stream!r} is watched already: one data_timeout for a stream")
        watched = Watched(callback)
        watched.last_ns = self._clock.now_ns()
        self._watched[stream] = watched, round(limit * _NS)
        if self._since_ns is not None:
            self._look()
        return watched

    def forget(self, stream: str) -> None:
        """Watch it no more."""
        watched, _ = self._watched.pop(stream)
        if watched.sight is not None:
            self._ledger.end(stream, self._clock.now_ns())

    def start(self) -> None:
        """Data may come: silence counts from now."""
        self._since_ns = self._clock.now_ns()
        self._look()

    def stop(self) -> None:
        """Rest."""
        self._since_ns = None
        self._cancel()

    def last_seen(self) -> Mapping[str, int]:
        """Stream -> when its newest data came, or since when it is waited for: nanoseconds, monotonic."""
        since_ns = self._since_ns or 0
        return {name: max(watched.last_ns, since_ns) for name, (watched, _) in self._watched.items()}

    def limits(self) -> Mapping[str, float]:
        """Stream -> seconds that it may be silent."""
        return {name: limit_ns / _NS for name, (_, limit_ns) in self._watched.items()}

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Come back when the next stream might have fallen silent."""
        self._cancel()
        dues = [self._due_ns(watched, limit) for watched, limit in self._watched.values() if watched.sight is None]
        if dues and self._since_ns is not None:  # whoever was told may have ended the connection
            self._plan(min(dues) - self._clock.now_ns(), self._on_time)

    def _on_time(self, due_ns: int) -> None:
        """Has one? A loop that was blocked has seen nothing: the socket is looked at once more."""
        if self._silent_at(due_ns):
            self._plan(0, self._judge)
        else:
            self._look()

    def _judge(self, due_ns: int) -> None:
        for stream in self._silent_at(due_ns):
            if stream in self._watched:  # not if who was told of another has taken it away
                self._fall_silent(stream, self._watched[stream][0], due_ns)
        self._look()

    def _silent_at(self, due_ns: int) -> list[str]:
        """Streams that have been silent for too long at this moment, for which the look was planned, and are not told."""
        return [
            stream
            for stream, (watched, limit_ns) in self._watched.items()
            if watched.sight is None and self._due_ns(watched, limit_ns) <= due_ns
        ]

    def _due_ns(self, watched: Watched, limit_ns: int) -> int:
        return max(watched.last_ns, self._since_ns or 0) + limit_ns

    def _plan(self, wait_ns: int, step: Callable[[int], None]) -> None:
        wait_ns = max(wait_ns, _LAST_LOOK_NS)
        self._timer = self._loop.call_later(wait_ns / _NS, step, self._clock.now_ns() + wait_ns)

    def _fall_silent(self, stream: str, watched: Watched, now_ns: int) -> None:
        last_ns = max(watched.last_ns, self._since_ns or 0)
        watched.sight = lambda message: self._see(stream, message)
        self._ledger.begin(stream, last_ns, _CAUSE, epoch=self._epoch())
        self._tell(StaleData, stream=stream, silent_ns=now_ns - last_ns)

    def _see(self, stream: str, message: Message) -> Gap:
        """Its first message after silence."""
        gap = self._ledger.end(stream, message.received_ns)
        self._tell(GapEvent, gap=gap)
        if self._since_ns is not None:
            self._look()
        return gap

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
