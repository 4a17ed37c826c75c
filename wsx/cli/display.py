"""How a command is shown: a live picture on a terminal, a line a second anywhere else; a summary in both.

Not here: what is shown (report.py).
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

_LINE_INTERVAL = 1.0  # seconds


class Moment(Protocol):
    """What can be shown: as a line, and as a picture."""

    def line(self) -> str:
        """For a file or a pipe."""

    def __rich__(self) -> RenderableType:
        """For a terminal."""


class Display(Protocol):
    """Where a command puts its reports; entered around them."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show no more moments."""

    def show(self, moment: Moment) -> None:
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

    def show(self, moment: Moment) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _LINE_INTERVAL:
            self._shown_at = now
            _say(moment.line())

    def conclude(self, lines: Sequence[tuple[str, str]], verdict: str, *, good: bool) -> None:
        for name, value in lines:
            _say(f"{name}: {value}")
        _say(verdict)


def _say(line: str) -> None:
    """Raises BrokenPipeError where nobody reads any more, ClickException where it cannot be written."""
    try:
        click.echo(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"the output cannot be written: {error.strerror}") from None


class LiveDisplay:
    """A picture on a screen of its own, written over in place; the summary is on the screen that was there before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, screen=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        self._live.update(moment, refresh=True)

    def conclude(self, lines: Sequence[tuple[str, str]], verdict: str, *, good: bool) -> None:
        table = Table.grid(padding=(0, 2))
        for name, value in lines:
            table.add_row(Text(name, style="bold"), value)
        self._console.print(table)
        self._console.print(Text(verdict, style="bold green" if good else "bold red"))
