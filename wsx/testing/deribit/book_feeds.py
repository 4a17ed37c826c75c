"""The books as they are told, whole and by changes.

A feed is one channel, shared by all who subscribe to it: its changes link to each other, not to those of another channel.
Whoever comes later gets the book as it was last told, so that the next change fits.
Not here: the other channels (feeds.py), when a feed is asked (hub.py).
"""

from typing import Any

from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.floor import Floor, Happening
from wsx.testing.deribit.instruments import coins
from wsx.testing.market_book import Side, edits_since


class BookFeed:
    """`book.I.interval`: a snapshot, then changes."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        (self._name,) = channel.instruments
        self._listing = floor.listings[self._name]
        self._floor = floor
        self._told_id = self._listing.change_id
        self._told_ms = floor.changed_ms[self._name]
        self._before: dict[Side, dict[int, int]] = {"bids": {}, "asks": {}}  # as told, of what was touched since

    def opening(self, now_ms: int) -> dict[str, Any]:
        """The book as it was last told."""
        head = {"timestamp": self._told_ms, "type": "snapshot", "change_id": self._told_id}
        return head | {"instrument_name": self._name, "bids": self._told("bids"), "asks": self._told("asks")}

    def note(self, happening: Happening) -> None:
        for side, touched in happening.before.items():
            for ticks, lots in touched.items():
                self._before[side].setdefault(ticks, lots)

    def take(self, now_ms: int) -> dict[str, Any] | None:
        """What has changed since the last call, linked to it."""
        bids, asks = self._edits("bids"), self._edits("asks")
        if not bids and not asks:
            return None
        before, self._told_id = self._told_id, self._listing.change_id
        self._told_ms = self._floor.changed_ms[self._name]
        head = {"timestamp": self._told_ms, "type": "change", "change_id": self._told_id}
        return head | {"instrument_name": self._name, "bids": bids, "asks": asks, "prev_change_id": before}

    def _edits(self, side: Side) -> list[list[Any]]:
        before, self._before[side] = self._before[side], {}
        return self._listing.edits(edits_since(before, self._listing.book.levels(side), side))

    def _told(self, side: Side) -> list[list[Any]]:
        levels = {**self._listing.book.levels(side), **self._before[side]}
        best_first = sorted(levels.items(), reverse=side == "bids")
        return self._listing.edits([("new", ticks, lots) for ticks, lots in best_first if lots])


class GroupedBookFeed:
    """`book.I.group.depth.interval`: always whole."""

    def __init__(self, channel: Channel, floor: Floor) -> None:
        (self._name,) = channel.instruments
        self._listing = floor.listings[self._name]
        self._floor = floor
        group, depth = channel.arguments
        self._group_ticks = 1 if group == "none" else self._ticks_of(int(group))
        self._depth = int(depth)
        self._told_id = self._listing.change_id

    def opening(self, now_ms: int) -> dict[str, Any]:
        """The book as it is."""
        listing = self._listing
        head = {"timestamp": self._floor.changed_ms[self._name], "change_id": listing.change_id}
        return head | {"instrument_name": self._name, "bids": self._levels("bids"), "asks": self._levels("asks")}

    def note(self, happening: Happening) -> None:
        """Nothing to note: it is told whole."""

    def take(self, now_ms: int) -> dict[str, Any] | None:
        """The book, where it has changed since it was last told."""
        if self._told_id == self._listing.change_id:
            return None
        self._told_id = self._listing.change_id
        return self.opening(now_ms)

    def _levels(self, side: Side) -> list[list[float]]:
        """Bids go down to their group's price, asks up."""
        grouped: dict[int, int] = {}
        size = self._group_ticks
        for ticks, lots in self._listing.book.levels(side).items():
            rung = ticks // size * size if side == "bids" else -(-ticks // size) * size
            grouped[rung] = grouped.get(rung, 0) + lots
        best_first = sorted(grouped.items(), reverse=side == "bids")[: self._depth]
        return [[self._listing.price(ticks), self._listing.amount(lots)] for ticks, lots in best_first]

    def _ticks_of(self, group: int) -> int:
        """Groups are in USD, in 1/100 of it for ETH, and in ticks for options."""
        instrument = self._listing.instrument
        if instrument.kind == "option":
            return group
        unit = 0.01 if coins(instrument)[0] == "ETH" else 1.0
        return max(1, round(group * unit / instrument.tick))
