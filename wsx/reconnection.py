"""When to try again, and when to stop: pure policy. Time and randomness are arguments; nothing here waits.

    opened ──▶ lost ──▶ Plan ──▶ failed ──▶ Plan ──▶ ... ──▶ opened        the count starts afresh only after a
                 └────▶ GiveUp ◀───┘                                       connection that was open for `stable_after`

Not here: the delays themselves (backoff.py), which error means what (error_handler.py), waiting and opening (client.py).
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock

from wsx.backoff import Backoff
from wsx.errors import Failure, Pace, ReconnectExhausted, Recovery, Verdict, WsxError

__all__ = ["Attempts", "Backoff", "GiveUp", "HostBudget", "Plan"]

_NS = 1_000_000_000
_HISTORY = 32  # failures kept for ReconnectExhausted
_TEXT = 300  # characters kept of each


@dataclass(frozen=True, slots=True)
class Plan:
    """There will be another attempt.

    delay_seconds: to wait before it; 0.0 for at once. attempt: from 1 since a connection was last stable.
    immediate: it is the first after an established connection was lost, within the budget. reason: in words.
    """

    delay_seconds: float
    attempt: int
    immediate: bool
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There will be none.

    error: what the client ends with. halt: a person is needed and can resume it; otherwise it is closed. reason: in
    words.
    """

    error: BaseException
    halt: bool
    reason: str


class HostBudget:
    """How many clients of this process may return to one host at once: 16 in any second; the others take turns.

    One instance serves a process, clients of several loops in several threads included. It remembers at most 1024
    hosts and forgets the one that was asked for longest ago.
    """

    IMMEDIATE_PER_SECOND = 16
    TURNS_PER_SECOND = 100
    _MAX_HOSTS = 1024

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Crowd] = OrderedDict()
        self._lock = Lock()

    @property
    def hosts(self) -> int:
        """How many hosts are remembered."""
        return len(self._hosts)

    def allow_immediate(self, host: str, now_ns: int) -> bool:
        """Whether an attempt may be made at once; it is counted if so."""
        with self._lock:
            recent = self._crowd(host).recent_ns
            if len(recent) == self.IMMEDIATE_PER_SECOND and now_ns - recent[0] < _NS:
                return False
            recent.append(now_ns)  # pushes out the oldest of 16
            return True

    def turn(self, host: str, now_ns: int) -> float:
        """Seconds until the turn of one who may not go at once: each stands behind those before it."""
        with self._lock:
            crowd = self._crowd(host)
            crowd.last_turn_ns = max(crowd.last_turn_ns, now_ns) + _NS // self.TURNS_PER_SECOND
            return (crowd.last_turn_ns - now_ns) / _NS

    def _crowd(self, host: str) -> "_Crowd":
        crowd = self._hosts.setdefault(host, _Crowd())
        self._hosts.move_to_end(host)
        if len(self._hosts) > self._MAX_HOSTS:
            self._hosts.popitem(last=False)
        return crowd


class _Crowd:
    """Those who return to one host. recent_ns: when one went at once. last_turn_ns: when the last in turn goes."""

    __slots__ = ("last_turn_ns", "recent_ns")

    def __init__(self) -> None:
        self.recent_ns: deque[int] = deque(maxlen=HostBudget.IMMEDIATE_PER_SECOND)
        self.last_turn_ns = 0


class Attempts:
    """The attempts of one client, from its first opening to its end.

    budget: shared by the clients of a process.
    """

    def __init__(self, backoff: Backoff, budget: HostBudget) -> None:
        self._backoff = backoff
        self._budget = budget
        self._opened_ns: int | None = None
        # One above the limit is enough to know that it is exceeded.
        self._protocol_errors_ns: deque[int] = deque(maxlen=backoff.protocol_errors[0] + 1)
        self._history: deque[Failure] = deque(maxlen=_HISTORY)
        self._attempt = 0

    @property
    def attempt(self) -> int:
        """The attempt that was planned last; 0 while the connection is stable, or none was needed yet."""
        return self._attempt

    @property
    def history(self) -> tuple[Failure, ...]:
        """The newest failures since a connection was last stable, the oldest first."""
        return tuple(self._history)

    def opened(self, now_ns: int) -> None:
        """An attempt succeeded; that it did is worth nothing before it has been stable."""
        self._opened_ns = now_ns

    def lost(self, error: BaseException, verdict: Verdict, now_ns: int, *, jitter: float, host: str) -> Plan | GiveUp:
        """The open connection has ended. host: where the next attempt will go. jitter: from 0 up to 1."""
        opened_ns, self._opened_ns = self._opened_ns, None
        if opened_ns is not None and now_ns - opened_ns >= self._backoff.stable_after * _NS:
            self._start_afresh()
        first = self._attempt == 0 and verdict.pace is Pace.IMMEDIATE and verdict.retry_after is None
        plan = self._next(error, verdict, now_ns, jitter)
        if not first or not isinstance(plan, Plan) or verdict.recovery is not Recovery.RECONNECT:
            return plan
        return self._first(plan, now_ns, jitter, host)

    def failed(self, error: BaseException, verdict: Verdict, now_ns: int, *, jitter: float) -> Plan | GiveUp:
        """An attempt failed before the connection was open and restored. jitter: from 0 up to 1."""
        self._opened_ns = None
        return self._next(error, verdict, now_ns, jitter)

    def reset(self) -> None:
        """Forget everything: a person has said `resume()` or `reconnect()`, or the machine was suspended."""
        self._start_afresh()
        self._protocol_errors_ns.clear()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _start_afresh(self) -> None:
        self._attempt = 0
        self._history.clear()

    def _next(self, error: BaseException, verdict: Verdict, now_ns: int, jitter: float) -> Plan | GiveUp:
        self._history.append(Failure(self._attempt, now_ns, _in_words(error)))
        if verdict.recovery in (Recovery.HALT, Recovery.PASS_THROUGH):
            halt = verdict.recovery is Recovery.HALT
            return GiveUp(error, halt, "a person is needed" if halt else "not for wsx to recover from")
        limit = self._limit_reached(verdict.recovery, now_ns)
        if limit is not None:
            exhausted = ReconnectExhausted(limit, self._history)
            exhausted.__cause__ = error
            return GiveUp(exhausted, False, limit)
        self._attempt += 1
        return self._planned(verdict, jitter)

    def _limit_reached(self, recovery: Recovery, now_ns: int) -> str | None:
        """Which limit forbids another attempt, in words."""
        attempts, (most, window) = self._backoff.attempts, self._backoff.protocol_errors
        errors_ns = self._protocol_errors_ns
        if recovery is Recovery.NOTIFY:
            errors_ns.append(now_ns)
        if len(errors_ns) > most and recovery is Recovery.NOTIFY and now_ns - errors_ns[0] <= window * _NS:
            return f"{len(errors_ns)} protocol errors within {window:g} s, at most {most} are taken"
        if attempts is not None and self._attempt >= attempts:
            return f"all {attempts} attempts have failed"
        return None

    def _planned(self, verdict: Verdict, jitter: float) -> Plan:
        longest = verdict.pace is Pace.LONGEST or verdict.recovery is Recovery.NOTIFY
        if longest:
            delay = self._backoff.longest(jitter, verdict.retry_after)
        else:
            delay = self._backoff.delay(self._attempt, jitter, verdict.retry_after)
        asked = "" if verdict.retry_after is None else f", the server asked for {verdict.retry_after:g} s"
        return Plan(delay, self._attempt, False, f"{'longest' if longest else 'jittered'} backoff{asked}")

    def _first(self, plan: Plan, now_ns: int, jitter: float, host: str) -> Plan:
        """The first attempt after an established connection: at once, or in turn when many were lost together."""
        if self._budget.allow_immediate(host, now_ns):
            return Plan(0.0, plan.attempt, True, "at once, the connection had been established")
        turn, cap = self._budget.turn(host, now_ns) + plan.delay_seconds, self._backoff.cap
        delay = turn if turn <= cap else jitter * cap
        return Plan(delay, plan.attempt, False, "in turn, many connections to this host were lost together")


def _in_words(error: BaseException) -> str:
    """Only the texts of wsx and of the system are known to hold no secret."""
    words = str(error) if isinstance(error, WsxError) else getattr(error, "strerror", None)
    text = ": ".join(filter(None, (type(error).__name__, words)))
    return text if len(text) <= _TEXT else text[:_TEXT] + "..."
