"""Methods about instruments, books, trades and prices. Not here: the market itself (floor.py), channels."""

from typing import Any

from wsx.testing.deribit.candles import RESOLUTIONS, bars_of
from wsx.testing.deribit.instruments import CURRENCIES, KINDS, belongs_to, coins
from wsx.testing.deribit.method import Method
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.session import Session
from wsx.testing.deribit.wire import Refusal
from wsx.testing.market_listing import Listing

_ANY_CURRENCY = (*CURRENCIES, "any")
_ANY_KIND = (*KINDS, "combo", "any")
_DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10000)
_COIN_NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "USDC": "USD Coin", "USDT": "Tether", "EURR": "EURR"}


# ---- instruments --------------------------------------------------------------------------------------------------


def _get_instruments(session: Session, params: Params) -> list[dict[str, Any]]:
    found = _chosen(session, params)
    if params.flag("expired", False):
        return []  # nothing has expired yet
    return [session.exchange.floor.descriptions[listing.instrument.name] for listing in found]


def _get_instrument(session: Session, params: Params) -> dict[str, Any]:
    return session.exchange.floor.descriptions[_listing(session, params).instrument.name]


def _get_currencies(session: Session, params: Params) -> list[dict[str, Any]]:
    fees = {"withdrawal_fee": 1.0e-4, "min_withdrawal_fee": 1.0e-4, "min_confirmations": 1, "fee_precision": 4}
    return [
        {"currency": coin, "currency_long": name, "coin_type": "BITCOIN" if coin == "BTC" else "ETHER"} | fees
        for coin, name in _COIN_NAMES.items()
    ]


def _listing(session: Session, params: Params) -> Listing:
    listing = session.exchange.floor.listings.get(params.text("instrument_name"))
    if listing is None:
        raise Refusal("not_found")
    return listing


def _chosen(session: Session, params: Params) -> list[Listing]:
    currency = params.choice("currency", _ANY_CURRENCY)
    kind = params.choice("kind", _ANY_KIND, "any")
    return [one for one in session.exchange.floor.listings.values() if belongs_to(one.instrument, kind, currency)]


# ---- prices and books ---------------------------------------------------------------------------------------------


def _get_index_price(session: Session, params: Params) -> dict[str, Any]:
    price = session.exchange.floor.indices.get(params.text("index_name"))
    if price is None:
        raise Refusal("Invalid params", data={"reason": "invalid value", "param": "index_name"})
    return {"index_price": price, "estimated_delivery_price": price}


def _ticker(session: Session, params: Params) -> dict[str, Any]:
    return _listing(session, params).ticker(session.exchange.now_ms())


def _get_order_book(session: Session, params: Params) -> dict[str, Any]:
    listing = _listing(session, params)
    depth = params.integer("depth", 5)
    if depth not in _DEPTHS:
        raise Refusal("Invalid params", data={"reason": "invalid value", "param": "depth"})
    book = listing.book
    bids, asks = sorted(book.bids.items(), reverse=True)[:depth], sorted(book.asks.items())[:depth]
    levels = {"bids": _levels(listing, bids), "asks": _levels(listing, asks)}
    return listing.ticker(session.exchange.now_ms()) | {"change_id": listing.change_id} | levels


def _levels(listing: Listing, levels: list[tuple[int, int]]) -> list[list[float]]:
    return [[listing.price(ticks), listing.amount(lots)] for ticks, lots in levels]


def _book_summary_by_currency(session: Session, params: Params) -> list[dict[str, Any]]:
    return [_summary(listing, session.exchange.now_ms()) for listing in _chosen(session, params)]


def _book_summary_by_instrument(session: Session, params: Params) -> list[dict[str, Any]]:
    return [_summary(_listing(session, params), session.exchange.now_ms())]


def _summary(listing: Listing, now_ms: int) -> dict[str, Any]:
    ticker, pair = listing.ticker(now_ms), coins(listing.instrument)
    bid, ask = ticker["best_bid_price"] or None, ticker["best_ask_price"] or None
    stats = ticker["stats"]
    facts = {name: stats[name] for name in ("high", "low", "volume", "volume_usd", "volume_notional", "price_change")}
    facts |= {"instrument_name": listing.instrument.name, "base_currency": pair[0], "quote_currency": pair[1]}
    facts |= {"bid_price": bid, "ask_price": ask, "mid_price": None if bid is None else (bid + ask) / 2}
    facts |= {"mark_price": ticker["mark_price"], "last": ticker["last_price"], "creation_timestamp": now_ms}
    kept = ("open_interest", "estimated_delivery_price", "current_funding", "funding_8h", "underlying_price")
    return facts | {name: ticker[name] for name in kept if name in ticker}


# ---- trades -------------------------------------------------------------------------------------------------------


def _trades_by_instrument(session: Session, params: Params) -> dict[str, Any]:
    """By sequence numbers or by times, whatever is given."""
    trades = list(session.exchange.floor.trades[_listing(session, params).instrument.name])
    for name, field in (("seq", "trade_seq"), ("timestamp", "timestamp")):
        low, high = params.integer(f"start_{name}", 0), params.integer(f"end_{name}", 1 << 62)
        trades = [trade for trade in trades if low <= trade[field] <= high]
    return _page(trades, params)


def _trades_by_currency(session: Session, params: Params) -> dict[str, Any]:
    low, high = params.integer("start_timestamp", 0), params.integer("end_timestamp", 1 << 62)
    memory = session.exchange.floor.trades
    trades = [trade for listing in _chosen(session, params) for trade in memory[listing.instrument.name]]
    trades.sort(key=lambda trade: int(trade["trade_id"]))
    return _page([trade for trade in trades if low <= trade["timestamp"] <= high], params)


def _page(trades: list[dict[str, Any]], params: Params) -> dict[str, Any]:
    """From a given beginning the first ones, otherwise the last; the latest first unless asked otherwise."""
    count = params.integer("count", 10, low=1, high=1000)
    from_start = "start_seq" in params or "start_timestamp" in params
    page = trades[:count] if from_start else trades[-count:]
    rising = params.choice("sorting", ("asc", "desc", "default"), "default") == "asc"
    return {"trades": page if rising else page[::-1], "has_more": len(trades) > count}


def _chart_data(session: Session, params: Params) -> dict[str, Any]:
    listing = _listing(session, params)
    length = RESOLUTIONS[params.choice("resolution", tuple(RESOLUTIONS))]
    start, end = params.integer("start_timestamp"), params.integer("end_timestamp")
    trades = session.exchange.floor.trades[listing.instrument.name]
    bars = bars_of(trades, length, inverse=listing.instrument.inverse)
    bars = [bar for bar in bars if start <= bar.tick <= end]
    columns = {
        name: [getattr(bar, name) for bar in bars] for name in ("volume", "open", "low", "high", "cost", "close")
    }
    return columns | {"ticks": [bar.tick for bar in bars], "status": "ok" if bars else "no_data"}


MARKET_METHODS = {
    "public/get_instruments": Method(_get_instruments),
    "public/get_instrument": Method(_get_instrument),
    "public/get_currencies": Method(_get_currencies),
    "public/get_index_price": Method(_get_index_price),
    "public/ticker": Method(_ticker),
    "public/get_order_book": Method(_get_order_book),
    "public/get_book_summary_by_currency": Method(_book_summary_by_currency),
    "public/get_book_summary_by_instrument": Method(_book_summary_by_instrument),
    "public/get_last_trades_by_instrument": Method(_trades_by_instrument),
    "public/get_last_trades_by_instrument_and_time": Method(_trades_by_instrument),
    "public/get_last_trades_by_currency": Method(_trades_by_currency),
    "public/get_last_trades_by_currency_and_time": Method(_trades_by_currency),
    "public/get_tradingview_chart_data": Method(_chart_data),
}
