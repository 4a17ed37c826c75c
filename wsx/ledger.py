"""The blind ledger: when was which stream blind, and why. Pure; time comes in with each call.

    last good message ──(blind)── first good message        one `Gap`, from `begin` to `end`; its two ends were seen

Not here: noticing that something is missing, and telling the user (client.py).
"""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace

from wsx.events import Gap

__all__ = ["Gap", "Ledger", "WallAnchor"]

_EVERYTHING = ""  # the stream that stands for all that a connection carries
_MAX_RECORDS = 4096


@dataclass(frozen=True, slots=True)
class WallAnchor:
    """One moment on both clocks, so that the ledger can be asked for a wall-clock time (nanoseconds since 1970, UTC).

    It is as true as the wall clock was then: take a new one after that was set.
    """

    monotonic_ns: int
    wall_ns: int

    def to_monotonic_ns(self, wall_ns: int) -> int:
        return wall_ns - self.wall_ns + self.monotonic_ns

    def to_wall_ns(self, monotonic_ns: int) -> int:
        return monotonic_ns - self.monotonic_ns + self.wall_ns


class Ledger:
    """The gaps of one client. Those that have ended are bounded: the oldest are forgotten, and counted.

    max_records: ended gaps that are kept, over all streams. Those that still last are never forgotten: there is at
    most one a stream, so the subscriptions bound them.
    """

    def __init__(self, max_records: int = _MAX_RECORDS) -> None:
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        self._max_records = max_records
        self._lasting: dict[str, Gap] = {}
        self._lasting_since: list[tuple[int, str]] = []  # sorted
        self._ended: list[Gap] = []  # sorted by their ends
        self._of_all = _Cover()
        self._of_stream: dict[str, _Cover] = {}
        self._forgotten = 0
        self._complete_since_ns: int | None = None

    @property
    def forgotten(self) -> int:
        """How many gaps have been forgotten."""
        return self._forgotten

    @property
    def complete_since_ns(self) -> int | None:
        """Before this moment gaps have been forgotten; None: it knows them all."""
        return self._complete_since_ns

    def gaps(self, stream: str | None = None) -> tuple[Gap, ...]:
        """All that are known, those that have ended first, in the order of their ends. stream: this one's alone."""
        known = [*self._ended, *self._lasting.values()]
        return tuple(gap for gap in known if stream is None or gap.stream == stream)

    def begin(self, stream: str, last_good_ns: int, cause: str, *, epoch: int) -> Gap:
        """`stream` has been blind since `last_good_ns`. If it was blind already, that gap goes on and is returned."""
        if (lasting := self._lasting.get(stream)) is not None:
            return lasting
        gap = Gap(stream=stream, last_good_ns=last_good_ns, first_good_ns=None, cause=cause, epoch=epoch)
        self._lasting[stream] = gap
        insort(self._lasting_since, (last_good_ns, stream))
        return gap

    def end(self, stream: str, first_good_ns: int, missed: int | None = None) -> Gap:
        """`stream` sees again. missed: how many messages, where that is known. Raises KeyError if it was not blind."""
        begun = self._lasting.pop(stream)
        del self._lasting_since[bisect_left(self._lasting_since, (begun.last_good_ns, stream))]
        gap = replace(begun, first_good_ns=max(first_good_ns, begun.last_good_ns), missed=missed)
        self.add(gap)
        return gap

    def add(self, gap: Gap, instead_of: Gap | None = None) -> None:
        """Keep a gap that has ended. instead_of: the record of the same blindness until now, which lies within `gap`."""
        if instead_of is not None:
            self._take_out(instead_of)
        insort(self._ended, gap, key=_end_ns)
        self._of_all.add(gap)
        self._of_stream.setdefault(gap.stream, _Cover()).add(gap)
        if len(self._ended) > self._max_records:
            self._forget(self._ended.pop(0))

    def was_blind(self, at_ns: int, stream: str | None = None) -> Gap | None:
        """A gap that covers this moment (monotonic), or None. Takes O(log n).

        stream: asks for it and for the connection that carries it; None: for any. Before `complete_since_ns` None means
        nothing.
        """
        if stream is None:
            return self._any_lasting(at_ns) or self._of_all.find(at_ns)
        for name in (stream, _EVERYTHING):
            lasting, ended = self._lasting.get(name), self._of_stream.get(name)
            if lasting is not None and lasting.last_good_ns < at_ns:
                return lasting
            if ended is not None and (gap := ended.find(at_ns)) is not None:
                return gap
        return None

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _any_lasting(self, at_ns: int) -> Gap | None:
        since_ns, stream = self._lasting_since[0] if self._lasting_since else (at_ns, _EVERYTHING)
        return self._lasting[stream] if since_ns < at_ns else None

    def _take_out(self, gap: Gap) -> None:
        """Take it out of the list, if it has not been forgotten; the covers lose it to the gap around it."""
        at = bisect_left(self._ended, _end_ns(gap), key=_end_ns)
        while at < len(self._ended) and self._ended[at] is not gap:
            at += 1
        del self._ended[at : at + 1]

    def _forget(self, gap: Gap) -> None:
        self._forgotten += 1
        self._complete_since_ns = gap.first_good_ns
        self._of_all.discard(gap)
        of_stream = self._of_stream[gap.stream]
        of_stream.discard(gap)
        if not of_stream.gaps:
            del self._of_stream[gap.stream]


class _Cover:
    """Ended gaps without those that lie within another: both ends then rise together, and one look-up finds any.

    Gaps leave in the order of their ends, so one within another is gone before the other is.
    """

    __slots__ = ("gaps",)

    def __init__(self) -> None:
        self.gaps: list[Gap] = []

    def find(self, at_ns: int) -> Gap | None:
        # The first that ends later begins earliest of all that do.
        at = bisect_right(self.gaps, at_ns, key=_end_ns)
        return self.gaps[at] if at < len(self.gaps) and self.gaps[at].last_good_ns < at_ns else None

    def add(self, gap: Gap) -> None:
        at = bisect_right(self.gaps, _end_ns(gap), key=_end_ns)  # of those that end together, this one leaves last
        if at < len(self.gaps) and self.gaps[at].last_good_ns <= gap.last_good_ns:
            return
        first = at
        while first > 0 and self.gaps[first - 1].last_good_ns >= gap.last_good_ns:
            first -= 1
        self.gaps[first:at] = [gap]

    def discard(self, gap: Gap) -> None:
        if self.gaps and self.gaps[0] is gap:
            del self.gaps[0]


def _end_ns(gap: Gap) -> int:
    assert gap.first_good_ns is not None  # it has ended
    return gap.first_good_ns
