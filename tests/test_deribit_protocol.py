"""Deribit's five verbs over a real socket: logging in, heartbeats, channels. Public requests by their names.

Not here: what a user holds (test_deribit_session.py), faults (faults/test_faults_deribit.py).
"""

import json
import time

import orjson
import pytest
from deribit_session import CREDENTIALS, PERPETUAL, RAW, market, reopened, session, until
from exchange_client import played
from rpc_servers import RpcServer

from wsx.adapters import deribit
from wsx.adapters.deribit.protocol import DeribitAdapter
from wsx.adapters.deribit.requests import PublicRequests
from wsx.errors import RpcError, SubscriptionRefused

QUOTE = f"quote.{PERPETUAL}"


class TestLogin:
    @pytest.mark.parametrize("sign", [True, False])
    @played
    async def test_a_signature_or_the_secret_itself_lets_in(self, sign):
        credentials = deribit.Credentials("demo", "demo-secret", scope="trade:read", sign=sign)
        async with session(credentials=credentials) as (server, exchange, _):
            grant = server.sessions[0].grant
            assert grant.rights == {"trade": "read"}
            assert exchange.adapter.token.scope == grant.scope
            assert exchange.adapter.token.access.reveal() == grant.access_token

    @played
    async def test_without_credentials_nobody_logs_in(self):
        async with session(credentials=False) as (server, exchange, _):
            assert exchange.adapter.token is None
            assert server.requests["public/auth"] == 0
            await exchange.subscribe(f"quote.{PERPETUAL}", print)
            await exchange.unsubscribe(f"quote.{PERPETUAL}")
            assert server.requests["public/unsubscribe"] == 1

    @played
    async def test_a_session_that_outlives_connections_goes_on_with_its_refresh_token(self):
        credentials = deribit.Credentials("demo", "demo-secret", session="desk")
        async with session(credentials=credentials) as (server, exchange, events):
            first = exchange.adapter.token
            exchange.client.reconnect()
            await reopened(exchange, events)
            assert server.sessions[1].grant.session == "desk"
            assert exchange.adapter.token is not first
            assert not server.tokens._nonces - {("demo", nonce) for _, nonce in server.tokens._nonces}
            assert len(server.tokens._nonces) == 1  # one login by signature, then a refresh

    @played
    async def test_where_that_token_is_worth_nothing_any_more_it_logs_in_again(self):
        credentials = deribit.Credentials("demo", "demo-secret", session="desk")
        async with session(credentials=credentials) as (server, exchange, events):
            server.tokens.revoke(server.sessions[0].grant)
            exchange.client.reconnect()
            await reopened(exchange, events)
            assert len(server.tokens._nonces) == 2

    @played
    async def test_a_token_that_has_expired_meanwhile_is_not_tried(self):
        credentials = deribit.Credentials("demo", "demo-secret", session="desk", scope="expires:1")
        async with session(credentials=credentials) as (server, exchange, events):
            exchange.adapter.token = deribit.auth.Token.from_result(
                {"access_token": "a", "refresh_token": "b", "scope": "", "expires_in": 0}, time.monotonic()
            )
            exchange.client.reconnect()
            await reopened(exchange, events)
            assert server.requests["public/auth"] == 2


class TestHeartbeat:
    @pytest.mark.parametrize("interval", [9, 0, -1])
    def test_less_than_the_exchange_takes_is_refused_before_anything_opens(self, interval):
        with pytest.raises(ValueError, match="at least 10 s"):
            deribit.connect("test", credentials=False, heartbeat_interval=interval)

    def test_it_is_whole_seconds(self):
        with pytest.raises(TypeError, match="must be an int"):
            DeribitAdapter("wss://h", None, 10.5)

    @played
    async def test_it_is_asked_for_and_answered_and_neither_reaches_a_reader(self):
        server = market(time_scale=0.001)
        async with session(server, heartbeat_interval=10) as (_, exchange, _events):
            far_end = server.sessions[0]
            await until(lambda: far_end.requests["public/test"] >= 5)
            assert far_end.open
            assert exchange.client.telemetry.snapshot()["auto_answers"] >= 5
            assert exchange.client.health().ready
            assert len(exchange.client._session.inbox) == 0

    @played
    async def test_the_answer_has_its_price_in_the_budget(self):
        server = market(time_scale=0.001)
        limiter = deribit.session.RateLimiter("deribit")
        async with session(server, heartbeat_interval=10, rate_limit=limiter) as (_, _exchange, _events):
            await until(lambda: server.sessions[0].requests["public/test"] >= 20)
            assert limiter.utilisation["non_matching"] > 0.1  # 20 answers of 500 credits in a moment

    @played
    async def test_without_a_budget_by_method_it_costs_nothing(self):
        async with session(market(time_scale=0.001), heartbeat_interval=10, rate_limit=None) as (server, _, _events):
            await until(lambda: server.sessions[0].requests["public/test"] >= 2)


class TestChannels:
    @pytest.mark.parametrize(
        ("channel", "private"),
        [
            (RAW, True),
            ("user.orders.any.any.100ms", True),
            (f"book.{PERPETUAL}.100ms", False),
            ("platform_state", False),
        ],
    )
    def test_raw_ones_and_ones_own_need_a_login(self, channel, private):
        assert DeribitAdapter("wss://h").is_private(channel) is private

    @played
    async def test_without_a_login_those_are_refused_by_name_and_the_others_taken(self):
        async with session(credentials=False) as (server, exchange, _):
            with pytest.raises(SubscriptionRefused) as caught:
                await exchange.subscribe([RAW, f"quote.{PERPETUAL}", "user.lock"], print)
            assert caught.value.channels == (RAW, "user.lock")
            with pytest.raises(SubscriptionRefused):
                await exchange.subscribe("user.lock", print)
            assert list(exchange.subscriptions) == [f"quote.{PERPETUAL}"]
            assert server.requests["public/subscribe"] == 1

    @played
    async def test_five_hundred_channels_go_into_a_message(self):
        async with session(credentials=CREDENTIALS) as (server, exchange, _):
            with pytest.raises(SubscriptionRefused) as caught:
                await exchange.subscribe([f"quote.X{n}" for n in range(501)], print)
            assert len(caught.value.channels) == 501
            assert server.requests["private/subscribe"] == 2

    @pytest.mark.parametrize(
        "name", ["", " ", "quote.A B", "quote.A,B", 'quote."A"', "quote.'A'", "quote.A\n", "a\x7f"]
    )
    @played
    async def test_what_cannot_be_a_name_is_refused_before_anything_is_sent(self, name):
        async with session() as (server, exchange, _):
            for ask in (exchange.subscribe([QUOTE, name], print), exchange.unsubscribe(name), exchange.renew([name])):
                with pytest.raises(ValueError, match="cannot be a channel's name; nothing was sent"):
                    await ask
            asks = [
                exchange.get_ticker(name),
                exchange.get_instrument(name),
                exchange.get_order_book(name, 5),
                exchange.get_instruments(name),
                exchange.get_index_price(name),
                exchange.get_book_summary(instrument_name=name),
                exchange.get_last_trades(currency=name),
                exchange.get_candles(name, 1, 2, 1),
            ]
            for ask in asks:
                with pytest.raises(ValueError, match="nothing was sent"):
                    await ask
            with pytest.raises(ValueError, match="must be a name"):
                await exchange.book(name)
            await exchange.test()
            assert sorted(server.requests) == ["public/auth", "public/set_heartbeat", "public/test"]

    @played
    async def test_an_unusual_name_goes_out_and_comes_back_as_it_is(self):
        names, seen = ["a\\b", "größe", "東京", "😀", "a/b<c>"], []
        async with session(RpcServer(), credentials=False) as (server, exchange, _):
            server.answers["public/subscribe"] = lambda request: {
                "id": request["id"], "result": request["params"]["channels"],
            }  # fmt: skip
            await exchange.subscribe(names, lambda message: seen.append(message.json()["params"]["channel"]))
            assert server.requests[-1]["params"]["channels"] == names
            for name in names:
                for text in (orjson.dumps(name).decode(), json.dumps(name)):
                    server.push(f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":{text},"data":1}}}}')
            await until(lambda: len(seen) == 2 * len(names))
            assert seen == [name for name in names for _ in range(2)]

    @pytest.mark.parametrize("letter", ["\\", "é", "x"])
    @played
    async def test_no_message_is_larger_than_the_exchange_takes(self, letter):
        async with session() as (_server, exchange, _):
            with pytest.raises(SubscriptionRefused) as caught:
                await exchange.subscribe([f"quote.{letter * 100}{n}" for n in range(490)], print)
            assert len(caught.value.channels) == 490
            assert exchange.client.telemetry.snapshot()["connections_opened"] == 1


class TestRequests:
    @played
    async def test_each_asks_for_what_it_is_named_after(self):
        async with session() as (_server, exchange, _):
            now = await exchange.get_time()
            assert abs(now - time.time() * 1000) < 5000
            assert "version" in await exchange.test()
            assert (await exchange.status())["locked"] == "false"
            assert {"BTC", "ETH"} <= {one["currency"] for one in await exchange.get_currencies()}
            names = {one["instrument_name"] for one in await exchange.get_instruments("BTC", "future")}
            assert PERPETUAL in names
            assert names < {one["instrument_name"] for one in await exchange.get_instruments()}
            assert (await exchange.get_instrument(PERPETUAL))["kind"] == "future"
            assert (await exchange.get_index_price("btc_usd"))["index_price"] > 0
            assert (await exchange.get_ticker(PERPETUAL))["instrument_name"] == PERPETUAL
            assert len((await exchange.get_order_book(PERPETUAL, 5))["bids"]) == 5
            assert "change_id" in await exchange.get_order_book(PERPETUAL)
            (summary,) = await exchange.get_book_summary(instrument_name=PERPETUAL)
            summaries = await exchange.get_book_summary(currency="BTC", kind="future")
            assert summary["instrument_name"] in {one["instrument_name"] for one in summaries}
            assert len((await exchange.get_last_trades(instrument_name=PERPETUAL, count=3))["trades"]) == 3
            assert (await exchange.get_last_trades(currency="BTC", kind="future"))["trades"]
            between = {"start_timestamp": now - 10**8, "end_timestamp": now}
            assert (await exchange.get_last_trades(instrument_name=PERPETUAL, **between))["trades"]
            assert (await exchange.get_last_trades(currency="BTC", **between))["trades"]
            assert (await exchange.get_candles(PERPETUAL, now - 10**8, now, 60))["status"] == "ok"
            assert (await exchange.request("public/hello", {"client_name": "a", "client_version": "1"}))["version"]
            with pytest.raises(RpcError):
                await exchange.request("private/nothing")

    @played
    async def test_trades_that_were_missed_are_found_by_their_numbers(self):
        async with session() as (_, exchange, _events):
            newest = (await exchange.get_last_trades(instrument_name=PERPETUAL, count=1))["trades"][0]["trade_seq"]
            missed = {"start_seq": newest - 4, "end_seq": newest - 1, "sorting": "asc"}
            found = await exchange.get_last_trades(instrument_name=PERPETUAL, **missed)
            assert [trade["trade_seq"] for trade in found["trades"]] == list(range(newest - 4, newest))

    @pytest.mark.parametrize("given", [{}, {"currency": "BTC", "instrument_name": PERPETUAL}])
    @played
    async def test_an_instrument_or_a_currency_is_needed_and_not_both(self, given):
        async with session() as (_, exchange, _events):
            for ask in (exchange.get_book_summary, exchange.get_last_trades):
                with pytest.raises(ValueError, match="give either"):
                    await ask(**given)

    @played
    async def test_the_names_alone_ask_nobody(self):
        with pytest.raises(NotImplementedError):
            await PublicRequests().get_time()
