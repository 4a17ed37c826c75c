"""Group 7, a session at the exchange: login, restore, limits, books, maintenance. Orders are not here.

Every fault is caused at a real local exchange; a session ends each test with nothing left behind.
"""

import asyncio
import logging
import time
import traceback

import pytest
from deribit_session import (
    CREDENTIALS,
    PERPETUAL,
    RAW,
    change,
    market,
    reopened,
    same_book,
    say,
    session,
    until,
)
from leftovers import LOOPS, nothing_left

import wsx
from wsx import telemetry
from wsx.adapters import deribit
from wsx.adapters.deribit import market_data
from wsx.adapters.deribit.session import RateLimiter
from wsx.errors import AuthenticationFailed, NotConnected, OutcomeUnknown, RpcError, SubscriptionRefused
from wsx.events import Closed, GapEvent, Halted, Reconnecting, SubscriptionRestored
from wsx.events import SubscriptionRefused as SubscriptionRefusedEvent
from wsx.testing.deribit import Account

CANARY = "canary-4711-secret"
QUOTE = f"quote.{PERPETUAL}"
MINE = f"user.orders.{PERPETUAL}.raw"
FEED = f"book.{PERPETUAL}.100ms"


@pytest.fixture(params=LOOPS)
def run(request):
    """As conftest's, with the servers on the client's loop: uvloop keeps a descriptor for all servers to come."""

    async def checked(main):
        async with market():
            pass
        async with nothing_left():
            await main

    return lambda main: wsx.run(asyncio.wait_for(checked(main), 30), loop=request.param)


def nothing(message):
    """A callback."""


def restored(events, exchange):
    """The channels that were restored on the newest connection, in their order."""
    return [event.stream for event in events.of(SubscriptionRestored) if event.epoch == exchange.client.epoch]


def variables(error):
    """A traceback with the variables of each frame, as trackers of errors send it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


async def read(client):
    """A reader that has come back."""
    async for _ in client:
        pass


class TestRow1:
    """7.1: wrong credentials halt, and nothing that is said helps a thief."""

    @pytest.mark.parametrize("sign", [True, False])
    def test_the_first_login_is_refused(self, run, caplog, sign):
        async def main():
            told = []
            telemetry.attach("*", lambda name, fields: told.append(f"{name} {dict(fields)!r}"), "spy")
            credentials = deribit.Credentials("demo", CANARY, sign=sign)
            try:
                async with market() as server:
                    with pytest.raises(AuthenticationFailed, match="13004") as caught:
                        await deribit.connect(server.url, credentials=credentials, on_event=told.append)
                    assert server.requests["public/auth"] == 1
            finally:
                telemetry.detach("spy")
            said = [*traceback.format_exception(caught.value), repr(caught.value), wsx.explain(caught.value), *told]
            assert isinstance(caught.value.__cause__, RpcError)
            assert CANARY not in f"{said} {credentials!r} {caplog.text} {variables(caught.value)}"

        caplog.set_level(logging.DEBUG)
        run(main())

    @pytest.mark.parametrize("fault", ["refuse", "silence"])
    def test_no_variable_of_a_failed_renewal_shows_a_token(self, run, fault):
        async def main():
            account = Account(client_id="demo", client_secret=CANARY)
            server = market(accounts=[account], expires_in=1)
            credentials = deribit.Credentials("demo", CANARY, sign=False)
            async with session(server, credentials=credentials) as (_, exchange, events):
                token, exchange.adapter.timeout = exchange.adapter.token, 0.1
                refusal = {"code": 13004, "message": "invalid_credentials"} if fault == "refuse" else {}
                server.script.add(fault, method="public/auth", times=None, **refusal)
                (event, *_) = await events.wait(Closed)
                for secret in (CANARY, token.refresh.reveal(), token.access.reveal()):
                    assert secret not in variables(event.error)

        run(main())

    def test_a_login_that_is_refused_later_halts_until_a_person_resumes(self, run, caplog):
        async def main():
            account = Account(client_id="demo", client_secret=CANARY)
            credentials = deribit.Credentials("demo", CANARY)
            server = market(accounts=[account])
            async with session(server, credentials=credentials) as (_, exchange, events):
                await exchange.subscribe([RAW, QUOTE], nothing)
                server.script.add("refuse", method="public/auth", code=13004, message="invalid_credentials")
                exchange.client.reconnect()
                (event,) = await events.wait(Halted)
                assert isinstance(event.error, AuthenticationFailed)
                with pytest.raises(NotConnected, match="HALTED"):
                    await exchange.get_time()
                said = f"{events} {wsx.explain(event.error)} {exchange.client.health()} {exchange.adapter.token!r}"
                exchange.client.resume()
                await reopened(exchange, events)
                assert list(exchange.subscriptions) == [RAW, QUOTE]
                for secret in (CANARY, exchange.adapter.token.access.reveal(), server.sessions[0].grant.refresh_token):
                    assert secret not in said + caplog.text

        caplog.set_level(logging.DEBUG)
        run(main())


class TestRow2:
    """7.2: tokens are renewed at 80 % of their life; then a full login; then halt. A skewed clock is learnt."""

    def test_they_are_renewed_before_they_expire_again_and_again(self, run):
        async def main():
            async with session(market(expires_in=1)) as (server, exchange, _events):
                begun = time.monotonic()
                await until(lambda: server.requests["public/auth"] == 3)
                assert 1.5 < time.monotonic() - begun < 2.0  # twice 0.8 s
                assert await exchange.request("private/get_account_summary", {"currency": "BTC"})
                assert (exchange.client.epoch, len(server.tokens._nonces)) == (1, 1)

        run(main())

    def test_where_that_fails_it_logs_in_again(self, run):
        async def main():
            async with session(market(expires_in=1)) as (server, exchange, _events):
                server.script.add("refuse", method="public/auth", code=13004, message="invalid_credentials")
                await until(lambda: server.requests["public/auth"] == 3)
                assert await exchange.request("private/get_account_summary", {"currency": "BTC"})
                assert exchange.client.epoch == 1

        run(main())

    def test_where_that_fails_too_it_halts(self, run):
        async def main():
            async with session(market(expires_in=1)) as (server, exchange, events):
                refusal = {"code": 13004, "message": "invalid_credentials"}
                server.script.add("refuse", method="public/auth", times=None, **refusal)
                (event,) = await events.wait(Halted)
                assert isinstance(event.error, AuthenticationFailed)
                assert server.requests["public/auth"] == 3
                server.script.clear()
                exchange.client.resume()
                await reopened(exchange, events)

        run(main())

    def test_where_the_exchange_is_busy_another_connection_is_tried(self, run):
        async def main():
            async with session(market(expires_in=1)) as (server, exchange, events):
                server.script.add("refuse", method="public/auth", times=2)
                await reopened(exchange, events)
                assert "could not be renewed" in str(events.of(Closed)[0].error)

        run(main())

    @pytest.mark.parametrize("skew", [-3600, 90, 3600])
    def test_a_clock_that_is_wrong_is_found_and_allowed_for(self, run, skew):
        async def main():
            server = market()
            server.skew = skew
            async with session(server) as (_, exchange, events):
                assert server.requests["public/auth"] == 2
                exchange.client.reconnect()
                await reopened(exchange, events)
                assert server.requests["public/auth"] == 3  # it knows

        run(main())

    @pytest.mark.parametrize("skew", [0, 3600])
    def test_a_wrong_secret_is_not_mistaken_for_a_wrong_clock(self, run, skew):
        async def main():
            async with market() as server:
                server.skew = skew
                with pytest.raises(AuthenticationFailed):
                    await deribit.connect(server.url, credentials=deribit.Credentials("demo", "wrong"))
                assert server.requests["public/auth"] == (2 if skew else 1)

        run(main())


class TestRow3:
    """7.3: cut anywhere between login and the last subscription: restored in full in the end, in order."""

    STEPS = ("public/auth", "public/set_heartbeat", "private/subscribe")

    @pytest.mark.parametrize("action", ["cut_before", "cut_unanswered", "cut", "close"])
    @pytest.mark.parametrize("step", [*STEPS, "second private/subscribe"])
    def test_a_cut_at_a_step(self, run, step, action):
        async def main():
            async with session() as (server, exchange, events):
                await exchange.subscribe([QUOTE, MINE, RAW], nothing)
                book = await exchange.book(PERPETUAL)
                nth = 2 if step.startswith("second") else 1
                server.script.add(action, method=step.removeprefix("second "), connection=1, nth=nth)
                exchange.client.reconnect()
                await until(lambda: exchange.client.epoch >= 3 and restored(events, exchange) == wanted)
                await exchange.client.wait_open()
                assert list(server.sessions[-1].requests) == list(self.STEPS)
                await until(lambda: same_book(server, book))

        wanted = [MINE, RAW, QUOTE, FEED]
        run(main())


class TestRow4:
    """7.4: what is refused is named, and never in the restored set."""

    def test_at_once_and_at_a_restore(self, run):
        async def main():
            async with session() as (server, exchange, events):
                server.script.add("refuse_channels", method="private/subscribe", channels="quote.ETH*")
                with pytest.raises(SubscriptionRefused) as caught:
                    await exchange.subscribe([QUOTE, "quote.ETH-PERPETUAL", "book.NOPE.raw"], nothing)
                assert caught.value.channels == ("quote.ETH-PERPETUAL", "book.NOPE.raw")
                await exchange.subscribe("quote.ETH-PERPETUAL", nothing)
                book = await exchange.book(PERPETUAL)
                server.script.add("refuse_channels", method="private/subscribe", channels="quote.ETH*")
                server.script.add("refuse_channels", method="private/subscribe", channels=FEED)
                exchange.client.reconnect()
                await reopened(exchange, events)
                refused = [event.stream for event in events.of(SubscriptionRefusedEvent)][2:]
                assert refused == ["quote.ETH-PERPETUAL", FEED]
                assert (book.state, book.best_bid) == ("stale", None)
                exchange.client.reconnect()
                await reopened(exchange, events, 3)
                assert list(server.sessions[-1].hearing.channels) == list(exchange.subscriptions) == [QUOTE]

        run(main())


class TestRow5:
    """7.5: a test_request is answered at once, before everything."""

    def test_while_the_bucket_is_empty(self, run):
        async def main():
            limiter = RateLimiter("deribit")
            async with session(market(time_scale=0.002), heartbeat_interval=10, rate_limit=limiter) as (
                server,
                exchange,
                _,
            ):
                limiter.backoff(60)
                waiting = asyncio.ensure_future(exchange.get_time())
                await until(lambda: server.requests["public/test"] >= 10)
                assert (waiting.done(), server.requests["public/get_time"]) == (False, 0)
                assert server.sessions[0].open
                await exchange.close()
                with pytest.raises(wsx.errors.WsxError) as caught:
                    await waiting
                assert caught.value.outcome is wsx.Outcome.NOT_SENT

        run(main())

    def test_while_the_inbox_is_full(self, run):
        async def main():
            server = market(time_scale=0.002)
            small = {"inbox_messages": 4, "inbox_policy": "drop_oldest", "heartbeat_interval": 10}
            async with session(server, **small) as (_, exchange, _events):
                await exchange.request("public/subscribe", {"channels": [QUOTE]})  # nobody takes what comes
                server.step(300)
                before = server.requests["public/test"]
                await until(lambda: server.requests["public/test"] >= before + 10)
                assert server.sessions[0].open
                assert exchange.client.health().queues["inbox_messages"][0] == 4

        run(main())

    def test_while_reading_is_paused_as_soon_as_there_is_room(self, run):
        async def main():
            server = market(time_scale=0.05)
            async with session(server, inbox_messages=4, heartbeat_interval=10) as (_, exchange, events):
                await exchange.request("public/subscribe", {"channels": [QUOTE]})
                while not events.of(wsx.events.ReadingPaused):
                    server.step(50)
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.6)  # a test_request waits in the socket
                assert server.requests["public/test"] == 0
                reading = asyncio.ensure_future(read(exchange.client))
                await until(lambda: server.requests["public/test"])
                assert server.sessions[0].open
                reading.cancel()

        run(main())

    def test_while_a_connection_is_restored(self, run):
        async def main():
            async with session(market(time_scale=0.002), heartbeat_interval=10) as (server, exchange, events):
                await exchange.subscribe(QUOTE, nothing)
                server.script.add("late", method="private/subscribe", seconds=0.3, connection=1)
                exchange.client.reconnect()
                await until(lambda: len(server.sessions) == 2 and server.sessions[1].requests["public/test"] >= 5)
                assert exchange.client.state is wsx.State.RECONNECTING
                await reopened(exchange, events)
                assert (exchange.client.epoch, server.sessions[1].open) == (2, True)

        run(main())

    def test_quiet_sockets_outlive_the_idle_drop(self, run):
        async def main():
            server = market(time_scale=0.002)
            async with session(server, credentials=False, heartbeat_interval=10) as (_, exchange, _events):
                await asyncio.sleep(0.3)  # twice and a half of 60 s
                assert (server.sessions[0].open, exchange.client.epoch) == (True, 1)

        run(main())


class TestRow6:
    """7.6: 10028 empties the bucket; what waits ends honestly or goes on later; the session comes back."""

    def test_answered_only(self, run):
        async def main():
            limiter = RateLimiter("deribit")
            async with session(market(terminate=False), rate_limit=limiter) as (server, exchange, _):
                server.script.add("too_many_requests", method="public/get_time")
                with pytest.raises(RpcError) as caught:
                    await exchange.get_time()
                assert deribit.is_passing(caught.value)
                assert limiter.utilisation["non_matching"] > 0.9
                begun = time.monotonic()
                assert await asyncio.gather(*(exchange.get_time() for _ in range(3)))
                assert time.monotonic() - begun > 0.1  # 50 ms restore one request

        run(main())

    def test_a_token_bucket_is_emptied_too(self, run):
        async def main():
            bucket = wsx.TokenBucket(rate=1000, burst=1000)
            async with session(market(terminate=False), rate_limit=bucket) as (server, exchange, _):
                server.script.add("too_many_requests", method="public/get_time")
                with pytest.raises(RpcError):
                    await exchange.get_time()
                assert bucket.utilisation > 0.9

        run(main())

    def test_without_a_budget_it_is_the_users_to_know(self, run):
        async def main():
            async with session(market(terminate=False), rate_limit=None) as (server, exchange, _):
                server.script.add("too_many_requests", method="public/get_time")
                with pytest.raises(RpcError, match="10028"):
                    await exchange.get_time()
                assert await exchange.get_time()

        run(main())

    def test_the_session_is_terminated(self, run):
        async def main():
            limiter = RateLimiter("deribit")
            async with session(rate_limit=limiter) as (server, exchange, events):
                await exchange.subscribe([RAW, QUOTE], nothing)
                server.script.add("too_many_requests", method="public/get_time")
                server.script.add("silence", method="public/test")
                unanswered = asyncio.ensure_future(exchange.test())
                await until(lambda: server.requests["public/test"] == 1)
                limit = asyncio.gather(*(exchange.get_time() for _ in range(200)), return_exceptions=True)
                results = [*await limit, *await asyncio.gather(unanswered, return_exceptions=True)]
                outcomes = {(type(error), getattr(error, "outcome", None)) for error in results}
                assert (RpcError, wsx.Outcome.REJECTED) in outcomes
                assert (OutcomeUnknown, wsx.Outcome.UNKNOWN) in outcomes
                assert {outcome for _, outcome in outcomes} >= {wsx.Outcome.NOT_SENT}
                await reopened(exchange, events)
                assert list(server.sessions[1].hearing.channels) == [RAW, QUOTE]
                assert await exchange.get_time()

        run(main())


class TestRow7:
    """7.7: a book that cannot be right is stale at once, renewed once, valid again; it never shows a wrong price."""

    @pytest.mark.parametrize("action", ["skip", "twice", "swap", "cross", "stale", "garble"])
    @pytest.mark.parametrize("interval", ["raw", "100ms"])
    def test_at_the_exchange(self, run, action, interval):
        async def main():
            async with session() as (server, exchange, events):
                book = await exchange.book(PERPETUAL, interval)
                channel = f"book.{PERPETUAL}.{interval}"
                rule = server.script.add(action, channel=channel)
                while not events.of(GapEvent):
                    assert self.is_never_wrong(server, book)
                    server.step(1)
                    server.end_interval()
                    await exchange.test()
                assert rule.fired == 1
                (begun, *_) = events.of(GapEvent)
                assert (begun.gap.stream, begun.gap.first_good_ns) == (channel, None)
                await until(lambda: book.state == "valid")
                assert events.of(GapEvent)[1].gap.first_good_ns is not None
                assert server.requests["private/unsubscribe"] == 1
                server.step(300)
                server.end_interval()
                await until(lambda: same_book(server, book))
                assert (len(events.of(GapEvent)), server.requests["private/subscribe"]) == (2, 2)

        run(main())

    @staticmethod
    def is_never_wrong(server, book):
        """A valid book is the exchange's, but for what is still on its way."""
        return book.state == "stale" or book.best_bid[0] < book.best_ask[0]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"bids": [["delete", 1.5, 0.0]]},
            {"bids": [["change", 1.5, -10.0]]},
            {"asks": [["new", 1e7, -10.0]]},
            {"asks": [["new", 1e7, 0.0]]},
            {"asks": [["new", 0.5, 10.0]]},
            {"bids": [["sell", 1.5, 10.0]]},
            {"bids": [["new", "1.5", 10.0]]},
            {"bids": [["new", 1.5]]},
            {"bids": 5},
            {"change_id": "x"},
            {"prev_change_id": 5},
        ],
        ids=str,
    )
    def test_what_no_exchange_should_say(self, run, wrong):
        async def main():
            async with session() as (server, exchange, events):
                book = await exchange.book(PERPETUAL, "raw")
                say(server, RAW, change(server, **wrong))
                await events.wait(GapEvent)
                await until(lambda: same_book(server, book))
                assert (len(events.of(GapEvent)), server.requests["private/subscribe"]) == (2, 2)
                assert exchange.client.epoch == 1

        run(main())

    def test_the_moment_it_is_wrong_it_shows_nothing_and_the_ledger_says_so(self, run):
        async def main():
            seen = []
            async with session() as (server, exchange, events):
                book = await exchange.book(PERPETUAL, "raw")
                await exchange.subscribe(RAW, lambda message: seen.append((book.state, book.best_bid, book.bids())))
                server.script.add("late", method="private/unsubscribe", seconds=0.05)
                say(server, RAW, change(server, prev_change_id=5))
                await events.wait(GapEvent)
                assert seen == [("stale", None, [])]
                for _ in range(3):
                    say(server, RAW, change(server, prev_change_id=6))  # one resubscribe, whatever else comes
                await until(lambda: len(seen) == 4)
                assert exchange.client.ledger.was_blind(time.monotonic_ns(), RAW) is not None
                await until(lambda: same_book(server, book))
                assert exchange.client.ledger.was_blind(time.monotonic_ns(), RAW) is None
                assert server.requests["private/unsubscribe"] == 1

        run(main())

    def test_a_change_before_the_snapshot(self, run):
        async def main():
            async with session() as (server, exchange, events):
                server.script.add("skip", channel=RAW)
                asking = asyncio.ensure_future(exchange.book(PERPETUAL, "raw"))
                await until(lambda: RAW in exchange.subscriptions)
                server.step(100)
                book = await asking
                assert same_book(server, book)
                assert len(events.of(GapEvent)) == 2

        run(main())

    def test_a_cut_while_it_is_stale(self, run):
        async def main():
            async with session() as (server, exchange, events):
                book = await exchange.book(PERPETUAL, "raw")
                server.script.add("cut_before", method="private/unsubscribe")
                say(server, RAW, change(server, prev_change_id=5))
                await reopened(exchange, events)
                await until(lambda: same_book(server, book))
                assert len([event for event in events.of(GapEvent) if event.gap.stream == RAW]) == 2

        run(main())

    def test_faults_without_end_in_a_busy_market(self, run):
        async def main():
            async with session(market(seed=3, credits=False), rate_limit=None) as (server, exchange, _):
                exchange.snapshot_timeout = 0.05
                books = [await exchange.book(PERPETUAL, "raw"), await exchange.book(PERPETUAL)]
                for number, action in enumerate(["skip", "cross", "swap", "garble", "twice", "stale"] * 3):
                    server.script.add(action, channel="book.*", nth=7 * number + 5)
                while any(rule.fired == 0 for rule in server.script._rules["channel"]):
                    server.step(20)
                    server.end_interval()
                    await asyncio.sleep(0.005)
                server.script.clear()
                server.step(50)
                server.end_interval()
                await until(lambda: all(same_book(server, book) for book in books))

        run(main())


class TestRow12:
    """7.12: maintenance is waited for, then the session is there again."""

    @pytest.mark.parametrize("code", [1001, 1012])
    def test_the_server_says_so_and_refuses_until_it_is_over(self, run, code):
        async def main():
            states = []
            backoff = wsx.Backoff(initial=0.02, cap=0.05)
            async with session(reconnect=backoff) as (server, exchange, events):
                typed = market_data.typed(lambda state, message: states.append(state))
                await exchange.subscribe("platform_state", typed)
                book = await exchange.book(PERPETUAL, "raw")
                server.begin_maintenance(code)
                await until(lambda: len(events.of(Reconnecting)) > 3)
                assert states == [market_data.PlatformState(maintenance=True)]
                assert (events.of(Closed)[0].code, book.state) == (code, "stale")
                assert "503" in str(events.of(Reconnecting)[-1].error)
                server.end_maintenance()
                await reopened(exchange, events)
                await until(lambda: same_book(server, book))

        run(main())

    def test_a_platform_that_is_locked_stays_connected_and_is_told(self, run):
        async def main():
            states = []
            async with session() as (server, exchange, _):
                typed = market_data.typed(lambda state, message: states.append(state.locked))
                await exchange.subscribe("platform_state", typed)
                for locked in (True, False):
                    say(server, "platform_state", {"locked": locked, "price_index": "btc_usd"})
                await until(lambda: len(states) == 2)
                assert (states, exchange.client.epoch) == ([True, False], 1)

        run(main())


class TestRow13:
    """7.13: two sessions with the same key do not touch each other."""

    def test_each_keeps_its_own_state(self, run):
        async def main():
            async with session() as (server, one, events):
                async with deribit.connect(server.url, credentials=CREDENTIALS) as two:
                    first, second = await one.book(PERPETUAL, "raw"), await two.book(PERPETUAL, "raw")
                    await one.subscribe(QUOTE, nothing)
                    one.client.reconnect()
                    await reopened(one, events)
                    assert two.client.epoch == 1
                    assert list(two.subscriptions) == [RAW]
                    assert one.adapter.token.access.reveal() != two.adapter.token.access.reveal()
                    server.step(200)
                    await until(lambda: same_book(server, first) and same_book(server, second))
                await one.test()
                assert same_book(server, first)
                assert second.state == "stale"

        run(main())

    def test_sessions_of_one_name_survive_each_others_renewals(self, run):
        async def main():
            credentials = deribit.Credentials("demo", "demo-secret", session="desk")
            async with session(market(expires_in=1), credentials=credentials) as (server, one, _):
                two = await deribit.connect(server.url, credentials=credentials)
                await until(lambda: server.requests["public/auth"] >= 6)
                for exchange in (one, two):
                    assert await exchange.request("private/get_account_summary", {"currency": "BTC"})
                    assert exchange.client.epoch == 1
                await two.close()

        run(main())
