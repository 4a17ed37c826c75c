"""What outlives connections: one client's state, inbox, blind ledger and subscriptions, over one connection at a time.

    CONNECTING ──▶ OPEN ──▶ RECONNECTING ──▶ OPEN ...            ──▶ CLOSING ──▶ CLOSED
                                  └──▶ HALTED ──(resume)──▶ RECONNECTING

A connection is opened, restored (hooks, then subscriptions, over a private route) and only then given to the user.
Not here: one connection's life (connection.py), when to try again (driver.py), a full inbox (slow_reader.py), what a
user calls (client.py).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sized
from enum import StrEnum
from typing import Any, Never, TypeAlias

from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx._writer import FrameWriter
from wsx.announcer import Announcer
from wsx.backoff import Backoff
from wsx.clock import Clock, MonotonicClock
from wsx.config import Config
from wsx.connection import Connection, End, open_connection
from wsx.driver import REAL, Driver, Surroundings
from wsx.drop_record import DropRecord, make_inbox
from wsx.endpoint import Endpoint, parse_url
from wsx.error_handler import ErrorHandler
from wsx.errors import (
    ConnectionClosed,
    ConnectionLost,
    DataTimeout,
    ErrorContext,
    NotConnected,
    Recovery,
    RestoreFailed,
    WsxError,
)
from wsx.events import (
    Closed,
    Event,
    Gap,
    GapEvent,
    GaveUp,
    Halted,
    LoopBlocked,
    Opened,
    Reconnecting,
    StaleData,
    Suspended,
)
from wsx.explanation import describe
from wsx.health import Health, HealthInputs, assess
from wsx.ledger import Ledger
from wsx.outbox import Outbox
from wsx.reconnection import GiveUp, Plan
from wsx.route import Route, restore
from wsx.slow_reader import SlowReader
from wsx.stream_watch import StreamWatch
from wsx.suspend_watch import SuspendWatch
from wsx.transport.base import Dial

_log = logging.getLogger("wsx")
_NORMAL = 1000
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


def _make_telemetry(config: Config, clock: Clock) -> Telemetry:
    """The counters, in a file where that is asked for. Raises OSError where that cannot be."""
    own = None if isinstance(clock, MonotonicClock) else clock  # the machine's is read by compiled code itself
    if config.telemetry_path is None:
        return Telemetry(own)
    from wsx.telemetry_file import open_telemetry  # only those who ask for one pay for the import

    return open_telemetry(config.telemetry_path, own)


class Session:
    """One client's session. use_writer: told where user traffic may be written, None for nowhere."""

    epoch = 0
    subprotocol: str | None = None
    host = _endpoint_shown = ""  # of the newest attempt
    requests: Sized = ()  # those without an outcome (requester.py)
    connection: Connection | None = None  # the one that user traffic goes over
    end: End | None = None  # of the last connection, while there is no other
    _plan: Plan | None = None  # the attempt that is waited for
    _ending = False  # the user has closed
    _by_hand = False  # the user has asked for another connection
    _last_error: BaseException | None = None
    _route: Route | None = None  # of the connection that is being restored

    def __init__(
        self, config: Config, url: Url, dial: Dial, callbacks: tuple[OnMessage | None, OnEvent | None],
        use_writer: Callable[[FrameWriter | None], None], surroundings: Surroundings = REAL,
    ) -> None:  # fmt: skip
        self.config, self._url, self._dial, self._use_writer = config, url, dial, use_writer
        self.name = config.name or (url.host if isinstance(url, Endpoint) else "wsx")
        self._surroundings, self._clock, self._loop = surroundings, surroundings.clock, asyncio.get_running_loop()
        self.telemetry, self.ledger = _make_telemetry(config, self._clock), Ledger()
        self.epoch_listeners: list[Callable[[End], object]] = []  # called when a connection has ended
        self.subscriptions: dict[Any, bool | None] = {}  # message -> `text`, in order
        self._announcer = Announcer(callbacks[1], self.telemetry, self._clock)
        self._drops = DropRecord(self.ledger, lambda gap: self.tell(GapEvent, gap=gap))
        self.reader, self.state = SlowReader(self), State.CONNECTING
        self.inbox = make_inbox(config, self.reader, self.telemetry, callbacks[0], self._drops)
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._opened, self._driver = asyncio.Event(), self._make_driver()
        self.streams = StreamWatch(self._loop, self._clock, self.ledger, self.tell, lambda: self.epoch)
        self.outbox = Outbox(config.rate_limit, self._refuse)
        self._suspend_watch = SuspendWatch(self._loop, self._clock, self._on_suspended)

    @property
    def state(self) -> State:
        """Where the client stands, since `since_ns` (monotonic)."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state, self.since_ns = state, self._clock.now_ns()

    def now_ns(self) -> int:
        """The client's time (monotonic)."""
        return self._clock.now_ns()

    def health(self) -> Health:
        """How the client is now."""
        counters, connection = self.telemetry.snapshot(), self.connection
        beats = connection is not None and self.config.ping_interval is not None
        measured = HealthInputs(
            state=self.state,
            since_ns=self.since_ns,
            heartbeat_ns=connection.heartbeat.seen_ns if connection and beats else None,
            rtt_ns=counters["last_rtt_ns"] or None,
            rate_limit=self._utilisation(),
            queues=self._queues(),
            streams=self.streams.last_seen(),
            stream_limits=self.streams.limits(),
            reconnects=max(0, counters["connections_opened"] - 1),
            last_error=None if self._last_error is None else describe(self._last_error),
        )
        return assess(measured, self.config.health, self._clock.now_ns())

    def _utilisation(self) -> Mapping[str, float]:
        limit = self.config.rate_limit
        if limit is None or isinstance(limit, str):
            return {}
        used = limit.utilisation
        return {"rate_limit": used} if isinstance(used, float) else used

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
            await self._open()
        except BaseException:
            self.state = State.CLOSED
            self.telemetry.end()
            raise
        self._loop.call_soon(self._deliver)

    async def open_once(self) -> None:
        """Another opening (`DriverOwner`)."""
        try:
            await self._open()
        except WsxError as error:
            if error.recovery is not Recovery.PASS_THROUGH or isinstance(error, ConnectionClosed):
                raise  # the driver knows what it means
            raise RestoreFailed(str(error), context=error.context) from error  # there is no code to pass it to
        self._deliver()

    async def _open(self) -> None:
        """Open, restore and take into use one connection; what came for the user meanwhile is in the inbox."""
        endpoint = self._endpoint()
        self._emit("connection.opening", endpoint=endpoint.display, attempt=self._attempt)
        headers = self.config.resolve_headers()
        self.config.check_endpoint(endpoint, headers)
        connection = Connection(self.config, self.telemetry, self, self.inbox, self.epoch + 1, self._clock)
        try:
            await open_connection(connection, self._dial, endpoint, headers, self.config, self.telemetry)
            self.epoch += 1
            held = await self._restore(connection)
        except WsxError as error:
            self._note_failure(error, endpoint)
            raise
        self._use(connection, endpoint)
        for message in held:  # now: reading has begun, and what the next read brings comes after them
            self.inbox.deliver(message)

    def _note_failure(self, error: WsxError, endpoint: Endpoint) -> None:
        """An attempt failed, and its error goes on to whoever made it."""
        error.context = self._context("opening", endpoint.display)
        self.telemetry.add(f"errors_{error.category}")
        self._emit("connection.failed", endpoint=endpoint.display, attempt=self._attempt, error=error)

    def _endpoint(self) -> Endpoint:
        """Where this attempt goes; a callable is asked each time."""
        endpoint = self._url if isinstance(self._url, Endpoint) else parse_url(self._url())
        self.host, self._endpoint_shown = endpoint.host, endpoint.display
        return endpoint

    async def _restore(self, connection: Connection) -> list[Message]:
        """Hooks in their order, then subscriptions, before user traffic. What does not answer them is held."""
        self.telemetry.belong_to(self.config.name or self.host, self.epoch)
        self.inbox.writer = connection.transport.writer
        connection.heartbeat.start()
        if not tuple(self.config.on_open) and not self.subscriptions:
            return []
        self._route = Route(connection, self._room_for_held(), self)
        self.inbox.divert = self._route.take
        connection.resume_reading()
        try:
            return await restore(self._route, self.config.on_open, self.subscriptions)
        finally:
            self._route = self.inbox.divert = None

    def _room_for_held(self) -> tuple[int, int]:
        """Messages and bytes that hooks may hold back: all of it will be in the inbox with what waits there."""
        messages, size = self.config.inbox_messages, self.config.inbox_bytes
        if self.config.inbox_policy not in ("pause", "disconnect"):
            return messages, size  # an inbox that drops stays within its limits by itself
        return max(messages - len(self.inbox), 0), max(size - self.inbox.waiting_bytes, 0)

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
        self._suspend_watch.start()
        self.streams.start()
        self.tell(Opened, endpoint=endpoint.display, timings=timings)

    def _deliver(self) -> None:
        """Let messages flow, also those that came early."""
        self.inbox.start()
        if self.inbox.full:
            self.reader.on_inbox_full()
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
            if self._route is not None:
                self._route.drop()
            assert self._driver is not None  # without one there is no other connection to come
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
                self.reader.on_inbox_full()
        elif self.state is State.CLOSING and not self._ending:
            self._by_hand = True  # called while `Closed` is being told
        elif self.state in (State.RECONNECTING, State.HALTED):
            self.state = State.RECONNECTING
            self._driver.again()
        else:
            raise self.refusal()

    async def wait_open(self) -> None:
        """Wait until user traffic may flow. Raises where it never will without a person."""
        if self._route is not None and self._route.is_asked_by_itself():
            raise NotConnected(f"{self.name!r} opens only once its hooks have ended, and one of them waits for it")
        while self.state is not State.OPEN:
            if self.state in (State.CLOSED, State.HALTED) or self._ending or self._driver is None:
                raise self.refusal()
            await self._opened.wait()

    def refusal(self) -> WsxError:
        """Why nothing can be sent now; nothing was."""
        if self.state is State.CLOSED:
            return self.closed_error("sending to")
        next_try = (
            f", attempt {self._plan.attempt}, planned {self._plan.delay_seconds:.3g} s ahead" if self._plan else ""
        )
        hint = "; it needs client.resume()" if self.state is State.HALTED else ""
        words = f"cannot send on {self.name!r}: {self.state.name}{next_try}; nothing was sent{hint}"
        return NotConnected(words, context=self._context("sending to"))

    def closed_error(self, doing: str = "reading from") -> ConnectionClosed:
        """The end of the last connection, as reading or sending after it meets it."""
        end = self.end or End(1006)
        closed = ConnectionClosed(end.code, end.reason, context=self._context(doing))
        closed.__cause__ = self.inbox.error or end.error
        return closed

    # ---- ConnectionOwner --------------------------------------------------------------------------------------------

    def on_closing(self) -> None:
        self.reader.stop()
        self.inbox.writer = None
        if self._route is None:
            self.state = State.CLOSING
            self._use_writer(None)
            self._opened.clear()
            self.streams.stop()
            self.outbox.end()

    def on_ended(self, end: End) -> None:
        self._put_into_context(end.error, end.evidence)  # first: what is in flight ends now
        for listener in self.epoch_listeners:
            listener(end)
        if self._route is not None:
            self._route.fail(end.error or ConnectionClosed(end.code, end.reason))
            return
        self.connection, self.end = None, end
        if end.error is not None:
            self.telemetry.add(f"errors_{end.error.category}")
            self._last_error = end.error
        self.tell(Closed, code=end.code, reason=end.reason, error=end.error)
        if self._driver is None or self._ending:
            self._finish(self._reading_error(end))
        else:
            self._recover(self._driver, end)

    def on_loop_blocked(self, lag_ns: int) -> None:
        self.tell(LoopBlocked, lag_ns=lag_ns)

    def on_pong(self, rtt_ns: int) -> None:
        self._emit("heartbeat.pong", epoch=self.epoch, rtt_ns=rtt_ns)

    def on_stale(self, silent_ns: int) -> None:
        self.tell(StaleData, stream="", silent_ns=silent_ns)

    def on_writable(self) -> None:
        self.outbox.on_room()

    # ---- DriverOwner ------------------------------------------------------------------------------------------------

    def on_reconnecting(self, plan: Plan, error: BaseException | None) -> None:
        self.state, self._plan = State.RECONNECTING, plan
        self.telemetry.add("reconnect_attempts")
        self._last_error = error or self._last_error
        self._put_into_context(error)
        self.tell(Reconnecting, attempt=plan.attempt, delay_seconds=plan.delay_seconds, error=error)

    def on_give_up(self, decision: GiveUp) -> None:
        self._put_into_context(decision.error)
        self._plan = None
        _log.error("%r %s: %s", self.name, "is halted" if decision.halt else "is closed", describe(decision.error))
        if not decision.halt:
            self._finish(decision.error)
            self.tell(GaveUp, error=decision.error)
            return
        self.state = State.HALTED
        self._suspend_watch.stop()
        self.inbox.interrupt(decision.error)
        self._opened.set()  # whoever waits looks at the state
        self._opened.clear()
        self.tell(Halted, error=decision.error)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _recover(self, driver: Driver, end: End) -> None:
        """The connection is gone, the client is not: blind from the last message on, until the next."""
        self.state = State.RECONNECTING
        cause = type(end.error).__name__ if end.error else f"closed with {end.code}"
        self.ledger.begin("", self._last_good_ns(end.error), cause, epoch=self.epoch)
        self.inbox.sight, self.inbox.divert = self._see, None
        by_hand, self._by_hand = self._by_hand, False
        if by_hand:
            driver.again()
        else:
            driver.lost(end)

    def _see(self, message: Message) -> Gap:
        """The first message after blindness: it carries the gap, and the event is said before it is delivered."""
        gap = self.ledger.end("", message.received_ns)
        self.tell(GapEvent, gap=gap)
        return gap

    def _last_good_ns(self, error: WsxError | None) -> int:
        """Until when nothing was missed: a PONG says so too, unless the peer is one that does nothing else."""
        counters, now_ns = self.telemetry.snapshot(), self._clock.now_ns()
        if isinstance(error, DataTimeout):
            return counters["last_message_ns"] or now_ns - round(error.data_timeout * 1e9)
        return counters["last_received_ns"] or now_ns

    def _reading_error(self, end: End) -> WsxError | None:
        """What a reader meets after the last message; None: iteration just ends."""
        if end.error is not None or end.code in _QUIET_CODES or self._ending:
            return end.error
        return ConnectionClosed(end.code, end.reason, context=self._context("reading from"))

    def _finish(self, error: BaseException | None) -> None:
        self.state = State.CLOSED
        self._suspend_watch.stop()
        self.inbox.end(error)
        self._drops.end()
        self.telemetry.end()
        self._opened.set()
        if not self.closed.done():
            self.closed.set_result(None)

    def _on_suspended(self, suspended_ns: int) -> None:
        """The machine slept: whatever the socket says, the peer has long gone on."""
        self.tell(Suspended, suspended_ns=suspended_ns)
        if self._driver is None:
            return
        if self.connection is not None:
            self.connection.abort(ConnectionLost(f"the machine slept for {suspended_ns / 1e9:.1f} s"))
        elif self.state is State.RECONNECTING:
            self._driver.again()  # the rest of the delay would have been slept through

    @property
    def _attempt(self) -> int:
        return self._plan.attempt if self._plan else 1

    def _context(self, doing: str, endpoint: str = "", evidence: tuple[str, ...] = ()) -> ErrorContext:
        """What an error should know of this moment. endpoint: by default that of the newest connection."""
        attempt = self._attempt if self._plan or doing == "opening" else None
        in_flight = len(self.outbox) + len(self.requests) or None
        events = self._announcer.last_events()
        return ErrorContext(doing, endpoint or self._endpoint_shown, attempt, self.epoch, in_flight, evidence, events)

    def _put_into_context(self, error: BaseException | None, evidence: tuple[str, ...] = ()) -> None:
        if isinstance(error, WsxError) and error.context is None:
            error.context = self._context("connected to", evidence=evidence)

    def _refuse(self) -> Never:
        raise self.refusal()

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Say what happens, to `on_event` and to whoever listens by name."""
        self._announcer.tell(kind, self.name, self.epoch, **fields)

    def _emit(self, name: str, **fields: Any) -> None:
        self._announcer.emit(name, self.name, **fields)
