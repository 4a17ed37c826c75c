"""Typed market data: every message of the captures, and all that the local exchange says."""

import asyncio
import runpy
import sys

import msgspec
import pytest
from deribit_session import PERPETUAL, say, session, until
from exchange_client import played

from wsx.adapters.deribit import (
    chart,
    incremental_ticker,
    index,
    market_data,
    perpetual,
    platform,
    quote,
    ticker,
    trades,
)
from wsx.adapters.deribit.market_data import (
    Candle,
    ExpirationPrice,
    Index,
    IndexSource,
    IndexStatistics,
    InstrumentState,
    Interest,
    MarkPrice,
    PlatformState,
    PublicMethodsState,
    Quote,
    Ticker,
    TickerChange,
    Trade,
    Volatility,
    type_of,
    typed,
)
from wsx.events import CallbackFailed
from wsx.testing import load_capture


def recorded(captures):
    """(channel, data) of every notification of Deribit's; a file's name says whose traffic it holds."""
    for path in sorted(captures.glob("*deribit*.jsonl")):
        if path.name.endswith(".sent.jsonl"):
            continue
        for payload in load_capture(path).messages:
            document = msgspec.json.decode(payload)
            if isinstance(document, dict) and document.get("method") == "subscription":
                yield document["params"]["channel"], document["params"]["data"]


def test_every_recorded_message_fits_its_type_field_by_field(captures):
    kinds = set()
    for channel, data in recorded(captures):
        if channel.startswith(("book.", "user.", "announcements", "block_")):
            continue
        view = msgspec.json.decode(msgspec.json.encode(data), type=type_of(channel))
        views, raws = (view, data) if isinstance(data, list) else ([view], [data])
        for typed_one, raw in zip(views, raws, strict=True):
            kinds.add(type(typed_one))
            known = msgspec.to_builtins(typed_one)
            told = {name: raw[name] for name in known if name in raw}
            assert {name: _shape(known[name], told[name]) for name in told} == told, channel
            assert all(known[name] is None for name in known if name not in told)
    if not kinds:
        pytest.skip(f"no market data in {captures}")


def _shape(view, raw):
    """Of nested structs only what was said."""
    if isinstance(raw, list):
        return [_shape(*pair) for pair in zip(view, raw, strict=True)]
    return {name: view[name] for name in raw} if isinstance(raw, dict) else view


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("trades.future.BTC.raw", list[Trade]),
        ("ticker.X.raw", Ticker),
        ("incremental_ticker.X", TickerChange),
        ("quote.X", Quote),
        ("deribit_price_index.btc_usd", Index),
        ("deribit_price_ranking.btc_usd", list[IndexSource]),
        ("deribit_price_statistics.btc_usd", IndexStatistics),
        ("deribit_volatility_index.btc_usd", Volatility),
        ("estimated_expiration_price.btc_usd", ExpirationPrice),
        ("markprice.options.btc_usd", list[MarkPrice]),
        ("perpetual.X.raw", Interest),
        ("chart.trades.X.1", Candle),
        ("instrument.state.any.any", InstrumentState),
        ("platform_state", PlatformState),
        ("platform_state.public_methods_state", PublicMethodsState),
    ],
)
def test_the_channel_says_what_its_data_is(channel, kind):
    assert type_of(channel) == kind


@pytest.mark.parametrize("channel", ["book.X.raw", "user.trades.X.raw", "platform_state.x", ""])
def test_another_channel_has_no_type_here(channel):
    with pytest.raises(ValueError, match="no type for the data"):
        type_of(channel)


class TestTickerChange:
    @staticmethod
    def read(**data):
        told = {"timestamp": 1, "instrument_name": "X", "type": "change"} | data
        return msgspec.json.decode(msgspec.json.encode(told), type=type_of("incremental_ticker.X"))

    def test_what_is_left_out_is_not_what_is_null(self):
        change = self.read(last_price=None, mark_price=5.0, stats={"high": None}, greeks=None)
        assert (change.last_price, change.mark_price, change.greeks) == (None, 5.0, None)
        assert (change.index_price, change.state, change.best_bid_price) == (msgspec.UNSET,) * 3
        assert (change.stats.high, change.stats.low) == (None, msgspec.UNSET)
        told = {"last_price": None, "mark_price": 5.0, "stats": {"high": None}, "greeks": None}
        assert msgspec.to_builtins(change) == {"timestamp": 1, "instrument_name": "X", "type": "change"} | told

    def test_it_has_the_fields_of_a_ticker(self):
        for change, whole in (
            (TickerChange, Ticker),
            (market_data.StatsChange, market_data.Stats),
            (market_data.GreeksChange, market_data.Greeks),
        ):
            assert set(change.__struct_fields__) - {"type"} == set(whole.__struct_fields__)

    @played
    async def test_the_changes_add_up_to_the_ticker(self):
        whole, kinds = {}, []

        def on_change(change, message):
            kinds.append(change.type)
            whole.update(msgspec.to_builtins(change))

        async with session() as (server, exchange, _):
            await exchange.subscribe(incremental_ticker(PERPETUAL), typed(on_change))
            for count in range(1, 4):
                await until(lambda count=count: len(kinds) == count)
                server.step(200)
                server.end_interval("agg2")
            await until(lambda: len(kinds) == 4)
            expected = await exchange.get_ticker(PERPETUAL)
            assert kinds == ["snapshot", "change", "change", "change"]
            whole.pop("type"), whole.pop("timestamp")
            assert whole == {name: expected[name] for name in whole}
            assert expected.keys() - whole.keys() <= {"timestamp"}


@played
async def test_a_callback_is_given_what_the_local_exchange_says():
    seen = {}

    def keep(data, message):
        for one in data if isinstance(data, list) else [data]:
            seen.setdefault(type(one), (one, message))

    wanted = [
        ticker(PERPETUAL),
        trades("any", currency="any"),
        chart(PERPETUAL, 1),
        quote(PERPETUAL),
        index("btc_usd"),
        incremental_ticker(PERPETUAL),
        platform(),
        perpetual(PERPETUAL),
        *(index("btc_usd", what) for what in ("ranking", "statistics", "volatility", "expiration", "option_marks")),
    ]
    async with session() as (server, exchange, _):
        await exchange.subscribe(wanted, typed(keep))
        say(server, "platform_state", {"locked": True, "price_index": "btc_usd"})
        while len(seen) < 13:
            server.step(50)
            server.end_interval("100ms")
            server.end_interval("agg2")
            await asyncio.sleep(0.001)
        of_an_index = {Index, IndexSource, IndexStatistics, Volatility, ExpirationPrice, MarkPrice}
        assert set(seen) == {Ticker, TickerChange, Trade, Candle, Quote, Interest, PlatformState} | of_an_index
        assert seen[PlatformState][0] == PlatformState(locked=True, price_index="btc_usd")
        best, message = seen[Quote]
        assert best.best_bid_price == message.data_json()["best_bid_price"]


@played
async def test_a_channel_that_is_escaped_is_found_all_the_same():
    seen = []
    async with session() as (server, exchange, _):
        await exchange.subscribe(f"quote.{PERPETUAL}", typed(lambda data, message: seen.append(data)))
        await until(lambda: seen)
        say(server, "quote.BTC\\u002dPERPETUAL", {"timestamp": 1, "instrument_name": PERPETUAL})
        await until(lambda: len(seen) == 2)
        assert seen[1] == Quote(1, PERPETUAL)


@played
async def test_data_that_does_not_fit_is_told_and_the_connection_stays():
    async with session() as (server, exchange, events):
        await exchange.subscribe(["platform_state"], typed(lambda data, message: None))
        say(server, "platform_state", {"locked": "perhaps"})
        (event,) = await events.wait(CallbackFailed)
        assert isinstance(event.error, msgspec.ValidationError)
        assert exchange.client.state == "open"


def test_without_msgspec_the_import_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)  # as where it is not installed
    with pytest.raises(ImportError, match=r"pip install 'wsx\[msgspec\]'"):
        runpy.run_path(market_data.__file__)
