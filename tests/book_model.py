"""The order book in plain Python, for the tests: dicts of Decimals, a whole parse, and the rules one after the other.

Written for being right at a glance. Beside the rules it knows what the compiled book promises about numbers: int64
mantissas in two scales that only become finer. UTF-8 is not judged: every byte is taken as a character.
"""

import json
from decimal import Decimal
from itertools import chain

from wsx import OrderBook

LIMIT = 2**63 - 1
MAX_DECIMALS = 18
KNOWN = {"bids", "asks", "type", "change_id", "prev_change_id", "timestamp", "instrument_name"}


class Stale(Exception):
    """Why the book is not to be believed, in a word or two."""


class Repeated(list):
    """Stands for an object in which a key came twice, as its pairs."""


def _object(pairs):
    keys = [key for key, _ in pairs]
    return Repeated(pairs) if len(set(keys)) < len(keys) else dict(pairs)


def _exact(text):
    return Decimal(text) if abs(_exponent(text)) < 10_000 else (Decimal(0) if _is_zero(text) else Decimal("1e9999"))


def _exponent(text):
    return int(text.lower().partition("e")[2] or 0)


def _is_zero(text):
    return not text.lower().partition("e")[0].strip("-0.")


def _refuse(text):
    raise ValueError(f"{text} is no JSON")


def members(value):
    """(an object's members, whether a key that counts came twice)."""
    if not isinstance(value, Repeated):
        return value, False
    keys = [key for key, _ in value if key in KNOWN]
    return dict(value), len(set(keys)) < len(keys)


class BookModel:
    """As wsx.OrderBook, for what a test looks at."""

    def __init__(self, instrument):
        self.instrument = instrument
        self.sides = {"bids": {}, "asks": {}}
        self.state = "empty"
        self.cause = None
        self.change_id = None
        self.decimals = {"price": 0, "amount": 0}

    def apply(self, message):
        try:
            return self._apply(message)
        except Stale as stale:
            self.state, self.cause = "stale", str(stale)
            self.sides = {"bids": {}, "asks": {}}
            self.decimals = {"price": 0, "amount": 0}
            return False

    def levels(self, side):
        return sorted(self.sides[side].items(), reverse=side == "bids")

    def _apply(self, message):
        data, repeated, channel = self._read(message)
        mine = channel == f"book.{self.instrument}" or channel.startswith(f"book.{self.instrument}.")
        named = data.get("instrument_name")
        named = named if isinstance(named, str) else ""
        if (named and named != self.instrument) or (not mine and not named and channel.startswith("book.")):
            return False
        if not mine and not {"bids", "asks", "change_id", "prev_change_id"} & set(data):
            return False
        if repeated:
            raise Stale("malformed")
        kind, change_id, prev_change_id, edits = self._checked(data)
        if kind == "change" and prev_change_id == 0 and self.state != "valid":
            kind = "snapshot"
        if kind == "change" and self.state == "stale":
            return False
        self._begin(kind, change_id, prev_change_id)
        for edit in edits:
            self._edit(kind, *edit)
        if all(self.sides.values()) and max(self.sides["bids"]) >= min(self.sides["asks"]):
            raise Stale("crossed")
        self.state, self.cause, self.change_id = "valid", None, change_id
        return True

    def _read(self, message):
        """The object that may be about a book, whether a key came twice on the way to it or in it, and the channel."""
        try:
            text = bytes(message).decode("latin-1")
            value = json.loads(
                text, parse_float=_exact, parse_int=_exact, parse_constant=_refuse, object_pairs_hook=_object
            )
        except (ValueError, RecursionError):
            raise Stale("malformed") from None
        params = self._inner([value], "params")
        found, channels = self._inner(params, "data"), self._inner(params, "channel")
        objects = [inner for inner in found if isinstance(inner, dict | Repeated)]
        data, twice = members(objects[-1] if objects else value if isinstance(value, dict | Repeated) else {})
        envelope = any(len(values) > 1 for values in (params, found, channels))
        channel = channels[-1] if channels and isinstance(channels[-1], str) else ""
        return data, envelope or twice, channel

    @staticmethod
    def _inner(values, name):
        """Every member of this name of those that are objects."""
        objects = [
            value if isinstance(value, Repeated) else value.items()
            for value in values
            if isinstance(value, dict | Repeated)
        ]
        return [member for pairs in objects for key, member in pairs if key == name]

    def _checked(self, data):
        """kind, ids and edits of a message of the right form."""
        kind = data.get("type")
        change_id, prev_change_id, _ = (self._id(data.get(key)) for key in ("change_id", "prev_change_id", "timestamp"))
        untold = kind is None and prev_change_id is None
        if kind is None:
            kind = "snapshot" if prev_change_id is None else "change"
        named = data.get("instrument_name")
        well = named is None or isinstance(named, str)
        well = well and kind in ("snapshot", "change") and change_id is not None and {"bids", "asks"} <= set(data)
        if not well or (kind == "change" and prev_change_id is None):
            raise Stale("malformed")
        edits = [list(self._levels_of(side, data[side])) for side in data if side in ("bids", "asks")]
        if untold and self.state == "valid" and any(action != "bare" for _, action, _, _ in chain(*edits)):
            raise Stale("malformed")
        return kind, change_id, prev_change_id, list(chain(*edits))

    @staticmethod
    def _id(value):
        if value is None:
            return None
        if not isinstance(value, Decimal) or value != value.to_integral_value() or not 0 <= value <= LIMIT:
            raise Stale("malformed")
        return int(value)

    @staticmethod
    def _levels_of(side, levels):
        for level in levels if type(levels) is list else [None]:
            match level:
                case [Decimal() as price, Decimal() as amount]:
                    yield side, "bare", price, amount
                case ["delete", Decimal() as price] | ["delete", Decimal() as price, _]:
                    yield side, "delete", price, Decimal(0)
                case ["new" | "change" as action, Decimal() as price, Decimal() as amount]:
                    yield side, action, price, amount
                case _:
                    raise Stale("malformed")

    def _begin(self, kind, change_id, prev_change_id):
        if kind == "snapshot":
            if self.state == "valid" and change_id < self.change_id:
                raise Stale("out of order")
            self.sides = {"bids": {}, "asks": {}}
        elif self.state == "empty":
            raise Stale("no snapshot")
        elif prev_change_id != self.change_id:
            raise Stale(
                "duplicate" if change_id == self.change_id else "out of order" if change_id < self.change_id else "gap"
            )

    def _edit(self, kind, side, action, price, amount):
        if kind == "snapshot" and action not in ("new", "bare"):
            raise Stale("unknown level")
        self._fit("price", price)
        if action != "delete":
            self._fit("amount", amount)
        levels = self.sides[side]
        if kind == "snapshot" and price in levels:
            raise Stale("level twice")
        if kind == "change" and action == "bare":
            raise Stale("malformed")
        if price not in levels and action == "delete":
            raise Stale("unknown level")
        if action == "delete":
            del levels[price]
            return
        if amount <= 0:
            raise Stale("bad amount")
        levels[price] = amount

    def _fit(self, what, number):
        """Make the scale finer where it must be, and see that everything in it fits."""
        _, digits, exponent = number.as_tuple()
        while digits and digits[-1] == 0 and exponent < 0:
            digits, exponent = digits[:-1], exponent + 1
        self.decimals[what] = max(self.decimals[what], -exponent if any(digits) else 0)
        held = chain.from_iterable(levels if what == "price" else levels.values() for levels in self.sides.values())
        if self.decimals[what] > MAX_DECIMALS:
            raise Stale("overflow")
        if any(abs(int(other.scaleb(self.decimals[what]))) > LIMIT for other in chain([number], held)):
            raise Stale("overflow")


# A whole book may have several of these faults: which is named first is the implementation's business.
IN_LEVELS = {"bad amount", "level twice", "unknown level", "overflow"}


def follow(messages, instrument):
    """Both books over the same messages; whatever one shows the other must."""
    book, model = OrderBook(instrument, numbers=Decimal), BookModel(instrument)
    for message in messages:
        assert book.apply(message) == model.apply(message), message
        assert book.state == model.state, message
        assert book.stale_cause == model.cause or {book.stale_cause, model.cause} <= IN_LEVELS, message
        assert (book.change_id, book.bids(), book.asks()) == (
            model.change_id,
            model.levels("bids"),
            model.levels("asks"),
        )
    return book
