"""A made-up order book: what lies at which price. Prices are counted in ticks and amounts in lots, so that nothing is
rounded. What has changed since it was last asked for comes out as the levels' new state, as the exchange says it.

Not here: who quotes and who takes (market_maker.py), instruments, trades, the text of messages (market.py).
"""

from typing import Literal, TypeAlias

Side: TypeAlias = Literal["bids", "asks"]
Edit: TypeAlias = tuple[Literal["new", "change", "delete"], int, int]


class MarketBook:
    """bids, asks: lots by price in ticks. Changed through `set_level` alone."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._before: dict[Side, dict[int, int]] = {"bids": {}, "asks": {}}  # 0: there was no such level

    @property
    def best_bid(self) -> int:
        """0 where there is none."""
        return max(self.bids, default=0)

    @property
    def best_ask(self) -> int:
        """0 where there is none."""
        return min(self.asks, default=0)

    def levels(self, side: Side) -> dict[int, int]:
        """Lots by price in ticks."""
        return self.bids if side == "bids" else self.asks

    def best(self, side: Side) -> int:
        """The best price of a side, 0 where there is none."""
        return self.best_bid if side == "bids" else self.best_ask

    def set_level(self, side: Side, ticks: int, lots: int) -> None:
        """The one way to change a level; 0 lots: none."""
        levels = self.levels(side)
        self._before[side].setdefault(ticks, levels.get(ticks, 0))
        if lots:
            levels[ticks] = lots
        else:
            levels.pop(ticks, None)

    def take_before(self, side: Side) -> dict[int, int]:
        """The lots that were at each level touched since the last call, then; 0: there was no such level."""
        before, self._before[side] = self._before[side], {}
        return before

    def take_edits(self, side: Side) -> list[Edit]:
        """What has changed on one side since the last call, the best price first."""
        return edits_since(self.take_before(side), self.levels(side), side)


def edits_since(before: dict[int, int], levels: dict[int, int], side: Side) -> list[Edit]:
    """What turns the levels `before` into those of now, the best price first. before: only those that were touched."""
    edits: list[Edit] = []
    for ticks in sorted(before, reverse=side == "bids"):
        lots = levels.get(ticks, 0)
        if lots != before[ticks]:
            edits.append(("delete" if not lots else "change" if before[ticks] else "new", ticks, lots))
    return edits
