"""What outlives connections: one client's state, inbox, blind ledger and subscriptions, over one connection at a time.

    CONNECTING ──▶ OPEN ──▶ RECONNECTING ──▶ OPEN ...            ──▶ CLOSING ──▶ CLOSED
                                  └──▶ HALTED ──(resume)──▶ RECONNECTING

A connection is opened, restored (hooks, then subscriptions, over a private route) and only then given to the user.
Not here: one connection's life (connection.py), when to try again (driver.py), what a user calls (client.py).
"""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias

from wsx._inbox import Inbox
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx._writer import FrameWriter
from wsx.backoff import Backoff
from wsx.clock import MonotonicClock
from wsx.config import Config
from wsx.connection import Connection, End, open_connection
from wsx.driver import REAL, Driver, Surroundings
from wsx.endpoint import Endpoint, parse_url
from wsx.error_handler import ErrorHandler
from wsx.errors import ConnectionClosed, ErrorContext, NotConnected, SlowConsumer, WsxError
from wsx.events import (
    CallbackFailed,
    Closed,
    Event,
    Gap,
    GapEvent,
    Halted,
    LoopBlocked,
    Opened,
    ReadingPaused,
    ReadingResumed,
    Reconnecting,
    StaleData,
)
from wsx.events import SlowConsumer as SlowConsumerEvent
from wsx.explanation import describe
from wsx.health import Health, HealthInputs, assess
from wsx.ledger import Ledger
from wsx.reconnection import GiveUp, Plan
from wsx.route import Route
from wsx.transport.base import Dial

_log = logging.getLogger("wsx")
_NORMAL, _POLICY_VIOLATION = 1000, 1008
_QUIET_CODES = (1000, 1001, 1005)  # a peer that leaves in good order: reading ends without an error

OnMessage: TypeAlias = Callable[[Message], object]
OnEvent: TypeAlias = Callable[[Event], object]
Url: TypeAlias = Endpoint | Callable[[], str]


class State(StrEnum):
    """Where a client stands."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSING = "closing"
    CLOSED = "closed"
    HALTED = "halted"  # authentication or policy: a person is needed, then `resume()`


class Session:
    """One client's session. use_writer: told where user traffic may be written, None for nowhere."""

    epoch = 0
    subprotocol: str | None = None
    host = ""  # of the newest attempt
    connection: Connection | None = None  # the one that user traffic goes over
    end: End | None = None  # of the last connection, while there is no other
    _plan: Plan | None = None  # the attempt that is waited for
    _ending = False  # the user has closed
    _by_hand = False  # the user has asked for another connection
    _last_error: BaseException | None = None
    _route: Route | None = None  # of the connection that is being restored
    _paused_ns: int | None = None
    _pause_timer: asyncio.TimerHandle | None = None

    def __init__(
        self, config: Config, url: Url, dial: Dial, callbacks: tuple[OnMessage | None, OnEvent | None],
        use_writer: Callable[[FrameWriter | None], None], surroundings: Surroundings = REAL,
    ) -> None:  # fmt: skip
        self.config, self._url, self._dial, self._use_writer = config, url, dial, use_writer
        self.name = config.name or (url.host if isinstance(url, Endpoint) else "wsx")
        self._surroundings, self._clock = surroundings, surroundings.clock
        native = isinstance(self._clock, MonotonicClock)  # what compiled code reads by itself
        self.telemetry, self.ledger = Telemetry(None if native else self._clock), Ledger()
        self.subscriptions: dict[Any, bool | None] = {}  # message -> `text`, in order
        on_message, self._on_event = callbacks
        limits = {"max_messages": config.inbox_messages, "max_bytes": config.inbox_bytes}
        self.inbox = Inbox(self, self.telemetry, callback=on_message, **limits)
        self.state = State.CONNECTING
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._opened = asyncio.Event()
        self._room = asyncio.Event()
        self._driver = self._make_driver()

    @property
    def state(self) -> State:
        """Where the client stands, since `since_ns` (monotonic)."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state, self.since_ns = state, self._clock.now_ns()

    def health(self) -> Health:
        """How the client is now."""
        counters, bucket, connection = self.telemetry.snapshot(), self.config.rate_limit, self.connection
        beats = connection is not None and self.config.ping_interval is not None
        measured = HealthInputs(
            state=self.state,
            since_ns=self.since_ns,
            heartbeat_ns=connection.heartbeat.seen_ns if connection and beats else None,
            rtt_ns=counters["last_rtt_ns"] or None,
            rate_limit={} if bucket is None else {"rate_limit": bucket.utilisation},
            queues=self._queues(),
            reconnects=max(0, counters["connections_opened"] - 1),
            last_error=None if self._last_error is None else describe(self._last_error),
        )
        return assess(measured, self.config.health, self._clock.now_ns())

    def _queues(self) -> dict[str, tuple[int, int]]:
        buffered = self.connection.transport.writer.buffered if self.connection is not None else 0
        return {
            "inbox_messages": (len(self.inbox), self.config.inbox_messages),
            "inbox_bytes": (self.inbox.waiting_bytes, self.config.inbox_bytes),
            "write_bytes": (buffered, self.config.write_limit),
        }

    def _make_driver(self) -> Driver | None:
        policy = self.config.reconnect
        if policy is False:
            return None
        handler = self.config.error_handler or ErrorHandler()
        backoff = policy if isinstance(policy, Backoff) else Backoff()
        return Driver(self, backoff, handler, lambda: self.host, self._surroundings)

    # ---- opening ----------------------------------------------------------------------------------------------------

    async def open_first(self) -> None:
        """The first opening: tried once. Messages flow only after the caller has the client."""
        try:
            held = await self._open()
        except BaseException:
            self.state = State.CLOSED
            raise
        self._loop.call_soon(self._deliver, held)

    async def open_once(self) -> None:
        """Another opening (`DriverOwner`)."""
        self._deliver(await self._open())

    async def _open(self) -> list[Message]:
        """Open, restore and take into use one connection; what came for the user meanwhile."""
        endpoint = self._endpoint()
        headers = self.config.resolve_headers()
        self.config.check_endpoint(endpoint, headers)
        connection = Connection(self.config, self.telemetry, self, self.inbox, self.epoch + 1, self._clock)
        try:
            await open_connection(connection, self._dial, endpoint, headers, self.config, self.telemetry)
            self.epoch += 1
            held = await self._restore(connection)
        except WsxError as error:
            attempt = self._plan.attempt if self._plan else 1
            error.context = ErrorContext("opening", endpoint.display, attempt, self.epoch)
            self.telemetry.add(f"errors_{error.category}")
            raise
        self._use(connection, endpoint)
        return held

    def _endpoint(self) -> Endpoint:
        """Where this attempt goes; a callable is asked each time."""
        endpoint = self._url if isinstance(self._url, Endpoint) else parse_url(self._url())
        self.host = endpoint.host
        return endpoint

    async def _restore(self, connection: Connection) -> list[Message]:
        """Hooks in their order, then subscriptions, before user traffic. What does not answer them is held."""
        connection.heartbeat.start()
        if not tuple(self.config.on_open) and not self.subscriptions:
            return []
        self._route = Route(connection, *self._room_for_held())
        self.inbox.divert = self._route.take
        try:
            connection.resume_reading()
            await self._prepare(self._route)
            return list(self._route.held)
        except BaseException:
            connection.drop()
            raise
        finally:
            self._route = self.inbox.divert = None

    def _room_for_held(self) -> tuple[int, int]:
        """Messages and bytes that hooks may hold back: all of it will be in the inbox with what waits there."""
        messages, size = self.config.inbox_messages, self.config.inbox_bytes
        if self.config.inbox_policy not in ("pause", "disconnect"):
            return messages, size  # an inbox that drops stays within its limits by itself
        return max(messages - len(self.inbox), 0), max(size - self.inbox.waiting_bytes, 0)

    async def _prepare(self, route: Route) -> None:
        for hook in self.config.on_open:
            await hook(route)
        for message, text in list(self.subscriptions.items()):
            if self.config.rate_limit is not None:
                await self.config.rate_limit.acquire()
            route.send(message, text=text)
        route.check()

    def _use(self, connection: Connection, endpoint: Endpoint) -> None:
        self.connection, self.end, self._plan = connection, None, None
        self.state = State.OPEN
        self.name = self.config.name or endpoint.host
        self.subprotocol = connection.transport.subprotocol
        timings = connection.transport.times
        self.telemetry.add("connections_opened")
        for stage in ("dns_ns", "tcp_ns", "tls_ns", "upgrade_ns"):
            self.telemetry.store(f"opening_{stage}", getattr(timings, stage))
        self._use_writer(connection.transport.writer)
        if self._driver is not None:
            self._driver.opened()
        self._opened.set()
        self._emit(Opened, endpoint=endpoint.display, timings=timings)

    def _deliver(self, held: list[Message]) -> None:
        """Let messages flow, also those that came early."""
        self.inbox.start()
        for message in held:
            self.inbox.deliver(message)
        if self.inbox.full:
            self.on_inbox_full()
        elif self.connection is not None:
            self.connection.resume_reading()

    # ---- what the user asks -----------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str) -> None:
        """Close for good. Idempotent."""
        self._ending = True
        self.inbox.end()
        if self.connection is not None:
            self.connection.close(code, reason)
        elif self.state in (State.RECONNECTING, State.HALTED):
            self.state = State.CLOSING
            if self._driver is not None:
                await self._driver.stop()
            self._finish(None)

    def restart(self) -> None:
        """Another connection now, by hand. Raises as `refuse` does where there is none to come."""
        if self._driver is None:
            raise RuntimeError("this client was made with reconnect=False")
        if self.connection is not None and not self._ending:
            self._by_hand = True
            self.connection.close(_NORMAL, "")
            if self.inbox.full:
                self.on_inbox_full()
        elif self.state is State.CLOSING and not self._ending:
            self._by_hand = True  # called while `Closed` is being told
        elif self.state in (State.RECONNECTING, State.HALTED):
            self.state = State.RECONNECTING
            self._driver.again()
        else:
            raise self.refusal()

    async def wait_open(self) -> None:
        """Wait until user traffic may flow. Raises where it never will without a person."""
        while self.state is not State.OPEN:
            if self.state in (State.CLOSED, State.HALTED) or self._ending or self._driver is None:
                raise self.refusal()
            await self._opened.wait()

    async def wait_room(self) -> None:
        """Wait until the write buffer is empty, or the connection has ended."""
        self._room.clear()
        await self._room.wait()

    def refusal(self) -> WsxError:
        """Why nothing can be sent now; nothing was."""
        if self.state is State.CLOSED:
            return self.closed_error()
        next_try = (
            f", attempt {self._plan.attempt}, planned {self._plan.delay_seconds:.3g} s ahead" if self._plan else ""
        )
        hint = "; it needs client.resume()" if self.state is State.HALTED else ""
        return NotConnected(f"cannot send on {self.name!r}: {self.state.name}{next_try}; nothing was sent{hint}")

    def closed_error(self) -> ConnectionClosed:
        """The end of the last connection, as reading or sending after it meets it."""
        end = self.end or End(1006)
        closed = ConnectionClosed(end.code, end.reason)
        closed.__cause__ = self.inbox.error or end.error
        return closed

    # ---- ConnectionOwner --------------------------------------------------------------------------------------------

    def on_closing(self) -> None:
        self._stop_pause()
        if self._route is None:
            self.state = State.CLOSING
            self._use_writer(None)
            self._opened.clear()
            self._room.set()

    def on_ended(self, end: End) -> None:
        if self._route is not None:
            self._route.fail(end.error or ConnectionClosed(end.code, end.reason))
            return
        self.connection, self.end = None, end
        if end.error is not None:
            end.error.context = end.error.context or ErrorContext("connected", self.name, epoch=self.epoch)
            self.telemetry.add(f"errors_{end.error.category}")
            self._last_error = end.error
        self._emit(Closed, code=end.code, reason=end.reason, error=end.error)
        if self._driver is None or self._ending:
            self._finish(self._reading_error(end))
        else:
            self._recover(self._driver, end)

    def on_loop_blocked(self, lag_ns: int) -> None:
        self._emit(LoopBlocked, lag_ns=lag_ns)

    def on_stale(self, silent_ns: int) -> None:
        self._emit(StaleData, stream="", silent_ns=silent_ns)

    def on_writable(self) -> None:
        self._room.set()

    # ---- DriverOwner ------------------------------------------------------------------------------------------------

    def on_reconnecting(self, plan: Plan, error: BaseException | None) -> None:
        self.state, self._plan = State.RECONNECTING, plan
        self.telemetry.add("reconnect_attempts")
        self._last_error = error or self._last_error
        self._emit(Reconnecting, attempt=plan.attempt, delay_seconds=plan.delay_seconds, error=error)

    def on_give_up(self, decision: GiveUp) -> None:
        self._plan = None
        if not decision.halt:
            self._finish(decision.error)
            return
        self.state = State.HALTED
        self.inbox.interrupt(decision.error)
        self._opened.set()  # whoever waits looks at the state
        self._opened.clear()
        self._emit(Halted, error=decision.error)

    # ---- InboxOwner -------------------------------------------------------------------------------------------------

    def on_inbox_full(self) -> None:
        """The reader is slower than the line: stop reading for a while, or end it, as `inbox_policy` says."""
        if self.connection is None:
            return
        if self.connection.closing:  # to see the peer's CLOSE it is read on: blind from here, not from the last message
            self.ledger.begin("", self._clock.now_ns(), "inbox full while closing", epoch=self.epoch)
            self.inbox.divert = lambda message: None
            return
        if self.config.inbox_policy == "disconnect":
            self._too_slow()
            return
        self._paused_ns = self._clock.now_ns()
        self.telemetry.add("inbox_pauses")
        self.connection.pause_reading()
        self._pause_timer = self._loop.call_later(self.config.max_pause, self._too_slow)
        self._emit(ReadingPaused, inbox_messages=len(self.inbox), inbox_bytes=self.inbox.waiting_bytes)

    def on_inbox_drained(self) -> None:
        """There is room again."""
        if self._paused_ns is None or self.connection is None:
            return
        paused_ns = self._clock.now_ns() - self._paused_ns
        self._stop_pause()
        self._emit(ReadingResumed, paused_ns=paused_ns)
        self.connection.resume_reading()

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        """The user's callback raised: said, counted, and the connection stays up."""
        self.telemetry.add("errors_application")
        _log.error("on_message of %r raised; the connection stays up", self.name, exc_info=error)
        self._emit(CallbackFailed, error=error, message_opcode=message.opcode)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _recover(self, driver: Driver, end: End) -> None:
        """The connection is gone, the client is not: blind from the last message on, until the next."""
        self.state = State.RECONNECTING
        cause = type(end.error).__name__ if end.error else f"closed with {end.code}"
        self.ledger.begin("", self._last_good_ns(), cause, epoch=self.epoch)
        self.inbox.sight, self.inbox.divert = self._see, None
        by_hand, self._by_hand = self._by_hand, False
        if by_hand:
            driver.again()
        else:
            driver.lost(end)

    def _see(self, message: Message) -> Gap:
        """The first message after blindness: it carries the gap, and the event is said before it is delivered."""
        gap = self.ledger.end("", message.received_ns)
        self._emit(GapEvent, gap=gap)
        return gap

    def _last_good_ns(self) -> int:
        return self.telemetry.snapshot()["last_received_ns"] or self._clock.now_ns()

    def _reading_error(self, end: End) -> WsxError | None:
        """What a reader meets after the last message; None: iteration just ends."""
        if end.error is not None or end.code in _QUIET_CODES or self._ending:
            return end.error
        return ConnectionClosed(end.code, end.reason)

    def _finish(self, error: BaseException | None) -> None:
        self.state = State.CLOSED
        self.inbox.end(error)
        self._opened.set()
        if not self.closed.done():
            self.closed.set_result(None)

    def _too_slow(self) -> None:
        messages, size = len(self.inbox), self.inbox.waiting_bytes
        paused_ns = self._clock.now_ns() - self._paused_ns if self._paused_ns is not None else 0
        self._stop_pause()
        self._emit(SlowConsumerEvent, inbox_messages=messages, inbox_bytes=size, paused_ns=paused_ns)
        if self.connection is not None:
            self.connection.fail(SlowConsumer(messages, size, paused_ns / 1e9), _POLICY_VIOLATION)

    def _stop_pause(self) -> None:
        self._paused_ns = None
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

    def _emit(self, kind: type[Event], **fields: Any) -> None:
        """Tell the user; a handler that raises hurts nobody else."""
        if self._on_event is None:
            return
        event = kind(at_ns=self._clock.now_ns(), epoch=self.epoch, **fields)
        try:
            self._on_event(event)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self.telemetry.add("errors_application")
            _log.exception("on_event of %r raised on %s", self.name, kind.__name__)
