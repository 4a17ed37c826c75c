"""What `wsx demo` shows of a session at an exchange: several books beside each other, the outage, latencies.

Not here: one book (book_view.py), what the session has shown (session_watch.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from wsx.adapters import deribit
from wsx.adapters.deribit.channels import Interval
from wsx.cli.book_view import BookView, view
from wsx.cli.report import Report, one_line
from wsx.cli.session_watch import SessionWatch
from wsx.cli.words import size

_OTHER_LINES = 9  # of the picture: what is above and below the books
_FRAME_LINES = 2
_MOST_ROWS = 10
_WIDE = 110  # columns in which two books have room for the amounts up to each level


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketReport(Report):
    """outage: the newest, in words."""

    books: Sequence[BookView]
    outage: str

    def line(self) -> str:
        shown = ", ".join(
            f"{book.instrument} {book.top() if book.state == 'valid' else book.state}" for book in self.books
        )
        return f"{Report.line(self)}  {shown}"

    def middle(self) -> RenderableType:
        return Group(one_line(Text(f"outage: {self.outage}")), _Books(self.books))


class _Books:
    """Two beside each other, as deep as the terminal is high."""

    def __init__(self, books: Sequence[BookView]) -> None:
        self._books = books

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pairs = max(-(-len(self._books) // 2), 1)
        rows = min(max((console.height - _OTHER_LINES) // pairs - _FRAME_LINES, 1), _MOST_ROWS)
        table = Table.grid(expand=True)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        totals = options.max_width >= _WIDE
        panels: list[RenderableType] = [_panel(book, rows, totals=totals) for book in self._books]
        for left, right in zip(panels[::2], [*panels[1::2], Text("")], strict=False):
            table.add_row(left, right)
        yield table


def _panel(book: BookView, rows: int, *, totals: bool) -> Panel:
    gauge = Text(book.gauge(), style="dim")
    return Panel(
        book.ladder(rows, totals=totals), title=book.title(), title_align="left", subtitle=gauge, padding=(0, 0)
    )


class MarketWatch(SessionWatch):
    """title: of the venue. last: the books as they were last shown."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.last: list[BookView] = []
        self._title = title

    async def follow_instruments(self, instruments: Sequence[str], interval: Interval) -> None:
        """Books, trades and tickers of these. Raises as `subscribe` of the session does."""
        for name in instruments:
            await self.follow_book(name, interval)
        await self.follow_channels([deribit.trades(name, interval) for name in instruments])
        await self.follow_channels([deribit.ticker(name) for name in instruments])

    def report(self) -> MarketReport:
        """This moment."""
        prices = self.board.prices()
        last = {name: known.last for name, known in prices.items()}
        self.last = [view(book, _MOST_ROWS, last.get(book.instrument)) for book in self.books]
        title = f"wsx demo: {self._title}"
        return MarketReport(title=title, books=self.last, outage=self.outage(), **self.moment())

    def summary(self) -> list[tuple[str, str]]:
        """What was seen, with its names."""
        rate = self.messages / self.elapsed
        volume = f"{self.messages:,} notifications, {size(self.size)}, {self.elapsed:.1f} s, {rate:,.0f}/s"
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.by_kind().items()) or "nothing"
        lines = [("received", volume), ("by channel", kinds)]
        lines += [(book.instrument, f"{book.state}, {book.best()}") for book in self.last]
        return lines + [("outage", outage.words()) for outage in self.outages.all]
