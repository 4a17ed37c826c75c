"""What a client of one endpoint has seen, beside what a local server has sent. Not here: the judgement (playback.py)."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table

from wsx._message import Message
from wsx._telemetry import Histogram
from wsx.cli.prices import Prices
from wsx.cli.report import Report
from wsx.cli.source import Source
from wsx.cli.tally import Tally
from wsx.cli.watch import Watch
from wsx.cli.words import percentiles, price


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackReport(Report):
    """expected: how many messages there are, where that is known."""

    expected: int | None
    prices: Mapping[str, Prices]

    def counts(self) -> str:
        of = f" (of {self.expected:,})" if self.expected is not None else ""
        return f"{Report.counts(self)}{of}"

    def middle(self) -> RenderableType:
        table = Table("instrument")
        for name in ("last", "bid", "ask"):
            table.add_column(name, justify="right")
        for name, prices in self.prices.items():
            table.add_row(name, *(price(value) for value in (prices.last, prices.bid, prices.ask)))
        return table


class PlaybackWatch(Watch):
    """source: where its messages come from. answer: the first reply. left: the client itself ended it, after its time."""

    def __init__(self, source: Source | None = None) -> None:
        super().__init__()
        self.source = source or Source(title="nothing", url="")
        self.answer: bytes | None = None
        self.left = False
        self._transit_ns = Histogram()

    @property
    def received(self) -> Tally:
        """Of the one connection."""
        return next(iter(self.tallies.values()), Tally())

    def on_message(self, message: Message) -> None:
        """Count, keep, measure."""
        if self.note(message) == b"reply" and self.answer is None:
            self.answer = message.data
        self._measure_transit(message.received_ns)
        self.measure(message)

    def report(self) -> PlaybackReport:
        """This moment."""
        title = f"wsx demo: {self.source.title}"
        expected, prices = self.source.expected, self.board.prices()
        return PlaybackReport(title=title, expected=expected, prices=prices, **self.moment())

    def latencies(self) -> dict[str, str]:
        measured = super().latencies()
        if self.source.sent is not None:
            measured["sent → received"] = percentiles(self._transit_ns)
        return measured

    def _measure_transit(self, received_ns: int) -> None:
        """From the local server's write to the client's read, for the message just counted."""
        stamps, received = self.source.stamps, self.received.messages
        while stamps and stamps[0][0] < received:
            stamps.popleft()
        if stamps:
            self._transit_ns.record(max(received_ns - stamps[0][1], 0))
