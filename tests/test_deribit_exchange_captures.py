"""The local exchange's messages have the form of recorded ones: the same keys, in the same order, of the same types."""

import time

import orjson
import pytest
from exchange_client import LOGIN, played, trading

from wsx.testing.market import listed

PERP = "BTC-PERPETUAL"
FUTURE, OPTION = (one.name for one in listed(time.time_ns() // 1_000_000)[4:])
RECORDED_2026 = "fastmm_deribit_testnet_20260913_rpc_perp.jsonl"
RECORDED_2025 = "nautilus_deribit_a.jsonl"
RECORDED_2022 = "crypto-msg-parser_deribit_even.jsonl"


def form(value):
    """What a message looks like, whatever it says. Lists: the forms that their items have."""
    if isinstance(value, dict):
        return [(key, form(item)) for key, item in value.items()]
    if isinstance(value, list):
        return sorted({repr(form(item)) for item in value})
    return type(value).__name__


def recorded(captures, name):
    if not (captures / name).is_file():
        pytest.skip(f"{name} is not in {captures}")
    return [orjson.loads(line) for line in (captures / name).read_bytes().splitlines()]


def of_channel(messages, channel, kind=None):
    """The first message of a channel; of its kind, where there are several."""
    for message in messages:
        params = message.get("params", {})
        if params.get("channel") == channel and (kind is None or params["data"].get("type") == kind):
            return message
    raise LookupError(channel)


async def ours(client, exchange, *channels):
    """Everything that is told of these channels while much happens."""
    await client.subscribe(*channels)
    for _ in range(3):
        exchange.step(200)
        exchange.end_interval("100ms")
        exchange.end_interval("agg2")
    await client.quiet()
    return [orjson.loads(message) for message in client.received]


@pytest.mark.parametrize(
    ("request_id", "method", "params"),
    [
        (1, "public/set_heartbeat", {"interval": 10}),
        (2, "public/test", {}),
        (4, "public/subscribe", {"channels": ["trades.option.BTC.100ms", f"book.{PERP}.100ms"]}),
        (5, "public/subscribe", {"channels": [f"book.{PERP}.none.10.100ms"]}),
        (6, "private/get_account_summary", {"currency": "BTC"}),
        (7, "public/auth", LOGIN | {"client_secret": "wrong"}),
        (8, "public/get_instruments", {"currency": "BTC", "kind": "nope"}),
    ],
)
@played
async def test_an_answer_looks_like_the_recorded_one(captures, request_id, method, params):
    (expected,) = [one for one in recorded(captures, RECORDED_2026) if one.get("id") == request_id]
    async with trading() as (_, client):
        answer = await client.call(method, params, id=request_id)
        assert form(answer) == form(expected)
        assert answer.get("error") == expected.get("error")
        assert answer["testnet"] == expected["testnet"]


@pytest.mark.parametrize(
    ("channel", "kind"),
    [(f"book.{PERP}.100ms", "snapshot"), (f"book.{PERP}.none.10.100ms", None), (f"trades.{PERP}.100ms", None)],
)
@played
async def test_a_notification_looks_like_the_recorded_one_of_2026(captures, channel, kind):
    async with trading() as (exchange, client):
        told = await ours(client, exchange, channel)
        expected = of_channel(recorded(captures, RECORDED_2026), channel, kind)
        assert form(of_channel(told, channel, kind)) == form(expected)


@played
async def test_a_change_of_a_book_looks_like_the_recorded_one(captures):
    channel = f"book.{PERP}.100ms"
    async with trading() as (exchange, client):
        told = of_channel(await ours(client, exchange, channel), channel, "change")
        expected = of_channel(recorded(captures, RECORDED_2026), channel, "change")
        assert form(told) == form(expected)
        data = told["params"]["data"]
        assert data["bids"] == sorted(data["bids"], key=lambda edit: -edit[1])
        assert data["asks"] == sorted(data["asks"], key=lambda edit: edit[1])


@played
async def test_a_ticker_looks_like_the_recorded_one_of_2025(captures):
    channel = f"ticker.{PERP}.100ms"
    async with trading() as (exchange, client):
        told = await ours(client, exchange, channel)
        assert form(of_channel(told, channel)) == form(of_channel(recorded(captures, RECORDED_2025), channel))


@pytest.mark.parametrize("channel", [f"quote.{PERP}", f"chart.trades.{PERP}.1"])
@played
async def test_other_notifications_look_like_recorded_ones_of_2022(captures, channel):
    async with trading() as (exchange, client):
        told = await ours(client, exchange, channel)
        assert form(of_channel(told, channel)) == form(of_channel(recorded(captures, RECORDED_2022), channel))


@played
async def test_a_test_request_is_the_recorded_one(captures):
    (expected,) = [one for one in recorded(captures, RECORDED_2026) if one.get("method") == "heartbeat"]
    async with trading(time_scale=0.005) as (_, client):
        await client.result("public/set_heartbeat", {"interval": 10})
        await client.answer()
        assert list((await client.answer()).items()) == list(expected.items())


@played
async def test_an_instrument_has_the_recorded_keys(captures):
    lists = [one["result"] for one in recorded(captures, RECORDED_2025) if isinstance(one.get("result"), list)]
    (combos,) = [one for one in lists if "instrument_name" in one[0]]
    async with trading() as (_, client):
        future = await client.result("public/get_instrument", {"instrument_name": FUTURE})
        assert form(future) == form(combos[0])


@played
async def test_an_options_trade_says_its_volatility_where_the_recorded_ones_do(captures):
    channel = "trades.BTC-CS-19MAY26-70000_75000.raw"
    (combo,) = of_channel(recorded(captures, RECORDED_2025), channel)["params"]["data"]
    (leg, *_) = combo["legs"]
    async with trading() as (exchange, client):
        told = await ours(client, exchange, f"trades.{OPTION}.100ms")
        (trade, *_) = of_channel(told, f"trades.{OPTION}.100ms")["params"]["data"]
        only_here, only_there = ("starbase_match_id", "starbase_timestamp"), ("combo_id", "combo_trade_id")
        assert set(trade) - set(only_here) == set(leg) - set(only_there)
        assert list(trade)[:3] == list(leg)[:3] == ["timestamp", "iv", "price"]
        assert trade["contracts"] == trade["amount"]


@played
async def test_a_summary_and_an_order_book_have_the_recorded_keys(captures):
    messages = recorded(captures, RECORDED_2022)
    (book,) = [one["result"] for one in messages if isinstance(one.get("result"), dict)]
    (_, summary) = [one["result"][0] for one in messages if isinstance(one.get("result"), list)]
    async with trading() as (_, client):
        ours = await client.result("public/get_book_summary_by_instrument", {"instrument_name": PERP})
        assert set(ours[0]) == set(summary)
        assert set(book) <= set(await client.result("public/get_order_book", {"instrument_name": PERP}))


@played
async def test_an_account_says_nothing_that_the_recorded_one_does_not(captures):
    (account,) = [one["result"] for one in recorded(captures, RECORDED_2025) if "summaries" in str(one.get("result"))]
    async with trading(login=True) as (_, client):
        ours = await client.result("private/get_account_summaries")
        assert set(ours) <= set(account)
        assert set(ours["summaries"][0]) <= set(account["summaries"][0])
        limits = account["summaries"][0]["limits"]
        assert set(ours["summaries"][0]["limits"]) == set(limits)
        assert form(ours["summaries"][0]["limits"]["non_matching_engine"]) == [("rate", "int"), ("burst", "int")]
