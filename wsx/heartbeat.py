"""Is the peer there? Pings with payloads of wsx's own, and one deadline for each.

Only the PONG that repeats a payload counts, in time (RFC 6455 5.5.3). While reading is paused the heartbeat rests.
A loop that was blocked by user code is told apart from a dead peer: the PONG may lie unread in the socket.
Not here: what follows from a dead peer (connection.py, client.py).
"""

import asyncio
import os
from typing import Any, Protocol

from wsx._telemetry import Telemetry
from wsx.clock import Clock
from wsx.config import Config
from wsx.errors import HeartbeatTimeout, NotConnected, WsxError

_PING = 0x9
_BLOCKED_SECONDS = 0.25  # a timer this late says that the loop did not run
_LAST_LOOK_SECONDS = 0.01
_MOST_PENDING = 64  # pings by hand that wait for their PONG at the same time


class Line(Protocol):
    """What a heartbeat needs of its connection."""

    def write(self, opcode: int, payload: bytes) -> None:
        """Write a frame."""

    def abort(self, error: WsxError) -> None:
        """The peer is dead."""


class Listener(Protocol):
    """Who hears how the peer is."""

    def on_pong(self, rtt_ns: int) -> None:
        """The PONG to a PING came."""

    def on_loop_blocked(self, lag_ns: int) -> None:
        """The loop did not run for a while; the peer is not to blame."""


class Heartbeat:
    """Pings every `ping_interval`, expects each PONG within `ping_timeout` seconds."""

    def __init__(
        self,
        line: Line,
        listener: Listener,
        config: Config,
        telemetry: Telemetry,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._line, self._listener = line, listener
        self._config = config
        self._telemetry = telemetry
        self._loop, self._clock = loop, clock
        self._timer: asyncio.TimerHandle | None = None
        self._sent_ns: dict[bytes, int] = {}  # payload -> when it was sent
        self._waiting: dict[bytes, asyncio.Future[float]] = {}  # pings by hand
        self._own: bytes | None = None  # the payload that the deadline is about
        self.seen_ns = self._clock.now_ns()  # when the peer was last known to be there
        self.lag_ns = 0  # how late the loop ran at worst since the peer was last seen
        self._resting = True

    def start(self) -> None:
        """Begin to watch, or go on after a pause: what was asked before it counts from now."""
        self._resting = False
        if self._own is not None:
            self._plan(self._config.ping_timeout, self._judge)
        elif self._config.ping_interval is not None:
            self._plan(self._config.ping_interval, self._beat)

    def pause(self) -> None:
        """Reading was paused: a PONG could not be seen."""
        self._resting = True
        self._cancel_timer()

    def stop(self) -> None:
        """The connection ends: whoever waits for a PONG is told."""
        self.pause()
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(NotConnected("the connection ended before the PONG came"))

    def ping(self) -> "asyncio.Future[float]":
        """A ping by hand: the round trip in seconds, or NotConnected when the connection ends first."""
        if len(self._waiting) >= _MOST_PENDING:
            raise RuntimeError(f"{_MOST_PENDING} pings wait for their PONG already")
        waiter: asyncio.Future[float] = self._loop.create_future()
        payload = self._send()
        self._waiting[payload] = waiter
        waiter.add_done_callback(lambda _: self._forget(payload))
        return waiter

    def on_pong(self, payload: bytes) -> bool:
        """A PONG: True for one that was asked for, False for one of no meaning."""
        sent_ns = self._sent_ns.pop(payload, None)
        if sent_ns is None:
            self._telemetry.add("pongs_unmatched")
            return False
        rtt_ns = self._clock.now_ns() - sent_ns
        self._telemetry.record_rtt(rtt_ns)
        self.seen_ns, self.lag_ns = sent_ns + rtt_ns, 0
        self._listener.on_pong(rtt_ns)
        waiter = self._waiting.get(payload)
        if waiter is not None and not waiter.done():
            waiter.set_result(rtt_ns / 1e9)
        if payload == self._own:
            self._own_answered(rtt_ns)
        return True

    def _own_answered(self, rtt_ns: int) -> None:
        self._own = None
        if not self._resting:  # reading may have been paused by what came before this PONG
            self._plan(max(self._config.ping_interval - rtt_ns / 1e9, 0), self._beat)  # type: ignore[operator]

    def _send(self) -> bytes:
        payload = os.urandom(8)
        self._sent_ns[payload] = self._clock.now_ns()
        self._line.write(_PING, payload)
        return payload

    def _forget(self, payload: bytes) -> None:
        self._sent_ns.pop(payload, None)
        self._waiting.pop(payload, None)

    def _beat(self, late: float) -> None:
        self._note_lag(late)
        self._own = self._send()
        self._plan(self._config.ping_timeout, self._judge)

    def _judge(self, late: float) -> None:
        """The deadline has passed. If this loop slept through it, the PONG may be there: look again."""
        if self._note_lag(late):
            self._plan(self._config.ping_timeout, self._judge)
        else:
            self._plan(_LAST_LOOK_SECONDS, self._condemn)

    def _note_lag(self, late: float) -> bool:
        """Whether the loop was blocked; the user's code held it, and the peer is not to blame."""
        lag_ns = round(late * 1e9)
        self.lag_ns = max(self.lag_ns, lag_ns)
        blocked = late > _BLOCKED_SECONDS
        if blocked:
            self._listener.on_loop_blocked(lag_ns)
        return blocked

    def _condemn(self, late: float) -> None:
        """The socket was looked at once more after the deadline: a loop that runs timers before reading has read."""
        self._line.abort(HeartbeatTimeout(self._config.ping_timeout))

    def _plan(self, delay: float, step: Any) -> None:
        self._cancel_timer()
        due = self._loop.time() + delay
        self._timer = self._loop.call_at(due, lambda: step(self._loop.time() - due))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
