"""Everybody who trades in a made-up market, in one: quotes and takes by a seeded random walk.

It keeps the book believable: never crossed, never empty, deep enough, and close to where it began.
Not here: the book itself (market_book.py), what is said about a trade (market_listing.py).
"""

import random
from typing import Literal

from wsx.testing.market_book import MarketBook, Side

_SWING = 0.001  # how far the price strays before it is pulled back, of the price
_LOTS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


class MarketMaker:
    """Acts on `book`, which it fills around `middle_ticks` at once. depth: levels a side, or up to five more."""

    def __init__(self, numbers: random.Random, book: MarketBook, middle_ticks: int, depth: int) -> None:
        self._depth = depth
        self._numbers = numbers
        self._book = book
        self._home = 2 * middle_ticks  # best bid + best ask where the walk begins
        self._swing = max(6.0, 2 * middle_ticks * _SWING)
        for distance in range(1, depth + 1):
            book.set_level("asks", middle_ticks + distance, self._lots())
            book.set_level("bids", middle_ticks - distance, self._lots())

    def shake(self) -> None:
        """One change as makers bring it about: mostly amounts, sometimes a level, now and then the best price."""
        book = self._book
        side: Side = self._numbers.choice(("bids", "asks"))
        chance = self._numbers.random()
        if book.best_ask - book.best_bid > 1 and chance < 0.4:
            book.set_level(side, book.best_bid + 1 if side == "bids" else book.best_ask - 1, self._lots())
        elif chance < 0.06:
            side = self._weaker_side()
            book.set_level(side, book.best(side), 0)
        else:
            self._edit(side)
        self._keep_depth(side)

    def trade(self) -> tuple[Literal["buy", "sell"], int, int]:
        """A taker's fill at the best price: its direction, ticks and lots."""
        side = self._weaker_side()
        ticks = self._book.best(side)
        there = self._book.levels(side)[ticks]
        lots = min(there, self._lots())
        self._book.set_level(side, ticks, there - lots)
        self._keep_depth(side)
        return "buy" if side == "asks" else "sell", ticks, lots

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _lots(self) -> int:
        return self._numbers.choice(_LOTS) * self._numbers.randint(1, 9)

    def _weaker_side(self) -> Side:
        """Whose best price gives way: either, but far from home rather the one that leads back. Never down to zero."""
        away = (self._book.best_bid + self._book.best_ask - self._home) / self._swing
        if self._book.best_bid <= 2 * self._depth:
            return "asks"
        return "asks" if self._numbers.random() < 0.5 - 0.4 * min(max(away, -1), 1) else "bids"

    def _edit(self, side: Side) -> None:
        levels = self._book.levels(side)
        for ticks in self._numbers.sample(list(levels), self._numbers.randint(1, 3)):
            behind = ticks != self._book.best(side)
            self._book.set_level(side, ticks, 0 if behind and self._numbers.random() < 0.2 else self._lots())

    def _keep_depth(self, side: Side) -> None:
        """New levels where there is a gap behind the best; the worst go where there are too many."""
        levels = self._book.levels(side)
        step = -1 if side == "bids" else 1
        ticks = self._book.best(side)
        while len(levels) < self._depth:
            ticks += step
            if ticks not in levels:
                self._book.set_level(side, ticks, self._lots())
        while len(levels) > self._depth + 5:
            self._book.set_level(side, min(levels) if side == "bids" else max(levels), 0)
