"""Message -> callbacks, by what its envelope says; one failing callback does not stop the others.

    handler = MessageHandler(client)
    handler.on_channel("ticker.BTC-PERPETUAL.raw", on_ticker)        # callback(message)
    handler.on_prefix("book.", on_book)                               # those channels that have no callback of their own
    handler.answer("heartbeat", "test_request", frame)                # written at once, in compiled code

What a client is told here holds over all its connections. Every `MessageHandler` of a client speaks of the same table,
so an `on_open` hook makes one of its route. Callbacks run inline, as `on_message` does, and never before hooks have ended.
Not here: the table and the routing itself (_router.pyx), requests (json_rpc.py).
"""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from wsx._envelope import scan
from wsx._message import Message
from wsx._router import Router, Table
from wsx.events import ProtocolError
from wsx.route import Route
from wsx.session import Session

Callback: TypeAlias = Callable[[Message], object]
Scanner: TypeAlias = Callable[[bytes], str | bytes | None]


class _Client(Protocol):
    @property
    def _session(self) -> Session:
        """What outlives its connections."""


Line: TypeAlias = _Client | Route


class Kind(StrEnum):
    """What a message is to JSON-RPC 2.0."""

    NOTIFICATION = "notification"  # a method without an id: Deribit's subscription, heartbeat
    REQUEST = "request"  # of the other side's
    RESULT = "result"
    ERROR = "error"
    OTHER = "other"  # a batch, or what is no JSON-RPC at all


def kind_of(message: Message) -> Kind:
    """What the message is, by its envelope; only an unusual one is parsed for that."""
    envelope = scan(message.data)
    if envelope is not None:
        spans = {"result": envelope.result_span, "error": envelope.error_span}
        there = {name: not _is_null(message.data, *span) for name, span in spans.items() if span is not None}
        return _kind(envelope.method is not None, envelope.has_id, there)
    try:
        document = message.json()
    except ValueError:
        return Kind.OTHER
    if not isinstance(document, dict):
        return Kind.OTHER
    there = {name: document[name] is not None for name in ("result", "error") if name in document}
    return _kind(document.get("method") is not None, "id" in document, there)


def _is_null(data: bytes, start: int, end: int) -> bool:
    """Looks without a copy: a result may be megabytes."""
    return end - start == 4 and data.startswith(b"null", start)


def _kind(has_method: bool, has_id: bool, there: dict[str, bool]) -> Kind:
    """there: whether the result and the error are more than null, of those that are there (as in _router.pyx)."""
    if has_method:
        return Kind.REQUEST if has_id else Kind.NOTIFICATION
    if there.get("error"):
        return Kind.OTHER if there.get("result") else Kind.ERROR
    return Kind.RESULT if "result" in there else Kind.OTHER


class MessageHandler:
    """Who gets which message of a client. line: the client, or the `Route` that a hook of it was given.

    router: a subclass of `Router` (_router.pxd) that finds the key itself, in Cython; it is given once, before anything
    else of the client's asks for a router. Raises ValueError where there is another one already.

    What `on_channel`, `on_prefix` and `on_method` return takes the callback away again, once. Where several fit, the exact
    channel is first, then the longest prefix, then the method; the others are not asked.
    """

    def __init__(self, line: Line, *, router: type[Router] = Router) -> None:
        self._session = session_of(line)
        self._router = router_of(self._session, router)

    def on_channel(self, channel: str, callback: Callback, *, data_timeout: float | None = None) -> Callable[[], None]:
        """Call it with each message whose `params.channel` is `channel`. Raises TypeError for what cannot be called.

        data_timeout: seconds after which a channel without messages is said to be stale (`StaleData`, and blind in the
        ledger until the next one); None: never. Raises ValueError for another one of the same channel.
        """
        if data_timeout is None:
            return self._add(self._router.channels, channel, callback)
        _check(callback)
        streams = self._session.streams
        remove = self._add(self._router.channels, channel, streams.watch(channel, callback, data_timeout))

        def forget() -> None:
            streams.forget(channel)
            remove()

        return _once(forget)

    def on_prefix(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """The same for channels that begin with `prefix`, such as "book."."""
        _check(callback)
        key = prefix.encode()
        self._router.add_prefix(key, callback)
        return _once(lambda: self._router.remove_prefix(key, callback))

    def on_method(self, method: str, callback: Callback) -> Callable[[], None]:
        """The same for messages of `method` whose channel nobody has asked for."""
        return self._add(self._router.methods, method, callback)

    def on_unrouted(self, callback: Callback | None) -> None:
        """Call it with what nobody else takes; None: that flows on, to `on_message` or to whoever reads."""
        if callback is not None:
            _check(callback)
        self._router.unrouted = callback

    def scan_with(self, scanner: Scanner | None) -> None:
        """Another format: `scanner(data)` gives the key (a channel or a method), or None; None: JSON-RPC's again.

        It is called inline with each message; where it raises, that is an application error and the message flows on.
        """
        self._router.scanner = scanner

    def answer(self, method: str, kind: str, payload: bytes) -> None:
        """Write `payload` as a text message whenever `method` comes with `params.type` of `kind`.

        In compiled code, at once, past every queue and rate limit, also while hooks run; counted as `auto_answers`.
        The message reaches a callback of its method, if there is one, and nobody else. Where the payload is a request,
        its answer reaches nobody: give it an id that no request of `JsonRpc` has, a text for example.
        """
        self._router.add_rule(method.encode(), kind.encode(), bytes(payload))

    def _add(self, table: Table, key: str, callback: Callback) -> Callable[[], None]:
        _check(callback)
        encoded = key.encode()
        table.add(encoded, callback)
        return _once(lambda: table.remove(encoded, callback))


def session_of(line: Line) -> Session:
    """The session behind a client or a route. Raises TypeError for anything else."""
    session: Any = line.session if isinstance(line, Route) else getattr(line, "_session", None)
    if not isinstance(session, Session):
        raise TypeError(f"a client, or the route of an on_open hook, is needed, not {type(line).__name__}")
    return session


def router_of(session: Session, kind: type[Router] = Router) -> Router:
    """The session's router, made when it is first asked for. Raises ValueError where it is of another kind."""
    tap = session.inbox.tap
    if isinstance(tap, kind):
        return tap
    if tap is not None:
        raise ValueError(
            f"this client's messages are taken by a {type(tap).__name__} already; give it {kind.__name__} first"
        )
    router = kind(session.inbox)
    router.listener = _Listener(session)
    session.inbox.tap = router
    return router


class _Listener:
    """Says what the router finds wrong."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_malformed(self, message: Message, what: str) -> None:
        self._session.telemetry.add("errors_protocol")
        self._session.tell(ProtocolError, what=what, message=message)


def _once(remove: Callable[[], None]) -> Callable[[], None]:
    """Called again it does nothing: it never takes away what the same callback was given a second time."""
    left = [remove]

    def call() -> None:
        while left:
            left.pop()()

    return call


def _check(callback: object) -> None:
    if not callable(callback):
        raise TypeError(f"a callback must be callable, not {type(callback).__name__}")
    if inspect.iscoroutinefunction(callback):
        raise TypeError("a callback is called inline and must not be a coroutine function; start a task from it")
