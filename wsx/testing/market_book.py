"""A made-up order book that behaves: never crossed, never empty, moved by a seeded random walk.

Prices are counted in ticks and amounts in lots, so that nothing is rounded. What has changed since it was last asked
for comes out as the levels' new state, as the exchange says it.
Not here: instruments, trades, the text of messages (market.py).
"""

import random
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["bids", "asks"]
Edit: TypeAlias = tuple[Literal["new", "change", "delete"], int, int]

_DEPTH = 20  # levels a side, or up to five more
_SWING = 0.001  # how far the price strays before it is pulled back, of the price
_LOTS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


class MarketBook:
    """bids, asks: lots by price in ticks."""

    def __init__(self, numbers: random.Random, middle_ticks: int) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._numbers = numbers
        self._home = 2 * middle_ticks  # best bid + best ask where the walk begins
        self._swing = max(6.0, 2 * middle_ticks * _SWING)
        self._before: dict[Side, dict[int, int]] = {"bids": {}, "asks": {}}  # 0: there was no such level
        for distance in range(1, _DEPTH + 1):
            self._set("asks", middle_ticks + distance, self._lots())
            self._set("bids", middle_ticks - distance, self._lots())

    @property
    def best_bid(self) -> int:
        return max(self.bids)

    @property
    def best_ask(self) -> int:
        return min(self.asks)

    def shake(self) -> None:
        """One change as makers bring it about: mostly amounts, sometimes a level, now and then the best price."""
        side: Side = self._numbers.choice(("bids", "asks"))
        chance = self._numbers.random()
        if self.best_ask - self.best_bid > 1 and chance < 0.4:
            self._set(side, self.best_bid + 1 if side == "bids" else self.best_ask - 1, self._lots())
        elif chance < 0.06:
            side = self._weaker_side()
            self._set(side, self._best(side), 0)
        else:
            self._edit(side)
        self._keep_depth(side)

    def trade(self) -> tuple[Literal["buy", "sell"], int, int]:
        """A taker's fill at the best price: its direction, ticks and lots."""
        side = self._weaker_side()
        ticks = self._best(side)
        there = self._levels(side)[ticks]
        lots = min(there, self._lots())
        self._set(side, ticks, there - lots)
        self._keep_depth(side)
        return "buy" if side == "asks" else "sell", ticks, lots

    def take_edits(self, side: Side) -> list[Edit]:
        """What has changed on one side since the last call, the best price first."""
        before, self._before[side] = self._before[side], {}
        levels = self._levels(side)
        edits: list[Edit] = []
        for ticks in sorted(before, reverse=side == "bids"):
            lots = levels.get(ticks, 0)
            if lots != before[ticks]:
                edits.append(("delete" if not lots else "change" if before[ticks] else "new", ticks, lots))
        return edits

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _levels(self, side: Side) -> dict[int, int]:
        return self.bids if side == "bids" else self.asks

    def _set(self, side: Side, ticks: int, lots: int) -> None:
        """The one way to change a level; 0 lots: none."""
        levels = self._levels(side)
        self._before[side].setdefault(ticks, levels.get(ticks, 0))
        if lots:
            levels[ticks] = lots
        else:
            levels.pop(ticks, None)

    def _lots(self) -> int:
        return self._numbers.choice(_LOTS) * self._numbers.randint(1, 9)

    def _best(self, side: Side) -> int:
        return self.best_bid if side == "bids" else self.best_ask

    def _weaker_side(self) -> Side:
        """Whose best price gives way: either, but far from home rather the one that leads back. Never down to zero."""
        away = (self.best_bid + self.best_ask - self._home) / self._swing
        if self.best_bid <= 2 * _DEPTH:
            return "asks"
        return "asks" if self._numbers.random() < 0.5 - 0.4 * min(max(away, -1), 1) else "bids"

    def _edit(self, side: Side) -> None:
        levels = self._levels(side)
        for ticks in self._numbers.sample(list(levels), self._numbers.randint(1, 3)):
            behind = ticks != self._best(side)
            self._set(side, ticks, 0 if behind and self._numbers.random() < 0.2 else self._lots())

    def _keep_depth(self, side: Side) -> None:
        """New levels where there is a gap behind the best; the worst go where there are too many."""
        levels = self._levels(side)
        step = -1 if side == "bids" else 1
        ticks = self._best(side)
        while len(levels) < _DEPTH:
            ticks += step
            if ticks not in levels:
                self._set(side, ticks, self._lots())
        while len(levels) > _DEPTH + 5:
            self._set(side, min(levels) if side == "bids" else max(levels), 0)
