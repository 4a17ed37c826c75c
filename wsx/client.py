"""What a user holds: a client, from `connect` until it is closed.

The per-message half is compiled (_lane.pyx); here is what happens less than a thousand times a second: opening,
waiting, closing, and telling the user about it.
Not here: one connection's life (connection.py), which error means what (errors.py).
"""

import asyncio
import inspect
import logging
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Future
from enum import StrEnum
from types import TracebackType
from typing import Any, Never, TypeAlias

from wsx._assembler import may_be_sent
from wsx._inbox import Inbox
from wsx._lane import Lane
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx.config import Config, make_config
from wsx.connection import Connection, End, open_connection
from wsx.endpoint import Endpoint, parse_url
from wsx.errors import (
    Backpressure,
    ConnectionClosed,
    ErrorContext,
    NotConnected,
    SlowConsumer,
    WsxError,
)
from wsx.events import CallbackFailed, Closed, Event, LoopBlocked, Opened, ReadingPaused, ReadingResumed
from wsx.events import SlowConsumer as SlowConsumerEvent
from wsx.transport.base import Dial
from wsx.transport.picows import dial as dial_picows

_log = logging.getLogger("wsx")
_Url: TypeAlias = str | Callable[[], str]
_OnMessage: TypeAlias = Callable[[Message], object]
_OnEvent: TypeAlias = Callable[[Event], object]
_QUIET_CODES = (1000, 1001, 1005)  # a peer that leaves in good order: reading ends without an error
_POLICY_VIOLATION = 1008


class State(StrEnum):
    """Where a client stands."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Client(Lane):
    """A WebSocket client. Made by `connect`; belongs to one loop and one thread."""

    _state = State.CONNECTING
    _epoch = 0
    _connection: Connection | None = None
    _end: End | None = None
    _paused_ns: int | None = None
    _pause_timer: asyncio.TimerHandle | None = None
    _room: "asyncio.Future[None] | None" = None  # senders that wait for room in the write buffer

    def __init__(self, config: Config, on_message: _OnMessage | None, on_event: _OnEvent | None) -> None:
        self.config = config
        self.telemetry = Telemetry()
        self.name = config.name or "wsx"
        self.subprotocol: str | None = None
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        limits = {"max_messages": config.inbox_messages, "max_bytes": config.inbox_bytes}
        self._messages = Inbox(self, self.telemetry, callback=on_message, **limits)
        self._attach(self._messages, config.rate_limit, self.telemetry, config.write_limit)

    # ---- what a user asks -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def epoch(self) -> int:
        """Number of the connection, from 1."""
        return self._epoch

    @property
    def close_code(self) -> int | None:
        """How the connection ended (RFC 6455 7.1.5): 1005 without a code, 1006 without a CLOSE; None before that."""
        return self._end.code if self._end else None

    @property
    def close_reason(self) -> str | None:
        """The peer's words at the end; None before it."""
        return self._end.reason if self._end else None

    async def send(self, data: Any, *, text: bool | None = None, cost: int = 1) -> None:
        """Send a message, waiting for rate-limit tokens and for room in the write buffer.

        data: str is sent as text, bytes-like as binary; `text=True` sends bytes as text. cost: tokens.
        Returns when the bytes are with the kernel or in the bounded write buffer. Raises NotConnected while not open
        and ConnectionClosed afterwards, also where the connection ends while waiting: then nothing was sent.
        """
        connection = self._require_open()
        if not isinstance(data, str):
            memoryview(data)  # a wrong type is told before a token is taken
        if self.config.rate_limit is not None:
            await self.config.rate_limit.acquire(cost)
        while self._connection is connection:
            try:
                return self._write_paid(data, text)
            except Backpressure:
                await self._wait_room()
        self._refuse()

    async def recv(self) -> Message:
        """The next message. Raises ConnectionClosed at the end, or the error that ended the connection."""
        self._check_reader()
        try:
            return await anext(aiter(self))
        except StopAsyncIteration:
            raise self._closed_error() from None

    async def ping(self) -> float:
        """Round trip of a PING in seconds. Raises TimeoutError after `ping_timeout`, NotConnected if there is none."""
        connection = self._require_open()
        try:
            async with asyncio.timeout(self.config.ping_timeout):
                return await connection.heartbeat.ping()
        except TimeoutError:
            raise TimeoutError(f"no PONG within ping_timeout={self.config.ping_timeout:g} s on {self.name!r}") from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order, within `close_timeout` in total; idempotent.

        What has arrived can still be read; what arrives later is dropped. Raises ValueError for a code or reason that
        may not be sent (RFC 6455 5.5.1, 7.4).
        """
        _check_close(code, reason)
        self._check_caller()
        if self._state is State.OPEN and self._connection is not None:
            self._messages.end()
            self._connection.close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the socket is gone."""
        self._check_caller()
        await asyncio.shield(self._closed)

    def call_threadsafe(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run `function(*args)` on the client's loop, from any thread; what it returns, awaited if need be."""
        return asyncio.run_coroutine_threadsafe(_call(function, args), self._loop)

    def __repr__(self) -> str:
        return f"<Client {self.name!r} {self._state}>"

    def __del__(self) -> None:
        if getattr(self, "_state", State.CLOSED) is not State.CLOSED:
            warnings.warn(f"{self!r} was never closed; await client.close()", ResourceWarning, source=self)

    # ---- opening ----------------------------------------------------------------------------------------------------

    async def _open(self, dial: Dial, endpoint: Endpoint) -> None:
        headers = self.config.resolve_headers()
        self.config.check_endpoint(endpoint, headers)
        self.name = self.config.name or endpoint.host
        self._epoch += 1
        connection = Connection(self.config, self.telemetry, self, self._messages, self._epoch)
        try:
            await open_connection(connection, dial, endpoint, headers, self.config, self.telemetry)
        except BaseException as error:
            self._fail_opening(error, endpoint)
            raise
        self._use(connection)
        timings = connection.transport.times
        self._emit(Opened(at_ns=time.monotonic_ns(), epoch=self._epoch, endpoint=endpoint.display, timings=timings))
        self._loop.call_soon(self._start_delivery)

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._state = State.OPEN
        self.subprotocol = connection.transport.subprotocol
        self.telemetry.add("connections_opened")
        for stage in ("dns_ns", "tcp_ns", "tls_ns", "upgrade_ns"):
            self.telemetry.store(f"opening_{stage}", getattr(connection.transport.times, stage))
        self._open_lane(connection.transport.writer)
        connection.heartbeat.start()

    def _fail_opening(self, error: BaseException, endpoint: Endpoint) -> None:
        self._state = State.CLOSED
        if isinstance(error, WsxError):
            error.context = ErrorContext("opening", endpoint.display, attempt=1, epoch=self._epoch)
            self.telemetry.add(f"errors_{error.category}")

    def _start_delivery(self) -> None:
        """After connect() has returned: let messages flow, also those that came with the 101."""
        self._messages.start()
        if self._connection is not None:
            self._connection.resume_reading()

    # ---- ConnectionOwner --------------------------------------------------------------------------------------------

    def on_closing(self) -> None:
        self._state = State.CLOSING
        self._open_lane(None)
        self._wake_senders()

    def on_ended(self, end: End) -> None:
        self._state = State.CLOSED
        self._end = end
        self._stop_pause()
        error = end.error
        if error is not None:
            error.context = error.context or ErrorContext("connected", self.name, epoch=self._epoch)
            self.telemetry.add(f"errors_{error.category}")
        elif end.code not in _QUIET_CODES and not self._messages.ended:
            error = ConnectionClosed(end.code, end.reason)
        self._messages.end(error)
        self._closed.set_result(None)
        closed = Closed(at_ns=time.monotonic_ns(), epoch=self._epoch, code=end.code, reason=end.reason, error=end.error)
        self._emit(closed)

    def on_loop_blocked(self, lag_ns: int) -> None:
        self._emit(LoopBlocked(at_ns=time.monotonic_ns(), epoch=self._epoch, lag_ns=lag_ns))

    def on_writable(self) -> None:
        self._wake_senders()

    # ---- owner of the inbox -----------------------------------------------------------------------------------------

    def on_inbox_full(self) -> None:
        """The reader is slower than the line: stop reading for a while, or end it, as `inbox_policy` says."""
        if self._connection is None or self._connection.closing:
            return
        if self.config.inbox_policy == "disconnect":
            self._too_slow()
            return
        self._paused_ns = time.monotonic_ns()
        self.telemetry.add("inbox_pauses")
        self._connection.pause_reading()
        self._pause_timer = self._loop.call_later(self.config.max_pause, self._too_slow)
        waiting = {"inbox_messages": len(self._messages), "inbox_bytes": self._messages.waiting_bytes}
        self._emit(ReadingPaused(at_ns=self._paused_ns, epoch=self._epoch, **waiting))

    def on_inbox_drained(self) -> None:
        """There is room again."""
        if self._paused_ns is None or self._connection is None:
            return
        now_ns = time.monotonic_ns()
        paused_ns = now_ns - self._paused_ns
        self._stop_pause()
        self._emit(ReadingResumed(at_ns=now_ns, epoch=self._epoch, paused_ns=paused_ns))
        self._connection.resume_reading()

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        """The user's callback raised: said, counted, and the connection stays up."""
        self.telemetry.add("errors_application")
        _log.error("on_message of %r raised; the connection stays up", self.name, exc_info=error)
        opcode = message.opcode
        self._emit(CallbackFailed(at_ns=time.monotonic_ns(), epoch=self._epoch, error=error, message_opcode=opcode))

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _too_slow(self) -> None:
        now_ns = time.monotonic_ns()
        paused_ns = now_ns - self._paused_ns if self._paused_ns is not None else 0
        messages, size = len(self._messages), self._messages.waiting_bytes
        self._stop_pause()
        waiting = {"inbox_messages": messages, "inbox_bytes": size}
        self._emit(SlowConsumerEvent(at_ns=now_ns, epoch=self._epoch, paused_ns=paused_ns, **waiting))
        if self._connection is not None:
            self._connection.fail(SlowConsumer(messages, size, paused_ns / 1e9), _POLICY_VIOLATION)

    def _stop_pause(self) -> None:
        self._paused_ns = None
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

    def _require_open(self) -> Connection:
        self._check_caller()
        if self._state is not State.OPEN or self._connection is None:
            self._refuse()
        return self._connection

    def _refuse(self) -> Never:
        """Say why nothing can be sent (`Lane` calls this too)."""
        if self._state is State.CLOSED:
            raise self._closed_error()
        raise NotConnected(f"cannot send on {self.name!r}: {self._state.name}; nothing was sent")

    def _closed_error(self) -> ConnectionClosed:
        end = self._end or End(1006)
        closed = ConnectionClosed(end.code, end.reason)
        closed.__cause__ = end.error
        return closed

    def _check_reader(self) -> None:
        if self._messages.has_callback:
            raise RuntimeError("this client hands its messages to on_message; connect without it to read them")

    async def _wait_room(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()
        await asyncio.shield(self._room)

    def _wake_senders(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)

    def _emit(self, event: Event) -> None:
        """Tell the user; a handler that raises hurts nobody else."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            _log.exception("on_event of %r raised on %s", self.name, type(event).__name__)


def connect(
    url: _Url,
    *,
    on_message: _OnMessage | None = None,
    on_event: _OnEvent | None = None,
    config: Config | None = None,
    **overrides: Any,
) -> "Connecting":
    """Open a client: `client = await connect(url)`, or `async with connect(url) as client`.

    url: ws:// or wss://, or a callable that gives one. on_message: called inline with each message; without it
    messages wait to be read. on_event: called with what happens (wsx.events). overrides: fields of `Config`.
    Raises TypeError and ValueError here for wrong arguments; what the network does is raised at the await.
    """
    return Connecting(dial_picows, url, on_message, on_event, make_config(config, overrides))


class Connecting:
    """What `connect` returns: awaited once, or entered once. `dial`: the transport to open."""

    def __init__(
        self, dial: Dial, url: _Url, on_message: _OnMessage | None, on_event: _OnEvent | None, config: Config
    ) -> None:
        for name, callback in (("on_message", on_message), ("on_event", on_event)):
            _check_callback(name, callback)
        self._dial = dial
        self._url = url if callable(url) else _checked(url, config)
        self._arguments = config, on_message, on_event
        self._client: Client | None = None

    async def _connect(self) -> Client:
        endpoint = _checked(self._url(), self._arguments[0]) if callable(self._url) else self._url
        client = Client(*self._arguments)
        await client._open(self._dial, endpoint)
        return client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connect().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._connect()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.close()


def _checked(url: str, config: Config) -> Endpoint:
    endpoint = parse_url(url)
    if not callable(config.headers):
        config.check_endpoint(endpoint, config.resolve_headers())
    return endpoint


def _check_callback(name: str, callback: object) -> None:
    if callback is None:
        return
    if not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")
    if inspect.iscoroutinefunction(callback):
        raise TypeError(f"{name} is called inline and must not be a coroutine function; start a task from it, or read")


def _check_close(code: int, reason: str) -> None:
    if not isinstance(code, int) or not may_be_sent(code):
        raise ValueError(f"close code {code!r} may not be sent; use 1000, or 3000 to 4999 (RFC 6455 7.4)")
    if len(reason.encode()) > 123:
        raise ValueError(f"a close reason has at most 123 bytes of UTF-8, got {len(reason.encode())} (RFC 6455 5.5)")


async def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result
