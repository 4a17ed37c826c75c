"""An order book at one moment: its best levels with what lies up to there, as values and as a picture.

      amount   total       bid | ask        total  amount

Not here: the book itself (wsx/_book.pyx), what else is shown beside it (book_report.py, market_report.py).
"""

from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from wsx._book import OrderBook
from wsx.cli.report import one_line
from wsx.cli.words import number

_STYLES = {"valid": "green", "stale": "bold red", "empty": "yellow"}
_Row = tuple[float, float, float]  # price, amount, amount up to here


@dataclass(frozen=True, slots=True, kw_only=True)
class BookView:
    """bids, asks: (price, amount, amount up to there), the best first. exponents: of prices and amounts.

    why: the reason where it is stale. last: the price of the newest trade.
    """

    instrument: str
    state: str
    why: str | None
    change_id: int | None
    bids: list[_Row]
    asks: list[_Row]
    exponents: tuple[int, int]
    last: float | None = None

    @property
    def spread(self) -> float | None:
        """Between the best prices; None without one of them."""
        return self.asks[0][0] - self.bids[0][0] if self.bids and self.asks else None

    @property
    def mid(self) -> float | None:
        """Half-way between them."""
        return (self.asks[0][0] + self.bids[0][0]) / 2 if self.bids and self.asks else None

    def best(self) -> str:
        """The best of both sides, in a line."""
        bid, ask = (
            f"{number(side[0][0], self.exponents[0])} × {number(side[0][1], self.exponents[1])}" if side else "-"
            for side in (self.bids, self.asks)
        )
        return f"{bid} / {ask}"

    def top(self) -> str:
        """The best prices alone."""
        bid, ask = (number(side[0][0], self.exponents[0]) if side else "-" for side in (self.bids, self.asks))
        return f"{bid}/{ask}"

    def gauge(self) -> str:
        """Spread and middle, in a line."""
        if self.spread is None or self.mid is None:
            return "spread -, mid -"
        exponent = self.exponents[0]
        return f"spread {number(self.spread, exponent)}, mid {number(self.mid, exponent - 1)}"

    def title(self) -> Text:
        """Its name, its state, and why it is so."""
        last = "" if self.last is None else f" last {number(self.last, self.exponents[0])}"
        says = f" {self.why}" if self.why else last
        text = Text.assemble((self.instrument, "bold"), " ", (self.state, _STYLES[self.state]), says)
        return one_line(text)

    def ladder(self, rows: int, *, totals: bool, head: bool = False) -> Table:
        """Both sides beside each other, `rows` levels deep. totals: the amounts up to each level. head: what is what."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, show_header=head)
        names = ("total", "amount", "bid", "ask", "amount", "total")
        for name in names if totals else names[1:-1]:
            justify: JustifyMethod = "left" if name == "ask" else "right"
            table.add_column(name, justify=justify, ratio=1, no_wrap=True, overflow="crop", header_style="dim")
        for row in range(rows):
            bid, ask = self._cells(self.bids, row, "green"), self._cells(self.asks, row, "red")
            shown = 3 if totals else 2
            table.add_row(*reversed(bid[:shown]), *ask[:shown])
        return table

    def _cells(self, side: list[_Row], row: int, style: str) -> list[Text]:
        """Price, amount and total of one level; empty where there is none."""
        if row >= len(side):
            return [Text("")] * 3
        price, amount, total = side[row]
        prices, amounts = self.exponents
        texts = (number(price, prices), style), (number(amount, amounts), ""), (number(total, amounts), "dim")
        return [Text(text, style=style) for text, style in texts]


def view(book: OrderBook[Any], depth: int, last: float | None = None) -> BookView:
    """The book as it is now, at most `depth` levels a side. last: the price of the newest trade, where it is known."""
    sides = {}
    for side, levels in (("bids", book.bids(depth)), ("asks", book.asks(depth))):
        totals = book.cumulative("bids" if side == "bids" else "asks", depth)
        sides[side] = [(price, amount, total) for (price, amount), (_, total) in zip(levels, totals, strict=True)]
    return BookView(
        instrument=book.instrument,
        state=book.state,
        why=book.stale_reason,
        change_id=book.change_id,
        exponents=(book.price_exponent, book.amount_exponent),
        last=last,
        **sides,
    )
