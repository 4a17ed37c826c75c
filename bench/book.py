"""Changes of a deep order book, round and round, and the book that plain Python keeps from them.

Made of the made-up market: its changes near the best price, before 2,000 levels a side that stay. The last message of a
round undoes the others, so that the chain of ids closes and no snapshot is in what is timed.
Not here: timing (calls.py).
"""

from collections.abc import Iterator
from functools import cache
from itertools import cycle
from typing import Any

import orjson
from sortedcontainers import SortedDict

from wsx.testing import Instrument, Market

INSTRUMENT = "BTC-PERPETUAL"
LEVELS = 2000  # a side, behind the market's own twenty
BEHIND = 300.0  # how far behind: further than the market's price strays
CHANGES = 2000
BOOKS = tuple(f"I{number:03}-PERPETUAL" for number in range(200))
LEVELS_EACH = 200  # behind the market's own, in each of many books
CHANGES_EACH = 25  # a round: 5,000 for all of them
SIDES = ("bids", "asks")


class SortedBook:
    """orjson and sortedcontainers: what a careful user writes, the chain of ids checked, nothing else."""

    def __init__(self) -> None:
        self.levels: dict[str, SortedDict] = {side: SortedDict() for side in SIDES}
        self._change_id: int | None = None

    def apply(self, message: bytes) -> None:
        """Raises ValueError at a gap."""
        self.update(orjson.loads(message)["params"]["data"])

    def update(self, data: dict[str, Any]) -> None:
        """The same, of data that is parsed already."""
        if data["type"] == "snapshot":
            self.levels = {side: SortedDict() for side in SIDES}
        elif data["prev_change_id"] != self._change_id:
            raise ValueError("gap")
        for side in SIDES:
            levels = self.levels[side]
            for action, price, amount in data[side]:
                if action == "delete":
                    del levels[price]
                else:
                    levels[price] = amount
        self._change_id = data["change_id"]


def round_and_round(*books: Any) -> Iterator[bytes]:
    """Changes without end. `books` are first given the snapshot that they change, and one round. Raises where one refuses."""
    snapshot, changes = _recording(Market(seed=1), INSTRUMENT, CHANGES, LEVELS)
    for book in books:
        if any(book.apply(message) is False for message in (snapshot, *changes)):
            raise RuntimeError(f"{book} did not take every message")
    return cycle(changes)


@cache
def many_books() -> tuple[list[bytes], list[bytes]]:
    """The snapshots of `BOOKS` books of fewer levels, and a round of changes that goes through them in turn."""
    recordings = [
        _recording(Market(seed=number, instruments=[_listed(name)]), name, CHANGES_EACH, LEVELS_EACH)
        for number, name in enumerate(BOOKS)
    ]
    rounds = zip(*(changes for _, changes in recordings), strict=True)
    return [snapshot for snapshot, _ in recordings], [change for turn in rounds for change in turn]


def _listed(name: str) -> Instrument:
    return Instrument(name=name, kind="perpetual", price=76_914.0, tick=0.5, lot=10, share=1)


def _recording(market: Market, instrument: str, count: int, levels: int) -> tuple[bytes, list[bytes]]:
    """A deepened snapshot and `count` changes, of which the last one undoes the others."""
    channel = b'"channel":"book.%b.raw"' % instrument.encode()
    said = market.messages(count, 300)
    next(said)  # the answer to the subscription
    messages = [message for message, _ in zip((m for _, m in said if channel in m), range(count), strict=False)]
    before, after = SortedBook(), SortedBook()
    before.apply(messages[0])
    for message in messages:
        after.apply(message)
    return _deepened(messages[0], levels), [*messages[1:], _undoing(messages[0], messages[-1], before, after)]


def _deepened(snapshot: bytes, levels: int) -> bytes:
    """The snapshot with levels behind those that the market's changes name."""
    message = orjson.loads(snapshot)
    data = message["params"]["data"]
    for side, direction in (("bids", -1), ("asks", 1)):
        first = data[side][0][1] + direction * BEHIND
        data[side] += [["new", first + direction * place / 2, 10.0 * place + 10] for place in range(levels)]
    return orjson.dumps(message)


def _undoing(first: bytes, last: bytes, before: SortedBook, after: SortedBook) -> bytes:
    """The change that leads from `last` back to `first`."""
    message = orjson.loads(last)
    data = message["params"]["data"]
    data["prev_change_id"] = data["change_id"]
    data["change_id"] = orjson.loads(first)["params"]["data"]["change_id"]
    for side in SIDES:
        old, new = before.levels[side], after.levels[side]
        data[side] = [["delete", price, 0.0] for price in new if price not in old]
        data[side] += [["change" if price in new else "new", price, old[price]] for price in old]
    return orjson.dumps(message)
