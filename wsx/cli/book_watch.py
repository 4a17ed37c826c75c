"""What `wsx book` shows: one order book, both sides, and how fast and how late it changes.

Not here: the picture of its levels (book_view.py), what the session has shown (session_watch.py).
"""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

from wsx.cli.book_view import BookView, view
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
    """title: of the venue. Its one book is the first of `books`."""

    def __init__(self, title: str, depth: int) -> None:
        super().__init__()
        self._title, self._depth = title, depth

    def report(self) -> BookReport:
        """This moment."""
        book = view(self.books[0], self._depth)
        title = f"wsx book: {self._title}"
        return BookReport(title=title, outage=self.outage(), book=book, depth=self._depth, **self.moment())

    def summary(self) -> list[tuple[str, str]]:
        """What was seen, with its names."""
        lines = [("updates", f"{self.messages:,} in {self.elapsed:.1f} s")]
        lines += [("outage", outage.words()) for outage in self.outages.all]
        return lines + list(self.latencies().items())
