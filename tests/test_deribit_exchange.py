"""The local exchange: its envelope, small methods, heartbeats, limits and market, over real sockets."""

import asyncio
import contextlib
import itertools
import re
import time

import pytest
from exchange_client import connected, played, trading
from source_lines import ROOT

import wsx
from wsx.errors import HandshakeRejected, WsxError
from wsx.testing import Account, DeribitExchange, Instrument, digest_of
from wsx.testing.deribit.channels import _FINDERS, find_channel
from wsx.testing.deribit.exchange import METHODS

ENVELOPE = ["jsonrpc", "id", "result", "usIn", "usOut", "usDiff", "testnet"]
UNTRADED = {"tick": 0.0005, "lot": 0.1, "share": 0}
FAST = {"time_scale": 0.02}  # 10 s of the exchange's are 200 ms


# ---- envelope -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", [7, "seven", 2**53 + 1])
@played
async def test_an_answer_has_the_keys_of_the_wire_in_order_and_the_id_as_it_was_sent(request_id):
    async with trading() as (_, client):
        before = time.time_ns() // 1000
        answer = await client.call("public/get_time", id=request_id)
        assert list(answer) == ENVELOPE
        assert answer["id"] == request_id and answer["jsonrpc"] == "2.0"
        assert before <= answer["usIn"] <= answer["usOut"] <= time.time_ns() // 1000
        assert answer["usDiff"] == answer["usOut"] - answer["usIn"]
        assert answer["testnet"] is True
        assert answer["result"] in (answer["usIn"] // 1000, answer["usOut"] // 1000)


@played
async def test_production_says_that_it_is_no_testnet():
    async with trading(testnet=False) as (_, client):
        assert (await client.call("public/test"))["testnet"] is False


@played
async def test_a_request_without_an_id_is_answered_without_one():
    async with trading() as (_, client):
        await client.client.send('{"jsonrpc":"2.0","method":"public/test","params":{}}')
        assert list(await client.answer()) == [key for key in ENVELOPE if key != "id"]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ("{", {"code": 11050, "data": "invalid json", "message": "bad_request"}),
        ("[]", {"code": 11050, "message": "bad_request"}),
        ('{"id":1}', {"code": 11050, "message": "bad_request"}),
        ('{"id":1,"method":"public/test","params":[]}', {"code": 11050, "message": "bad_request"}),
        (f'{{"id":1,"method":"{"x" * 32768}"}}', {"code": -32600, "message": "request entity too large"}),
        (
            f'{{"id":{"[" * 2000},"method":"public/test"}}',
            {"code": 11050, "data": "invalid json", "message": "bad_request"},
        ),
    ],
    ids=["not-json", "not-an-object", "no-method", "positional", "too-large", "too-deep"],
)
@played
async def test_what_cannot_be_read_is_refused_without_an_id_and_the_socket_stays(frame, error):
    async with trading() as (_, client):
        await client.client.send(frame)
        answer = await client.answer()
        assert list(answer) == ["jsonrpc", "error", "usIn", "usOut", "usDiff", "testnet"]
        assert answer["error"] == error and list(answer["error"]) == list(error)
        assert await client.result("public/test") == {"version": "1.2.26"}


@pytest.mark.parametrize(
    "text", ["[]", "[[1]]", "{}", '{"a\\"b":1}', "1.5", "1e5", "true", "null", "123456789012345678901234567890"]
)
@played
async def test_an_id_that_is_neither_a_text_nor_an_integer_is_refused_without_it_and_the_socket_stays(text):
    async with trading() as (exchange, client):
        for frame in ('{"id":%s,"method":"public/test","params":{}}', '{"id":%s,"method":"nothing","params":{}}'):
            await client.client.send(frame % text)
            answer = await client.answer()
            assert "id" not in answer and answer["error"] == {
                "code": 11050,
                "data": {"reason": "wrong format", "param": "id"},
                "message": "bad_request",
            }
        exchange.script.add("wrong_id", method="public/test")
        await client.client.send('{"method":"public/test","params":{}}')
        assert (await client.answer())["result"] and await client.result("public/test") == {"version": "1.2.26"}


ODD = [None, True, 0, -1, 1.5, 2**63, "", "x", "\u0000", "²", "é" * 100, [], [[]], ["x"], [None], {}, {"a": {}}]
NAMES = [
    *("access_token", "channels", "client_id", "client_name", "client_secret", "client_version", "count", "currency"),
    *(
        "data",
        "depth",
        "end_seq",
        "end_timestamp",
        "expected_result",
        "expired",
        "extended",
        "grant_type",
        "index_name",
    ),
    *("instrument_name", "interval", "invalidate_token", "kind", "label", "nonce", "refresh_token", "resolution"),
    *("scope", "session_name", "signature", "sorting", "start_seq", "start_timestamp", "state", "subject_id"),
    "timestamp",
]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"private/logout"}))
@played
async def test_odd_params_are_answered_and_the_socket_stays(method):
    """Each param, alone and among good ones, is each of the odd things once."""
    good = {"currency": "BTC", "instrument_name": "BTC-PERPETUAL", "resolution": "1", "channels": ["user.lock"]}
    good |= {"start_timestamp": 0, "end_timestamp": 1 << 62, "client_id": "demo", "client_secret": "demo-secret"}
    good |= {"grant_type": "client_credentials", "interval": 10, "index_name": "btc_usd", "timestamp": 0}
    async with trading(login=True, credits=False) as (_, client):
        for name in NAMES:
            for value in ODD:
                for params in ({name: value}, good | {name: value}):
                    answer = await client.call(method, params)
                    assert ("result" in answer) != ("error" in answer) and isinstance(answer["id"], int)
                    client.received.clear()
        await client.quiet()


@played
async def test_a_frame_of_exactly_32_kilobytes_is_taken():
    async with trading() as (_, client):
        head, tail = '{"id":1,"method":"public/test","params":{"x":"', '"}}'
        await client.client.send(head + "y" * (32 * 1024 - len(head) - len(tail)) + tail)
        assert (await client.answer())["result"] == {"version": "1.2.26"}


@played
async def test_a_method_that_does_not_exist_and_orders_among_them_is_not_found():
    async with trading(login=True) as (_, client):
        for method in ("public/nothing", "private/buy"):
            assert await client.error(method) == {"code": -32601, "message": "Method not found"}


@played
async def test_missing_params_are_named_as_such():
    async with trading() as (_, client):
        await client.client.send('{"jsonrpc":"2.0","id":1,"method":"public/test"}')
        assert (await client.answer())["error"] == {"code": -32000, "message": "Missing params"}


@pytest.mark.parametrize(
    ("method", "params", "reason", "param"),
    [
        ("public/get_instruments", {"currency": "any", "kind": "nope"}, "invalid value", "kind"),
        ("public/get_instruments", {}, "value required", "currency"),
        ("public/get_instruments", {"currency": 1}, "wrong format", "currency"),
        ("public/get_instruments", {"currency": "BTC", "expired": 1}, "wrong format", "expired"),
        ("public/set_heartbeat", {"interval": 9}, "value must be >= 10", "interval"),
        ("public/set_heartbeat", {"interval": "10"}, "wrong format", "interval"),
        ("public/subscribe", {"channels": "book"}, "wrong format", "channels"),
        ("public/subscribe", {"channels": ["x"] * 501}, "at most 500 items", "channels"),
        ("public/get_order_book", {"instrument_name": "BTC-PERPETUAL", "depth": 7}, "invalid value", "depth"),
        ("public/get_index_price", {"index_name": "doge_usd"}, "invalid value", "index_name"),
        (
            "public/get_last_trades_by_instrument",
            {"instrument_name": "BTC-PERPETUAL", "count": 1001},
            "value must be <= 1000",
            "count",
        ),
    ],
)
@played
async def test_params_that_do_not_fit_are_named(method, params, reason, param):
    async with trading() as (_, client):
        error = await client.error(method, params)
        assert error == {"code": -32602, "data": {"reason": reason, "param": param}, "message": "Invalid params"}
        assert list(error) == ["code", "data", "message"]


def test_the_page_about_the_exchange_lists_every_method_and_every_kind_of_channel():
    page = (ROOT / "docs" / "howto" / "local-exchange.md").read_text("utf-8")
    named = set(re.findall(r"`((?:public|private)/\w+)`", page))
    assert named - {"private/buy"} == set(METHODS)
    rows = page.partition("| channels | |")[2].partition("\n\n")[0]
    channels = set(re.findall(r"`([\w.]+)`", rows)) - {"exchange.say"}
    with_names = {"INSTRUMENT": "BTC-PERPETUAL", "INTERVAL": "100ms", "GROUP": "none", "DEPTH": "10", "KIND": "any"}
    with_names |= {"CURRENCY": "BTC", "RESOLUTION": "1", "INDEX": "btc_usd"}
    floor = DeribitExchange(rate=None).floor
    for channel in channels - {"user.trades", "user.changes"}:
        name = ".".join(with_names.get(part, part) for part in channel.split("."))
        assert find_channel(name, floor) is not None, channel
    assert {channel.partition(".")[0] for channel in channels} == set(_FINDERS)


# ---- small methods ------------------------------------------------------------------------------------------------


@played
async def test_the_small_methods_answer():
    async with trading() as (_, client):
        version = {"version": "1.2.26"}
        assert await client.result("public/hello", {"client_name": "c", "client_version": "1"}) == version
        assert await client.result("public/status") == {"locked": "false", "locked_indices": []}
        assert (await client.error("public/test", {"expected_result": "exception"}))["code"] == 10001
        assert abs(await client.result("public/get_time") - time.time() * 1000) < 5000


@played
async def test_another_path_is_not_found():
    async with DeribitExchange(rate=None) as exchange:
        assert exchange.url.endswith("/ws/api/v2")
        with pytest.raises(HandshakeRejected) as caught:
            await wsx.connect(exchange.url.replace("/ws/api/v2", "/"), reconnect=False)
        assert caught.value.status == 404


@played
async def test_the_protocol_is_the_same_over_tls():
    async with (
        DeribitExchange(rate=None, tls=True) as exchange,
        connected(exchange, ssl=exchange.ssl_context()) as client,
    ):
        assert exchange.url.startswith("wss://")
        await client.login()
        assert await client.subscribe("book.BTC-PERPETUAL.raw") == ["book.BTC-PERPETUAL.raw"]
        exchange.step(30)
        await client.quiet()
        assert exchange.sessions[0].digest == digest_of(client.received)


# ---- heartbeats and idleness --------------------------------------------------------------------------------------


def beats(client):
    return [answer["params"]["type"] for answer in client.answers if answer.get("method") == "heartbeat"]


@played
async def test_a_client_that_answers_test_requests_stays_and_hears_both_heartbeats_on_a_still_socket():
    async with trading(**FAST) as (_, client):
        assert await client.result("public/set_heartbeat", {"interval": 10}) == "ok"
        for _ in range(3):
            assert (await client.answer())["params"] == {"type": "heartbeat"}
            assert (await client.answer()) == {
                "params": {"type": "test_request"},
                "method": "heartbeat",
                "jsonrpc": "2.0",
            }
            await client.result("public/test")


@played
async def test_an_unanswered_test_request_ends_the_connection_with_4000():
    async with trading(**FAST) as (exchange, client):
        await client.result("public/set_heartbeat", {"interval": 10})
        assert await client.closed() == (4000, "heartbeat close")
        assert beats(client) == ["heartbeat", "test_request"]
        assert not exchange.sessions[0].open


@played
async def test_a_busy_socket_hears_test_requests_alone():
    async with trading(login=True, **FAST) as (exchange, client):
        await client.subscribe("book.BTC-PERPETUAL.raw")
        await client.result("public/set_heartbeat", {"interval": 10})
        exchange.step(30)
        assert (await client.answer())["params"] == {"type": "test_request"}


@played
async def test_heartbeats_can_be_set_again_and_disabled():
    async with trading(time_scale=0.005) as (_, client):
        await client.result("public/set_heartbeat", {"interval": 10})
        await client.result("public/set_heartbeat", {"interval": 20})
        assert await client.result("public/disable_heartbeat") == "ok"
        await asyncio.sleep(0.15)
        await client.quiet()
        assert beats(client) == []


@played
async def test_a_socket_that_asks_and_hears_nothing_is_dropped_without_a_close_frame():
    async with trading(time_scale=0.002) as (_, client):
        assert (await client.closed())[0] == 1006


@played
async def test_a_quiet_subscription_keeps_a_socket_open():
    async with trading(time_scale=0.003) as (_, client):
        await client.subscribe("announcements")
        await asyncio.sleep(0.4)
        assert await client.result("public/test")


@played
async def test_idle_sockets_stay_where_the_limit_is_turned_off():
    async with trading(time_scale=0.001, idle_timeout=None) as (_, client):
        await asyncio.sleep(0.1)
        assert await client.result("public/test")


# ---- limits -------------------------------------------------------------------------------------------------------


@played
async def test_too_many_requests_are_answered_with_10028_and_then_the_session_ends():
    async with trading() as (exchange, client):
        with contextlib.suppress(WsxError):  # the end may come before the last of them has left
            for _ in range(20):
                await client.send("public/subscribe", {"channels": ["announcements"]})
        assert (await client.closed())[0] == 1006
        *good, last = client.answers
        assert last["error"] == {"code": 10028, "message": "too_many_requests"}
        assert len(good) >= 10 and all("result" in answer for answer in good)
        assert exchange.requests["public/subscribe"] > len(good)


@played
async def test_the_exchange_may_only_say_10028_and_credits_come_back():
    async with trading(terminate=False) as (_, client):
        for _ in range(20):
            await client.send("public/subscribe", {"channels": ["announcements"]})
        codes = [(await client.answer()).get("error", {}).get("code") for _ in range(20)]
        assert codes[:10] == [None] * 10 and 10028 in codes
        await asyncio.sleep(0.35)
        assert await client.subscribe("announcements") == ["announcements"]


@played
async def test_pools_are_apart_and_the_sockets_of_an_account_share_them():
    async with trading(login=True, terminate=False) as (exchange, client), connected(exchange) as other:
        await other.subscribe("announcements")
        await other.login()
        for _ in range(20):
            await client.send("private/subscribe", {"channels": ["announcements"]})
        codes = [(await client.answer()).get("error", {}).get("code") for _ in range(20)]
        assert codes[-1] == 10028
        assert (await other.error("private/subscribe", {"channels": ["announcements"]}))["code"] == 10028
        assert await client.result("public/test")


@played
async def test_nobody_pays_where_credits_are_turned_off():
    async with trading(credits=False) as (_, client):
        for _ in range(120):
            await client.send("public/test")
        answers = [await client.answer() for _ in range(120)]
        assert all("result" in answer for answer in answers)


@played
async def test_one_connection_too_many_is_refused_with_429():
    async with DeribitExchange(rate=None, max_connections=2) as exchange:
        async with connected(exchange), connected(exchange):
            with pytest.raises(HandshakeRejected) as caught:
                await wsx.connect(exchange.url, reconnect=False)
            assert caught.value.status == 429
        while any(session.open for session in exchange.sessions):
            await asyncio.sleep(0)
        async with connected(exchange) as client:
            assert await client.result("public/test")


@played
async def test_a_client_that_does_not_read_is_sent_away_as_too_slow():
    many = [Instrument(name=f"BTC-25DEC26-{strike}-C", kind="option", price=0.01, **UNTRADED) for strike in range(300)]
    async with (
        DeribitExchange(rate=None, instruments=many, credits=False, slow_limit=200_000, close_timeout=5) as exchange,
        connected(exchange, inbox_messages=16) as client,
    ):
        for _ in range(150):
            await client.send("public/get_instruments", {"currency": "any"})
            if not exchange.sessions[0].open:
                break
            await asyncio.sleep(0)
        assert await client.closed() == (4000, "connection_too_slow")
        assert len(client.answers) == exchange.sessions[0].messages < 150
        assert all(len(message) > 100_000 for message in client.received)


NO_NUMBERS = [float("nan"), float("inf"), -float("inf"), -1]
SETTINGS = [
    "rate",
    "time_scale",
    "expires_in",
    "jitter",
    "max_connections",
    "slow_limit",
    "idle_timeout",
    "close_timeout",
]


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: 0} for name in SETTINGS if name != "jitter"),
        *({name: value} for name in SETTINGS for value in NO_NUMBERS),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DeribitExchange(**wrong)


@pytest.mark.parametrize("name", ["price", "tick", "lot", "share", "depth", "underlying"])
def test_an_instrument_that_makes_no_sense_is_refused(name):
    good = {"name": "BTC-PERPETUAL", "kind": "perpetual", "price": 76_914.0, "tick": 0.5, "lot": 10, "share": 1}
    for wrong in NO_NUMBERS:
        with pytest.raises(ValueError, match=name):
            Instrument(**good | {name: wrong})


def test_an_account_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"balances\['BTC'\] must be finite, not nan"):
        Account(client_id="a", client_secret="a", balances={"BTC": float("nan")})
    with pytest.raises(ValueError, match=r"rights\['trade'\] must be one of none, read, read_write, not 'write'"):
        Account(client_id="a", client_secret="a", rights={"trade": "write"})


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf")])
def test_a_clock_cannot_be_wrong_by_what_is_no_time(seconds):
    exchange = DeribitExchange(rate=None)
    with pytest.raises(ValueError, match="skew must be finite"):
        exchange.skew = seconds
    assert exchange.skew == 0


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="colour"):
        DeribitExchange(colour="red")


@played
async def test_answers_of_different_workers_may_overtake_and_those_of_one_never():
    async with trading(login=True, jitter=0.02, seed=3) as (_, client):
        sent = {"public/test": [], "private/get_cancel_on_disconnect": []}
        for _ in range(12):
            for method, numbers in sent.items():
                numbers.append(await client.send(method))
        order = [(await client.answer())["id"] for _ in range(24)]
        assert order != sorted(order)
        for numbers in sent.values():
            assert [number for number in order if number in numbers] == numbers


# ---- the market ---------------------------------------------------------------------------------------------------


@played
async def test_the_market_runs_by_itself_at_its_rate():
    async with DeribitExchange(rate=400) as exchange, connected(exchange) as client:
        await client.login()
        await client.subscribe("book.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.100ms", "deribit_price_index.btc_usd")
        for channel in ("book.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.100ms", "deribit_price_index.btc_usd"):
            for _ in range(2):
                await client.notice(channel)
        assert exchange.notifications["book.BTC-PERPETUAL.raw"] > exchange.notifications["book.BTC-PERPETUAL.100ms"]


@played
async def test_a_market_that_fails_says_so_when_the_exchange_ends():
    readings = itertools.count()

    def clock():
        if next(readings) > 200:
            raise RuntimeError("the clock has stopped")
        return 0

    with pytest.raises(RuntimeError, match="stopped"):
        async with DeribitExchange(rate=5000, clock=clock) as exchange:
            while next(readings) < 200:
                exchange.step()
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)


@played
async def test_the_same_seed_and_clock_give_the_same_bytes_whoever_listens():
    async def heard(seed, *more):
        async with trading(login=True, seed=seed, clock=lambda: 1_789_344_931_552_815) as (exchange, client):
            await client.subscribe("book.BTC-PERPETUAL.raw", "trades.any.any.raw", *more)
            exchange.step(200)
            await client.quiet()
            heard = [b'"channel":"book.BTC-PERPETUAL', b'"channel":"trades.']
            return [message for message in client.received if any(channel in message for channel in heard)]

    first = await heard(1)
    assert len(first) > 30
    assert await heard(1, "ticker.BTC-PERPETUAL.raw", "incremental_ticker.ETH-PERPETUAL") == first
    assert await heard(2) != first


@played
async def test_an_exchange_without_subscribers_sends_nothing():
    async with trading() as (exchange, client):
        exchange.step(50)
        exchange.end_interval("100ms")
        await client.quiet()
        assert client.notices == []
        with pytest.raises(ValueError, match="100ms, agg2"):
            exchange.end_interval("50ms")


@played
async def test_all_sockets_hear_the_same_bytes_and_the_counters_say_so():
    async with trading(login=True) as (exchange, client), connected(exchange) as other:
        await other.login()
        for one in (client, other):
            await one.subscribe("book.BTC-PERPETUAL.raw")
            await one.notice("book.BTC-PERPETUAL.raw")
        exchange.step(100)
        for one in (client, other):
            await one.quiet()
        assert client.notices == other.notices and len(client.notices) > 20
        assert client.notices[-1][1]["change_id"] == exchange.change_ids["book.BTC-PERPETUAL.raw"]
        assert exchange.notifications == {"book.BTC-PERPETUAL.raw": 2 * (len(client.notices) + 1)}
        assert exchange.requests == {"public/auth": 2, "public/subscribe": 2, "public/get_time": 2}
        for number, one in enumerate((client, other)):
            assert exchange.sessions[number].messages == len(one.received)
            assert exchange.sessions[number].digest == digest_of(one.received)


@played
async def test_a_client_that_has_gone_is_no_longer_sent_to():
    async with trading(login=True) as (exchange, client):
        async with connected(exchange) as other:
            await other.login()
            await other.subscribe("book.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.100ms")
        while exchange.sessions[1].open:
            await asyncio.sleep(0)
        gone = exchange.sessions[1]
        messages = gone.messages
        exchange.step(20)
        await client.quiet()
        assert not gone.open and gone.messages == messages
        assert exchange.hub.notifications == gone.notifications


@played
async def test_a_client_that_leaves_with_an_answer_on_its_way_leaves_nothing_behind():
    async with DeribitExchange(rate=None, close_timeout=0.2) as exchange:
        async with connected(exchange) as client:
            exchange.script.add("late", method="public/test", seconds=30)
            await client.send("public/test")
            await client.send("public/test")
            while exchange.requests["public/test"] < 2:
                await asyncio.sleep(0)
        while exchange.sessions[0].open:
            await asyncio.sleep(0)
        assert exchange.sessions[0].messages == 0


@played
async def test_the_digest_of_notifications_leaves_answers_out():
    async with trading() as (exchange, client):
        await client.subscribe("quote.BTC-PERPETUAL", "trades.BTC-PERPETUAL.100ms")
        exchange.step(50)
        exchange.end_interval()
        await client.quiet()
        notified = [data for data in client.received if b'"method":"subscription"' in data]
        assert 0 < len(notified) < len(client.received)
        assert exchange.sessions[0].notifications_digest == digest_of(notified)


@played
async def test_the_digest_of_the_first_notifications_can_be_asked_for():
    async with trading() as (exchange, client):
        await client.subscribe("quote.BTC-PERPETUAL")
        exchange.step(200)
        await client.quiet()
        notified = [data for data in client.received if b'"method":"subscription"' in data]
        session = exchange.sessions[0]
        for count in (1, 5, len(notified)):
            assert session.notifications_digest_after(count) == digest_of(notified[:count])
        assert session.notifications_digest_after(len(notified) + 1) is None
        exchange.step(60_000)  # what nobody can be missing any more is forgotten
        assert session.notifications_digest_after(len(notified)) is None


@played
async def test_a_market_that_is_stopped_moves_by_hand_alone():
    async with trading(rate=1000) as (exchange, client):
        await client.subscribe("book.BTC-PERPETUAL.100ms")
        await client.notice("book.BTC-PERPETUAL.100ms")
        await exchange.stop_market()
        await client.quiet()
        before = exchange.sessions[0].messages
        await asyncio.sleep(0.2)  # two intervals in which it would have spoken
        assert exchange.sessions[0].messages == before
        exchange.step(100)
        exchange.end_interval()
        await client.quiet()
        assert exchange.sessions[0].messages == before + 2
        await exchange.stop_market()  # once more changes nothing
