"""What a user holds: a client, from `connect` until it is closed.

The per-message half is compiled (_lane.pyx); what outlives connections is a `Session`. Here are the verbs.
Not here: opening and recovery (session.py), one connection's life (connection.py), which error means what (errors.py).
"""

import asyncio
import inspect
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Any, Never, TypeAlias

from wsx._assembler import may_be_sent
from wsx._lane import Lane
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx.config import Config, make_config
from wsx.connection import Connection
from wsx.driver import REAL, Surroundings
from wsx.endpoint import Endpoint, parse_url
from wsx.errors import Backpressure
from wsx.health import Health
from wsx.ledger import Ledger
from wsx.outbox import Charge
from wsx.rate_limiter import RateLimiter
from wsx.session import OnEvent, OnMessage, Session, State
from wsx.transport.base import Dial
from wsx.transport.picows import dial as dial_picows

_Url: TypeAlias = str | Callable[[], str]


class Client(Lane):
    """A WebSocket client. Made by `connect`; belongs to one loop and one thread."""

    def __init__(self, session_of: Callable[[Callable[[Any], None]], Session]) -> None:
        self._session = session_of(self._open_lane)
        config = self._session.config
        self._attach(self._session.inbox, config.rate_limit, self._session.telemetry, config.write_limit)

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """Its settings."""
        return self._session.config

    @property
    def name(self) -> str:
        """`Config.name`, or the host."""
        return self._session.name

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._session.state

    @property
    def epoch(self) -> int:
        """Number of the newest connection, from 1."""
        return self._session.epoch

    @property
    def subprotocol(self) -> str | None:
        """What the server chose, or None."""
        return self._session.subprotocol

    @property
    def close_code(self) -> int | None:
        """How the last connection ended (RFC 6455 7.1.5): 1005 without a code, 1006 without a CLOSE; None while open."""
        return self._session.end.code if self._session.end else None

    @property
    def close_reason(self) -> str | None:
        """The peer's words at that end; None while open."""
        return self._session.end.reason if self._session.end else None

    @property
    def error(self) -> BaseException | None:
        """What has ended it, as a reader meets it; None while it lives, and after an end in good order."""
        return self._session.inbox.error

    @property
    def telemetry(self) -> Telemetry:
        """The counters, over all connections."""
        return self._session.telemetry

    def health(self) -> Health:
        """How it is now: a score with its reasons, and `.ready` for a load balancer's probe."""
        self._check_caller()
        return self._session.health()

    @property
    def ledger(self) -> Ledger:
        """When it was blind: `client.ledger.was_blind(at_ns)`."""
        return self._session.ledger

    # ---- what a user asks -------------------------------------------------------------------------------------------

    async def send(
        self, data: Any, *, text: bool | None = None, cost: int = 1, method: str = "", timeout: float | None = None
    ) -> None:
        """Send a message, waiting for rate-limit tokens and for room in the write buffer.

        data: str is sent as text, bytes-like as binary; `text=True` sends bytes as text. cost: tokens; where the rate
        limit is a profile, `method` says what to take. timeout: seconds that it may wait.
        Returns when the bytes are with the kernel or in the bounded write buffer. Raises NotConnected while not open,
        ConnectionClosed afterwards, SendTimeout after `timeout`; also, at once, NotConnected where the connection ends
        while the message waits: it is never sent over another. In all these cases nothing was sent.
        """
        await self._send(data, text, [(cost, method, None)], timeout)

    async def recv(self) -> Message:
        """The next message. Raises ConnectionClosed at the end, or the error that ended the client."""
        self._check_reader()
        try:
            return await anext(aiter(self))
        except StopAsyncIteration:
            raise self._session.closed_error() from None

    async def subscribe(self, message: Any, *, text: bool | None = None) -> None:
        """Send `message` now, and again after every reconnect, in the order of the first time.

        message: str or bytes, which do not change. Raises TypeError for others, else as `send`.
        """
        hash(message)  # what is kept must not change: a bytearray is refused before anything is sent
        await self.send(message, text=text)
        self._session.subscriptions[message] = text

    async def unsubscribe(self, message: Any, *, subscription: Any = None, text: bool | None = None) -> None:
        """Send `message` now, and the subscription no more. subscription: as given to `subscribe`; None: `message`.

        Raises KeyError where there is no such subscription, else as `send`.
        """
        self._check_caller()
        subscribed = message if subscription is None else subscription
        if subscribed not in self._session.subscriptions:
            raise KeyError(f"not subscribed on {self.name!r}: {subscribed!r}")
        del self._session.subscriptions[subscribed]
        await self.send(message, text=text)

    async def wait_open(self) -> None:
        """Wait until messages can be sent. Raises ConnectionClosed where they never can, NotConnected when halted."""
        self._check_caller()
        await self._session.wait_open()

    def reconnect(self) -> None:
        """Take another connection now: close the open one, or stop waiting for the next attempt."""
        self._check_caller()
        self._session.restart()

    def resume(self) -> None:
        """Try again after HALTED: a person has looked at the cause. Otherwise nothing happens."""
        self._check_caller()
        if self.state is State.HALTED:
            self._session.restart()

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

        What has arrived can still be read; what arrives later is dropped. Raises TypeError and ValueError for a code or
        reason that may not be sent (RFC 6455 5.5.1, 7.4).
        """
        _check_close(code, reason)
        self._check_caller()
        await self._session.close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the client is closed and its socket is gone."""
        self._check_caller()
        await asyncio.shield(self._session.closed)

    def call_when_closed(self, callback: Callable[[], object]) -> None:
        """Have `callback()` called on the client's loop once it is closed: at once where it is already."""
        self._check_caller()
        self._session.closed.add_done_callback(lambda _: callback())

    def call_threadsafe(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run `function(*args)` on the client's loop, from any thread; what it returns, awaited if need be.

        Raises RuntimeError where that loop is closed.
        """
        call = _call(function, args)
        try:
            return asyncio.run_coroutine_threadsafe(call, self._session.closed.get_loop())
        except RuntimeError:
            call.close()
            raise

    def __repr__(self) -> str:
        return f"<Client {self.name!r} {self.state}>"

    def __del__(self) -> None:
        if "_session" in self.__dict__ and self.state is not State.CLOSED:
            warnings.warn(f"{self!r} was never closed; await client.close()", ResourceWarning, source=self)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _require_open(self) -> Connection:
        self._check_caller()
        if self._session.connection is None or self._session.connection.closing:
            self._refuse()
        return self._session.connection

    def _refuse(self) -> Never:
        """Say why nothing can be sent (`Lane` calls this too)."""
        raise self._session.refusal()

    async def _send(self, data: Any, text: bool | None, charges: list[Charge], timeout: float | None) -> None:
        """Send a message that costs all of `charges` of the rate limit: one for each member of a batch."""
        self._require_open()
        self._check_message(data, text)  # before a token is taken
        unpaid = [charge for charge in charges if not self._session.outbox.try_pay(*charge)]
        if unpaid or not self._try_write(data, text):
            async with self._session.outbox.patience(timeout, charges[0][1]):
                await self._write_later(data, text, unpaid)

    def _try_write(self, data: Any, text: bool | None) -> bool:
        """Write a message whose tokens are paid, unless there is no room for it."""
        try:
            self._write_paid(data, text)
        except Backpressure:
            return False
        return True

    async def _write_later(self, data: Any, text: bool | None, unpaid: list[Charge]) -> None:
        outbox = self._session.outbox
        for charge in unpaid:
            await outbox.pay(*charge)
        while not self._try_write(data, text):
            await outbox.wait_room()

    def _check_reader(self) -> None:
        if self._session.inbox.has_callback:
            raise RuntimeError("this client hands its messages to on_message; connect without it to read them")


def connect(
    url: _Url,
    *,
    on_message: OnMessage | None = None,
    on_event: OnEvent | None = None,
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
        self,
        dial: Dial,
        url: _Url,
        on_message: OnMessage | None,
        on_event: OnEvent | None,
        config: Config,
        surroundings: Surroundings = REAL,
    ) -> None:
        for name, callback in (("on_message", on_message), ("on_event", on_event)):
            _check_callback(name, callback)
        if isinstance(config.rate_limit, str):
            config = replace(config, rate_limit=RateLimiter(config.rate_limit, clock=surroundings.clock))
        self._url = url if callable(url) else _checked(url, config)
        self._dial, self._config, self._surroundings = dial, config, surroundings
        self._callbacks = on_message, on_event
        self._client: Client | None = None

    async def _connect(self) -> Client:
        arguments = self._config, self._url, self._dial, self._callbacks
        client = Client(lambda use: Session(*arguments, use, self._surroundings))
        await client._session.open_first()
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
    if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__):
        raise TypeError(f"{name} is called inline and must not be a coroutine function; start a task from it, or read")


def _check_close(code: int, reason: str) -> None:
    for name, value, kind in (("code", code, int), ("reason", reason, str)):
        if not isinstance(value, kind):
            raise TypeError(f"a close {name} must be of type {kind.__name__}, not {type(value).__name__}")
    if code.bit_length() > 16 or not may_be_sent(code):
        shown = code if code.bit_length() < 64 else "of more than 63 bits"
        raise ValueError(f"close code {shown} may not be sent; use 1000, or 3000 to 4999 (RFC 6455 7.4)")
    try:
        size = len(reason.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"a close reason must be UTF-8 (RFC 6455 5.5.1): {error}") from None
    if size > 123:
        raise ValueError(f"a close reason has at most 123 bytes of UTF-8, got {size} (RFC 6455 5.5)")


async def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result
