"""The names of Deribit's channels, built from their parts and checked (docs.deribit.com, "Subscriptions").

A channel may always be given as text too: what the exchange does not know it refuses by name.
Not here: what their messages hold (market_data.py), subscribing (session.py).
"""

import re
from typing import Literal, TypeAlias

Interval: TypeAlias = Literal["raw", "100ms", "agg2"]
Kind: TypeAlias = Literal["future", "option", "spot", "future_combo", "option_combo", "combo", "any"]
OfAnIndex: TypeAlias = Literal["price", "ranking", "statistics", "volatility", "expiration", "option_marks"]
OfThePlatform: TypeAlias = Literal["state", "public_methods", "announcements"]

_INTERVALS = ("raw", "100ms", "agg2")
_KINDS = ("future", "option", "spot", "future_combo", "option_combo", "combo", "any")
_GROUPS = ("none", "1", "2", "5", "10", "25", "100", "250")
_DEPTHS = (1, 10, 20)
_RESOLUTIONS = ("1", "3", "5", "10", "15", "30", "60", "120", "180", "360", "720", "1D")
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # no instrument's or index's name holds a dot
_PLAIN = re.compile(r"[^\s,\"'`]+")
_OF_AN_INDEX: dict[OfAnIndex, str] = {
    "price": "deribit_price_index",
    "ranking": "deribit_price_ranking",
    "statistics": "deribit_price_statistics",
    "volatility": "deribit_volatility_index",
    "expiration": "estimated_expiration_price",
    "option_marks": "markprice.options",
}
_OF_THE_PLATFORM: dict[OfThePlatform, str] = {
    "state": "platform_state",
    "public_methods": "platform_state.public_methods_state",
    "announcements": "announcements",
}


def book(
    instrument: str, interval: Interval = "100ms", *, group: str | int | None = None, depth: int | None = None
) -> str:
    """An order book: every change of every level; with `group` and `depth` the best levels, whole each time.

    interval: "raw" needs a login. group: price step, or "none". depth: 1, 10 or 20 levels a side. Raises ValueError.
    """
    if group is None and depth is None:
        return _by_instrument("book", instrument, interval)
    group, depth = "none" if group is None else str(group), 20 if depth is None else depth
    _check("group", group, _GROUPS)
    _check("depth", depth, _DEPTHS)
    _check("interval", interval, ("100ms", "agg2"))
    return f"book.{_name('instrument', instrument)}.{group}.{depth}.{interval}"


def trades(instrument_or_kind: str, interval: Interval = "100ms", *, currency: str | None = None) -> str:
    """Trades of an instrument; with `currency` ("BTC", "any") those of a kind, such as "option". Raises ValueError."""
    if currency is None:
        return _by_instrument("trades", instrument_or_kind, interval)
    _check("kind", instrument_or_kind, _KINDS)
    _check("interval", interval, _INTERVALS)
    return f"trades.{instrument_or_kind}.{_name('currency', currency)}.{interval}"


def ticker(instrument: str, interval: Interval = "100ms") -> str:
    """Best prices, mark and index price, funding, greeks and statistics of an instrument. Raises ValueError."""
    return _by_instrument("ticker", instrument, interval)


def incremental_ticker(instrument: str) -> str:
    """The same once a second at most: whole at first, then what has changed. Raises ValueError."""
    return f"incremental_ticker.{_name('instrument', instrument)}"


def quote(instrument: str) -> str:
    """Best prices and amounts of an instrument, whenever they change. Raises ValueError."""
    return f"quote.{_name('instrument', instrument)}"


def perpetual(instrument: str, interval: Interval = "100ms") -> str:
    """The interest rate of a perpetual. interval: "raw" needs a login. Raises ValueError."""
    return _by_instrument("perpetual", instrument, interval)


def chart(instrument: str, resolution: str | int) -> str:
    """Candles of trades. resolution: minutes ("1" to "720") or "1D". Raises ValueError."""
    _check("resolution", str(resolution), _RESOLUTIONS)
    return f"chart.trades.{_name('instrument', instrument)}.{resolution}"


def index(name: str, what: OfAnIndex = "price") -> str:
    """Of an index such as "btc_usd": its price; the sources of it ("ranking"); its day ("statistics"); its "volatility".

    "expiration": the price at which what expires next would settle now. "option_marks": the mark prices of all options
    on it. Raises ValueError.
    """
    _check("what", what, tuple(_OF_AN_INDEX))
    return f"{_OF_AN_INDEX[what]}.{_name('index', name)}"


def instrument_state(kind: Kind = "any", currency: str = "any") -> str:
    """Instruments that come, go or change, of a kind and a currency. Raises ValueError."""
    _check("kind", kind, _KINDS)
    return f"instrument.state.{kind}.{_name('currency', currency)}"


def platform(what: OfThePlatform = "state") -> str:
    """Of the platform: its "state" (locked, maintenance), its "public_methods", its "announcements". Raises ValueError."""
    _check("what", what, tuple(_OF_THE_PLATFORM))
    return _OF_THE_PLATFORM[what]


def portfolio(currency: str = "any") -> str:
    """One's own account in a currency, such as "btc". Raises ValueError."""
    return f"user.portfolio.{_name('currency', currency)}"


def user(
    what: Literal["orders", "trades", "changes"],
    instrument_or_kind: str,
    interval: Interval = "raw",
    *,
    currency: str | None = None,
) -> str:
    """One's own orders, trades, or both with positions, by instrument, or by kind and `currency`. Raises ValueError."""
    _check("what", what, ("orders", "trades", "changes"))
    _check("interval", interval, _INTERVALS)
    if currency is None:
        return f"user.{what}.{_name('instrument', instrument_or_kind)}.{interval}"
    _check("kind", instrument_or_kind, _KINDS)
    return f"user.{what}.{instrument_or_kind}.{_name('currency', currency)}.{interval}"


def is_plain(name: object) -> bool:
    """Whether Deribit may have a name such as this: it holds no blanks, commas, quotes or control characters."""
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None and name.isprintable()


def _by_instrument(kind: str, instrument: str, interval: str) -> str:
    _check("interval", interval, _INTERVALS)
    return f"{kind}.{_name('instrument', instrument)}.{interval}"


def _name(what: str, value: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{what} must be a name such as 'BTC-PERPETUAL', not {value!r}")
    return value


def _check(what: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(map(str, allowed))}, not {value!r}")
