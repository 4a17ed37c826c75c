"""Requests over a client's connections: each ends with exactly one outcome, within its deadline.

    await request(...) ─▶ ok: its result        rejected: RpcError        not_sent: NotConnected, RateLimited, ...
                                                                          unknown: AnswerTimeout, OutcomeUnknown

Every requester of a client shares one desk: the same ids, the same pending requests, whether it was made of the client
or of the route that an `on_open` hook is given.
Not here: which answer belongs to which request (correlation.py), JSON-RPC's own (json_rpc.py).
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from wsx._asking import Asking
from wsx._message import Message
from wsx._router import Router
from wsx.connection import End
from wsx.correlation import Correlator, Pending, Strategy
from wsx.errors import (
    AnswerTimeout,
    ConnectionClosed,
    Outcome,
    OutcomeUnknown,
    RpcError,
)
from wsx.events import LateAnswer, UnexpectedAnswer
from wsx.message_handler import Line, router_of, session_of
from wsx.outbox import Charge
from wsx.rate_limiter import RateLimiter
from wsx.route import Route
from wsx.session import Session

_RESULT, _ERROR, _NEITHER = 0, 1, 2  # what an answer holds (_router.pyx); 3: both


class Desk:
    """What the requesters of one client share. Made by `desk_of`."""

    def __init__(self, session: Session, router: Router) -> None:
        self.correlator = router.correlator = Correlator()
        self.loop = asyncio.get_running_loop()
        self._session, self.router = session, router
        self.by_method = isinstance(session.config.rate_limit, RateLimiter)
        self._protocol: type | None = None
        self._timer: asyncio.TimerHandle | None = None
        session.epoch_listeners.append(self.on_epoch_ended)
        session.requests = self.correlator

    def abandon(self, pending: Pending) -> None:
        """Its caller waits no more: if it has no outcome yet, it gets one."""
        self.correlator.close(pending.request_id, Outcome.UNKNOWN if pending.sent else Outcome.NOT_SENT)

    def take_answer(self, request_id: Any, value: Any, kind: int, message: Message) -> bool:
        """An answer, as the router found it: to whom it belongs, or an event. False: it may be a hook's own."""
        if kind <= _ERROR and type(request_id) is int:
            pending = self.correlator.answer(request_id, Outcome.REJECTED if kind else Outcome.OK)
            if pending is not None:
                error = _error_of(value, pending.method, request_id) if kind else None
                _settle(pending, error, message if pending.whole else value)
                if self.router.observer is not None:
                    self.router.observer(pending, message, error)
                return True
        stray = _error_of(value, "", request_id) if kind == _ERROR else None
        return self._stray(request_id, stray, kind, message)

    def speak(self, protocol: type) -> None:
        """One protocol a client: answers are found by its strategy, and another's would not be."""
        if self._protocol not in (None, protocol):
            raise ValueError(f"this client asks by {self._protocol.__name__}, not by {protocol.__name__} too")
        self._protocol = protocol

    def read_with(self, strategy: Strategy) -> None:
        """Have answers found by a strategy of another protocol."""

        def read(message: Message) -> bool:
            answer = strategy.read(message)
            if answer is None:
                return False
            value = answer.value if answer.error is None else answer.error
            return self.take_answer(answer.request_id, value, _RESULT if answer.error is None else _ERROR, message)

        self.router.reader = read

    def on_epoch_ended(self, end: End) -> None:
        """A connection is gone: what was sent over it will not be answered."""
        cause = end.error or ConnectionClosed(end.code, end.reason)
        for pending in self.correlator.end_sent():
            why = "the connection ended before it came"
            error = OutcomeUnknown(pending.method, pending.request_id, why)
            error.__cause__ = cause
            _settle(pending, error)
        self._wait_for_next()

    def set_timer(self, deadline: float) -> None:
        """No deadline is earlier than this one."""
        self._stop_timer()
        self._timer = self.loop.call_at(deadline, self._on_time)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _stray(self, request_id: Any, error: RpcError | None, kind: int, message: Message) -> bool:
        """An answer that resolves nothing."""
        ended = self.correlator.ended(request_id)
        if ended is None and not self.router.inbox.flowing:
            return False
        if request_id is None and error is not None and self._reject_batch(error):
            return True
        if ended is not None and ended.outcome is Outcome.UNKNOWN and kind <= _ERROR:
            told = {"method": ended.method, "outcome": ended.outcome}
            self._session.tell(LateAnswer, request_id=request_id, error=error, message=message, **told)
        else:
            unsent = kind <= _ERROR and type(request_id) is int and request_id in self.correlator.pending
            what = (
                "the request has not been sent yet" if unsent else _what(request_id, kind, answered=ended is not None)
            )
            self._session.tell(UnexpectedAnswer, request_id=request_id, what=what, error=error, message=message)
        return True

    def _reject_batch(self, error: RpcError) -> bool:
        """An error without an id, while nothing but one whole batch waits: it is that one's (JSON-RPC 2.0, 6).

        Not so in an array: there it is for one member, nobody knows which, and the others have answers of their own.
        """
        members = [] if self.router.in_array else self.correlator.alone()
        for pending in members:
            self.correlator.close(pending.request_id, Outcome.REJECTED)
            refusal = RpcError(
                error.code, error.message, error.data, method=pending.method, request_id=pending.request_id
            )
            _settle(pending, refusal)
        return bool(members)

    def _on_time(self) -> None:
        for pending in self.correlator.due(self.loop.time()):
            _settle(pending, AnswerTimeout(pending.method, pending.request_id))
        self._wait_for_next()

    def _wait_for_next(self) -> None:
        deadline = self.correlator.next_deadline()
        if deadline is None:
            self._stop_timer()
        else:
            self.set_timer(deadline)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Requester(Asking):
    """Asks, and waits for the answer. line: a client, or the `Route` that an `on_open` hook of it was given.

    most_pending: requests of this client that may wait at once, whoever asks; None: as it is (10,000 at first).
    strategy: another protocol's. Raises ValueError where the client's requests are another protocol's already.
    """

    def __init__(self, line: Line, strategy: Strategy, *, most_pending: int | None = None) -> None:
        self._begin(line, type(strategy), strategy.encode, most_pending)
        self._desk.read_with(strategy)

    def _begin(
        self, line: Line, protocol: type, encode: Callable[[int, str, Any], bytes], most_pending: int | None
    ) -> None:
        """What every requester is made of, however it has its answers found."""
        self._line, self._desk = line, desk_of(line)
        self._desk.speak(protocol)
        self._write_now: Any = line.send if isinstance(line, Route) else cast(Any, line).send_nowait
        self._by_method = self._desk.by_method and not isinstance(
            line, Route
        )  # each pays for itself, before it is sent
        self._attach(self._desk.correlator, self._desk.loop, None if self._by_method else self._write_now, encode)
        if most_pending is not None:
            if most_pending < 1:
                raise ValueError(f"most_pending must be at least 1, got {most_pending}")
            self.correlator.most_pending = most_pending

    @property
    def pending(self) -> int:
        """How many requests of this client have no outcome yet."""
        return len(self.correlator)

    async def _send_patiently(self, payload: bytes, charges: list[Charge], deadline: float | None) -> None:
        """Write it once there are tokens and room, but not beyond the deadline."""
        client: Any = self._line  # a route waits for neither
        timeout = None if deadline is None else deadline - self._desk.loop.time()
        await client._send(payload, True, charges, timeout)

    def _set_timer(self, deadline: float) -> None:
        self._desk.set_timer(deadline)

    def _abandon(self, pending: Pending) -> None:
        self._desk.abandon(pending)


def desk_of(line: Line) -> Desk:
    """The desk of a client, made when it is first asked for."""
    session = session_of(line)
    router = router_of(session)
    if router.answers is None:
        router.answers = Desk(session, router)
    return cast(Desk, router.answers)


def _settle(pending: Pending, error: BaseException | None, value: Any = None) -> None:
    """Give the caller, if it still waits, what came of it."""
    waiter = pending.waiter
    if waiter.done():
        return
    if error is None:
        waiter.set_result(value)
    else:
        waiter.set_exception(error)


def _error_of(value: Any, method: str, request_id: Any) -> RpcError:
    """The error of an answer (JSON-RPC 2.0, 5.1), also where it is not as it should be."""
    if isinstance(value, RpcError):
        return value
    parts = value if isinstance(value, dict) else {"data": value}
    code, message = parts.get("code"), parts.get("message")
    code = code if isinstance(code, int) else 0
    text = message if isinstance(message, str) else "the answer's error is not as JSON-RPC 2.0 has it"
    return RpcError(code, text, parts.get("data"), method=method, request_id=request_id)


def _what(request_id: Any, kind: int, *, answered: bool) -> str:
    """Why an answer resolves nothing."""
    if kind > _ERROR:
        return "neither a result nor an error" if kind == _NEITHER else "both a result and an error"
    if answered:
        return "the request had its answer already"
    if request_id is None:
        return "no id"
    return "an unknown id" if type(request_id) in (int, str) else "an id that is neither a whole number nor a text"
