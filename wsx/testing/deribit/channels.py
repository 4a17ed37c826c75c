"""Channel names: what each asks for, or that it asks for nothing.

Not here: what is sent (feeds.py), who hears it (hub.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from wsx.testing.deribit.candles import RESOLUTIONS
from wsx.testing.deribit.floor import Floor
from wsx.testing.deribit.instruments import CURRENCIES, KINDS, belongs_to

_INTERVALS = ("raw", "100ms", "agg2")
_GROUPS = ("none", "1", "2", "5", "10", "25", "100", "250")
_DEPTHS = ("1", "10", "20")
_USER_RIGHTS = {"orders": "trade", "trades": "trade", "changes": "trade"}
_USER_KINDS = {"portfolio", "combo_trades", "lock", "access_log", "mmp_trigger"} | set(_USER_RIGHTS)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that exists. kind: which feed serves it. instruments: what it is about.

    interval: "raw" is said at once, the others when their time is over. arguments: what else its name holds.
    right: what a client must be allowed to read ("trade", "account"); None: anyone may. owner: the client_id of the
    account that a private channel is about.
    """

    name: str
    kind: str
    instruments: tuple[str, ...] = ()
    interval: str = "raw"
    arguments: tuple[str, ...] = ()
    right: str | None = None
    owner: str | None = None

    @property
    def private(self) -> bool:
        """Is it about one account?"""
        return self.right is not None

    @property
    def needs_login(self) -> bool:
        """Raw data is for clients that have said who they are."""
        return self.kind in ("book", "trades", "ticker", "perpetual") and self.interval == "raw"


def find_channel(name: str, floor: Floor) -> Channel | None:
    """The channel of this name, or None where there is none."""
    first, *rest = name.split(".")
    finder = _FINDERS.get(first)
    return finder(name, rest, floor) if finder is not None else None


def _book(name: str, rest: list[str], floor: Floor) -> Channel | None:
    if len(rest) == 2:
        return _of_instrument(name, rest, floor)
    if len(rest) != 4 or rest[1] not in _GROUPS or rest[2] not in _DEPTHS or rest[3] not in _INTERVALS[1:]:
        return None
    return Channel(name, "grouped", (rest[0],), rest[3], (rest[1], rest[2])) if rest[0] in floor.listings else None


def _of_instrument(name: str, rest: list[str], floor: Floor) -> Channel | None:
    if len(rest) != 2 or rest[0] not in floor.listings or rest[1] not in _INTERVALS:
        return None
    return Channel(name, name.partition(".")[0], (rest[0],), rest[1])


def _perpetual(name: str, rest: list[str], floor: Floor) -> Channel | None:
    found = _of_instrument(name, rest, floor)
    perpetual = found is not None and floor.listings[rest[0]].instrument.kind == "perpetual"
    return found if perpetual else None


def _trades(name: str, rest: list[str], floor: Floor) -> Channel | None:
    if len(rest) != 3 or rest[2] not in _INTERVALS:
        return _of_instrument(name, rest, floor)
    members = _members(rest[0], rest[1], floor)
    return None if members is None else Channel(name, "trades", members, rest[2])


def _members(kind: str, currency: str, floor: Floor) -> tuple[str, ...] | None:
    if kind not in (*KINDS, "combo", "any") or currency not in (*CURRENCIES, "any"):
        return None
    return tuple(name for name, one in floor.listings.items() if belongs_to(one.instrument, kind, currency))


def _plain(name: str, rest: list[str], floor: Floor) -> Channel | None:
    """`quote.I` and `incremental_ticker.I`."""
    kind = name.partition(".")[0]
    interval = "agg2" if kind == "incremental_ticker" else "raw"
    return Channel(name, kind, (rest[0],), interval) if len(rest) == 1 and rest[0] in floor.listings else None


def _chart(name: str, rest: list[str], floor: Floor) -> Channel | None:
    if len(rest) != 3 or rest[0] != "trades" or rest[1] not in floor.listings or rest[2] not in RESOLUTIONS:
        return None
    return Channel(name, "chart", (rest[1],), arguments=(rest[2],))


def _index(name: str, rest: list[str], floor: Floor) -> Channel | None:
    known = len(rest) == 1 and rest[0] in floor.indices
    return Channel(name, name.partition(".")[0], interval="agg2", arguments=tuple(rest)) if known else None


def _mark_prices(name: str, rest: list[str], floor: Floor) -> Channel | None:
    known = len(rest) == 2 and rest[0] == "options" and rest[1] in floor.indices
    return Channel(name, "markprice", interval="agg2", arguments=(rest[1],)) if known else None


def _states(name: str, rest: list[str], floor: Floor) -> Channel | None:
    known = len(rest) == 3 and rest[0] == "state" and _members(rest[1], rest[2], floor) is not None
    return Channel(name, "silent") if known else None


def _announcements(name: str, rest: list[str], floor: Floor) -> Channel | None:
    return None if rest else Channel(name, "silent")


def _platform(name: str, rest: list[str], floor: Floor) -> Channel | None:
    return Channel(name, "silent") if rest in ([], ["public_methods_state"]) else None


def _user(name: str, rest: list[str], floor: Floor) -> Channel | None:
    """Their forms are many: what is checked is the kind, and the instrument where one is named."""
    if not rest or rest[0] not in _USER_KINDS or (rest[0] in _USER_RIGHTS and not _user_form(rest[1:], floor)):
        return None
    return Channel(name, "silent", right=_USER_RIGHTS.get(rest[0], "account"))


def _user_form(rest: list[str], floor: Floor) -> bool:
    if not rest or rest[-1] not in _INTERVALS:
        return False
    return (
        rest[0] in floor.listings
        if len(rest) == 2
        else len(rest) == 3 and _members(rest[0], rest[1], floor) is not None
    )


_FINDERS: dict[str, Callable[[str, list[str], Floor], Channel | None]] = {
    "book": _book,
    "trades": _trades,
    "ticker": _of_instrument,
    "perpetual": _perpetual,
    "incremental_ticker": _plain,
    "quote": _plain,
    "chart": _chart,
    "deribit_price_index": _index,
    "deribit_price_ranking": _index,
    "deribit_price_statistics": _index,
    "deribit_volatility_index": _index,
    "estimated_expiration_price": _index,
    "markprice": _mark_prices,
    "instrument": _states,
    "platform_state": _platform,
    "announcements": _announcements,
    "user": _user,
}
