"""What `wsx book` shows: one order book, both sides, and how fast and how late it changes.

Not here: the picture of its levels (book_view.py), what the session has shown (session_watch.py).
"""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

from wsx.cli.book_view import BookView
from wsx.cli.report import Report, one_line
from wsx.cli.session_watch import SessionWatch

_OTHER_LINES = 12  # of the picture: what is above and below the levels, the frame too


@dataclass(frozen=True, slots=True, kw_only=True)
class BookReport(Report):
    """depth: levels that were asked for. outage: the newest, in words."""

    outage: str
    book: BookView
    depth: int

    def line(self) -> str:
        book, rate = self.book, f"{self.messages_per_second:,.0f} updates/s"
        head = f"{self.elapsed:6.1f} s  {book.instrument} {book.state}"
        handled = self.latencies["received → handled"]
        return f"{head}  {book.best()}  {book.gauge()}  change {book.change_id}  {rate}  handled {handled}"

    def middle(self) -> RenderableType:
        return _Frame(self)


class _Frame:
    """As deep as was asked for, and as the terminal is high."""

    def __init__(self, report: BookReport) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report, book = self._report, self._report.book
        rows = max(min(report.depth, console.height - _OTHER_LINES), 1)
        below = f"{book.gauge()}, change {book.change_id}"
        ladder = book.ladder(rows, totals=True, head=True)
        yield one_line(Text(f"outage: {report.outage}"))
        yield Panel(ladder, title=book.title(), title_align="left", subtitle=below, padding=(0, 1))


class BookWatch(SessionWatch):
    """One book."""

    def report(self) -> BookReport:
        """This moment."""
        (book,) = self.look()
        title = f"wsx book: {self.venue}"
        return BookReport(title=title, outage=self.outage(), book=book, depth=self.depth, **self.moment())
