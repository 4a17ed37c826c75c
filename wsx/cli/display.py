"""How the demo is shown: a live table on a terminal, a line a second anywhere else; a summary in both.

Not here: what is shown (report.py).
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wsx.cli.report import Report, price, size

_LINE_INTERVAL = 1.0  # seconds


class Display(Protocol):
    """Where the demo puts its reports; entered around them."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show no more moments."""

    def show(self, report: Report) -> None:
        """A moment; may be left out."""

    def conclude(self, lines: Sequence[tuple[str, str]], verdict: str, *, good: bool) -> None:
        """The summary: what, and its value."""


def make_display() -> Display:
    """The display that fits standard output."""
    console = Console()
    return LiveDisplay(console) if console.is_terminal else LineDisplay()


class LineDisplay:
    """Plain lines, for a file or a pipe."""

    def __init__(self) -> None:
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def show(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _LINE_INTERVAL:
            self._shown_at = now
            rates = f"{report.messages_per_second:,.0f} messages/s, {size(report.bytes_per_second)}/s"
            click.echo(f"{report.elapsed:6.1f} s  {report.messages:>10,} messages  {rates}")

    def conclude(self, lines: Sequence[tuple[str, str]], verdict: str, *, good: bool) -> None:
        for name, value in lines:
            click.echo(f"{name}: {value}")
        click.echo(verdict)


class LiveDisplay:
    """A table that is drawn again in place. Drawing takes the loop's time, so it is done seldom."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, report: Report) -> None:
        self._live.update(_picture(report), refresh=True)

    def conclude(self, lines: Sequence[tuple[str, str]], verdict: str, *, good: bool) -> None:
        table = Table.grid(padding=(0, 2))
        for name, value in lines:
            table.add_row(Text(name, style="bold"), value)
        self._console.print(table)
        self._console.print(Text(verdict, style="bold green" if good else "bold red"))


def _picture(report: Report) -> Group:
    rates = f"{report.messages_per_second:,.0f} messages/s   {size(report.bytes_per_second)}/s"
    of = f" of {report.expected:,}" if report.expected is not None else ""
    counts = f"{report.messages:,}{of} messages   {size(report.bytes)}   {report.elapsed:.1f} s"
    kinds = "   ".join(f"{kind} {count:,}" for kind, count in report.by_kind.items())
    latencies = Table.grid(padding=(0, 2))
    for name, value in report.latencies.items():
        latencies.add_row(name, value)
    return Group(Text(report.title, style="bold"), rates, counts, kinds, _instruments(report), latencies)


def _instruments(report: Report) -> Table:
    table = Table("instrument")
    for name in ("last", "bid", "ask"):
        table.add_column(name, justify="right")
    for name, prices in report.prices.items():
        table.add_row(name, *(price(value) for value in (prices.last, prices.bid, prices.ask)))
    return table
