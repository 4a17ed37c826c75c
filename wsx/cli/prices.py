"""Last prices by instrument, read from the newest message of each channel and only when somebody looks.

What is shown is always the newest; what nobody looks at is never parsed.
Not here: counting (tally.py), showing (display.py).
"""

from dataclasses import dataclass
from typing import Any

import orjson

_NAME = b'"instrument_name":"'
_SOURCES = (b"ticker.", b"trades.", b"quote.", b"book.")


@dataclass(slots=True)
class Prices:
    """One instrument. None: nothing is known. at_ms: the exchange's time of the newest of it."""

    last: float | None = None
    bid: float | None = None
    ask: float | None = None
    at_ms: int = 0


class PriceBoard:
    """Keeps the newest message of each channel and instrument."""

    def __init__(self) -> None:
        self._newest: dict[tuple[bytes, bytes], bytes] = {}

    def note(self, channel: bytes, data: bytes) -> None:
        """A message has arrived. A book's changes say no price of their own; its snapshots do."""
        if channel.startswith(_SOURCES) and b'"type":"change"' not in data:
            start = data.find(_NAME) + len(_NAME)
            self._newest[channel, data[start : data.find(b'"', start)]] = data

    def prices(self) -> dict[str, Prices]:
        """What is known now, instruments in alphabetical order."""
        found: dict[str, Prices] = {}
        for at_ms, name, fields in sorted(self._parsed(), key=lambda item: item[0]):
            prices = found.setdefault(name, Prices())
            prices.at_ms = at_ms
            for field, value in fields.items():
                if value is not None:
                    setattr(prices, field, value)
        return dict(sorted(found.items()))

    def _parsed(self) -> list[tuple[int, str, dict[str, float | None]]]:
        """Time, instrument and prices of each newest message; a message that cannot be read says nothing."""
        parsed: list[tuple[int, str, dict[str, float | None]]] = []
        for (channel, _), data in self._newest.items():
            try:
                items = orjson.loads(data)["params"]["data"]
                parsed += [
                    (item["timestamp"], item["instrument_name"], _fields(channel, item))
                    for item in (items if isinstance(items, list) else [items])
                ]
            except (ValueError, KeyError, TypeError, IndexError):
                continue
        return parsed


def _fields(channel: bytes, item: dict[str, Any]) -> dict[str, float | None]:
    if channel.startswith(b"trades."):
        return {"last": item["price"]}
    if channel.startswith(b"book."):
        return {"bid": _first_price(item["bids"]), "ask": _first_price(item["asks"])}
    best = {"bid": item["best_bid_price"] or None, "ask": item["best_ask_price"] or None}
    return best | {"last": item.get("last_price")}


def _first_price(levels: list[list[Any]]) -> float | None:
    """The best level comes first; its price is the last but one field, with an action before it or without."""
    return levels[0][-2] if levels else None
