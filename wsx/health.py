"""How a client is: what was measured -> a score with its reasons, and whether traffic should be sent its way.

    HealthInputs + Thresholds + now_ns ──▶ assess ──▶ Health

Pure: the client measures, a load balancer's probe asks for `ready`, a person reads `reasons`.
Not here: measuring (client.py), many clients together (connection_registry.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

_NS = 1_000_000_000
_FULL = 100
_SHOWN = 3  # names that a reason lists

# ---- what a reason takes from the score -----------------------------------------------------------------------------

_STATES = {"open": 0, "connecting": 60, "reconnecting": 70, "closing": 90, "closed": _FULL, "halted": _FULL}
_HEARTBEAT, _STALE, _QUEUE, _RTT, _RATE_LIMIT, _UNSETTLED = 60, 30, 20, 15, 15, 10


# ---- values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on something counts against a client.

    heartbeat_age: seconds since the last PONG. rtt: seconds. rate_limit: used part of a bucket, above 0 to 1. queue:
    filled part of a queue, above 0 to 1. data_age: seconds without data on a subscription; None does not judge it.
    settled_after: seconds that a connection must have been open after a reconnect. ready_score: from which score on an
    open client is ready, 1 to 100. Raises ValueError.
    """

    heartbeat_age: float = 20
    rtt: float = 1
    rate_limit: float = 0.9
    queue: float = 0.5
    data_age: float | None = None
    settled_after: float = 5
    ready_score: int = 50

    def __post_init__(self) -> None:
        for name in ("heartbeat_age", "rtt", "data_age", "settled_after"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0 seconds, not {value!r}")
        for name in ("rate_limit", "queue"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, not {getattr(self, name)!r}")
        if not 1 <= self.ready_score <= _FULL:
            raise ValueError(f"ready_score must be 1 to {_FULL}, not {self.ready_score!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthInputs:
    """What a client has measured. Instants are nanoseconds of the monotonic clock.

    state: the client's, in lower case. since_ns: when it began. heartbeat_ns: when the last PONG came, or when the
    connection opened; None where the heartbeat is off. rtt_ns: None before the first PONG. rate_limit: bucket -> used
    part, 0 to 1. queues: name -> (depth, limit), in a unit that the name tells. streams: subscription -> when its
    last data came. stream_limits: seconds that a subscription may be silent, where it has a limit of its own. reconnects: since the client began. last_error: in words, without secrets.
    """

    state: str
    since_ns: int
    heartbeat_ns: int | None = None
    rtt_ns: int | None = None
    rate_limit: Mapping[str, float] = field(default_factory=dict)
    queues: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    streams: Mapping[str, int] = field(default_factory=dict)
    stream_limits: Mapping[str, float] = field(default_factory=dict)
    reconnects: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a score is not 100. what: "state", "heartbeat", "stale", "queue", "rtt", "rate_limit" or "unsettled"."""

    what: str
    penalty: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a client was at `at_ns` (monotonic).

    heartbeat_age, rtt: seconds, None where there is none. stale: subscription -> seconds without data, those above the
    limit. score: 0 to 100, which is 100 less the penalties of `reasons`. ready: open, with a score that suffices.
    The other fields are those of `HealthInputs`.
    """

    state: str
    since_ns: int
    at_ns: int
    heartbeat_age: float | None
    rtt: float | None
    rate_limit: Mapping[str, float]
    queues: Mapping[str, tuple[int, int]]
    stale: Mapping[str, float]
    reconnects: int
    last_error: str | None
    score: int
    reasons: tuple[Reason, ...]
    ready: bool

    @property
    def state_seconds(self) -> float:
        """For how long the client has been in its state."""
        return _seconds(self.since_ns, self.at_ns)


# ---- judging --------------------------------------------------------------------------------------------------------


def assess(inputs: HealthInputs, thresholds: Thresholds, now_ns: int) -> Health:
    """Judge what was measured. Pure."""
    stale = _stale(inputs, thresholds, now_ns)
    reasons = tuple(_reasons(inputs, thresholds, stale, now_ns))
    score = max(_FULL - sum(reason.penalty for reason in reasons), 0)
    return Health(
        **_repeated(inputs),
        at_ns=now_ns,
        heartbeat_age=None if inputs.heartbeat_ns is None else _seconds(inputs.heartbeat_ns, now_ns),
        rtt=None if inputs.rtt_ns is None else inputs.rtt_ns / _NS,
        stale=stale,
        score=score,
        reasons=reasons,
        ready=inputs.state == "open" and score >= thresholds.ready_score,
    )


def _repeated(inputs: HealthInputs) -> dict[str, Any]:
    """What a `Health` says as it was measured."""
    return {
        "state": str(inputs.state),
        "since_ns": inputs.since_ns,
        "rate_limit": dict(inputs.rate_limit),
        "queues": dict(inputs.queues),
        "reconnects": inputs.reconnects,
        "last_error": inputs.last_error,
    }


def _seconds(from_ns: int, to_ns: int) -> float:
    return max(to_ns - from_ns, 0) / _NS


def _stale(inputs: HealthInputs, thresholds: Thresholds, now_ns: int) -> dict[str, float]:
    """Stream -> its age, of those that are older than they may be."""
    found: dict[str, float] = {}
    for stream, last_ns in inputs.streams.items() if inputs.state == "open" else ():
        age, limit = _seconds(last_ns, now_ns), inputs.stream_limits.get(stream, thresholds.data_age)
        if limit is not None and age > limit:
            found[stream] = age
    return found


def _reasons(inputs: HealthInputs, thresholds: Thresholds, stale: Mapping[str, float], now_ns: int) -> Iterator[Reason]:
    penalty = _STATES.get(inputs.state, _FULL)
    if penalty:
        since = f"for {_seconds(inputs.since_ns, now_ns):.1f} s"
        cause = f", last error: {inputs.last_error}" if inputs.last_error else ""
        yield Reason("state", penalty, f"{inputs.state} {since}{cause}")
    else:
        yield from _line_reasons(inputs, thresholds, now_ns)
    if stale:
        text = f"no data for up to {max(stale.values()):.1f} s on {_listed(stale)}"
        yield Reason("stale", _STALE, text)
    yield from _queue_reasons(inputs, thresholds)


def _line_reasons(inputs: HealthInputs, thresholds: Thresholds, now_ns: int) -> Iterator[Reason]:
    """What can be said of an open connection alone."""
    if inputs.heartbeat_ns is not None:
        age = _seconds(inputs.heartbeat_ns, now_ns)
        if age > thresholds.heartbeat_age:
            yield Reason("heartbeat", _HEARTBEAT, f"no PONG for {age:.1f} s, above {thresholds.heartbeat_age:g} s")
    rtt = (inputs.rtt_ns or 0) / _NS
    if rtt > thresholds.rtt:
        yield Reason("rtt", _RTT, f"round trip {rtt:.3f} s, above {thresholds.rtt:g} s")
    open_for = _seconds(inputs.since_ns, now_ns)
    if inputs.reconnects and open_for < thresholds.settled_after:
        yield Reason(
            "unsettled", _UNSETTLED, f"reconnected {open_for:.1f} s ago, reconnects so far: {inputs.reconnects}"
        )


def _queue_reasons(inputs: HealthInputs, thresholds: Thresholds) -> Iterator[Reason]:
    full = [name for name, (depth, limit) in inputs.queues.items() if depth > thresholds.queue * limit]
    if full:
        yield Reason("queue", _QUEUE, f"more than {thresholds.queue:.0%} full: {_listed(full)}")
    used = [bucket for bucket, part in inputs.rate_limit.items() if part > thresholds.rate_limit]
    if used:
        yield Reason("rate_limit", _RATE_LIMIT, f"more than {thresholds.rate_limit:.0%} used: {_listed(used)}")


def _listed(names: Mapping[str, object] | list[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
