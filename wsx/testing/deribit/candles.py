"""Candles made of trades. Not here: the trades (floor.py), who is told (feeds.py)."""

from collections.abc import Iterable
from typing import Any

RESOLUTIONS = {**{str(n): n * 60_000 for n in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)}, "1D": 86_400_000}
_WIDEST_HOLE = 10_000  # candles without a trade


class Bar:
    """One candle: `tick` ms is where its time begins. volume: in the coin. cost: in the counter currency.

    inverse: the amounts of its trades are in the counter currency.
    """

    def __init__(self, tick: int, price: float, *, inverse: bool) -> None:
        self.tick = tick
        self.inverse = inverse
        self.open = self.high = self.low = self.close = price
        self.volume = self.cost = 0.0

    def add(self, trade: dict[str, Any]) -> None:
        """Take in a trade of its time."""
        price, amount = trade["price"], trade["amount"]
        self.close, self.high, self.low = price, max(self.high, price), min(self.low, price)
        volume, cost = (amount / price, amount) if self.inverse else (amount, amount * price)
        self.volume, self.cost = round(self.volume + volume, 8), round(self.cost + cost, 8)


def bars_of(trades: Iterable[dict[str, Any]], length_ms: int, *, inverse: bool) -> list[Bar]:
    """The candles from the first trade to the last; where nothing was traded the last price stands, without volume.

    What is behind a hole of so many that a clock must have jumped is left out.
    """
    bars: list[Bar] = []
    for trade in trades:
        tick = trade["timestamp"] // length_ms * length_ms
        if bars and tick - bars[-1].tick > _WIDEST_HOLE * length_ms:
            bars.clear()
        while bars and bars[-1].tick + length_ms < tick:
            bars.append(Bar(bars[-1].tick + length_ms, bars[-1].close, inverse=inverse))
        if not bars or bars[-1].tick < tick:
            bars.append(Bar(tick, trade["price"], inverse=inverse))
        bars[-1].add(trade)
    return bars
