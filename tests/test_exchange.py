"""A session with an exchange: subscriptions with callbacks, over real sockets and over as many connections as it takes.

The exchange here speaks no JSON-RPC (topic_exchange.py). Deribit's own are in test_deribit_*.py.
"""

import asyncio
import gc
import weakref

import orjson
import pytest
from exchange_client import played
from topic_exchange import TopicAdapter, TopicServer, topics, until

import wsx
from wsx.adapters.base import Adapter
from wsx.adapters.exchange import connect
from wsx.errors import AnswerTimeout, NotConnected, OutcomeUnknown, RpcError, SubscriptionRefused
from wsx.events import CallbackFailed, Closed, GapEvent, Opened, StaleData, SubscriptionRestored
from wsx.events import SubscriptionRefused as SubscriptionRefusedEvent
from wsx.testing import DeribitExchange


class Seen(list):
    """A callback that keeps the data of what it is called with."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other

    def __call__(self, message):
        self.append(orjson.loads(message.data)["data"])


async def reopened(exchange, events, count=2):
    await events.wait(Opened, count)
    await exchange.client.wait_open()


class TestSubscribe:
    @played
    async def test_a_callback_gets_each_message_of_its_channels_and_nobody_else_does(self):
        async with topics() as (server, exchange, _):
            seen = Seen()
            await exchange.subscribe(["a", "b", "a"], seen)
            server.push("a", 1)
            server.push("b", 2)
            await until(lambda: len(seen) == 2)
            assert list(seen) == [1, 2]
            assert server.requests == [("subscribe", ["a", "b"])]
            assert list(exchange.subscriptions) == ["a", "b"]

    @played
    async def test_one_channel_may_be_given_as_text(self):
        async with topics() as (server, exchange, _):
            await exchange.subscribe("abc", Seen())
            await exchange.renew("abc")
            await exchange.unsubscribe("abc")
            assert {str(args) for _, args in server.requests} == {"['abc']"}

    @played
    async def test_more_channels_than_a_message_holds_are_asked_for_in_several(self):
        async with topics() as (server, exchange, _):
            await exchange.subscribe([f"t{n}" for n in range(7)], Seen())
            assert [len(args) for _, args in server.requests] == [3, 3, 1]

    @played
    async def test_a_second_callback_shares_the_subscription_and_the_same_one_counts_once(self):
        async with topics() as (server, exchange, _):
            one, two = Seen(), Seen()
            await exchange.subscribe("a", one)
            await exchange.subscribe("a", two)
            await exchange.subscribe("a", one)
            server.push("a", 1)
            await until(lambda: two)
            assert (list(one), list(two)) == ([1], [1])
            assert len(server.requests) == 1

    @played
    async def test_two_at_once_ask_once(self):
        async with topics() as (server, exchange, _):
            await asyncio.gather(exchange.subscribe("a", Seen()), exchange.subscribe("a", Seen()))
            assert server.requests == [("subscribe", ["a"])]

    @played
    async def test_refused_channels_are_named_and_the_others_kept(self):
        async with topics() as (server, exchange, events):
            server.refused = "no.*"
            seen = Seen()
            with pytest.raises(SubscriptionRefused) as caught:
                await exchange.subscribe(["a", "no.1", "b", "no.2"], seen)
            assert caught.value.channels == ("no.1", "no.2")
            assert list(exchange.subscriptions) == ["a", "b"]
            assert [event.stream for event in events.of(SubscriptionRefusedEvent)] == ["no.1", "no.2"]
            server.push("no.1", unasked=True)
            server.push("a", 5)
            await until(lambda: seen)
            assert list(seen) == [5]

    @played
    async def test_asking_afresh_gives_up_what_others_hear_and_asks_again(self):
        async with topics() as (server, exchange, _):
            one, two = Seen(), Seen()
            await exchange.subscribe("a", one)
            await exchange.subscribe(["a", "b"], two, fresh=True)
            await exchange.subscribe("a", two, fresh=True)  # it has it already
            wanted = [("subscribe", ["a"]), ("unsubscribe", ["a"]), ("subscribe", ["a", "b"])]
            assert server.requests == wanted
            server.push("a")
            await until(lambda: one and two)

    @played
    async def test_what_cannot_be_listened_to_leaves_nothing(self):
        async with topics() as (server, exchange, _):
            watched = Seen()
            await exchange.subscribe("b", watched, data_timeout=60)
            with pytest.raises(ValueError, match="watched already"):
                await exchange.subscribe(["a", "b"], Seen(), data_timeout=60)
            with pytest.raises(TypeError, match="callable"):
                await exchange.subscribe("a", None)
            with pytest.raises(ValueError, match="may have 57 bytes"):
                await exchange.subscribe(["a", "x" * 58], Seen())
            for wrong in ("", "a\n", "a\x00b", "\ud800"):
                with pytest.raises(ValueError, match="cannot be a channel's name"):
                    await exchange.subscribe(["a", wrong], Seen())
            for wrong in (["a", 5], b"a"):
                with pytest.raises(TypeError, match="must be a str, not int"):
                    await exchange.subscribe(wrong, Seen())
            assert server.requests == [("subscribe", ["b"])]
            await exchange.subscribe("a", watched, data_timeout=60)

    @played
    async def test_a_silent_channel_is_said_to_be_stale(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen(), data_timeout=0.03)
            (event,) = await events.wait(StaleData)
            assert event.stream == "a"
            server.push("a")
            await events.wait(GapEvent)
            await exchange.unsubscribe("a")
            assert exchange.client.health().ready

    @played
    async def test_a_callback_that_raises_is_told_and_the_others_are_called(self):
        async with topics() as (server, exchange, events):

            def broken(message):
                raise ValueError("mine")

            seen = Seen()
            await exchange.subscribe("a", broken)
            await exchange.subscribe("a", seen)
            server.push("a")
            await until(lambda: seen)
            assert isinstance(events.of(CallbackFailed)[0].error, ValueError)


class TestUnsubscribe:
    @played
    async def test_a_channel_is_given_up_when_its_last_callback_goes(self):
        async with topics() as (server, exchange, _):
            one, two = Seen(), Seen()
            await exchange.subscribe("a", one)
            await exchange.subscribe("a", two)
            await exchange.unsubscribe(["a", "never"], one)
            assert server.topics() == ["a"]
            await exchange.unsubscribe("a", two)
            assert (server.topics(), len(exchange.subscriptions)) == ([], 0)

    @played
    async def test_without_a_callback_all_of_them_go(self):
        async with topics() as (server, exchange, _):
            await exchange.subscribe("a", Seen())
            await exchange.subscribe("a", Seen())
            await exchange.unsubscribe("a")
            assert server.topics() == []

    @played
    async def test_what_still_comes_reaches_neither_callbacks_nor_whoever_reads(self):
        async with topics() as (server, exchange, _):
            seen = Seen()
            await exchange.subscribe("a", seen)
            await exchange.unsubscribe("a", seen)
            server.push("a", 1, unasked=True)
            server.push("other", 2, unasked=True)
            assert (await exchange.client.recv()).json()["topic"] == "other"
            await exchange.subscribe("a", seen)
            server.push("a", 3)
            await until(lambda: seen)
            assert list(seen) == [3]

    @played
    async def test_without_a_connection_there_is_nothing_to_give_up(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe(["a", "b"], Seen())
            server.cut()
            await events.wait(Closed)
            await exchange.unsubscribe("a")
            await reopened(exchange, events)
            assert server.topics() == ["b"]

    @played
    async def test_during_a_restore_it_waits_and_then_gives_up(self):
        async with topics() as (server, exchange, _events):
            await exchange.subscribe(["a", "b"], Seen())
            server.held = []
            server.cut()
            await server.asked("subscribe", 2)
            unsubscribing = asyncio.ensure_future(exchange.unsubscribe("a"))
            await asyncio.sleep(0)
            server.release()
            await unsubscribing
            assert list(exchange.subscriptions) == ["b"]
            assert server.topics() == ["b"]

    @played
    async def test_one_that_fails_is_given_up_before_the_channel_is_asked_for_again(self):
        async with topics() as (server, exchange, _):
            seen = Seen()
            await exchange.subscribe("a", seen)
            server.failing["unsubscribe"] = 7
            with pytest.raises(RpcError):
                await exchange.unsubscribe("a")
            server.failing.clear()
            await exchange.subscribe("a", seen)
            assert [op for op, _ in server.requests] == ["subscribe", "unsubscribe", "unsubscribe", "subscribe"]


class TestNoAnswer:
    @played
    async def test_a_channel_without_an_answer_is_neither_kept_nor_delivered_and_asked_for_afresh(self):
        async with topics() as (server, exchange, _):
            exchange.adapter.timeout = 0.02
            server.silent.add("subscribe")
            seen = Seen()
            with pytest.raises(AnswerTimeout):
                await exchange.subscribe("a", seen)
            assert (server.topics(), len(exchange.subscriptions)) == (["a"], 0)
            server.silent.clear()
            server.push("a", 1)
            await exchange.adapter.ask(exchange.client, "ping", [])  # what was sent before has arrived
            await exchange.subscribe("a", seen)
            server.push("a", 2)
            await until(lambda: seen)
            assert list(seen) == [2]
            assert [op for op, _ in server.requests] == ["subscribe", "ping", "unsubscribe", "subscribe"]

    @played
    async def test_a_channel_without_an_answer_can_be_given_up(self):
        async with topics() as (server, exchange, _):
            exchange.adapter.timeout = 0.02
            server.silent.add("subscribe")
            seen = Seen()
            with pytest.raises(AnswerTimeout):
                await exchange.subscribe("a", seen)
            await exchange.unsubscribe("a", seen)
            assert server.topics() == []
            await exchange.unsubscribe("a", seen)
            assert [op for op, _ in server.requests] == ["subscribe", "unsubscribe"]

    @played
    async def test_a_cancelled_subscription_lets_the_next_one_through(self):
        async with topics() as (server, exchange, _):
            server.held = []
            first = asyncio.ensure_future(exchange.subscribe("a", Seen()))
            second = asyncio.ensure_future(exchange.subscribe("b", Seen()))
            await server.asked("subscribe")
            first.cancel()
            await server.asked("subscribe", 2)
            server.release()
            await second
            assert list(exchange.subscriptions) == ["b"]

    @played
    async def test_what_was_acknowledged_before_the_failure_is_kept_and_the_rest_can_be_asked_for(self):
        async with topics() as (server, exchange, _):
            seen, names = Seen(), [f"t{n}" for n in range(6)]
            server.held = []
            task = asyncio.ensure_future(exchange.subscribe(names, seen))
            await server.asked("subscribe")
            server.failing["subscribe"] = 9
            server.release()
            with pytest.raises(RpcError):
                await task
            assert list(exchange.subscriptions) == names[:3]
            server.push("t0", 1)
            await until(lambda: seen)
            server.failing.clear()
            await exchange.subscribe(names, seen)
            assert list(exchange.subscriptions) == names

    @played
    async def test_what_was_refused_before_the_failure_is_named_and_nobodys(self):
        async with topics() as (server, exchange, events):
            seen, names = Seen(), [f"t{n}" for n in range(6)]
            await exchange.subscribe(names, seen)
            server.refused, server.held = "t1", []
            task = asyncio.ensure_future(exchange.renew(names))
            await server.asked("unsubscribe")
            server.release()
            server.held = []
            await server.asked("unsubscribe", 2)
            server.release()
            server.held = []
            await server.asked("subscribe", 3)
            server.failing["subscribe"] = 9
            server.release()
            with pytest.raises(RpcError):
                await task
            assert [event.stream for event in events.of(SubscriptionRefusedEvent)] == ["t1"]
            server.push("t1", 1, unasked=True)
            server.push("t0", 2)
            await until(lambda: seen)
            assert list(seen) == [2]

    @played
    async def test_a_cut_before_the_answer_is_an_unknown_outcome_and_nothing_is_restored(self):
        async with topics() as (server, exchange, events):
            server.held = []
            task = asyncio.ensure_future(exchange.subscribe("a", Seen()))
            await server.asked("subscribe")
            server.held = None
            server.cut()
            with pytest.raises(OutcomeUnknown):
                await task
            await reopened(exchange, events)
            assert server.topics() == []


class TestRenew:
    @played
    async def test_it_unsubscribes_and_subscribes_what_is_subscribed(self):
        async with topics() as (server, exchange, _):
            await exchange.subscribe("a", Seen())
            await exchange.renew(["a", "b"])
            assert server.requests == [("subscribe", ["a"]), ("unsubscribe", ["a"]), ("subscribe", ["a"])]

    @played
    async def test_a_channel_that_is_refused_then_is_named_and_nobody_listens_any_more(self):
        async with topics() as (server, exchange, events):
            seen = Seen()
            await exchange.subscribe(["a", "b"], seen)
            server.refused = "a"
            with pytest.raises(SubscriptionRefused, match="a"):
                await exchange.renew(["a", "b"])
            assert list(exchange.subscriptions) == ["b"]
            assert [event.stream for event in events.of(SubscriptionRefusedEvent)] == ["a"]
            server.push("a", 1, unasked=True)
            server.push("b", 2)
            await until(lambda: seen)
            assert list(seen) == [2]

    @played
    async def test_a_channel_unsubscribed_meanwhile_stays_so(self):
        async with topics() as (server, exchange, _):
            await exchange.subscribe("a", Seen())
            server.held = []
            leaving = asyncio.ensure_future(exchange.unsubscribe("a"))
            renewing = asyncio.ensure_future(exchange.renew("a"))
            await server.asked("unsubscribe")
            server.release()
            await asyncio.gather(leaving, renewing)
            assert (server.topics(), len(exchange.subscriptions)) == ([], 0)

    @played
    async def test_one_that_fails_halfway_is_made_good_by_the_next_call(self):
        async with topics() as (server, exchange, _):
            seen = Seen()
            await exchange.subscribe("a", seen)
            server.failing["subscribe"] = 5
            with pytest.raises(RpcError):
                await exchange.renew("a")
            assert server.topics() == []
            server.failing.clear()
            await exchange.subscribe("a", seen)
            assert server.topics() == ["a"]


class TestRestore:
    @played
    async def test_it_goes_login_heartbeat_private_public_and_is_told(self):
        async with topics(login=True, beats=True) as (server, exchange, events):
            seen = Seen()
            await exchange.subscribe(["x", "my.b", "y"], seen)
            del server.requests[:]
            server.cut()
            await reopened(exchange, events)
            wanted = [("login", []), ("beat", []), ("subscribe", ["my.b"]), ("subscribe", ["x", "y"])]
            assert server.requests == wanted
            assert [event.stream for event in events.of(SubscriptionRestored)] == ["my.b", "x", "y"]
            server.push("my.b", 4)
            await until(lambda: seen)

    @played
    async def test_what_is_refused_then_is_told_and_never_asked_for_again(self):
        async with topics() as (server, exchange, events):
            seen = Seen()
            await exchange.subscribe(["a", "b"], seen)
            server.refused = "a"
            server.cut()
            await reopened(exchange, events)
            assert [event.stream for event in events.of(SubscriptionRefusedEvent)] == ["a"]
            assert [event.stream for event in events.of(SubscriptionRestored)] == ["b"]
            server.refused = ""
            server.push("a", 1, unasked=True)
            server.cut()
            await reopened(exchange, events, 3)
            assert server.topics() == ["b"]
            server.push("b", 2)
            await until(lambda: seen)
            assert list(seen) == [2]

    @played
    async def test_what_is_refused_before_a_cut_in_the_middle_is_told_all_the_same(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe([f"t{n}" for n in range(6)], Seen())
            server.refused, server.held = "t1", []
            server.cut()
            await server.asked("subscribe", 3)
            server.release()
            server.held = []
            await server.asked("subscribe", 4)
            server.held = None
            server.cut()
            await reopened(exchange, events)
            assert [event.stream for event in events.of(SubscriptionRefusedEvent)] == ["t1"]
            assert server.topics() == ["t0", "t2", "t3", "t4", "t5"]

    @played
    async def test_a_channel_given_up_on_the_last_connection_is_the_users_again_on_the_next(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen())
            await exchange.unsubscribe("a")
            server.cut()
            await reopened(exchange, events)
            server.push("a", 1, unasked=True)
            assert (await exchange.client.recv()).json()["topic"] == "a"

    @played
    async def test_a_subscription_asked_for_during_it_waits_its_turn(self):
        async with topics() as (server, exchange, _events):
            await exchange.subscribe("a", Seen())
            server.held = []
            server.cut()
            await server.asked("subscribe", 2)
            task = asyncio.ensure_future(exchange.subscribe("b", Seen()))
            await asyncio.sleep(0)
            server.release()
            await task
            assert server.topics() == ["a", "b"]


class TestConnecting:
    @played
    async def test_it_can_be_awaited_and_closed(self):
        async with TopicServer() as server:
            exchange = await connect(TopicAdapter(server.url), url=server.url, reconnect=False)
            assert exchange.client.state is wsx.State.OPEN
            await exchange.close()
            await exchange.wait_closed()
            assert exchange.client.state is wsx.State.CLOSED
            with pytest.raises(wsx.errors.ConnectionClosed):
                await exchange.subscribe("a", Seen())
            await exchange.unsubscribe("a")

    @played
    async def test_what_the_first_connection_is_refused_is_raised(self):
        async with TopicServer() as server:
            server.failing["login"] = 3
            with pytest.raises(RpcError, match="not now"):
                await connect(TopicAdapter(server.url, login=True))
            await until(lambda: not server.connections)

    @played
    async def test_hooks_of_the_users_come_after_the_exchanges(self):
        order = []

        async def hook(route):
            order.append(list(server.requests))

        async with TopicServer() as server, connect(TopicAdapter(server.url, login=True), on_open=[hook]):
            assert order == [[("login", [])]]

    @played
    async def test_while_it_is_not_connected_a_subscription_is_refused_and_not_queued(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen())
            server.cut()
            while not events.of(Closed):
                await asyncio.sleep(0)  # not a moment longer: it is connected again within a millisecond
            with pytest.raises(NotConnected):
                await exchange.subscribe("b", Seen())
            await exchange.subscribe("a", Seen())  # nothing has to be sent for that
            await reopened(exchange, events)
            assert server.topics() == ["a"]


class TestAdapter:
    @played
    async def test_json_rpc_needs_no_route_of_its_own(self):
        class Minimal(Adapter):
            async def subscribe(self, line, channels):
                return await wsx.JsonRpc(line).request("public/subscribe", {"channels": list(channels)})

            async def unsubscribe(self, line, channels):
                await wsx.JsonRpc(line).request("public/unsubscribe", {"channels": list(channels)})

        async with DeribitExchange(rate=None) as server, connect(Minimal(), url=server.url) as exchange:
            seen = []
            await exchange.subscribe("quote.BTC-PERPETUAL", seen.append)
            await until(lambda: seen)
            assert seen[0].data_json()["instrument_name"] == "BTC-PERPETUAL"
            await exchange.unsubscribe("quote.BTC-PERPETUAL")

    @pytest.mark.parametrize("wrong", [None, "ok"])
    @played
    async def test_a_verb_that_does_not_say_what_was_acknowledged_is_named(self, wrong):
        class Forgetful(TopicAdapter):
            async def subscribe(self, line, channels):
                return wrong

        async with TopicServer() as server, connect(Forgetful(server.url)) as exchange:
            with pytest.raises(TypeError, match="gives the acknowledged channels, not"):
                await exchange.subscribe("a", Seen())

    @played
    async def test_the_verbs_that_every_exchange_needs_have_no_default(self):
        adapter = Adapter()
        for verb in (adapter.subscribe, adapter.unsubscribe):
            with pytest.raises(NotImplementedError):
                await verb(None, [])
        with pytest.raises(NotImplementedError):
            adapter.route(b"")
        assert await adapter.authenticate(None) is None
        assert await adapter.heartbeat(None) is None
        assert not adapter.is_private("anything")


class TestHalfway:
    """Given up to be asked for afresh, and then not taken: whoever heard it before is not forgotten."""

    @played
    async def test_it_is_said_and_asked_for_again_until_it_comes(self):
        async with topics() as (server, exchange, events):
            one, two = Seen(), Seen()
            await exchange.subscribe(["a", "b"], one)
            server.failing["subscribe"] = 7
            with pytest.raises(RpcError):
                await exchange.subscribe("a", two, fresh=True)
            assert (server.topics(), [event.stream for event in events.of(StaleData)]) == (["b"], ["a"])
            assert exchange.subscriptions.is_unsure("a")
            await server.asked("subscribe", 4)
            server.failing.clear()
            await until(lambda: "a" in server.topics())
            (event,) = await events.wait(GapEvent)
            assert (event.gap.stream, event.gap.cause) == ("a", "not subscribed again")
            assert exchange.client.ledger.was_blind(event.gap.first_good_ns - 1, "a") is not None
            server.push("a", 1)
            await until(lambda: one)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "wsx-silence"]

    @played
    async def test_what_an_adapter_raises_is_said_and_does_not_end_the_care(self):
        async with topics() as (server, exchange, events):
            seen, take = Seen(), exchange.adapter.subscribe
            await exchange.subscribe("a", seen)
            answers = [KeyError("data")] * 3

            async def take_late(line, channels):
                if answers:
                    raise answers.pop()
                return await take(line, channels)

            exchange.adapter.subscribe = take_late
            with pytest.raises(KeyError):
                await exchange.renew("a")
            await until(lambda: events.of(GapEvent))
            assert server.topics() == ["a"]
            assert [type(event.error) for event in events.of(CallbackFailed)] == [KeyError, KeyError]

    @played
    async def test_a_care_that_is_over_leaves_nothing_behind(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen())
            cares = []
            for count in range(1, 4):
                server.failing["subscribe"] = 7
                with pytest.raises(RpcError):
                    await exchange.renew("a")
                server.failing.clear()
                cares += [weakref.ref(task) for task in asyncio.all_tasks() if task.get_name() == "wsx-silence"]
                await events.wait(GapEvent, count)
                await asyncio.sleep(0.001)
            gc.collect()
            assert [care() is None for care in cares] == [True, True, False]

    @played
    async def test_what_the_failure_has_not_reached_is_not_forgotten_either(self):
        async with topics() as (server, exchange, events):
            names = [f"t{n}" for n in range(6)]
            await exchange.subscribe(names, Seen())
            server.held = []
            task = asyncio.ensure_future(exchange.renew(names))
            await server.asked("unsubscribe")
            server.failing["unsubscribe"] = 7
            server.release()
            with pytest.raises(RpcError):
                await task
            assert {event.stream for event in events.of(StaleData)} == set(names)
            server.failing.clear()
            await until(lambda: set(server.topics()) == set(names))
            await events.wait(GapEvent, 6)

    @played
    async def test_a_cancelled_one_is_asked_for_again(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen())
            server.silent.add("subscribe")
            task = asyncio.ensure_future(exchange.renew("a"))
            await server.asked("subscribe", 2)
            task.cancel()
            server.silent.clear()
            await events.wait(GapEvent)
            assert server.topics() == ["a"]

    @played
    async def test_one_that_is_given_up_meanwhile_or_refused_is_not_asked_for(self):
        async with topics() as (server, exchange, events):
            seen = Seen()
            await exchange.subscribe(["a", "b"], seen)
            server.failing["subscribe"] = 7
            with pytest.raises(RpcError):
                await exchange.renew(["a", "b"])
            await exchange.unsubscribe("a")
            server.failing.clear()
            server.refused = "b"
            await events.wait(SubscriptionRefusedEvent)
            await until(lambda: not any(task.get_name() == "wsx-silence" for task in asyncio.all_tasks()))
            assert (server.topics(), len(exchange.subscriptions), events.of(GapEvent)) == ([], 0, [])

    @played
    async def test_a_new_connection_brings_it_and_closing_ends_the_care(self):
        async with topics() as (server, exchange, events):
            await exchange.subscribe("a", Seen())
            server.failing["subscribe"] = 7
            with pytest.raises(RpcError):
                await exchange.renew("a")
            server.failing.clear()
            server.cut()
            await reopened(exchange, events)
            await until(lambda: any(event.gap.stream == "a" for event in events.of(GapEvent)))
            assert server.topics() == ["a"]
            server.failing["subscribe"] = 7
            with pytest.raises(RpcError):
                await exchange.renew("a")
            await exchange.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "wsx-silence"]
