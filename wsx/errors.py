"""Every error that wsx raises, and the words for sorting them.

    WsxError                      category        recovery       also a
    ├── ConnectionFailed          connection      reconnect      ConnectionError
    │   ├── HandshakeRejected     connection      reconnect      (401, 403: authentication, halt)
    │   └── InvalidHandshake      protocol        notify         ProtocolError
    ├── ConnectionLost            connection      reconnect      ConnectionError
    │   ├── DataTimeout           connection      reconnect      TimeoutError
    │   ├── HeartbeatTimeout      connection      reconnect      TimeoutError
    │   ├── RestoreFailed         connection      reconnect
    │   └── SlowConsumer          connection      reconnect
    ├── ReconnectExhausted        connection      pass_through   ConnectionError
    ├── ProtocolError             protocol        notify
    │   ├── InvalidHandshake      protocol        notify         ConnectionFailed
    │   ├── InvalidUtf8           protocol        notify         close code 1007
    │   └── MessageTooBig         protocol        notify         close code 1009
    ├── AuthenticationFailed      authentication  halt
    ├── RpcError                  application     pass_through
    ├── OutcomeUnknown            application     pass_through
    │   └── AnswerTimeout         application     pass_through   TimeoutError
    ├── SubscriptionRefused       application     pass_through
    ├── TooManyPending            application     pass_through
    ├── NotConnected              application     pass_through   ConnectionError
    ├── ConnectionClosed          application     pass_through   ConnectionError
    ├── RestartsExceeded          application     pass_through
    ├── RateLimited               application     pass_through
    │   └── RateLimitTimeout      application     pass_through   TimeoutError
    ├── SendTimeout               application     pass_through   TimeoutError
    ├── Backpressure              application     pass_through
    └── WrongThread               application     pass_through   RuntimeError

`ProtocolError` is the peer's mistake. A wrong argument is the caller's: a plain `TypeError` or `ValueError`.
An error that ends a request says its `outcome`: what became of it.
A text says what happened, what wsx did, what can be done. It never holds a header's value, a URL's user info or
query, or a payload. Errors can be copied and pickled; as with any exception, `__cause__` and the traceback stay behind.
Not here: which error follows from which exception, close code or status (error_handler.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

__all__ = [
    "AnswerTimeout",
    "AuthenticationFailed",
    "Backpressure",
    "Category",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "DataTimeout",
    "ErrorContext",
    "Failure",
    "HandshakeRejected",
    "HeartbeatTimeout",
    "InvalidHandshake",
    "InvalidUtf8",
    "MessageTooBig",
    "NotConnected",
    "Outcome",
    "OutcomeUnknown",
    "Pace",
    "ProtocolError",
    "RateLimitTimeout",
    "RateLimited",
    "ReconnectExhausted",
    "Recovery",
    "RestartsExceeded",
    "RestoreFailed",
    "RpcError",
    "SendTimeout",
    "SlowConsumer",
    "Stage",
    "SubscriptionRefused",
    "TooManyPending",
    "Verdict",
    "WrongThread",
    "WsxError",
]


_SHOWN = 8  # names that a text lists

# ---- words ----------------------------------------------------------------------------------------------------------


class Category(StrEnum):
    """Where an error comes from."""

    CONNECTION = "connection"
    PROTOCOL = "protocol"
    AUTHENTICATION = "authentication"
    APPLICATION = "application"


class Recovery(StrEnum):
    """What wsx does about an error."""

    RECONNECT = "reconnect"
    NOTIFY = "notify"
    HALT = "halt"
    PASS_THROUGH = "pass_through"


class Outcome(StrEnum):
    """What became of a request; each has exactly one.

    ok: its answer came. rejected: the other side said no. not_sent: no byte of it left this process, it is safe to send
    again. unknown: bytes may have left, and no answer came.
    """

    OK = "ok"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Pace(StrEnum):
    """How soon the next attempt may follow: at once where a connection had been established and after a jittered
    delay otherwise; after a jittered delay in any case; or at the longest backoff."""

    IMMEDIATE = "immediate"
    JITTERED = "jittered"
    LONGEST = "longest"


class Stage(StrEnum):
    """How far an opening came."""

    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What wsx makes of an error. retry_after: seconds that the server asked to wait; None where it did not ask."""

    category: Category
    recovery: Recovery
    retry_after: float | None = None
    pace: Pace = Pace.IMMEDIATE


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """What was being done when an error arose.

    doing: a present participle with its object, such as "opening". endpoint: a URL; its user info, query and
    fragment are dropped here, since they may hold credentials. attempt and epoch: counted from 1; None where unknown.
    in_flight: requests and sends without an outcome. evidence: what was measured, a phrase each. last_events: those
    before it, a phrase each, the oldest first. The last two stay out of the text: `wsx.explain` shows them.
    """

    doing: str
    endpoint: str = ""
    attempt: int | None = None
    epoch: int | None = None
    in_flight: int | None = None
    evidence: tuple[str, ...] = ()
    last_events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoint", _without_credentials(self.endpoint))

    def __str__(self) -> str:
        words = " ".join(filter(None, (self.doing, self.endpoint)))
        counted = (("attempt", self.attempt), ("epoch", self.epoch), ("in flight", self.in_flight))
        return ", ".join([words, *(f"{name} {count}" for name, count in counted if count is not None)])


@dataclass(frozen=True, slots=True)
class Failure:
    """One line in the history of attempts.

    attempt: 0 for the loss of a stable connection, from 1 for the attempts after it. at_ns: monotonic. error: its text.
    """

    attempt: int
    at_ns: int
    error: str


# ---- the root -------------------------------------------------------------------------------------------------------


class WsxError(Exception):
    """The root of the tree. `category` and `recovery` say how wsx treats it, `context` where it arose.

    `outcome`: what became of the request or send that raised it; None for an error that is about neither.

    `context` may be set after the raise by the layer that knows the attempt and the epoch; the text follows.
    """

    category: Category = Category.APPLICATION
    recovery: Recovery = Recovery.PASS_THROUGH
    outcome: Outcome | None = None

    def __init__(self, text: str, *, context: ErrorContext | None = None) -> None:
        super().__init__(text)
        self.context = context

    def __str__(self) -> str:
        text = str(self.args[0])
        return text if self.context is None else f"{text} [{self.context}]"

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args` alone; most classes here need more than their text.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[WsxError], args: tuple[Any, ...], attributes: dict[str, Any]) -> WsxError:
    error: WsxError = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


# ---- connection -----------------------------------------------------------------------------------------------------

_ADVICE = {
    Stage.DNS: "check the host name and this machine's resolver",
    Stage.TCP: "check that the server is up, the port, and any firewall between",
    Stage.PROXY: "check the proxy's address and credentials",
    Stage.TLS: "check the certificate, server_hostname and this machine's clock",
    Stage.UPGRADE: "check that the URL names a WebSocket endpoint",
}


class ConnectionFailed(WsxError, ConnectionError):
    """A connection could not be opened. `stage` (a `Stage`, equal to its string) says how far it came."""

    category = Category.CONNECTION
    recovery = Recovery.RECONNECT

    def __init__(self, stage: Stage | str, what: str, *, context: ErrorContext | None = None) -> None:
        self.stage = Stage(stage)
        text = f"could not connect, failed at {self.stage}: {what}; nothing is left open; {_ADVICE[self.stage]}"
        WsxError.__init__(self, text, context=context)


class HandshakeRejected(ConnectionFailed):
    """The server answered the upgrade request with something else than 101.

    status: the HTTP status. headers: its header fields as pairs, in order. body: its first bytes (at most 4096).
    retry_after: seconds from Retry-After (RFC 9110 10.2.3), None without a valid one. A date in it is measured against
    the response's own Date, or against `now` (seconds since 1970, UTC) where that is missing.
    """

    def __init__(
        self,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        now: float | None = None,
        context: ErrorContext | None = None,
    ) -> None:
        self.stage = Stage.UPGRADE
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.retry_after = _retry_after(self.headers, now)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self.category, self.recovery = Category.AUTHENTICATION, Recovery.HALT
        WsxError.__init__(self, _rejection_text(status, self.retry_after), context=context)


class ConnectionLost(WsxError, ConnectionError):
    """An open connection ended without a closing handshake (close code 1006)."""

    category = Category.CONNECTION
    recovery = Recovery.RECONNECT

    def __init__(self, what: str, *, context: ErrorContext | None = None) -> None:
        text = f"connection lost: {what}; the socket was closed; what was sent last may not have arrived"
        super().__init__(text, context=context)


class HeartbeatTimeout(ConnectionLost, TimeoutError):
    """No matching PONG came within `ping_timeout` seconds."""

    def __init__(self, ping_timeout: float, *, context: ErrorContext | None = None) -> None:
        self.ping_timeout = ping_timeout
        super().__init__(f"no matching PONG within ping_timeout={ping_timeout:g} s", context=context)


class DataTimeout(ConnectionLost, TimeoutError):
    """No message came for `data_timeout` seconds, whatever the heartbeat says."""

    def __init__(self, data_timeout: float, *, context: ErrorContext | None = None) -> None:
        self.data_timeout = data_timeout
        super().__init__(
            f"no message within data_timeout={data_timeout:g} s, though the peer is there", context=context
        )


class RestoreFailed(ConnectionLost):
    """A new connection was open, but what prepares it did not succeed: `__cause__` says why."""

    def __init__(self, what: str, *, context: ErrorContext | None = None) -> None:
        super().__init__(f"it could not be restored: {what}", context=context)


class SlowConsumer(ConnectionLost):
    """The application did not read its messages, and wsx ended the connection (never silence: promise 5).

    inbox_messages, inbox_bytes: what was waiting. paused_seconds: for how long reading had been paused.
    """

    def __init__(
        self, inbox_messages: int, inbox_bytes: int, paused_seconds: float, *, context: ErrorContext | None = None
    ) -> None:
        self.inbox_messages = inbox_messages
        self.inbox_bytes = inbox_bytes
        self.paused_seconds = paused_seconds
        text = (
            f"slow consumer: {inbox_messages} messages ({inbox_bytes} bytes) waited in the inbox, reading paused for"
            f" {paused_seconds:g} s; the connection was closed; read faster, use on_message, or raise inbox_messages,"
            " inbox_bytes or max_pause"
        )
        WsxError.__init__(self, text, context=context)


class ReconnectExhausted(WsxError, ConnectionError):
    """wsx has given up: the configured attempts are used up, or the peer broke the protocol too often.

    why: which limit it was. history: the newest failures, the oldest of them first. The client is closed.
    """

    category = Category.CONNECTION

    def __init__(self, why: str, history: Iterable[Failure] = (), *, context: ErrorContext | None = None) -> None:
        self.why = why
        self.history = tuple(history)
        last = f"; the last failure: {self.history[-1].error}" if self.history else ""
        text = f"gave up: {why}{last}; the client is closed; see this error's history, then connect anew"
        super().__init__(text, context=context)


# ---- protocol -------------------------------------------------------------------------------------------------------


class ProtocolError(WsxError):
    """The peer broke the protocol. close_code: what wsx fails the connection with (RFC 6455 7.4.1)."""

    category = Category.PROTOCOL
    recovery = Recovery.NOTIFY

    def __init__(self, close_code: int, what: str, *, context: ErrorContext | None = None) -> None:
        self.close_code = close_code
        super().__init__(f"{what}; closed with {close_code}", context=context)


class InvalidHandshake(ConnectionFailed, ProtocolError):
    """The answer to the upgrade request breaks HTTP/1.1 or RFC 6455 4.1."""

    category = Category.PROTOCOL
    recovery = Recovery.NOTIFY

    def __init__(self, what: str, *, context: ErrorContext | None = None) -> None:
        self.close_code = 1002
        ConnectionFailed.__init__(self, Stage.UPGRADE, what, context=context)


class InvalidUtf8(ProtocolError):
    """A text message or a CLOSE reason is not valid UTF-8 (RFC 6455 8.1)."""

    def __init__(self, what: str = "text is not valid UTF-8", *, context: ErrorContext | None = None) -> None:
        super().__init__(1007, what, context=context)


class MessageTooBig(ProtocolError):
    """A message exceeds a limit. size: what is known of it. limit: the limit. limit_name: the field of `Config`."""

    def __init__(
        self, size: int, limit: int, limit_name: str = "max_message_size", *, context: ErrorContext | None = None
    ) -> None:
        self.size = size
        self.limit = limit
        self.limit_name = limit_name
        unit = "fragments" if limit_name == "max_fragments" else "bytes"
        super().__init__(1009, f"message of at least {size} {unit} exceeds {limit_name}={limit}", context=context)


# ---- authentication -------------------------------------------------------------------------------------------------


class AuthenticationFailed(WsxError):
    """The server refused the credentials: wsx does not try again until a person looks at it."""

    category = Category.AUTHENTICATION
    recovery = Recovery.HALT

    def __init__(self, what: str, *, context: ErrorContext | None = None) -> None:
        super().__init__(f"authentication failed: {what}; not tried again; check the credentials", context=context)


# ---- application ----------------------------------------------------------------------------------------------------


class RpcError(WsxError):
    """The other side answered a request with an error (JSON-RPC 2.0, 5.1). `data` stays out of the text."""

    outcome = Outcome.REJECTED

    def __init__(
        self,
        code: int,
        message: str,
        data: Any = None,
        *,
        method: str = "",
        request_id: int | str | None = None,
        context: ErrorContext | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.data = data
        self.method = method
        self.request_id = request_id
        where = f" on {method}" if method else ""
        which = "" if request_id is None else f" (id {request_id})"
        super().__init__(f"{code} {_printable(message)}{where}{which}", context=context)


class OutcomeUnknown(WsxError):
    """No answer to a request came, and none will be waited for any more. why: what ended the waiting."""

    outcome = Outcome.UNKNOWN

    def __init__(
        self, method: str, request_id: int | str | None, why: str, *, context: ErrorContext | None = None
    ) -> None:
        self.method = method
        self.request_id = request_id
        text = (
            f"no answer to {_printable(method)} (id {request_id}): {why}; it may have been carried out; look up what"
            " became of it before sending it again"
        )
        super().__init__(text, context=context)


class AnswerTimeout(OutcomeUnknown, TimeoutError):
    """No answer came before the request's deadline."""

    def __init__(self, method: str, request_id: int | str | None, *, context: ErrorContext | None = None) -> None:
        super().__init__(method, request_id, "its deadline passed", context=context)


class SubscriptionRefused(WsxError):
    """The exchange did not take these channels; the others of the same call are subscribed. channels: their names."""

    def __init__(self, channels: Iterable[str], *, context: ErrorContext | None = None) -> None:
        self.channels = tuple(channels)
        shown = ", ".join(map(_printable, self.channels[:_SHOWN]))
        more = f" and {len(self.channels) - _SHOWN} more" if len(self.channels) > _SHOWN else ""
        text = f"the exchange refused {shown}{more}; the others are subscribed; check their names and the login's scope"
        super().__init__(text, context=context)


class TooManyPending(WsxError):
    """As many requests wait for their answers as may. limit: that number. Nothing was sent."""

    outcome = Outcome.NOT_SENT

    def __init__(self, limit: int, *, context: ErrorContext | None = None) -> None:
        self.limit = limit
        text = f"{limit} requests wait for their answers, as many as may (most_pending); nothing was sent; await some"
        super().__init__(text, context=context)


class NotConnected(WsxError, ConnectionError):
    """Nothing can be sent now: no byte of it has left this process."""

    outcome = Outcome.NOT_SENT


class ConnectionClosed(WsxError, ConnectionError):
    """The connection was closed, with the close code and reason that ended it (RFC 6455 7.1.5, 7.1.6)."""

    outcome = Outcome.NOT_SENT  # of what was to be sent after that

    def __init__(self, code: int, reason: str = "", *, context: ErrorContext | None = None) -> None:
        self.code = code
        self.reason = reason
        why = f" ({_printable(reason)})" if reason else ""
        super().__init__(f"connection closed with {code}{why}; nothing more can be sent or received", context=context)


class RestartsExceeded(WsxError):
    """What a supervisor watches ended too often: it has stopped all its children.

    supervisor: its name. why: which limit it was. history: the newest ends of children, the oldest of them first.
    """

    def __init__(
        self, supervisor: str, why: str, history: Iterable[Failure] = (), *, context: ErrorContext | None = None
    ) -> None:
        self.supervisor, self.why = supervisor, why
        self.history = tuple(history)
        last = f"; the last to end: {self.history[-1].error}" if self.history else ""
        text = f"{supervisor!r} gave up: {why}{last}; all its children are stopped; see this error's history"
        super().__init__(text, context=context)


class RateLimited(WsxError):
    """The token bucket is empty. retry_after: seconds until the tokens are there. Nothing was sent."""

    outcome = Outcome.NOT_SENT

    def __init__(self, retry_after: float, *, context: ErrorContext | None = None) -> None:
        self.retry_after = retry_after
        text = f"rate limit reached; nothing was sent; try again in {retry_after:g} s, or await client.send()"
        super().__init__(text, context=context)


class RateLimitTimeout(RateLimited, TimeoutError):
    """A request waited for tokens until its deadline. timeout: seconds that was. Nothing was taken, nothing was sent."""

    def __init__(self, method: str, timeout: float, retry_after: float, *, context: ErrorContext | None = None) -> None:
        self.method = method
        self.timeout = timeout
        self.retry_after = retry_after
        text = (
            f"no tokens for {_printable(method)} within its deadline of {timeout:g} s; nothing was sent; they would be"
            f" there in {retry_after:g} s"
        )
        WsxError.__init__(self, text, context=context)


class SendTimeout(WsxError, TimeoutError):
    """A message waited for tokens or room until its deadline. timeout: seconds that was, 0 for a deadline that had passed
    before. Nothing was sent."""

    outcome = Outcome.NOT_SENT

    def __init__(self, timeout: float, method: str = "", *, context: ErrorContext | None = None) -> None:
        self.timeout = timeout
        self.method = method
        what = _printable(method) or "the message"
        late = f"the deadline of {what} had passed already; nothing was sent; give it a later one"
        full = f"{what} could not leave within its deadline of {timeout:g} s; nothing was sent; look at client.health()"
        text = f"{full} for what is full, or give it longer" if timeout else late
        super().__init__(text, context=context)


class Backpressure(WsxError):
    """The write buffer is full. buffered: bytes waiting in it. Nothing of this message was sent."""

    outcome = Outcome.NOT_SENT

    def __init__(self, buffered: int, *, context: ErrorContext | None = None) -> None:
        self.buffered = buffered
        text = f"{buffered} bytes wait in the write buffer; nothing was sent; await client.send() or raise write_limit"
        super().__init__(text, context=context)


class WrongThread(WsxError, RuntimeError):
    """A client belongs to one thread, and `called` was called from another. Nothing was done."""

    outcome = Outcome.NOT_SENT

    def __init__(self, called: str, *, context: ErrorContext | None = None) -> None:
        self.called = called
        text = (
            f"{called} was called from another thread than the client's; nothing was done;"
            " use client.call_threadsafe(function, *args)"
        )
        super().__init__(text, context=context)


# ---- text -----------------------------------------------------------------------------------------------------------


def _without_credentials(url: str) -> str:
    """`url` without user info, query and fragment. Takes any text, also what is not a URL."""
    start = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, mark, rest = start.partition("://")
    authority, slash, path = (rest if mark else start).partition("/")
    return f"{scheme if mark else ''}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _printable(text: str, limit: int = 200) -> str:
    """The peer's words, without control characters and not endless."""
    short = text if len(text) <= limit else text[:limit] + "..."
    return short if short.isprintable() else ascii(short)


def _rejection_text(status: int, retry_after: float | None) -> str:
    known = next((f" {known.phrase}" for known in HTTPStatus if known == status), "")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        advice = "not tried again; check the credentials"
    elif 300 <= status < 400:
        advice = "redirects are not followed; use the final URL"
    elif retry_after is not None:
        advice = f"the server asks to wait {retry_after:g} s"
    else:
        advice = "nothing is left open; see this error's headers and body"
    return f"server rejected the upgrade with HTTP {status}{known}; {advice}"


# ---- Retry-After ----------------------------------------------------------------------------------------------------


def _retry_after(headers: list[tuple[str, str]], now: float | None) -> float | None:
    """Seconds to wait (RFC 9110 10.2.3), never negative; None where the header is missing or makes no sense."""
    values = {name.lower(): value.strip() for name, value in reversed(headers)}
    text = values.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    until, served = _http_date(text), _http_date(values.get("date", ""))
    # The server's own Date first: the difference then does not depend on this machine's clock.
    since = now if served is None else served
    return None if until is None or since is None else max(0.0, until - since)


def _http_date(text: str) -> float | None:
    """Seconds since 1970 for an HTTP date (RFC 9110 5.6.7), or None."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
