"""A moment of a client's work: how much came, how fast, and how late. As values, as one line, and as a picture.

Each command adds what it shows besides. Not here: where the values come from (watch.py), the screen (display.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wsx.cli.words import size


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(ABC):
    """Rates are over the time since the report before; the others since the beginning. elapsed: seconds.

    state: of the connection. kinds: how many of which. latencies: what was measured -> its percentiles, in words.
    """

    title: str
    state: str
    elapsed: float
    messages: int
    bytes: int
    messages_per_second: float
    bytes_per_second: float
    kinds: str
    latencies: Mapping[str, str]

    def line(self) -> str:
        """For a place that cannot be drawn upon."""
        return f"{self.elapsed:6.1f} s  {self.state}  {self.messages:>10,} messages  {self.rates()}"

    def rates(self) -> str:
        """How fast they come."""
        return f"{self.messages_per_second:,.0f} messages/s, {size(self.bytes_per_second)}/s"

    def counts(self) -> str:
        """How much came."""
        return f"{self.messages:,} messages   {size(self.bytes)}   {self.elapsed:.1f} s"

    def __rich__(self) -> RenderableType:
        latencies = Table.grid(padding=(0, 2))
        for name, value in self.latencies.items():
            latencies.add_row(one_line(Text(name)), one_line(Text(value)))
        head = (
            Text.assemble((self.title, "bold"), "   ", self.state),
            Text(f"{self.rates()}   {self.counts()}"),
            Text(self.kinds),
        )
        return Group(*map(one_line, head), latencies, self.middle())

    @abstractmethod
    def middle(self) -> RenderableType:
        """What a command shows besides."""


def one_line(text: Text) -> Text:
    """Cut off where the terminal ends, rather than broken into two lines."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
