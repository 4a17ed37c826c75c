"""When what has ended is started again, and when it has ended too often: pure policy. Time comes in as an argument.

    ended ──▶ wanted? ──no──▶ it rests                      permanent: always, transient: after an error, temporary: never
                 └──yes──▶ Intensity.allow ──no──▶ the supervisor gives up

Not here: starting, waiting and stopping (supervisor.py).
"""

from collections import deque
from enum import StrEnum

from wsx.errors import Failure

_NS = 1_000_000_000


class Restart(StrEnum):
    """Which of its ends a child is started again after."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"

    def wanted(self, error: BaseException | None) -> bool:
        """Is it started again? error: what ended it, or None for an end in good order."""
        return self is Restart.PERMANENT or (self is Restart.TRANSIENT and error is not None)


class Intensity:
    """How many restarts, of all children together, are taken: `max_restarts` in any `within` seconds.

    Raises TypeError and ValueError for what is no count and no duration.
    """

    def __init__(self, max_restarts: int, within: float) -> None:
        if isinstance(max_restarts, bool) or not isinstance(max_restarts, int):
            raise TypeError(f"max_restarts must be an int, not {type(max_restarts).__name__}")
        if isinstance(within, bool) or not isinstance(within, int | float):
            raise TypeError(f"within must be a number of seconds, not {type(within).__name__}")
        if max_restarts < 0 or not 0 < within <= 86_400:  # also false for NaN
            raise ValueError(
                f"at most {max_restarts} restarts within {within} s: neither may be negative, nor a day pass"
            )
        self.max_restarts, self.within = max_restarts, within
        self._ends: deque[tuple[int, str]] = deque(maxlen=max_restarts + 1)  # one more is enough to know

    def allow(self, what: str, now_ns: int) -> bool:
        """Count one more end that asks for a restart. what: who ended, and of what. False: it is one too many."""
        self._ends.append((now_ns, what))
        return self.recent(now_ns) <= self.max_restarts

    def recent(self, now_ns: int) -> int:
        """How many were counted within the last `within` seconds; no more than one above the limit are told apart."""
        return sum(now_ns - at_ns < self.within * _NS for at_ns, _ in self._ends)

    @property
    def history(self) -> tuple[Failure, ...]:
        """The ends that were counted last, the oldest first."""
        return tuple(Failure(number, at_ns, what) for number, (at_ns, what) in enumerate(self._ends, 1))
