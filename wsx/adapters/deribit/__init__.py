"""Deribit: `connect`, the names of its channels, credentials. Needs nothing beyond wsx; typed views need msgspec.

from wsx.adapters import deribit
async with deribit.connect("test") as exchange: ...
"""

from wsx.adapters.deribit.auth import Credentials
from wsx.adapters.deribit.channels import (
    book,
    chart,
    incremental_ticker,
    index,
    instrument_state,
    perpetual,
    platform,
    portfolio,
    quote,
    ticker,
    trades,
    user,
)
from wsx.adapters.deribit.errors import is_passing
from wsx.adapters.deribit.session import Deribit, connect

__all__ = [
    "Credentials",
    "Deribit",
    "book",
    "chart",
    "connect",
    "incremental_ticker",
    "index",
    "instrument_state",
    "is_passing",
    "perpetual",
    "platform",
    "portfolio",
    "quote",
    "ticker",
    "trades",
    "user",
]
