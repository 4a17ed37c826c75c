"""What is listed on the local exchange, and how the exchange describes it.

Everything about an instrument that follows from its name and kind is derived here.
Not here: its life (wsx/testing/market_listing.py).
"""

from typing import Any

from wsx.testing.expiries import expires_ms, quarter_end
from wsx.testing.market import listed
from wsx.testing.market_listing import Instrument

KINDS = ("future", "option", "spot", "future_combo", "option_combo")
CURRENCIES = ("BTC", "ETH", "USDC", "USDT", "EURR")
_NEVER_MS = 32_503_708_800_000  # when a perpetual expires
_LISTED_MS = 90 * 86_400_000  # how long everything has been listed when the exchange opens
_MAKER, _TAKER = 0.0001, 0.0005


def all_listed(now_ms: int) -> tuple[Instrument, ...]:
    """What the exchange lists where nobody says what: nothing of it has ended at `now_ms` (unix time)."""
    option: dict[str, Any] = {"kind": "option", "tick": 0.0005, "lot": 0.1, "underlying": 78_400.0}
    end = quarter_end(now_ms)
    return (
        *listed(now_ms),
        Instrument(name=f"BTC-{end}-70000-P", price=0.0345, share=1, **option),
        Instrument(name=f"BTC-{end}-400000-C", price=0.0005, share=0, **option),
    )


def describe(instrument: Instrument, number: int, now_ms: int) -> dict[str, Any]:
    """The instrument object. number: its place among all that are listed. now_ms: when the exchange opens."""
    pair, inverse = coins(instrument), price_index(instrument).endswith("_usd")
    facts: dict[str, Any] = {"state": "open", "price_index": price_index(instrument), "kind": _api_kind(instrument)}
    facts |= {"instrument_name": instrument.name} | _option(instrument)
    facts |= {"maker_commission": _MAKER, "taker_commission": _TAKER}
    facts |= {"instrument_type": "reversed" if inverse else "linear", "expiration_timestamp": _expires_ms(instrument)}
    facts |= {"is_active": True, "creation_timestamp": now_ms - _LISTED_MS, "instrument_id": 200_000 + number}
    facts |= {"tick_size": float(instrument.tick), "contract_size": instrument.contract, "base_currency": pair[0]}
    facts |= {"quote_currency": pair[0] if facts["kind"] == "option" and inverse else pair[1]}
    facts |= {"settlement_currency": pair[0] if inverse else pair[1], "min_trade_amount": float(instrument.lot)}
    period = {"perpetual": "perpetual", "spot": None}.get(instrument.kind, "month")
    facts |= {"settlement_period": period} if period else {}
    return facts | {"counter_currency": pair[1], "tick_size_steps": []}


def _api_kind(instrument: Instrument) -> str:
    """A perpetual is a future without an end."""
    return "future" if instrument.kind == "perpetual" else instrument.kind


def coins(instrument: Instrument) -> tuple[str, str]:
    """Base and counter currency: BTC, USD; ETH_USDC-PERPETUAL has ETH, USDC."""
    base, _, counter = instrument.name.split("-")[0].partition("_")
    return base, counter or "USD"


def price_index(instrument: Instrument) -> str:
    """The name of the index it follows: btc_usd."""
    return "_".join(coins(instrument)).lower()


def belongs_to(instrument: Instrument, kind: str, currency: str) -> bool:
    """Does a request or a channel for `kind` and `currency`, either of them "any", speak of it?"""
    base, counter = coins(instrument)
    settled = {base, counter} if instrument.kind == "spot" else {base if counter == "USD" else counter}
    return kind in ("any", _api_kind(instrument)) and (currency == "any" or currency in settled)


def _expires_ms(instrument: Instrument) -> int:
    """08:00 UTC of the day in its name."""
    if instrument.kind in ("perpetual", "spot"):
        return _NEVER_MS
    return expires_ms(instrument.name.split("-")[1])


def _option(instrument: Instrument) -> dict[str, Any]:
    if instrument.kind != "option":
        return {}
    strike, side = instrument.name.split("-")[2:]
    return {"option_type": {"C": "call", "P": "put"}[side], "strike": float(strike.replace("d", "."))}
