"""The trading floor: what is listed, what happens to it one thing at a time, and what was traded.

Seeded: the same seed makes the same things happen. Books are owned by their listings, and changed by those who trade:
here one market maker per listing.
Whatever happens goes through `Floor.happened`, and from there to the one who listens: nothing else reaches a channel. A
matching engine changes `listing.book` by `set_level`, makes its trades with `fill`, and says so with `happened`, as
`step` does for the market maker; what it has to tell the owners of orders goes along as `Notice`.
Not here: who is told (hub.py, feeds.py), when something happens (exchange.py), the sockets.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wsx.testing.deribit.instruments import describe, price_index
from wsx.testing.market_book import Side
from wsx.testing.market_listing import Instrument, Listing, list_instruments

_TRADE_CHANCE = 0.15
_HISTORY = 10_000  # trades that are remembered, each listing
_WARM_UP = 40  # things that have happened to each listing when the exchange opens
_WARM_UP_MS = 15_000  # between two of them


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said on a channel that says nothing by itself. owner: the client_id of the one account that hears it, on a
    private channel; None: it is a public one.
    """

    channel: str
    data: Any
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened, to one listing or to none. before: lots at each level it changed, before it."""

    listing: Listing | None
    trades: Sequence[dict[str, Any]]
    before: dict[Side, dict[int, int]]
    top_changed: bool
    notices: Sequence[Notice]


class Floor:
    """listings: by name. descriptions: the instrument objects by name. now_ms: when the floor opens (unix time)."""

    def __init__(self, seed: int, instruments: Sequence[Instrument], now_ms: int) -> None:
        self._numbers = random.Random(seed)
        listings = list_instruments(instruments, self._numbers)
        self.listings = {listing.instrument.name: listing for listing in listings}
        if len(self.listings) < len(listings):
            raise ValueError("instruments must have names of their own: one is there twice")
        self.descriptions = {one.name: describe(one, number, now_ms) for number, one in enumerate(instruments)}
        self.trades: dict[str, deque[dict[str, Any]]] = {name: deque(maxlen=_HISTORY) for name in self.listings}
        self.changed_ms = dict.fromkeys(self.listings, now_ms)
        self._shares = [listing.instrument.share for listing in listings]
        self._change_id = 118_850_968_930  # one counter over all books, as the exchange has it
        self._trade_id = 267_258_393
        self._tops = {name: listing.top for name, listing in self.listings.items()}
        self._listener: Callable[[Happening, int], None] | None = None
        self._warm_up(now_ms)

    @property
    def indices(self) -> dict[str, float]:
        """The price of each index, by its name."""
        return {price_index(one.instrument): one.index_price for one in reversed(self.listings.values())}

    def listen(self, listener: Callable[[Happening, int], None]) -> None:
        """Call `listener(happening, now_ms)` with whatever happens from now on."""
        self._listener = listener

    def step(self, now_ms: int) -> None:
        """Let one thing happen: a trade, or a maker's change of the book. Nothing does where nobody trades."""
        if not any(self._shares):
            return
        (listing,) = self._numbers.choices(list(self.listings.values()), self._shares)
        trades = []
        if self._numbers.random() < _TRADE_CHANCE:
            trades.append(self.fill(listing, *listing.maker.trade(), now_ms))
        else:
            listing.maker.shake()
        self.happened(now_ms, listing, trades=trades)

    def fill(
        self, listing: Listing, direction: Literal["buy", "sell"], ticks: int, lots: int, now_ms: int
    ) -> dict[str, Any]:
        """The trade of a fill that has changed the book already. direction: the taker's."""
        self._trade_id += 1
        return listing.fill((direction, ticks, lots), now_ms, self._trade_id)

    def happened(
        self,
        now_ms: int,
        listing: Listing | None = None,
        *,
        trades: Sequence[dict[str, Any]] = (),
        notices: Sequence[Notice] = (),
    ) -> None:
        """Something happened: `listing` has a changed book, or trades; notices are said behind them. The one way in."""
        before, top_changed = self._taken(listing, now_ms) if listing is not None else ({}, False)
        if listing is not None:
            self.trades[listing.instrument.name].extend(trades)
        if self._listener is not None:
            self._listener(Happening(listing, trades, before, top_changed, notices), now_ms)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _taken(self, listing: Listing, now_ms: int) -> tuple[dict[Side, dict[int, int]], bool]:
        """What has changed in a book since it was last looked at, and whether its best prices have."""
        before: dict[Side, dict[int, int]] = {"bids": _changed(listing, "bids"), "asks": _changed(listing, "asks")}
        if before["bids"] or before["asks"]:
            self._note_change(listing, now_ms)
        name = listing.instrument.name
        top, self._tops[name] = self._tops[name], listing.top
        return before, listing.top != top

    def _note_change(self, listing: Listing, now_ms: int) -> None:
        self._change_id += self._numbers.randint(1, 300)
        listing.change_id = self._change_id
        self.changed_ms[listing.instrument.name] = now_ms

    def _warm_up(self, now_ms: int) -> None:
        """There were trades before the first client came."""
        for listing in self.listings.values():
            listing.change_id = self._change_id
            for side in ("bids", "asks"):
                listing.book.take_before(side)
        for back in range(_WARM_UP * sum(share > 0 for share in self._shares), 0, -1):
            self.step(now_ms - back * _WARM_UP_MS)


def _changed(listing: Listing, side: Side) -> dict[int, int]:
    """The lots that were at each level that has changed."""
    levels = listing.book.levels(side)
    return {ticks: lots for ticks, lots in listing.book.take_before(side).items() if levels.get(ticks, 0) != lots}
