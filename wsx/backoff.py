"""How long to wait before the next attempt: one frozen `Backoff`, checked on construction.

Time and randomness are arguments. In the base layer, because `Config.reconnect` holds one.
Not here: which attempt it is, and whether there is another (reconnection.py).
"""

from dataclasses import dataclass
from typing import Any

_SHORTEST, _LONGEST = 0.001, 86_400.0  # seconds, as for the durations of Config
_LARGEST = 2**31 - 1
_RETRY_AFTER_CAP = 3600.0  # seconds: a server that says "next year" must not silence a client for good
_LONGEST_SPREAD = 0.2  # the part of the cap over which attempts at the longest backoff are spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter. Wrong types are a `TypeError`, wrong values a `ValueError`.

    initial, cap: seconds; attempt n waits up to min(cap, initial * factor ** (n - 1)). attempts: how many may be made
    since a connection was last stable; None: without end. stable_after: seconds that a connection must have been open
    before the counting starts afresh. protocol_errors: (count, seconds); more of them than `count` within `seconds`
    end the client.
    """

    initial: float = 0.1
    factor: float = 2.0
    cap: float = 30.0
    attempts: int | None = None
    stable_after: float = 30.0
    protocol_errors: tuple[int, float] = (3, 600.0)

    def __post_init__(self) -> None:
        for name in ("initial", "cap", "stable_after"):
            _check_number(name, getattr(self, name), _SHORTEST, _LONGEST)
        _check_number("factor", self.factor, 1.0, 1000.0)
        if self.attempts is not None:
            _check_count("attempts", self.attempts)
        if not isinstance(self.protocol_errors, tuple) or len(self.protocol_errors) != 2:
            raise TypeError(f"protocol_errors must be a tuple of a count and seconds, not {self.protocol_errors!r}")
        _check_count("the count of protocol_errors", self.protocol_errors[0])
        _check_number("the seconds of protocol_errors", self.protocol_errors[1], _SHORTEST, _LONGEST)

    def ceiling(self, attempt: int) -> float:
        """The longest that `attempt` (from 1) may wait, in seconds, whatever the server asks for."""
        try:
            return min(self.cap, self.initial * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.cap

    def delay(self, attempt: int, jitter: float, retry_after: float | None = None) -> float:
        """Seconds to wait before `attempt` (from 1). jitter: from 0 up to, not including, 1.

        retry_after: seconds that the server asked to wait: at least so long, and at most an hour, the jitter on top:
        all who were sent away together would come back together.
        """
        asked = 0.0 if retry_after is None else min(max(retry_after, 0.0), _RETRY_AFTER_CAP)
        return asked + jitter * self.ceiling(attempt)

    def longest(self, jitter: float, retry_after: float | None = None) -> float:
        """Seconds to wait after what will not go away soon: within the last fifth of the cap, or as asked if later."""
        asked = 0.0 if retry_after is None else self.delay(1, jitter, retry_after)
        return max(asked, self.cap * (1 - _LONGEST_SPREAD * jitter))


def _check_number(name: str, value: Any, lowest: float, highest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not lowest <= value <= highest:  # also false for NaN
        raise ValueError(f"{name} must be from {lowest:g} to {highest:g}")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 1 <= value <= _LARGEST:
        raise ValueError(f"{name} must be from 1 to {_LARGEST}")
