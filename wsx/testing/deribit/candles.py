"""Candles made of trades. Not here: the trades (floor.py), who is told (feeds.py)."""

from collections.abc import Iterable
from typing import Any

RESOLUTIONS = {**{str(n): n * 60_000 for n in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)}, "1D": 86_400_000}


class Bar:
    """One candle: `tick` ms is where its time begins."""

    def __init__(self, tick: int, price: float) -> None:
        self.tick = tick
        self.open = self.high = self.low = self.close = price
        self.volume = self.cost = 0.0

    def add(self, trade: dict[str, Any]) -> None:
        """Take in a trade of its time."""
        price, amount = trade["price"], trade["amount"]
        self.close, self.high, self.low = price, max(self.high, price), min(self.low, price)
        self.volume = round(self.volume + amount / price, 8)
        self.cost = round(self.cost + amount, 8)


def bars_of(trades: Iterable[dict[str, Any]], length_ms: int) -> list[Bar]:
    """The candles from the first trade to the last; where nothing was traded the last price stands, without volume."""
    bars: list[Bar] = []
    for trade in trades:
        tick = trade["timestamp"] // length_ms * length_ms
        while bars and bars[-1].tick + length_ms < tick:
            bars.append(Bar(bars[-1].tick + length_ms, bars[-1].close))
        if not bars or bars[-1].tick < tick:
            bars.append(Bar(tick, trade["price"]))
        bars[-1].add(trade)
    return bars
