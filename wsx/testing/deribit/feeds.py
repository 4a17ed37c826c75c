"""What each channel says: a feed is one channel, shared by all who subscribe to it.

A feed notes what happens to its listings and, asked by `take`, gives the data of its next notification or None;
`opening` is what a new subscriber is told first. A feed says nothing by itself and knows no subscriber.
Not here: the books (book_feeds.py), when a feed is asked (hub.py).
"""

from collections.abc import Callable
from typing import Any, Protocol

from wsx.testing.deribit.book_feeds import BookFeed, GroupedBookFeed
from wsx.testing.deribit.candles import RESOLUTIONS, Bar, bars_of
from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.floor import Floor, Happening
from wsx.testing.deribit.instruments import price_index


class Feed(Protocol):
    """One channel."""

    def opening(self, now_ms: int) -> Any:
        """The data of a new subscriber's first notification, or None."""

    def note(self, happening: Happening) -> None:
        """Something happened to a listing that the channel is about."""

    def take(self, now_ms: int) -> Any:
        """The data of the next notification, or None where there is nothing new."""


def make_feed(channel: Channel, floor: Floor) -> Feed:
    """The feed that serves a channel."""
    return _FEEDS[channel.kind](channel, floor)


class _Silent:
    """A channel that has nothing to say by itself."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        self._floor, self._channel = floor, channel
        self._listings = [floor.listings[name] for name in channel.instruments]

    def opening(self, now_ms: int) -> Any:
        return None

    def note(self, happening: Happening) -> None:
        return None

    def take(self, now_ms: int) -> Any:
        return None


class _Trades(_Silent):
    """All trades since it last spoke."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        super().__init__(channel, floor)
        self._trades: list[dict[str, Any]] = []

    def note(self, happening: Happening) -> None:
        self._trades += happening.trades

    def take(self, now_ms: int) -> list[dict[str, Any]] | None:
        trades, self._trades = self._trades, []
        return trades or None


class _Ticker(_Silent):
    """The whole of it, whenever something of it is new."""

    _new = False

    def opening(self, now_ms: int) -> dict[str, Any]:
        return self._listings[0].ticker(now_ms)

    def note(self, happening: Happening) -> None:
        self._new = self._new or happening.top_changed or bool(happening.trades)

    def take(self, now_ms: int) -> dict[str, Any] | None:
        new, self._new = self._new, False
        return self.opening(now_ms) if new else None


class _Quote(_Ticker):
    def opening(self, now_ms: int) -> dict[str, Any]:
        return self._listings[0].quote(now_ms)

    def note(self, happening: Happening) -> None:
        self._new = self._new or happening.top_changed


class _Perpetual(_Ticker):
    def opening(self, now_ms: int) -> dict[str, Any]:
        (listing,) = self._listings
        return {"timestamp": now_ms, "interest": 7.2e-5, "index_price": listing.index_price}


class _IncrementalTicker(_Silent):
    """The ticker, then what is new in it. Who comes later gets it as it was last told."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        super().__init__(channel, floor)
        self._told: dict[str, Any] = {}

    def opening(self, now_ms: int) -> dict[str, Any]:
        self._told = self._told or self._listings[0].ticker(now_ms)
        return {"type": "snapshot"} | self._told

    def take(self, now_ms: int) -> dict[str, Any] | None:
        before, self._told = self._told, self._listings[0].ticker(now_ms)
        new = {name: value for name, value in self._told.items() if before.get(name) != value}
        if new.keys() <= {"timestamp"}:
            return None
        head = {"type": "change", "timestamp": now_ms, "instrument_name": self._told["instrument_name"]}
        return head | new


class _Chart(_Silent):
    """The candle of now, after each trade in it."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        super().__init__(channel, floor)
        self._length_ms = RESOLUTIONS[channel.arguments[0]]
        self._inverse = self._listings[0].instrument.inverse
        bars = bars_of(floor.trades[channel.instruments[0]], self._length_ms, inverse=self._inverse)
        self._bar = bars[-1] if bars else None
        self._new = False

    def note(self, happening: Happening) -> None:
        for trade in happening.trades:
            tick = trade["timestamp"] // self._length_ms * self._length_ms
            if self._bar is None or self._bar.tick < tick:
                self._bar = Bar(tick, trade["price"], inverse=self._inverse)
            self._bar.add(trade)
            self._new = True

    def take(self, now_ms: int) -> dict[str, Any] | None:
        new, self._new = self._new, False
        bar = self._bar
        if bar is None or not new:
            return None
        prices = {"open": bar.open, "low": bar.low, "high": bar.high, "cost": bar.cost, "close": bar.close}
        return {"volume": bar.volume, "tick": bar.tick} | prices


class _Periodic(_Silent):
    """What is said again and again, new or not."""

    _make: Callable[[Floor, str, int], Any]

    def opening(self, now_ms: int) -> Any:
        return type(self)._make(self._floor, self._channel.arguments[0], now_ms)

    take = opening


class _PriceIndex(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> dict[str, Any]:
        return {"timestamp": now_ms, "price": floor.indices[name], "index_name": name}


class _PriceRanking(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> list[dict[str, Any]]:
        price = floor.indices[name]
        head = {"weight": 25.0, "timestamp": now_ms, "price": price, "original_price": price}
        return [head | {"identifier": source, "enabled": True} for source in ("one", "two", "three", "four")]


class _PriceStatistics(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> dict[str, Any]:
        price = floor.indices[name]
        low, high = round(price * 0.98, 2), round(price * 1.02, 2)
        facts = {"low24h": low, "index_name": name, "high_volatility": False, "high24h": high}
        return facts | {"change24h": 0.42}


class _VolatilityIndex(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> dict[str, Any]:
        return {"volatility": 45.03, "timestamp": now_ms, "index_name": name}


class _ExpirationPrice(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> dict[str, Any]:
        day_s = 24 * 3600
        left = (8 * 3600 - now_ms // 1000) % day_s  # to the next 08:00 UTC
        return {"seconds": left, "price": floor.indices[name], "is_estimated": False}


class _MarkPrices(_Periodic):
    @staticmethod
    def _make(floor: Floor, name: str, now_ms: int) -> list[dict[str, Any]]:
        options = [one for one in floor.listings.values() if one.instrument.kind == "option"]
        return [
            {"timestamp": now_ms, "mark_price": one.mark_price, "iv": 0.45, "instrument_name": one.instrument.name}
            for one in options
            if price_index(one.instrument) == name
        ]


_FEEDS: dict[str, Callable[[Channel, Floor], Feed]] = {
    "book": BookFeed,
    "grouped": GroupedBookFeed,
    "trades": _Trades,
    "ticker": _Ticker,
    "incremental_ticker": _IncrementalTicker,
    "quote": _Quote,
    "perpetual": _Perpetual,
    "chart": _Chart,
    "deribit_price_index": _PriceIndex,
    "deribit_price_ranking": _PriceRanking,
    "deribit_price_statistics": _PriceStatistics,
    "deribit_volatility_index": _VolatilityIndex,
    "estimated_expiration_price": _ExpirationPrice,
    "markprice": _MarkPrices,
    "silent": _Silent,
}
