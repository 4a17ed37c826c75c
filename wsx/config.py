"""What can be set about a connection: one frozen `Config`, checked on construction.

Durations are seconds, sizes are bytes. A wrong type is a `TypeError`, a wrong value a `ValueError`; both name the field.
Each field works: what a later version adds is unknown here.
Not here: the URL (endpoint.py), the rules for header fields (headers.py).
"""

import os
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import iscoroutinefunction
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from wsx.backoff import Backoff
from wsx.endpoint import Endpoint, parse_host, parse_url
from wsx.headers import CheckedHeaders, HeaderPairs, carries_credentials, checked_headers, is_token
from wsx.health import Thresholds

if TYPE_CHECKING:
    from wsx._message import Message
    from wsx._ratelimit import TokenBucket

__all__ = ["Config", "Endpoint", "SocketOptions", "make_config", "parse_url"]

_MIB = 1024 * 1024
_SHORTEST, _LONGEST = 0.001, 86_400.0  # seconds: above zero also in milliseconds; a day in nanoseconds fits anywhere
_LARGEST = 2**31 - 1  # bytes, messages, fragments: what a socket option and a C int can hold

_POLICIES = ("pause", "disconnect", "drop_oldest", "conflate")
_MAY_DROP = ("drop_oldest", "conflate")

Hook: TypeAlias = Callable[[Any], Awaitable[object]]  # given a Route


class ErrorJudge(Protocol):
    """What decides what an error means: error_handler.ErrorHandler."""

    def judge(self, error: BaseException, *, in_callback: bool = False) -> Any:
        """The verdict on an exception."""

    def judge_close(self, code: int, reason: str = "") -> Any:
        """The verdict on a close code."""


class MethodLimiter(Protocol):
    """What knows the cost of a method: rate_limiter.RateLimiter."""

    @property
    def utilisation(self) -> Mapping[str, float]:
        """Bucket -> the part of its burst that is used up."""

    def try_acquire(self, method: str, params: Any = None) -> bool:
        """Take what it costs now, or nothing."""

    async def acquire(self, method: str, params: Any = None, *, timeout: float | None = None) -> None:
        """Take what it costs, waiting for it."""

    def when(self, method: str, params: Any = None) -> float:
        """Seconds until it would pass."""


# ---- one check a kind of value: (field, value) -> the value to keep -------------------------------------------------

_Check: TypeAlias = Callable[[str, Any], Any]


def _wrong_type(name: str, allowed: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {allowed}, not {type(value).__name__}")


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(name, "True or False", value)
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(name, "a number of seconds", value)
    if not _SHORTEST <= value <= _LONGEST:  # also false for NaN
        raise ValueError(f"{name} must be from {_SHORTEST:g} to {_LONGEST:g} seconds, not {_short(value)}")
    return value


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "an int", value)
    if not 1 <= value <= _LARGEST:
        raise ValueError(f"{name} must be from 1 to {_LARGEST}, not {_short(value)}")
    return value


def _short(value: float) -> str:
    # Python refuses to write an int of more than 4300 digits.
    return repr(value) if isinstance(value, float) or abs(value) < 10**20 else "a number of more than 20 digits"


def _optional(check: _Check) -> _Check:
    return lambda name, value: None if value is None else check(name, value)


def _instance(kind: type) -> _Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise _wrong_type(name, f"of type {kind.__name__}", value)
        return value

    return check


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, "a str", value)
    if not value or not value.isprintable():
        raise ValueError(f"{name} must not be empty or hold control characters, not {value!r}")
    return value


def _hostname(name: str, value: Any) -> str:
    """What a certificate is checked against: a name or an address, an IPv6 address without brackets."""
    text = _text(name, value)
    try:
        return parse_host(f"[{text}]" if ":" in text else text)
    except ValueError:
        raise ValueError(f"{name} must be a host name or an address, not {value!r}") from None


def _headers(_name: str, value: Any) -> Any:
    return value if callable(value) else checked_headers(value)


def _subprotocols(name: str, value: Any) -> tuple[str, ...]:
    """RFC 6455 4.1: tokens, each once."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _wrong_type(name, "a list of str", value)
    offered = tuple(value)
    for item in offered:
        if not isinstance(item, str):
            raise _wrong_type(f"each of {name}", "a str", item)
        if not is_token(item):
            raise ValueError(f"each of {name} must be an HTTP token (letters, digits, '-', '.', ...), not {item!r}")
    if len(set(offered)) != len(offered):
        raise ValueError(f"{name} must differ from each other: {offered!r}")
    return offered


def _source_address(name: str, value: Any) -> tuple[str, int]:
    host, port = value if isinstance(value, tuple) and len(value) == 2 else (value, 0)
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
        raise _wrong_type(name, "a host or a tuple of host and port", value)
    if not 0 <= port <= 65535:
        raise ValueError(f"{name} must have a port from 0 (any) to 65535, not {_short(port)}")
    return _text(name, host), port


def _policy(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, _any_of(_POLICIES), value)
    if value not in _POLICIES:
        raise ValueError(f"{name} must be {_any_of(_POLICIES)}, not {value!r}")
    return value


def _any_of(values: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, values[:-1]))} or {values[-1]!r}"


def _key_function(name: str, value: Any) -> Any:
    if not callable(value) or iscoroutinefunction(value):
        raise _wrong_type(name, "a function that takes a Message and is no coroutine function", value)
    return value


def _reconnect(name: str, value: Any) -> bool | Backoff:
    if not isinstance(value, bool | Backoff):
        raise _wrong_type(name, "True, False or a Backoff", value)
    return value


def _hooks(name: str, value: Any) -> tuple[Hook, ...]:
    if not isinstance(value, Iterable):
        raise _wrong_type(name, "a list of coroutine functions", value)
    hooks = tuple(value)
    for hook in hooks:
        if not iscoroutinefunction(hook):
            raise _wrong_type(f"each of {name}", "a coroutine function that takes a Route", hook)
    return hooks


def _judge(name: str, value: Any) -> Any:
    if not callable(getattr(value, "judge", None)) or not callable(getattr(value, "judge_close", None)):
        raise _wrong_type(name, "a wsx.ErrorHandler", value)
    return value


def _rate_limit(name: str, value: Any) -> Any:
    if not isinstance(value, str) and not callable(getattr(value, "try_acquire", None)):
        raise _wrong_type(name, "a TokenBucket, a RateLimiter or a profile's name", value)
    return value


def _path(name: str, value: Any) -> str:
    if not isinstance(value, str | os.PathLike) or not isinstance(path := os.fspath(value), str):
        raise _wrong_type(name, "a str or a path", value)
    if not path or "\0" in path:
        raise ValueError(f"{name} must not be empty or hold a zero byte, not {path!r}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ValueError(f"{name} has a character that no path of this system can hold: {path!r}") from None
    return path


def _check_fields(settings: object, checks: Mapping[str, _Check]) -> None:
    for name, check in checks.items():
        object.__setattr__(settings, name, check(name, getattr(settings, name)))


# ---- the settings ---------------------------------------------------------------------------------------------------

_SOCKET_CHECKS: dict[str, _Check] = {
    "nodelay": _flag,
    "quickack": _flag,
    "keepalive": _flag,
    "user_timeout": _optional(_seconds),
    "receive_buffer": _optional(_count),
    "send_buffer": _optional(_count),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """What is set on the socket, each where the system has it; None leaves the system's own value.

    user_timeout: TCP_USER_TIMEOUT, seconds that written bytes may stay unacknowledged.
    receive_buffer, send_buffer: SO_RCVBUF and SO_SNDBUF, bytes.
    """

    nodelay: bool = True
    quickack: bool = True
    keepalive: bool = True
    user_timeout: float | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None

    def __post_init__(self) -> None:
        _check_fields(self, _SOCKET_CHECKS)


_CHECKS: dict[str, _Check] = {
    "headers": _headers,
    "subprotocols": _subprotocols,
    "ssl": _optional(_instance(SSLContext)),
    "server_hostname": _optional(_hostname),
    "source_address": _optional(_source_address),
    "socket_options": _instance(SocketOptions),
    "connect_timeout": _seconds,
    "close_timeout": _seconds,
    "ping_interval": _optional(_seconds),
    "ping_timeout": _seconds,
    "data_timeout": _optional(_seconds),
    "max_message_size": _count,
    "max_fragments": _count,
    "write_limit": _count,
    "inbox_messages": _count,
    "inbox_bytes": _count,
    "inbox_policy": _policy,
    "max_pause": _seconds,
    "conflate_key": _optional(_key_function),
    "max_age": _optional(_seconds),
    "health": _instance(Thresholds),
    "reconnect": _reconnect,
    "error_handler": _optional(_judge),
    "on_open": _hooks,
    "rate_limit": _optional(_rate_limit),
    "name": _optional(_text),
    "telemetry_path": _optional(_path),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set about a client.

    headers: added to the upgrade request, order and case kept; a callable is called on every attempt (signed
    handshakes) and its result checked then. ssl: None for verified TLS with the system's roots. source_address: kept
    as a tuple of host and port. connect_timeout: one deadline over DNS, TCP, TLS and upgrade. ping_interval: None
    turns the heartbeat off. data_timeout: a connection that brings no message for so long is given up, PONGs or not.
    inbox_policy: what becomes of a reader that falls behind. "pause" stops reading the socket while the inbox is full,
    for at most max_pause; "disconnect" does not wait; "drop_oldest" drops what has waited longest; "conflate" keeps the
    newest message of each `conflate_key(message)`, in the older one's place, and pauses where those of different keys,
    or of the key None, fill the inbox. max_age: under the last two, a message that has waited for longer is dropped
    when the reader comes to it. health: from where on something counts against the client.
    reconnect: True, False or a `Backoff`. error_handler: changes to the tables that say what an error means. on_open:
    coroutine functions that prepare each new connection, in this order, before user traffic flows; each is given a
    `Route`. rate_limit: a `TokenBucket`, a `RateLimiter` to share, or the name of a profile (rate_profile.py). name: the
    client's name in logs and errors. telemetry_path: a file of one client alone, which holds its
    counters for other processes to read (telemetry_file.py); kept as a str.
    """

    headers: HeaderPairs | Callable[[], HeaderPairs] = field(default=(), repr=False)
    subprotocols: Iterable[str] = ()
    ssl: SSLContext | None = None
    server_hostname: str | None = None
    source_address: tuple[str, int] | str | None = None
    socket_options: SocketOptions = SocketOptions()
    connect_timeout: float = 10
    close_timeout: float = 2
    ping_interval: float | None = 10
    ping_timeout: float = 5
    data_timeout: float | None = None
    max_message_size: int = 16 * _MIB
    max_fragments: int = 131_072  # Autobahn 9.3.1 sends 4 MiB in 65,537 frames
    write_limit: int = 1 * _MIB
    inbox_messages: int = 65536
    inbox_bytes: int = 16 * _MIB
    inbox_policy: Literal["pause", "disconnect", "drop_oldest", "conflate"] = "pause"
    max_pause: float = 5
    conflate_key: "Callable[[Message], Hashable | None] | None" = None
    max_age: float | None = None
    health: Thresholds = Thresholds()  # noqa: RUF009, frozen
    reconnect: bool | Backoff = True
    error_handler: "ErrorJudge | None" = None
    on_open: Iterable[Hook] = ()
    rate_limit: "TokenBucket | MethodLimiter | str | None" = None
    name: str | None = None
    telemetry_path: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        _check_fields(self, _CHECKS)
        self._check_inbox()

    @property
    def may_drop(self) -> bool:
        """Does `inbox_policy` drop messages rather than none?"""
        return self.inbox_policy in _MAY_DROP

    def _check_inbox(self) -> None:
        policy = f"inbox_policy={self.inbox_policy!r}"
        if self.inbox_policy == "conflate" and self.conflate_key is None:
            raise ValueError(f"{policy} needs conflate_key, a function that gives each message's key, or None")
        if self.inbox_policy != "conflate" and self.conflate_key is not None:
            raise ValueError(f"conflate_key is set, but {policy} does not conflate; use 'conflate', or leave it out")
        if self.max_age is not None and not self.may_drop:
            raise ValueError(f"max_age is set, but {policy} drops nothing; use {_any_of(_MAY_DROP)}, or leave it out")

    def resolve_headers(self) -> CheckedHeaders:
        """The header fields for one attempt. Raises as `checked_headers` does if a callable gave wrong ones."""
        return checked_headers(self.headers() if callable(self.headers) else self.headers)

    def check_endpoint(self, endpoint: Endpoint, headers: CheckedHeaders) -> None:
        """Raise ValueError where `endpoint` and the settings exclude each other. headers: those of this attempt."""
        if endpoint.secure:
            return
        for name in ("ssl", "server_hostname"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is set, but ws:// has no TLS; use wss:// or leave {name} out")
        if carries_credentials(headers) and not endpoint.is_loopback:
            raise ValueError(
                "headers hold credentials, and ws:// would send them in clear; use wss:// (ws:// is allowed on loopback)"
            )


_FIELDS = tuple(item.name for item in fields(Config))


def make_config(config: Config | None, overrides: Mapping[str, Any]) -> Config:
    """`config` (None: the defaults) with some fields changed.

    Raises TypeError for an unknown field, naming the nearest, and as `Config` does for a wrong one.
    """
    if config is not None and not isinstance(config, Config):
        raise _wrong_type("config", "a Config or None", config)
    for name in overrides:
        if name not in _FIELDS:
            raise TypeError(f"unknown field {name!r}{_nearest(name)}; Config has {', '.join(_FIELDS)}")
    return replace(config or Config(), **overrides)


def _nearest(name: str) -> str:
    from difflib import get_close_matches  # slow to import, and only a mistake needs it

    matches = get_close_matches(name, _FIELDS, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
