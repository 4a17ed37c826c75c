"""Misbehaviour on command: rules that say what goes wrong, and exactly when.

    script.add("skip", channel="book.BTC-PERPETUAL.raw", nth=3)          # the third change is lost
    script.add("late", method="public/ticker", seconds=0.2, times=None)  # each answer from the first

A rule names a point, a method that is asked for or a channel that speaks (`*` stands for anything), and counts what
passes there: from the `nth` on it acts `times` times. ACTIONS below is the whole list.
Not here: how an action is done (answers.py, outlet.py, session.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from wsx.testing.checked import number, whole

# action -> where it can act, and its arguments with what they are by default
ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # before the request is handled
    "cut_before": ("method", {}),  # the connection ends without a CLOSE; the request was never handled
    "refuse": ("method", {"code": 13028, "message": "temporarily_unavailable", "data": None}),
    "too_many_requests": ("method", {}),  # 10028, and the end of the session where the exchange does that
    "refuse_channels": ("method", {"channels": "*"}),  # of a subscribe call: they are missing from its result
    # the answer
    "silence": ("method", {}),  # handled, never answered
    "late": ("method", {"seconds": 0.1}),  # what the same worker answers afterwards comes later too
    "swap": ("both", {}),  # goes after the next one: answer of this socket, notification of this channel
    "twice": ("both", {}),
    "garble": ("both", {}),  # only the first half of it: not JSON
    "no_id": ("method", {}),  # an error without an id instead
    "wrong_id": ("method", {}),  # the answer to a question that nobody asked
    "cut_unanswered": ("method", {}),  # handled, then the connection ends
    "cut": ("both", {}),  # the connection ends after it, without a CLOSE
    "close": ("both", {"code": 1001, "reason": ""}),  # after it, with a CLOSE
    "too_slow": ("both", {}),  # ended as a client that does not read fast enough
    "maintenance": ("both", {"code": 1001}),  # platform_state says so, then everybody is sent away
    "skew": ("both", {"seconds": 0.0}),  # from then on the exchange's clock is wrong by so much
    # the notification
    "skip": ("channel", {}),  # the book moves on, the message is lost: a gap
    "cross": ("channel", {}),  # an ask below every bid is put in
    "stale": ("channel", {}),  # its change ids are of long ago
    "linked": ("channel", {}),  # a snapshot that names a change before it
    "unlinked": ("channel", {}),  # a change that follows none (`prev_change_id` 0), as a new book begins
}


@dataclass(slots=True, kw_only=True)
class Rule:
    """One rule. connection: the number of the socket it is for, the first is 0; None: any.

    seen: what has passed its point. fired: how often it has acted.
    """

    do: str
    point: str
    pattern: str
    nth: int = 1
    times: int | None = 1
    connection: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    fired: int = 0

    def passes(self, name: str, connection: int) -> bool:
        """Count what passes; does the rule act on it?"""
        if not fnmatchcase(name, self.pattern) or self.connection not in (None, connection):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.fired >= self.times):
            return False
        self.fired += 1
        return True


class Script:
    """The rules of one exchange."""

    def __init__(self) -> None:
        self._rules: dict[str, list[Rule]] = {"method": [], "channel": []}

    @property
    def watches_channels(self) -> bool:
        """Is there any rule for notifications?"""
        return bool(self._rules["channel"])

    def add(
        self,
        do: str,
        *,
        method: str | None = None,
        channel: str | None = None,
        nth: int = 1,
        times: int | None = 1,
        connection: int | None = None,
        **arguments: Any,
    ) -> Rule:
        """Let `do` happen at a method or a channel; times=None: from then on always.

        Raises ValueError for an action that is unknown or cannot happen there, and for a number that makes no sense;
        TypeError for its wrong arguments.
        """
        if (method is None) == (channel is None):
            raise ValueError("a rule is for a method or for a channel: give one of the two")
        point, pattern = ("method", method) if method is not None else ("channel", channel or "")
        filled = _checked(do, point, arguments)
        _check_when(nth, times, connection)
        rule = Rule(
            do=do, point=point, pattern=pattern or "", nth=nth, times=times, connection=connection, arguments=filled
        )
        self._rules[point].append(rule)
        return rule

    def clear(self) -> None:
        """Behave again."""
        for rules in self._rules.values():
            rules.clear()

    def fired(self, point: str, name: str, connection: int) -> list[Rule]:
        """The rules that act on what passes now: a method or a channel by its name, on one socket."""
        return [rule for rule in self._rules[point] if rule.passes(name, connection)]


def _checked(do: str, point: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if do not in ACTIONS:
        raise ValueError(f"an action is one of {', '.join(ACTIONS)}, not {do!r}")
    where, known = ACTIONS[do]
    if where not in (point, "both"):
        raise ValueError(f"{do!r} is for a {where}, not for a {point}")
    if not arguments.keys() <= known.keys():
        raise TypeError(f"{do!r} takes {', '.join(known) or 'no arguments'}, not {', '.join(arguments)}")
    filled = known | arguments
    for name, value in filled.items():
        if name == "seconds":
            number(name, value, low=None if do == "skew" else 0)
        elif name == "code" and do != "refuse":  # of a CLOSE
            whole(name, value, low=0, high=65535)
    return filled


def _check_when(nth: int, times: int | None, connection: int | None) -> None:
    whole("nth", nth, low=1)
    if times is not None:
        whole("times", times, low=1)
    if connection is not None:
        whole("connection", connection, low=0)


def chosen(rules: list[Rule], *actions: str) -> Iterator[Rule]:
    """Those of `rules` that do one of `actions`."""
    return (rule for rule in rules if rule.do in actions)
