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
from wsx.cli.book_view import BookView
from wsx.cli.report import Report, one_line
from wsx.cli.session_watch import SessionWatch

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
    """Several books, and what is traded beside them."""

    def __init__(self) -> None:
        super().__init__(_MOST_ROWS)

    async def follow_instruments(self, instruments: Sequence[str], interval: Interval) -> None:
        """Books, trades and tickers of these. Raises as `subscribe` of the session does."""
        for name in instruments:
            await self.follow_book(name, interval)
        await self.follow_channels([deribit.trades(name, interval) for name in instruments])
        await self.follow_channels([deribit.ticker(name) for name in instruments])

    def report(self) -> MarketReport:
        """This moment."""
        title = f"wsx demo: {self.venue}"
        return MarketReport(title=title, books=self.look(), outage=self.outage(), **self.moment())
