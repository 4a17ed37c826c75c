"""A request's round trip, split: how long the exchange took, how long the wire; and how far its clock is off ours.

Each answer says when the exchange received the request (`usIn`) and when it answered (`usOut`), in microseconds of its
own clock. Pure: the times are arguments.
Not here: asking, and when that was (session.py).
"""

import re
from dataclasses import dataclass

from wsx._telemetry import Histogram

_KEPT = 64  # round trips, of which the fastest says most about the offset
_TIME = re.compile(rb'"(usIn|usOut)"\s*:\s*(\d{1,18})(?=[\s,}])')
_ENDS = 200  # bytes of an answer that hold its times: the last ones as the exchange writes it, else the first ones


@dataclass(frozen=True, slots=True)
class Split:
    """One round trip, nanoseconds. offset_ns: the exchange's clock less ours, if both ways took equally long."""

    total_ns: int
    exchange_ns: int
    wire_ns: int
    offset_ns: int


def times_of(answer: bytes) -> tuple[int, int] | None:
    """`usIn` and `usOut` of an answer, in whatever order; None where it does not say both."""
    for end in (answer[-_ENDS:], answer[:_ENDS]):
        times = dict(_TIME.findall(end))
        if len(times) == 2:
            return int(times[b"usIn"]), int(times[b"usOut"])
    return None


class Timing:
    """All round trips of one session. exchange, wire: histograms of nanoseconds."""

    def __init__(self) -> None:
        self.exchange, self.wire = Histogram(), Histogram()
        self._newest: list[Split] = []  # those that can be true

    @property
    def offset_ns(self) -> int | None:
        """The exchange's wall clock less ours, of the fastest of the last 64 round trips; None before the first.

        A round trip that is shorter than what the exchange took of it (a clock was set meanwhile) says nothing.
        """
        return min(self._newest, key=lambda split: split.wire_ns).offset_ns if self._newest else None

    def note(self, sent_wall_ns: int, total_ns: int, us_in: int, us_out: int) -> Split:
        """One answer. sent_wall_ns: when the request was sent, on our wall clock. total_ns: until its answer came."""
        exchange_ns = max(us_out - us_in, 0) * 1000
        wire_ns = max(total_ns - exchange_ns, 0)
        split = Split(total_ns, exchange_ns, wire_ns, us_in * 1000 - (sent_wall_ns + wire_ns // 2))
        if us_in and 0 <= us_out - us_in <= total_ns // 1000:
            self._newest = [*self._newest[-_KEPT + 1 :], split]
        self.exchange.record(exchange_ns)
        self.wire.record(wire_ns)
        return split

    def snapshot(self) -> dict[str, int]:
        """Percentiles in nanoseconds, and the clock's offset (0 before the first answer)."""
        values = {"answers": self.wire.count, "clock_offset_ns": self.offset_ns or 0}
        for name, histogram in (("exchange_ns", self.exchange), ("wire_ns", self.wire)):
            values |= {f"{name}_p{percent}": histogram.percentile(percent) for percent in (50, 90, 99)}
        return values
