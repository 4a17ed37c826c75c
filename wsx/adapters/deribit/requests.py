"""Deribit's public requests for market data, one method each, named as the exchange names them.

Results are as the exchange gives them: dicts, lists and numbers (docs.deribit.com, "Market data"; times in ms).
Not here: subscriptions and books (session.py), orders.
"""

from typing import Any

from wsx.adapters.deribit.channels import is_plain

_NAMES = frozenset({"instrument_name", "currency", "index_name"})


class PublicRequests:
    """What can be asked without a login. Each raises as `request` does, which the session has; ValueError for a
    name that cannot be one."""

    async def request(self, method: str, params: dict[str, Any] | None = None, *, timeout: float | None = 30.0) -> Any:
        """Ask for any method."""
        raise NotImplementedError

    async def get_time(self) -> int:
        """The exchange's time, ms."""
        result: int = await self.request("public/get_time")
        return result

    async def test(self) -> Any:
        """`{"version": ...}`: whether it is there."""
        return await self.request("public/test")

    async def status(self) -> Any:
        """Whether the platform, or some of its indices, is locked."""
        return await self.request("public/status")

    async def get_currencies(self) -> Any:
        """All currencies."""
        return await self.request("public/get_currencies")

    async def get_instruments(self, currency: str = "any", kind: str | None = None, *, expired: bool = False) -> Any:
        """Instruments of a currency ("any": of all), of one kind or all."""
        return await self.request("public/get_instruments", _given(currency=currency, kind=kind, expired=expired))

    async def get_instrument(self, instrument_name: str) -> Any:
        """One instrument."""
        return await self.request("public/get_instrument", _given(instrument_name=instrument_name))

    async def get_index_price(self, index_name: str) -> Any:
        """The price of an index, such as "btc_usd"."""
        return await self.request("public/get_index_price", _given(index_name=index_name))

    async def get_ticker(self, instrument_name: str) -> Any:
        """`public/ticker`: everything about an instrument at a glance."""
        return await self.request("public/ticker", _given(instrument_name=instrument_name))

    async def get_order_book(self, instrument_name: str, depth: int | None = None) -> Any:
        """A picture of an order book. depth: 1, 5, 10, 20, 50, 100, 1000 or 10000 levels a side."""
        return await self.request("public/get_order_book", _given(instrument_name=instrument_name, depth=depth))

    async def get_book_summary(
        self, *, currency: str | None = None, instrument_name: str | None = None, kind: str | None = None
    ) -> Any:
        """Summaries of a currency's instruments, or of one. Raises ValueError unless one of the two is given."""
        if (currency is None) == (instrument_name is None):
            raise ValueError("give either currency or instrument_name")
        by = "currency" if instrument_name is None else "instrument"
        params = _given(currency=currency, instrument_name=instrument_name, kind=kind)
        return await self.request(f"public/get_book_summary_by_{by}", params)

    async def get_last_trades(
        self, *, instrument_name: str | None = None, currency: str | None = None, kind: str | None = None,
        start_timestamp: int | None = None, end_timestamp: int | None = None, count: int | None = None,
        start_seq: int | None = None, end_seq: int | None = None, sorting: str | None = None,
    ) -> Any:  # fmt: skip
        """Trades of an instrument or of a currency: `{"trades": [...], "has_more": bool}`.

        timestamps: ms, both or neither. seqs: an instrument's `trade_seq`, of which none is left out: what was missed
        is found by them. sorting: "asc" or "desc". Raises ValueError unless one of instrument and currency is given.
        """
        if (currency is None) == (instrument_name is None):
            raise ValueError("give either instrument_name or currency")
        by = "currency" if instrument_name is None else "instrument"
        timed = "" if start_timestamp is None else "_and_time"
        params = _given(
            instrument_name=instrument_name, currency=currency, kind=kind, start_timestamp=start_timestamp,
            end_timestamp=end_timestamp, count=count, start_seq=start_seq, end_seq=end_seq, sorting=sorting,
        )  # fmt: skip
        return await self.request(f"public/get_last_trades_by_{by}{timed}", params)

    async def get_candles(
        self, instrument_name: str, start_timestamp: int, end_timestamp: int, resolution: str | int
    ) -> Any:
        """`public/get_tradingview_chart_data`: candles as columns. timestamps: ms. resolution: minutes, or "1D"."""
        params = _given(
            instrument_name=instrument_name, start_timestamp=start_timestamp, end_timestamp=end_timestamp,
            resolution=str(resolution),
        )  # fmt: skip
        return await self.request("public/get_tradingview_chart_data", params)


def _given(**params: Any) -> dict[str, Any]:
    """Those that are not None. Raises ValueError for a name that cannot be one."""
    for name in _NAMES.intersection(params):
        if params[name] is not None and not is_plain(params[name]):
            raise ValueError(f"{name} cannot be {params[name]!r}; nothing was sent")
    return {name: value for name, value in params.items() if value is not None}
