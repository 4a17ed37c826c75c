"""What happens in wsx, as named events that can be listened to.

    attach("reconnect", handler, "my-log")  ──▶  handler("reconnect.scheduled", {"at_ns": ..., "client": ..., ...})

`EVENTS` is the table: each name, when it happens, its fields and their units. An event is told to whoever attached to
its name or to the beginning of it; one that nobody listens to costs a look at `Signal.active`.
Not here: one event and its handlers (_signal.pyx), counters and their meaning (telemetry_metrics.py).
"""

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

from wsx import events
from wsx._signal import PER_MESSAGE, Signal, on_failure

_log = logging.getLogger("wsx")

Handler: TypeAlias = Callable[[str, Mapping[str, Any]], object]

# ---- the table: fields that several events share --------------------------------------------------------------------

_AT = {"at_ns": "nanoseconds of the monotonic clock"}
_CLIENT = {**_AT, "client": "its name"}
_EPOCH = {**_CLIENT, "epoch": "number of the connection, from 1"}
_ERROR = {"error": "the exception, or None"}
_ENDPOINT = {"endpoint": "URL without user info and query"}
_ATTEMPT = {"attempt": "from 1 since the connection was last stable"}
_WAITING = {"inbox_messages": "messages that wait to be read", "inbox_bytes": "bytes of theirs"}
_PAUSED = {"paused_ns": "nanoseconds that nothing was read"}
_STREAM = {"stream": "the subscription; empty for the whole connection"}
_ANSWER = {"request_id": "as the message has it, or None", **_ERROR, "message": "the Message"}
_WHAT = {"what": "what is wrong, in words"}
_BUDGET = {**_AT, "profile": "its name", "bucket": "its name"}
_METHOD = {"method": "as the exchange calls it"}
_RETRY = {"retry_after_seconds": "seconds to wait"}
_CHILD = {**_AT, "supervisor": "its name", "child": "its name", "restarts": "of this child so far"}

# ---- the table: what a client tells `on_event` too ------------------------------------------------------------------

_TOLD: dict[type[events.Event], Signal] = {
    events.Opened: Signal(
        "connection.opened",
        "the upgrade succeeded",
        {**_EPOCH, **_ENDPOINT, "timings": "OpeningTimes: nanoseconds of each stage"},
    ),
    events.Closed: Signal(
        "connection.closed",
        "the connection has ended",
        {**_EPOCH, "code": "close code (RFC 6455 7.1.5)", "reason": "the peer's words", **_ERROR},
    ),
    events.Halted: Signal("connection.halted", "nothing is tried until a person calls resume()", {**_EPOCH, **_ERROR}),
    events.GaveUp: Signal(
        "connection.gave_up", "nothing is tried any more: the client is closed", {**_EPOCH, **_ERROR}
    ),
    events.Suspended: Signal(
        "connection.suspended",
        "the machine slept, and has been woken",
        {**_EPOCH, "suspended_ns": "nanoseconds that it slept"},
    ),
    events.Reconnecting: Signal(
        "reconnect.scheduled",
        "another attempt will be made",
        {**_EPOCH, **_ATTEMPT, "delay_seconds": "seconds before it", **_ERROR},
    ),
    events.GapEvent: Signal("message.gap", "something was missed, or may have been", {**_EPOCH, "gap": "the Gap"}),
    events.StaleData: Signal(
        "subscription.stale",
        "the connection lives, but no data comes",
        {**_EPOCH, **_STREAM, "silent_ns": "nanoseconds without data"},
    ),
    events.SubscriptionRestored: Signal(
        "subscription.restored", "it was subscribed again after a reconnect", {**_EPOCH, **_STREAM}
    ),
    events.SubscriptionRefused: Signal("subscription.refused", "the server did not take it", {**_EPOCH, **_STREAM}),
    events.ReadingPaused: Signal(
        "backpressure.reading_paused", "the inbox is full, and nothing more is read", {**_EPOCH, **_WAITING}
    ),
    events.ReadingResumed: Signal("backpressure.reading_resumed", "there is room again", {**_EPOCH, **_PAUSED}),
    events.SlowConsumer: Signal(
        "backpressure.slow_consumer",
        "reading was paused for too long, and the connection is given up",
        {**_EPOCH, **_WAITING, **_PAUSED},
    ),
    events.LoopBlocked: Signal(
        "performance.loop_blocked",
        "the event loop did not run for a while",
        {**_EPOCH, "lag_ns": "nanoseconds later than planned"},
    ),
    events.CallbackFailed: Signal(
        "error.callback",
        "the user's callback raised; the connection stays up",
        {**_EPOCH, **_ERROR, "message_opcode": "of the message it was given, or None"},
    ),
    events.ProtocolError: Signal(
        "error.message",
        "a message is not what the protocol allows; the connection stays up",
        {**_EPOCH, **_WHAT, "message": "the Message"},
    ),
    events.UnexpectedAnswer: Signal(
        "message.unexpected_answer", "an answer belongs to no request", {**_EPOCH, **_ANSWER, **_WHAT}
    ),
    events.LateAnswer: Signal(
        "message.late_answer",
        "an answer came to a request that had been given up",
        {**_EPOCH, **_ANSWER, **_METHOD, "outcome": "the Outcome that it had ended with"},
    ),
}

# ---- the table: the others ------------------------------------------------------------------------------------------

_OTHERS = (
    Signal("connection.opening", "an attempt begins", {**_CLIENT, **_ENDPOINT, **_ATTEMPT}),
    Signal("connection.failed", "an attempt failed", {**_CLIENT, **_ENDPOINT, **_ATTEMPT, **_ERROR}),
    *PER_MESSAGE,
    Signal("heartbeat.pong", "the PONG to wsx's own PING came", {**_EPOCH, "rtt_ns": "nanoseconds of the round trip"}),
    Signal(
        "rate_limit.waited",
        "a request had to wait, and passed",
        {**_BUDGET, **_METHOD, "waited_ns": "nanoseconds it waited"},
    ),
    Signal("rate_limit.refused", "a request was turned away, or waited too long", {**_BUDGET, **_METHOD, **_RETRY}),
    Signal("rate_limit.backoff", 'the exchange said "too many requests"', {**_BUDGET, **_RETRY}),
    Signal(
        "request.answered",
        "an answer came that says how long the exchange took",
        {
            **_EPOCH,
            **_METHOD,
            "wire_ns": "nanoseconds of the round trip that were not the exchange's",
            "exchange_ns": "nanoseconds that the exchange took, by its own clock",
            "offset_ns": "nanoseconds that its clock is before ours, if both ways took equally long",
        },
    ),
    Signal("supervisor.restarted", "a child ended and is started again", {**_CHILD, **_ERROR}),
    Signal("supervisor.gave_up", "children ended too often, and all are stopped", {**_CHILD, **_ERROR}),
    Signal(
        "error.handler",
        "a handler of events raised, and was detached",
        {**_AT, "handler_id": "what it was attached with", "event": "the name of the event", **_ERROR},
    ),
)

EVENTS: Mapping[str, Signal] = MappingProxyType(
    {signal.name: signal for signal in sorted([*_TOLD.values(), *_OTHERS], key=lambda signal: signal.name)}
)

# ---- listening ------------------------------------------------------------------------------------------------------

_attached: dict[str, tuple[Signal, ...]] = {}  # id of a handler -> what it listens to


def attach(name: str, handler: Handler, handler_id: str) -> None:
    """Have `handler(name, fields)` called on every event of this name, or whose name begins with it and a dot.

    name: "reconnect.scheduled", or "reconnect" for all of those, or "*" for all there are. handler_id: what `detach`
    will be given. The handler is called inline, in the thread where the event happens, and must not block. If it
    raises, it is detached, and that is logged and told as "error.handler".
    Raises ValueError for a name that no event has and for an id that is taken; TypeError for what cannot be called.
    """
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {type(handler).__name__}")
    if inspect.iscoroutinefunction(handler):
        raise TypeError("handler is called inline and must not be a coroutine function; start a task from it")
    if handler_id in _attached:
        raise ValueError(f"a handler {handler_id!r} is attached already; detach it first, or give another id")
    signals = _matching(name)
    _attached[handler_id] = signals
    for signal in signals:
        signal.listen(handler_id, handler)


def detach(handler_id: str) -> bool:
    """Do not call this handler any more. False if there is none of this id, for example because it raised."""
    signals = _attached.pop(handler_id, ())
    for signal in signals:
        signal.forget(handler_id)
    return bool(signals)


def publish(client: str, event: events.Event) -> None:
    """Tell those who listen what a client tells `on_event`. Does nothing for an event that the table does not have."""
    told = _TOLD.get(type(event))
    if told is not None and told.active:
        values = {name: getattr(event, name) for name in told.fields if name != "client"}
        told.emit(client=client, **values)


def _matching(name: str) -> tuple[Signal, ...]:
    found = tuple(signal for known, signal in EVENTS.items() if name in (known, "*") or known.startswith(f"{name}."))
    if not found:
        nearest = get_close_matches(name, EVENTS, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"no event is named {name!r} or begins with it{hint}")
    return found


def _report(handler_id: str, name: str, error: BaseException) -> None:
    """A handler raised."""
    detach(handler_id)
    _log.error("the handler %r raised on %s and was detached", handler_id, name, exc_info=error)
    signal = EVENTS["error.handler"]
    if signal.active:
        signal.emit(at_ns=time.monotonic_ns(), handler_id=handler_id, event=name, error=error)


on_failure(_report)
