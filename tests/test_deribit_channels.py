"""Names of Deribit's channels, built from their parts."""

import pytest

from wsx.adapters.deribit import (
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
from wsx.testing.deribit.channels import find_channel
from wsx.testing.deribit.floor import Floor
from wsx.testing.deribit.instruments import all_listed

I = "BTC-PERPETUAL"  # noqa: E741

BUILT = [
    (book(I), f"book.{I}.100ms"),
    (book(I, "raw"), f"book.{I}.raw"),
    (book(I, group=5, depth=10), f"book.{I}.5.10.100ms"),
    (book(I, "agg2", depth=1), f"book.{I}.none.1.agg2"),
    (book(I, group="none"), f"book.{I}.none.20.100ms"),
    (trades(I), f"trades.{I}.100ms"),
    (trades("future", "raw", currency="BTC"), "trades.future.BTC.raw"),
    (trades("any", currency="any"), "trades.any.any.100ms"),
    (ticker(I, "agg2"), f"ticker.{I}.agg2"),
    (chart(I, 60), f"chart.trades.{I}.60"),
    (chart(I, "1D"), f"chart.trades.{I}.1D"),
    (incremental_ticker(I), f"incremental_ticker.{I}"),
    (quote(I), f"quote.{I}"),
    (perpetual(I), f"perpetual.{I}.100ms"),
    (perpetual(I, "raw"), f"perpetual.{I}.raw"),
    (index("btc_usd"), "deribit_price_index.btc_usd"),
    (index("btc_usd", "ranking"), "deribit_price_ranking.btc_usd"),
    (index("btc_usd", "statistics"), "deribit_price_statistics.btc_usd"),
    (index("btc_usd", "volatility"), "deribit_volatility_index.btc_usd"),
    (index("btc_usd", "expiration"), "estimated_expiration_price.btc_usd"),
    (index("btc_usd", "option_marks"), "markprice.options.btc_usd"),
    (instrument_state(), "instrument.state.any.any"),
    (instrument_state("option", "BTC"), "instrument.state.option.BTC"),
    (platform(), "platform_state"),
    (platform("public_methods"), "platform_state.public_methods_state"),
    (platform("announcements"), "announcements"),
    (portfolio("btc"), "user.portfolio.btc"),
    (user("orders", I), f"user.orders.{I}.raw"),
    (user("changes", "option", "100ms", currency="BTC"), "user.changes.option.BTC.100ms"),
]


@pytest.mark.parametrize(("name", "expected"), BUILT, ids=[name for _, name in BUILT])
def test_a_name_is_what_the_exchange_knows(name, expected):
    assert name == expected
    assert find_channel(name, Floor(0, all_listed(0), 0)) is not None


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: book("BTC.PERPETUAL"), "instrument must be a name"),
        (lambda: book(""), "instrument must be a name"),
        (lambda: book(5), "instrument must be a name"),
        (lambda: book(I, "10ms"), "interval must be one of raw, 100ms, agg2"),
        (lambda: book(I, group=3), "group must be one of"),
        (lambda: book(I, depth=5), "depth must be one of 1, 10, 20"),
        (lambda: book(I, "raw", depth=10), "interval must be one of 100ms, agg2"),
        (lambda: trades("futures", currency="BTC"), "kind must be one of"),
        (lambda: trades("future", "1s", currency="BTC"), "interval must be one of"),
        (lambda: trades("future", currency="B.C"), "currency must be a name"),
        (lambda: ticker("a b"), "instrument must be a name"),
        (lambda: quote(""), "instrument must be a name"),
        (lambda: incremental_ticker("a.b"), "instrument must be a name"),
        (lambda: perpetual(I, "1s"), "interval must be one of"),
        (lambda: index("btc.usd"), "index must be a name"),
        (lambda: index("btc_usd", "sources"), "what must be one of price, ranking"),
        (lambda: instrument_state("futures"), "kind must be one of"),
        (lambda: instrument_state("future", "B C"), "currency must be a name"),
        (lambda: platform("locked"), "what must be one of state, public_methods, announcements"),
        (lambda: portfolio(""), "currency must be a name"),
        (lambda: chart(I, 7), "resolution must be one of"),
        (lambda: user("balances", I), "what must be one of orders, trades, changes"),
        (lambda: user("orders", I, "1s"), "interval must be one of"),
        (lambda: user("orders", "futures", currency="BTC"), "kind must be one of"),
        (lambda: user("orders", "a.b"), "instrument must be a name"),
    ],
)
def test_what_cannot_be_a_channel_is_refused_by_the_part_that_is_wrong(build, what):
    with pytest.raises(ValueError, match=what):
        build()
