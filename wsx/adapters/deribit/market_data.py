"""What Deribit's market data holds, as typed structs with the exchange's own field names (docs.deribit.com, "Subscriptions").

    await exchange.subscribe(deribit.ticker("BTC-PERPETUAL"), typed(on_ticker))       # on_ticker(ticker: Ticker, message)

Times are milliseconds since 1970, prices in the instrument's quote currency. A field that the exchange leaves out, or
writes as null, is None; where the two differ, it says so (`TickerChange`). Fields that come anew are ignored. Needs the
extra `wsx[msgspec]`.
Not here: order books, which are kept whole and exact (wsx/_book.pyx); asking for the channels (channels.py).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from wsx._envelope import scan
from wsx._message import Message
from wsx.message_handler import Callback

try:
    import msgspec
    from msgspec import UNSET, UnsetType
except ImportError:
    raise ImportError("typed market data needs msgspec: pip install 'wsx[msgspec]'") from None

_Number: TypeAlias = float | UnsetType | None
_Text: TypeAlias = str | UnsetType | None


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade. direction: the taker's, "buy" or "sell". tick_direction: 0 to 3. iv: options only, percent.

    starbase_timestamp: nanoseconds since 1970.
    """

    trade_id: str
    trade_seq: int
    timestamp: int
    instrument_name: str
    price: float
    amount: float
    direction: str
    tick_direction: int | None = None
    contracts: float | None = None
    index_price: float | None = None
    mark_price: float | None = None
    iv: float | None = None
    liquidation: str | None = None
    block_trade_id: str | None = None
    block_trade_leg_count: int | None = None
    block_rfq_id: int | str | None = None
    combo_id: str | None = None
    combo_trade_id: int | str | None = None
    legs: "tuple[Trade, ...] | None" = None  # of a combo's trade
    starbase_timestamp: int | None = None
    starbase_match_id: int | None = None


class Stats(msgspec.Struct, frozen=True, gc=False):
    """Of the last 24 hours. price_change: percent."""

    high: float | None = None
    low: float | None = None
    volume: float | None = None
    volume_usd: float | None = None
    volume_notional: float | None = None
    price_change: float | None = None


class Greeks(msgspec.Struct, frozen=True, gc=False):
    """Of an option."""

    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    rho: float | None = None


class Ticker(msgspec.Struct, frozen=True):
    """An instrument at a glance. best_*_price: 0.0 for an empty side. estimated_delivery_price: may be "expired"."""

    timestamp: int
    instrument_name: str
    state: str | None = None
    stats: Stats | None = None
    last_price: float | None = None
    mark_price: float | None = None
    index_price: float | None = None
    best_bid_price: float | None = None
    best_bid_amount: float | None = None
    best_ask_price: float | None = None
    best_ask_amount: float | None = None
    min_price: float | None = None
    max_price: float | None = None
    open_interest: float | None = None
    settlement_price: float | None = None
    estimated_delivery_price: float | str | None = None
    current_funding: float | None = None
    funding_8h: float | None = None
    interest_value: float | None = None
    underlying_price: float | str | None = None
    underlying_index: str | None = None
    interest_rate: float | None = None
    mark_iv: float | None = None
    bid_iv: float | None = None
    ask_iv: float | None = None
    greeks: Greeks | None = None


class StatsChange(msgspec.Struct, frozen=True, gc=False):
    """Of `Stats`, what a `TickerChange` says."""

    high: _Number = UNSET
    low: _Number = UNSET
    volume: _Number = UNSET
    volume_usd: _Number = UNSET
    volume_notional: _Number = UNSET
    price_change: _Number = UNSET


class GreeksChange(msgspec.Struct, frozen=True, gc=False):
    """Of `Greeks`, what a `TickerChange` says."""

    delta: _Number = UNSET
    gamma: _Number = UNSET
    vega: _Number = UNSET
    theta: _Number = UNSET
    rho: _Number = UNSET


class TickerChange(msgspec.Struct, frozen=True):
    """Of a `Ticker`, what has changed (incremental_ticker). type: "snapshot" for a whole one, then "change".

    What has not changed is left out and `msgspec.UNSET` here; None is a value that the exchange says. So a whole one is
    kept with `whole |= msgspec.to_builtins(change)`, which leaves out what is UNSET.
    """

    timestamp: int
    instrument_name: str
    type: str
    state: _Text = UNSET
    stats: StatsChange | UnsetType | None = UNSET
    last_price: _Number = UNSET
    mark_price: _Number = UNSET
    index_price: _Number = UNSET
    best_bid_price: _Number = UNSET
    best_bid_amount: _Number = UNSET
    best_ask_price: _Number = UNSET
    best_ask_amount: _Number = UNSET
    min_price: _Number = UNSET
    max_price: _Number = UNSET
    open_interest: _Number = UNSET
    settlement_price: _Number = UNSET
    estimated_delivery_price: _Number | str = UNSET
    current_funding: _Number = UNSET
    funding_8h: _Number = UNSET
    interest_value: _Number = UNSET
    underlying_price: _Number | str = UNSET
    underlying_index: _Text = UNSET
    interest_rate: _Number = UNSET
    mark_iv: _Number = UNSET
    bid_iv: _Number = UNSET
    ask_iv: _Number = UNSET
    greeks: GreeksChange | UnsetType | None = UNSET


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best prices; None for an empty side."""

    timestamp: int
    instrument_name: str
    best_bid_price: float | None = None
    best_bid_amount: float | None = None
    best_ask_price: float | None = None
    best_ask_amount: float | None = None


class Index(msgspec.Struct, frozen=True, gc=False):
    """The price of an index (deribit_price_index)."""

    index_name: str
    price: float
    timestamp: int


class IndexSource(msgspec.Struct, frozen=True, gc=False):
    """An exchange whose price counts in an index (deribit_price_ranking). weight: percent. original_price: as it said."""

    identifier: str
    timestamp: int
    enabled: bool | None = None
    price: float | None = None
    original_price: float | None = None
    weight: float | None = None


class IndexStatistics(msgspec.Struct, frozen=True, gc=False):
    """An index over the last 24 hours (deribit_price_statistics)."""

    index_name: str
    low24h: float | None = None
    high24h: float | None = None
    change24h: float | None = None
    high_volatility: bool | None = None


class Volatility(msgspec.Struct, frozen=True, gc=False):
    """The volatility index (deribit_volatility_index), percent a year."""

    index_name: str
    timestamp: int
    volatility: float


class ExpirationPrice(msgspec.Struct, frozen=True, gc=False):
    """What expires next would settle at this price (estimated_expiration_price), `seconds` from now."""

    price: float
    seconds: int | None = None
    is_estimated: bool | None = None


class MarkPrice(msgspec.Struct, frozen=True, gc=False):
    """Of an option (markprice.options). iv: of 1, not percent."""

    instrument_name: str
    mark_price: float
    timestamp: int | None = None
    iv: float | None = None


class Interest(msgspec.Struct, frozen=True, gc=False):
    """The interest rate of a perpetual."""

    interest: float
    timestamp: int | None = None
    index_price: float | None = None


class Candle(msgspec.Struct, frozen=True, gc=False):
    """A bar of chart.trades; the last one is said again with each trade. tick: its beginning, ms."""

    tick: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    cost: float


class InstrumentState(msgspec.Struct, frozen=True, gc=False):
    """An instrument has come, gone or changed. state: an open set, such as "open", "locked", "settled"."""

    timestamp: int
    instrument_name: str
    state: str


class PlatformState(msgspec.Struct, frozen=True, gc=False):
    """The platform is locked or unlocked (for one index or all), or goes into maintenance."""

    locked: bool | None = None
    price_index: str | None = None
    maintenance: bool | None = None
    reasons: tuple[Any, ...] | None = None


class PublicMethodsState(msgspec.Struct, frozen=True, gc=False):
    """Whether public requests are answered without a login (platform_state.public_methods_state)."""

    allow_unauthenticated_public_requests: bool


# A channel, or its beginning up to a dot.
_TYPES: dict[str, Any] = {
    "trades.": list[Trade],
    "ticker.": Ticker,
    "incremental_ticker.": TickerChange,
    "quote.": Quote,
    "perpetual.": Interest,
    "deribit_price_index.": Index,
    "deribit_price_ranking.": list[IndexSource],
    "deribit_price_statistics.": IndexStatistics,
    "deribit_volatility_index.": Volatility,
    "estimated_expiration_price.": ExpirationPrice,
    "markprice.options.": list[MarkPrice],
    "chart.trades.": Candle,
    "instrument.state.": InstrumentState,
    "platform_state": PlatformState,
    "platform_state.public_methods_state": PublicMethodsState,
}


def typed(callback: Callable[[Any, Message], object]) -> Callback:
    """A callback for `subscribe` that is given the message's data as what its channel holds, then the message itself.

    Where the data does not fit, msgspec.ValidationError goes the way of any error out of a callback: said, counted, and
    the connection stays. Raises ValueError (likewise) for a channel that has no type here.
    """

    def parse_and_call(message: Message) -> object:
        return callback(message.data_json(type=type_of(_channel(message))), message)

    return parse_and_call


@lru_cache(4096)
def type_of(channel: str) -> Any:
    """What the data of a channel is. Raises ValueError where that is not known here, as for order books."""
    for name, kind in _TYPES.items():
        if channel == name or (name.endswith(".") and channel.startswith(name)):
            return kind
    raise ValueError(f"no type for the data of {channel!r}; read message.data_json(), or keep a book")


def _channel(message: Message) -> str:
    envelope = scan(message.data)
    channel = envelope.channel if envelope is not None else message.json()["params"]["channel"]
    return str(channel)
