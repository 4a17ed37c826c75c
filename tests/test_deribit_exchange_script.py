"""Misbehaviour of the local exchange: each action happens where and as often as its rule says, and is healed by itself."""

import asyncio

import orjson
import pytest
from exchange_client import connected, played, trading

from wsx.errors import HandshakeRejected
from wsx.testing import DeribitExchange
from wsx.testing.deribit.answers import wrong_data
from wsx.testing.deribit.script import ACTIONS, Rule, Script

PERP = "BTC-PERPETUAL"
RAW = f"book.{PERP}.raw"
NAN, INF = float("nan"), float("inf")


async def changes(exchange, client, count):
    """Let a book change; what was told of it, in the order of its coming."""
    exchange.step(count)
    await client.quiet()
    told = [data for name, data in client.notices if name == RAW]
    client.notices.clear()
    return told


def links(told):
    """Whether each notification follows the one before."""
    return [after["prev_change_id"] == before["change_id"] for before, after in zip(told, told[1:])]


# ---- rules --------------------------------------------------------------------------------------------------------


def test_a_rule_counts_what_passes_and_acts_when_it_is_time():
    script = Script()
    rule = script.add("silence", method="public/*", nth=2, times=2)
    fired = [script.fired("method", name, 0) for name in ("public/a", "private/b", "public/c", "public/d", "public/e")]
    assert fired == [[], [], [rule], [rule], []]
    assert (rule.seen, rule.fired) == (4, 2)


def test_a_rule_may_be_for_one_socket_and_for_ever():
    script = Script()
    rule = script.add("skip", channel="book.*", connection=1, times=None)
    assert [bool(script.fired("channel", "book.x", number)) for number in (0, 1, 1, 0, 1)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert isinstance(rule, Rule) and script.watches_channels
    script.clear()
    assert not script.watches_channels


@pytest.mark.parametrize(
    ("error", "text", "do", "arguments"),
    [
        (ValueError, "not 'explode'", "explode", {"method": "x"}),
        (ValueError, "for a channel, not for a method", "skip", {"method": "x"}),
        (ValueError, "for a method, not for a channel", "late", {"channel": "x"}),
        (ValueError, "one of the two", "cut", {}),
        (ValueError, "one of the two", "cut", {"method": "x", "channel": "x"}),
        (TypeError, "'late' takes seconds, not minutes", "late", {"method": "x", "minutes": 1}),
        *(
            (ValueError, "seconds must be f", "late", {"method": "x", "seconds": value})
            for value in (NAN, INF, -INF, -1)
        ),
        *((ValueError, "seconds must be f", "skew", {"method": "x", "seconds": value}) for value in (NAN, INF, -INF)),
        *((ValueError, "nth must be", "cut", {"method": "x", "nth": value}) for value in (0, -1, NAN, INF)),
        *((ValueError, "times must be", "cut", {"method": "x", "times": value}) for value in (0, -1, NAN, INF)),
        *((ValueError, "connection must be", "cut", {"method": "x", "connection": value}) for value in (-1, NAN)),
        (ValueError, "code must be from 0 to 65535, not 65536", "close", {"method": "x", "code": 65536}),
        (ValueError, "code must be", "maintenance", {"channel": "x", "code": -1}),
        (TypeError, "seconds must be a number, not str", "late", {"method": "x", "seconds": "1"}),
        (TypeError, "'cut' takes no arguments, not code", "cut", {"method": "x", "code": 1}),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(error, text, do, arguments):
    with pytest.raises(error, match=text):
        Script().add(do, **arguments)


# ---- notifications ------------------------------------------------------------------------------------------------


@played
async def test_a_skipped_change_is_a_gap_and_the_book_has_moved_on():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(RAW)
        exchange.script.add("skip", channel=RAW, nth=3)
        told = await changes(exchange, client, 60)
        assert links(told).count(False) == 1 and not links(told)[2]


@played
async def test_a_gap_on_one_socket_is_none_on_another():
    async with trading(login=True) as (exchange, client), connected(exchange) as other:
        await other.login()
        for one in (client, other):
            await one.subscribe(RAW)
        exchange.script.add("skip", channel=RAW, nth=2, connection=1)
        told = await changes(exchange, client, 40)
        await other.quiet()
        assert all(links(told))
        heard = [data for _, data in other.notices]
        assert len(heard) == len(told) - 1 and links(heard).count(False) == 1
        assert exchange.sessions[1].notifications[RAW] == len(heard)


@played
async def test_a_change_is_told_twice():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(RAW)
        exchange.script.add("twice", channel=RAW, nth=2)
        told = await changes(exchange, client, 40)
        assert told[2] == told[3] and len({data["change_id"] for data in told}) == len(told) - 1


@played
async def test_two_changes_swap_places():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(RAW)
        exchange.script.add("swap", channel=RAW, nth=2)
        told = await changes(exchange, client, 40)
        ids = [data["change_id"] for data in told]
        assert ids != sorted(ids)
        ids[2], ids[3] = ids[3], ids[2]
        assert ids == sorted(ids)


@played
async def test_a_notification_is_garbled():
    async with trading(login=True) as (exchange, client):
        exchange.script.add("garble", channel=RAW)
        await client.subscribe(RAW)
        garbled = (await client.answer())["garbled"]
        assert garbled.startswith(b'{"jsonrpc":"2.0","method":"subscription"') and not garbled.endswith(b"}}")


@played
async def test_a_book_is_crossed_and_right_again_after_a_new_snapshot():
    async with trading(login=True) as (exchange, client):
        for channel in (RAW, f"book.{PERP}.none.10.100ms"):
            exchange.script.add("cross", channel=channel)
            await client.subscribe(channel)
            data = await client.notice(channel)
            assert min(ask[-2] for ask in data["asks"]) < max(bid[-2] for bid in data["bids"])
            await client.result("public/unsubscribe", {"channels": [channel]})
            await client.subscribe(channel)
            data = await client.notice(channel)
            assert min(ask[-2] for ask in data["asks"]) > max(bid[-2] for bid in data["bids"])


def test_a_book_without_levels_cannot_be_crossed():
    payload = b'{"params":{"data":{"bids":[],"asks":[]}}}'
    assert orjson.loads(wrong_data([Rule(do="cross", point="channel", pattern="*")], payload)) == orjson.loads(payload)


@played
async def test_stale_ids_are_of_long_ago():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(RAW)
        exchange.script.add("stale", channel=RAW, nth=2)
        told = await changes(exchange, client, 40)
        assert told[2]["change_id"] == told[3]["prev_change_id"] - 1_000_000
        assert told[2]["prev_change_id"] == told[1]["change_id"] - 1_000_000


@played
async def test_a_snapshot_may_be_linked_and_a_new_book_begin_with_a_change():
    async with trading(login=True) as (exchange, client):
        exchange.script.add("linked", channel=RAW, nth=1)
        exchange.script.add("unlinked", channel=RAW, nth=2)
        for kind, prev in (("snapshot", None), ("change", 0)):
            await client.subscribe(RAW)
            data = await client.notice(RAW)
            assert data["type"] == kind and data["prev_change_id"] == (prev if prev == 0 else data["change_id"] - 1)
            await client.result("public/unsubscribe", {"channels": [RAW]})


@played
async def test_the_connection_is_cut_after_so_many_notifications():
    async with trading(login=True) as (exchange, client):
        exchange.script.add("cut", channel=RAW, nth=5)
        await client.subscribe(RAW)
        exchange.step(100)
        assert (await client.closed())[0] == 1006
        assert [name for name, _ in client.notices] == [RAW] * 5
        assert exchange.sessions[0].notifications[RAW] == 5


@pytest.mark.parametrize(
    ("do", "arguments", "end"),
    [
        ("close", {"code": 1012, "reason": "restart"}, (1012, "restart")),
        ("too_slow", {}, (4000, "connection_too_slow")),
        ("cut", {}, (1006, "")),
    ],
)
@played
async def test_the_connection_ends_at_a_notification_or_after_an_answer(do, arguments, end):
    for where in ({"channel": "ticker.*"}, {"method": "public/subscribe"}):
        async with trading() as (exchange, client):
            exchange.script.add(do, **where, **arguments)
            await client.send("public/subscribe", {"channels": [f"ticker.{PERP}.100ms"]})
            code, reason = await client.closed()
            assert (code, reason) == end or (code, end[0]) == (1006, 1006)
            assert client.answers[0]["result"] and len(client.notices) == 1


@pytest.mark.parametrize(
    ("do", "arguments"),
    [
        ("cut", {}),
        ("close", {}),
        ("too_slow", {}),
        ("maintenance", {}),
        ("too_many_requests", {}),
        ("cut", {"late": 1}),
    ],
)
@played
async def test_an_answer_that_takes_its_time_still_comes_before_the_end_behind_it(do, arguments):
    async with trading(jitter=0 if arguments else 0.05) as (exchange, client):
        if arguments:
            exchange.script.add("late", method="public/test", seconds=0.05)
        exchange.script.add(do, method="public/hello")
        test = await client.send("public/test")
        hello = await client.send("public/hello", {"client_name": "c", "client_version": "1"})
        await client.closed()
        assert [answer["id"] for answer in client.answers] == [test, hello]


# ---- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["silence", "cut_unanswered", "cut_before"])
@played
async def test_a_request_is_not_answered_whether_it_was_handled_or_not(do):
    async with trading(login=True) as (exchange, client):
        exchange.script.add(do, method="private/enable_cancel_on_disconnect")
        await client.send("private/enable_cancel_on_disconnect")
        if do == "silence":
            await client.quiet()
        else:
            assert (await client.closed())[0] == 1006
        assert client.answers == []
        assert exchange.sessions[0].cancel_on_disconnect == (do != "cut_before")
        assert exchange.requests["private/enable_cancel_on_disconnect"] == 1


@played
async def test_a_late_answer_holds_up_those_of_its_worker_alone():
    async with trading(login=True) as (exchange, client):
        exchange.script.add("late", method="public/hello", seconds=0.05)
        hello = await client.send("public/hello", {"client_name": "c", "client_version": "1"})
        test = await client.send("public/test")
        private = await client.send("private/get_cancel_on_disconnect")
        answers = [await client.answer() for _ in range(3)]
        assert [answer["id"] for answer in answers] == [private, hello, test]
        assert answers[1]["usDiff"] > 40_000


@played
async def test_notifications_may_come_before_the_answer_to_their_subscription():
    async with trading() as (exchange, client):
        exchange.script.add("late", method="public/subscribe", seconds=0.02)
        await client.subscribe(f"ticker.{PERP}.100ms")
        assert len(client.notices) == 1
        assert client.received[0].startswith(b'{"jsonrpc":"2.0","method":"subscription"')


@played
async def test_two_answers_swap_places():
    async with trading() as (exchange, client):
        exchange.script.add("swap", method="public/get_time")
        numbers = [await client.send(method) for method in ("public/get_time", "public/test", "public/test")]
        assert [(await client.answer())["id"] for _ in range(3)] == [numbers[1], numbers[0], numbers[2]]


@played
async def test_an_answer_comes_twice():
    async with trading() as (exchange, client):
        exchange.script.add("twice", method="public/test")
        first, second = await client.call("public/test"), await client.answer()
        assert first == second


@played
async def test_an_answer_is_garbled_without_an_id_or_with_another_one():
    async with trading() as (exchange, client):
        exchange.script.add("garble", method="public/test", nth=1)
        exchange.script.add("no_id", method="public/test", nth=2)
        exchange.script.add("wrong_id", method="public/test", nth=3, times=2)
        assert "garbled" in await client.call("public/test")
        nameless = await client.call("public/test")
        assert "id" not in nameless and nameless["error"]["code"] == 11050
        assert (await client.call("public/test", id=5))["id"] == 1_000_005
        assert (await client.call("public/test", id="five"))["id"] == "five-other"
        assert (await client.call("public/test", id=6))["id"] == 6


@played
async def test_named_channels_are_refused():
    async with trading() as (exchange, client):
        exchange.script.add("refuse_channels", method="*/subscribe", channels="ticker.*")
        channels = [f"ticker.{PERP}.100ms", f"quote.{PERP}"]
        assert await client.subscribe(*channels) == [f"quote.{PERP}"]
        assert await client.subscribe(*channels) == [f"ticker.{PERP}.100ms", f"quote.{PERP}"]
        exchange.script.add("refuse_channels", method="public/test")
        assert await client.result("public/test")


@played
async def test_a_request_is_refused_with_any_error():
    async with trading() as (exchange, client):
        exchange.script.add("refuse", method="public/ticker")
        exchange.script.add("refuse", method="public/ticker", nth=2, code=11051, message="system_maintenance", data="x")
        assert await client.error("public/ticker") == {"code": 13028, "message": "temporarily_unavailable"}
        error = await client.error("public/ticker")
        assert error == {"code": 11051, "data": "x", "message": "system_maintenance"}


@pytest.mark.parametrize("terminate", [True, False])
@played
async def test_the_nth_request_is_one_too_many(terminate):
    async with trading(terminate=terminate) as (exchange, client):
        exchange.script.add("too_many_requests", method="*", nth=3)
        for _ in range(3):
            await client.send("public/test")
        answers = [await client.answer() for _ in range(3)]
        assert [answer.get("error") for answer in answers] == [
            None,
            None,
            {"code": 10028, "message": "too_many_requests"},
        ]
        if terminate:
            assert (await client.closed())[0] == 1006
        else:
            assert await client.result("public/test")


# ---- the whole exchange -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1001, 1012])
@played
async def test_maintenance_is_announced_and_everybody_is_sent_away_until_it_is_over(code):
    async with trading() as (exchange, client), connected(exchange) as other:
        await other.subscribe("platform_state")
        exchange.script.add("maintenance", method="public/test", code=code)
        await client.send("public/test")
        assert (await client.closed())[0] == code == (await other.closed())[0]
        assert client.answers[0]["result"] and client.notices == []
        assert other.notices == [("platform_state", {"maintenance": True})]
        with pytest.raises(HandshakeRejected) as caught:
            async with connected(exchange):
                pass
        assert caught.value.status == 503
        exchange.end_maintenance()
        exchange.begin_maintenance()  # where nobody hears it
        exchange.end_maintenance()
        async with connected(exchange) as third:
            assert await third.result("public/status") == {"locked": "false", "locked_indices": []}


@pytest.mark.parametrize("channel", ["platform_state", "*"])
@played
async def test_maintenance_that_is_announced_at_its_own_announcement_happens_once(channel):
    async with trading(login=True) as (exchange, client), connected(exchange) as other:
        for one in (client, other):
            await one.subscribe("platform_state", "announcements")
            await one.quiet()
        exchange.script.add("maintenance", channel=channel, code=1012, times=None)
        exchange.begin_maintenance(1001) if channel == "platform_state" else exchange.say("announcements", {})
        exchange.begin_maintenance(1000)  # during maintenance
        code = 1001 if channel == "platform_state" else 1012
        for one in (client, other):
            assert (await one.closed())[0] == code
            said = [data for name, data in one.notices if name == "platform_state"]
            assert said == [{"maintenance": True}]
        exchange.end_maintenance()
        exchange.script.clear()
        async with connected(exchange) as third:
            await third.subscribe("platform_state")
            await third.quiet()
            exchange.begin_maintenance()  # another one
            assert (await third.closed())[0] == 1001 and len(third.notices) == 1


@pytest.mark.parametrize("code", [-1, 65536, float("nan")])
@played
async def test_maintenance_with_a_code_that_is_none_does_not_begin(code):
    async with trading() as (exchange, client):
        with pytest.raises(ValueError, match="code"):
            exchange.begin_maintenance(code)
        assert not exchange.in_maintenance and await client.result("public/test")


@played
async def test_the_clock_is_wrong_from_a_point_on():
    async with trading() as (exchange, client):
        exchange.script.add("skew", method="public/test", seconds=-3600)
        before = await client.result("public/get_time")
        await client.result("public/test")
        after = await client.call("public/get_time")
        assert before - after["result"] == pytest.approx(3_600_000, abs=5000)
        assert after["usIn"] // 1_000_000 == pytest.approx(after["result"] // 1000, abs=1)


@played
async def test_nothing_that_was_held_or_late_is_left_when_the_exchange_ends():
    async with DeribitExchange(rate=200, close_timeout=0.2) as exchange, connected(exchange) as client:
        exchange.script.add("late", method="public/test", seconds=60)
        exchange.script.add("swap", method="public/get_time")
        for method in ("public/test", "public/test", "public/get_time"):
            await client.send(method)
        while exchange.requests.total() < 3:
            await asyncio.sleep(0)
        await exchange.close()
        assert (await client.closed())[0] == 1001 and client.answers == []


def test_every_action_has_its_place():
    assert {where for where, _ in ACTIONS.values()} == {"method", "channel", "both"}
