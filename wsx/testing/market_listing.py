"""One instrument of a made-up market: its book, its trades, and what the exchange says about them.

Each method gives the `data` of one notification; field names and units are the exchange's.
Not here: how a book moves (market_book.py), when something is said, and to whom (market.py).
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from wsx.testing.market_book import MarketBook, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """price: where it begins. tick: the price step. lot: the amount step. share: of all that happens, in any unit.

    underlying: price of what the index follows; None: of the instrument itself.
    """

    name: str
    kind: Literal["perpetual", "future", "option", "spot"]
    price: float
    tick: float
    lot: float
    share: float
    underlying: float | None = None


class Listing:
    """The life of one instrument."""

    def __init__(self, instrument: Instrument, numbers: random.Random) -> None:
        self.instrument = instrument
        self.change_id = 0
        self._numbers = numbers
        self._tick_digits, self._lot_digits = _decimals(instrument.tick), _decimals(instrument.lot)
        self.book = MarketBook(numbers, round(instrument.price / instrument.tick))
        self._trade_seq = numbers.randrange(10**6, 10**8)
        self._last_ticks = self.book.best_bid
        self._rising = True
        self._first_price = self._low = self._high = self._price(self._last_ticks)
        self._lots_traded = 0

    @property
    def top(self) -> tuple[int, int, int, int]:
        """What a quote is about: it is said when this changes."""
        book = self.book
        return book.best_bid, book.bids[book.best_bid], book.best_ask, book.asks[book.best_ask]

    def snapshot(self, now_ms: int, change_id: int) -> dict[str, Any]:
        """The whole book; its edits so far are forgotten."""
        self.change_id = change_id
        for side in ("bids", "asks"):
            self.book.take_edits(side)
        bids = [["new", self._price(ticks), self._amount(lots)] for ticks, lots in sorted(self.book.bids.items())]
        asks = [["new", self._price(ticks), self._amount(lots)] for ticks, lots in sorted(self.book.asks.items())]
        return {"timestamp": now_ms, "type": "snapshot", "change_id": change_id} | self._named(
            {"bids": bids[::-1], "asks": asks}
        )

    def change(self, now_ms: int, change_id: int) -> dict[str, Any] | None:
        """What has changed in the book; None where nothing has."""
        bids, asks = self._edits("bids"), self._edits("asks")
        if not bids and not asks:
            return None
        before, self.change_id = self.change_id, change_id
        head = {"timestamp": now_ms, "type": "change", "change_id": change_id}
        return head | self._named({"bids": bids, "asks": asks, "prev_change_id": before})

    def trade(self, now_ms: int, trade_id: int) -> list[dict[str, Any]]:
        """A fill at the best price; the book has changed by it."""
        direction, ticks, lots = self.book.trade()
        self._trade_seq += 1
        tick_direction = self._tick_direction(ticks)
        price, amount = self._note_price(ticks, lots), self._amount(lots)
        head = {"timestamp": now_ms, "price": price, "amount": amount, "direction": direction}
        head["index_price"] = self._index_price()
        tail = {"trade_seq": self._trade_seq, "mark_price": self._mark_price(), "tick_direction": tick_direction}
        if self.instrument.kind == "option":
            tail["iv"] = self._around(45.0, 2)
        return [head | self._named(tail | {"trade_id": str(trade_id), "contracts": float(lots)})]

    def quote(self, now_ms: int) -> dict[str, Any]:
        """The best prices."""
        return {"timestamp": now_ms} | self._named(self._best())

    def ticker(self, now_ms: int) -> dict[str, Any]:
        """Everything at a glance."""
        mark, index = self._mark_price(), self._index_price()
        head = {"timestamp": now_ms, "state": "open", "stats": self._stats(), "index_price": index}
        tail = {"last_price": self._price(self._last_ticks), "settlement_price": self._first_price}
        tail |= {"min_price": self._near(mark, 0.985), "max_price": self._near(mark, 1.015)}
        tail |= {"open_interest": self._amount(10**6 + self._lots_traded), "mark_price": mark}
        tail |= self._best() | {"estimated_delivery_price": index} | self._of_its_kind()
        return head | self._named(tail)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _named(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"instrument_name": self.instrument.name} | fields

    def _price(self, ticks: int) -> float:
        return round(float(ticks * self.instrument.tick), self._tick_digits)

    def _amount(self, lots: int) -> float:
        return round(float(lots * self.instrument.lot), self._lot_digits)

    def _edits(self, side: Side) -> list[list[Any]]:
        edits = self.book.take_edits(side)
        return [[action, self._price(ticks), self._amount(lots)] for action, ticks, lots in edits]

    def _best(self) -> dict[str, float]:
        bid, bid_lots, ask, ask_lots = self.top
        best = {"best_bid_price": self._price(bid), "best_bid_amount": self._amount(bid_lots)}
        return best | {"best_ask_price": self._price(ask), "best_ask_amount": self._amount(ask_lots)}

    def _tick_direction(self, ticks: int) -> int:
        """0 up, 1 same after up, 2 down, 3 same after down."""
        same = ticks == self._last_ticks
        if not same:
            self._rising = ticks > self._last_ticks
        return (0 if self._rising else 2) + same

    def _note_price(self, ticks: int, lots: int) -> float:
        price = self._price(ticks)
        self._last_ticks = ticks
        self._lots_traded += lots
        self._low, self._high = min(self._low, price), max(self._high, price)
        return price

    def _stats(self) -> dict[str, float]:
        moved = (self._price(self._last_ticks) / self._first_price - 1) * 100
        stats = {"high": self._high, "low": self._low, "price_change": round(moved, 4)}
        return stats | {"volume": self._amount(self._lots_traded)}

    def _mark_price(self) -> float:
        middle = (self.book.best_bid + self.book.best_ask) / 2
        return round(middle * self.instrument.tick, self._tick_digits + 2)

    def _index_price(self) -> float:
        return self._around(self.instrument.underlying or self._price(self.book.best_bid), 2)

    def _around(self, value: float, digits: int) -> float:
        return round(value * self._numbers.uniform(0.9999, 1.0001), digits)

    def _near(self, value: float, factor: float) -> float:
        return self._price(round(value * factor / self.instrument.tick))

    def _of_its_kind(self) -> dict[str, Any]:
        if self.instrument.kind == "perpetual":
            return {"interest_value": 0.0028213400122473, "current_funding": 0.0, "funding_8h": 1.742e-5}
        if self.instrument.kind == "option":
            greeks = {"vega": 152.33041, "theta": -61.40027, "rho": 44.1093, "gamma": 0.00001}
            iv = {"bid_iv": 44.61, "ask_iv": 45.38, "mark_iv": 45.0, "interest_rate": 0.0}
            underlying = {"underlying_price": self._index_price(), "underlying_index": self.instrument.name[:11]}
            return {"greeks": greeks | {"delta": self._around(0.41207, 5)}} | iv | underlying
        return {}


def _decimals(step: float) -> int:
    """Digits after the point: 0.0005 has 4."""
    return len(f"{step:.8f}".rstrip("0").partition(".")[2])
