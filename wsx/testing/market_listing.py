"""One instrument of a made-up market: its book, its trades, and what the exchange says about them.

Each method gives the `data` of one notification; field names, their order and units are the exchange's. Only `trade`
and `fill` move anything: what is said about a listing depends on nothing but its state.
Not here: how a book moves (market_maker.py), when something is said, and to whom (market.py).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wsx.testing.checked import number, whole
from wsx.testing.expiries import expires_ms
from wsx.testing.greeks import greeks
from wsx.testing.market_book import Edit, MarketBook, Side
from wsx.testing.market_maker import MarketMaker

_INDEX_BASIS = 0.9999  # the index lies this far from the price that stands for it
_MARK_IV = 45.0  # percent
_YEAR_MS = 365 * 86_400_000
_FIRST_MATCH_ID = 225_046_781_992_000_000  # above 2 ** 53: a client has to read it as an integer


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """price: where it begins. tick: the price step. lot: the amount step. share: of all that happens, in any unit.

    underlying: price of what the index follows; None: of the instrument itself. share 0: nobody trades it, and its
    book stays empty. depth: levels a side, or up to five more; the price has to be more than twice as many ticks.
    Raises ValueError for a number that makes no sense.
    """

    name: str
    kind: Literal["perpetual", "future", "option", "spot"]
    price: float
    tick: float
    lot: float
    share: float
    underlying: float | None = None
    depth: int = 20

    def __post_init__(self) -> None:
        for name in ("price", "tick", "lot"):
            number(name, getattr(self, name), above=0)
        number("share", self.share, low=0)
        whole("depth", self.depth, low=1)
        if self.underlying is not None:
            number("underlying", self.underlying, above=0)
        if self.share and self.price <= 2 * self.depth * self.tick:
            raise ValueError(f"price must be more than {2 * self.depth} ticks, twice the depth, not {self.price!r}")

    @property
    def contract(self) -> float:
        """The size of a contract, in the unit of amounts: an option is about one coin and is sold in parts of it."""
        return 1.0 if self.kind == "option" else float(self.lot)

    @property
    def inverse(self) -> bool:
        """Is the amount in the counter currency, and what is settled in the coin?"""
        return self.kind in ("perpetual", "future") and "_" not in self.name


class Listing:
    """The life of one instrument. change_id: of the last change of its book.

    index_of: the listing whose price stands for the index, itself where there is no perpetual of the same coin.
    underlying_of: the future that an option is written on, where it is listed.
    """

    def __init__(self, instrument: Instrument, numbers: random.Random) -> None:
        self.instrument = instrument
        self.change_id = 0
        self.index_of, self.underlying_of = self, self
        self.book = MarketBook()
        self._numbers = numbers
        self._tick_digits, self._lot_digits = _decimals(instrument.tick), _decimals(instrument.lot)
        self._first_ticks = self._last_ticks = round(instrument.price / instrument.tick)
        if instrument.share:
            self.maker = MarketMaker(numbers, self.book, self._first_ticks, instrument.depth)
        self._trade_seq = numbers.randrange(10**6, 10**8)
        self._rising = True
        self._low = self._high = instrument.price
        self._lots_traded = 0

    @property
    def top(self) -> tuple[int, int, int, int]:
        """What a quote is about: it is said when this changes. Zeros for an empty side."""
        bid, ask = self.book.best_bid, self.book.best_ask
        return bid, self.book.bids.get(bid, 0), ask, self.book.asks.get(ask, 0)

    @property
    def mark_price(self) -> float:
        """Half-way between the best prices."""
        bid, ask = self.book.best_bid, self.book.best_ask
        middle = (bid + ask) / 2 if bid and ask else self._first_ticks
        return round(middle * self.instrument.tick, self._tick_digits + 2)

    @property
    def index_price(self) -> float:
        if self.index_of is self:
            return round(self.instrument.underlying or self.mark_price * _INDEX_BASIS, 2)
        return round(self.index_of.mark_price * _INDEX_BASIS, 2)

    def price(self, ticks: int) -> float:
        """Rounded so that its text is the shortest."""
        return round(float(ticks * self.instrument.tick), self._tick_digits)

    def amount(self, lots: int) -> float:
        """Rounded so that its text is the shortest."""
        return round(float(lots * self.instrument.lot), self._lot_digits)

    def edits(self, edits: Sequence[Edit]) -> list[list[Any]]:
        """Edits of the book as the exchange writes them."""
        return [[action, self.price(ticks), self.amount(lots)] for action, ticks, lots in edits]

    def snapshot(self, now_ms: int, change_id: int) -> dict[str, Any]:
        """The whole book; its edits so far are forgotten."""
        self.change_id = change_id
        for side in ("bids", "asks"):
            self.book.take_before(side)
        bids = [["new", self.price(ticks), self.amount(lots)] for ticks, lots in sorted(self.book.bids.items())]
        asks = [["new", self.price(ticks), self.amount(lots)] for ticks, lots in sorted(self.book.asks.items())]
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
        return [self.fill(self.maker.trade(), now_ms, trade_id)]

    def fill(self, fill: tuple[Literal["buy", "sell"], int, int], now_ms: int, trade_id: int) -> dict[str, Any]:
        """The trade of a fill, which has changed the book already. fill: the taker's direction, ticks, lots."""
        direction, ticks, lots = fill
        self._trade_seq += 1
        tick_direction = self._tick_direction(ticks)
        head: dict[str, Any] = {"timestamp": now_ms}
        if self.instrument.kind == "option":
            head["iv"] = round(self._numbers.uniform(44.9, 45.1), 2)
        head |= {"price": self._note_price(ticks, lots), "amount": self.amount(lots), "direction": direction}
        tail: dict[str, Any] = {"trade_seq": self._trade_seq, "mark_price": self.mark_price}
        tail |= {"tick_direction": tick_direction} | self._identity(now_ms, trade_id, lots)
        return head | {"index_price": self.index_price} | self._named(tail)

    def quote(self, now_ms: int) -> dict[str, Any]:
        """The best prices; null where there is none."""
        best = self._best()
        empty = {name: None for name, value in best.items() if name.endswith("_price") and not value}
        return {"timestamp": now_ms} | self._named(best | empty)

    def ticker(self, now_ms: int) -> dict[str, Any]:
        """Everything at a glance."""
        mark, index = self.mark_price, self.index_price
        head = {"timestamp": now_ms, "state": "open", "stats": self._stats(), "index_price": index}
        tail = {"last_price": self.price(self._last_ticks) if self._lots_traded else None}
        tail |= {"settlement_price": self.instrument.price}
        tail |= {"min_price": self._near(mark, 0.985), "max_price": self._near(mark, 1.015)}
        tail |= {"open_interest": self.amount(10**6 + self._lots_traded), "mark_price": mark}
        if self.instrument.kind == "perpetual":
            tail["interest_value"] = 0.0028213400122473
        best = self._best()
        tail |= {name: best[name] for name in ("best_ask_price", "best_bid_price")}
        tail |= {"estimated_delivery_price": index}
        tail |= {name: best[name] for name in ("best_ask_amount", "best_bid_amount")} | self._of_its_kind(now_ms)
        return head | self._named(tail)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _named(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"instrument_name": self.instrument.name} | fields

    def _identity(self, now_ms: int, trade_id: int, lots: int) -> dict[str, Any]:
        contracts = round(self.amount(lots) / self.instrument.contract, self._lot_digits)
        numbers = {"starbase_match_id": _FIRST_MATCH_ID + trade_id, "trade_id": str(trade_id), "contracts": contracts}
        return numbers | {"starbase_timestamp": now_ms * 1_000_000 + trade_id % 1_000_000}

    def _edits(self, side: Side) -> list[list[Any]]:
        return self.edits(self.book.take_edits(side))

    def _best(self) -> dict[str, float]:
        bid, bid_lots, ask, ask_lots = self.top
        best = {"best_bid_price": self.price(bid), "best_bid_amount": self.amount(bid_lots)}
        return best | {"best_ask_price": self.price(ask), "best_ask_amount": self.amount(ask_lots)}

    def _tick_direction(self, ticks: int) -> int:
        """0 up, 1 same after up, 2 down, 3 same after down."""
        same = ticks == self._last_ticks
        if not same:
            self._rising = ticks > self._last_ticks
        return (0 if self._rising else 2) + same

    def _note_price(self, ticks: int, lots: int) -> float:
        price = self.price(ticks)
        self._low, self._high = (min(self._low, price), max(self._high, price)) if self._lots_traded else (price, price)
        self._last_ticks = ticks
        self._lots_traded += lots
        return price

    def _stats(self) -> dict[str, float | None]:
        """Of the last 24 hours, here: of all that was traded; null before that."""
        names = ("high", "low", "price_change", "volume", "volume_usd", "volume_notional")
        if not self._lots_traded:
            return dict.fromkeys(names)
        moved = round((self.price(self._last_ticks) / self.instrument.price - 1) * 100, 4)
        return dict(zip(names, (self._high, self._low, moved, *self._volumes()), strict=True))

    def _volumes(self) -> tuple[float, float, float]:
        """In the coin, in USD, notional. The amounts of an inverse contract are USD already."""
        amount, price = self.amount(self._lots_traded), self.price(self._last_ticks)
        inverse = self.instrument.inverse
        volume, worth = (round(amount / price, 8), amount) if inverse else (amount, round(amount * price, 2))
        return volume, worth, worth

    def _near(self, value: float, factor: float) -> float:
        return self.price(round(value * factor / self.instrument.tick))

    def _of_its_kind(self, now_ms: int) -> dict[str, Any]:
        if self.instrument.kind == "perpetual":
            return {"current_funding": 0.0, "funding_8h": 1.742e-5}
        if self.instrument.kind == "option":
            iv = {"bid_iv": 44.61, "ask_iv": 45.38, "mark_iv": _MARK_IV, "interest_rate": 0.0}
            index = "-".join(self.instrument.name.split("-")[:2])
            future = self._underlying_price()
            said = {"underlying_price": future, "underlying_index": index}
            return {"greeks": self._greeks(future, now_ms)} | iv | said
        return {}

    def _underlying_price(self) -> float:
        if self.underlying_of is not self:
            return self.underlying_of.mark_price
        return self.instrument.underlying or self.index_price

    def _greeks(self, future: float, now_ms: int) -> dict[str, float]:
        _, end, strike, side = self.instrument.name.split("-")
        years = (expires_ms(end) - now_ms) / _YEAR_MS
        strike_price = float(strike.replace("d", "."))
        return greeks(call=side == "C", future=future, strike=strike_price, years=years, volatility=_MARK_IV / 100)


def list_instruments(instruments: Sequence[Instrument], numbers: random.Random) -> list[Listing]:
    """Open them all: what shares a coin shares an index, and options look at the future of their date."""
    listings = [Listing(instrument, numbers) for instrument in instruments]
    by_name = {listing.instrument.name: listing for listing in listings}
    for listing in listings:
        parts = listing.instrument.name.split("-")
        listing.index_of = by_name.get(f"{parts[0]}-PERPETUAL", listing)
        listing.underlying_of = by_name.get("-".join(parts[:2]), listing)
    return listings


def _decimals(step: float) -> int:
    """Digits after the point: 0.0005 has 4."""
    return len(f"{step:.8f}".rstrip("0").partition(".")[2])
