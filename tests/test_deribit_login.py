"""A login that is lost in the middle of a session, one that asks for more than a key, one that grants less.

Not here: tokens that expire as they should (test_deribit_session.py), logging in (test_deribit_protocol.py).
"""

import asyncio
import json
import logging
import time

import pytest
from deribit_session import CREDENTIALS, PERPETUAL, RAW, market, same_book, session, until
from exchange_client import played
from rpc_servers import RpcServer

import wsx
from wsx.adapters import deribit
from wsx.errors import AuthenticationFailed, Outcome, RpcError
from wsx.events import Closed, GapEvent, Halted

ACCOUNT = "private/get_account_summary"
ORDERS = "user.orders.any.any.raw"
QUOTE = f"quote.{PERPETUAL}"
TOKENS = {"access_token": "access", "refresh_token": "refresh", "scope": "", "expires_in": 900}
LOST = {"code": 13009, "message": "unauthorized", "data": {"reason": "invalid_token"}}
SECOND_FACTOR = {"security_key_authorization_required": True, "security_keys": [{"type": "tfa"}], "challenge": "c"}


def lose(server, *, silence=False):
    """Let the exchange forget the login; silence: and what was subscribed with it."""
    far_end = server.sessions[-1]
    server.tokens.revoke(far_end.grant)
    if silence:
        far_end.hearing.unsubscribe([name for name in far_end.hearing.channels if name != QUOTE])


def account(exchange, **params):
    return exchange.request(ACCOUNT, {"currency": "BTC"} | params)


class TestLost:
    @played
    async def test_whoever_meets_it_is_rejected_and_one_login_is_made_for_all(self):
        async with session() as (server, exchange, _):
            lose(server)
            errors = await asyncio.gather(*(account(exchange) for _ in range(5)), return_exceptions=True)
            assert [(error.code, error.outcome) for error in errors] == [(13009, Outcome.REJECTED)] * 5
            await until(server.sessions[0].logged_in)
            assert await account(exchange)
            assert (server.requests["public/auth"], server.requests[ACCOUNT]) == (2, 6)
            assert exchange.client.epoch == 1

    @played
    async def test_a_failure_that_comes_after_the_new_login_is_of_the_old_one(self):
        slow = []
        async with session(self.server(slow)) as (server, exchange, _):
            late = asyncio.ensure_future(exchange.request("private/slow"))
            with pytest.raises(RpcError):
                await exchange.request("private/lost")
            await until(lambda: self.logins(server) == 2)
            await exchange.request("public/any", {})
            server.push(_error_text(slow[0]))
            with pytest.raises(RpcError):
                await late
            await exchange.request("public/any", {})
            assert self.logins(server) == 2

    @played
    async def test_a_request_with_a_wrong_token_of_its_own_is_no_reason_for_a_flood(self):
        async with session(market(credits=False), rate_limit=None) as (server, exchange, _):
            for _ in range(50):
                with pytest.raises(RpcError, match="13009"):
                    await account(exchange, access_token="wrong")
            assert server.requests["public/auth"] <= 3

    @pytest.mark.parametrize("data", [{"reason": "other"}, {"reason": "invalid_token"}])
    @played
    async def test_another_reason_is_no_lost_login(self, data):
        async with session() as (server, exchange, _):
            server.script.add("refuse", method=ACCOUNT, **LOST | {"data": data})
            with pytest.raises(RpcError):
                await account(exchange)
            await exchange.test()
            await exchange.test()
            assert server.requests["public/auth"] == 1 + (data["reason"] == "invalid_token")

    @played
    async def test_without_credentials_there_is_nothing_to_log_in_with(self):
        async with session(credentials=False) as (server, exchange, _):
            with pytest.raises(RpcError, match="13009"):
                await account(exchange)
            await exchange.test()
            assert server.requests["public/auth"] == 0

    @played
    async def test_a_login_that_is_refused_then_halts(self):
        async with session() as (server, exchange, events):
            server.script.add("refuse", method="public/auth", times=None, code=13004, message="invalid_credentials")
            lose(server)
            with pytest.raises(RpcError):
                await account(exchange)
            (event,) = await events.wait(Halted)
            assert isinstance(event.error, AuthenticationFailed)
            assert server.requests["public/auth"] == 2

    @played
    async def test_a_cut_while_it_is_made_anew_is_for_the_next_connection(self):
        async with session() as (server, exchange, events):
            server.script.add("cut_unanswered", method="public/auth")
            lose(server)
            with pytest.raises(RpcError):
                await account(exchange)
            await events.wait(Closed)
            await exchange.client.wait_open()
            assert await account(exchange)
            assert server.requests["public/auth"] == 3

    @played
    async def test_whoever_waits_for_it_is_told_of_the_end_of_the_connection(self):
        async with session(reconnect=False) as (server, exchange, _):
            server.script.add("cut_unanswered", method="public/auth")
            lose(server)
            with pytest.raises(wsx.errors.WsxError) as caught:
                await exchange.subscribe(RAW, print)
            assert caught.value.outcome is Outcome.NOT_SENT

    @staticmethod
    def logins(server):
        return sum(request["method"] == "public/auth" for request in server.requests)

    @staticmethod
    def server(slow):
        server = RpcServer()
        server.answers |= {
            "public/auth": lambda request: {"id": request["id"], "result": TOKENS},
            "private/slow": lambda request: slow.append(request["id"]),
            "private/lost": lambda request: {"id": request["id"], "error": LOST},
        }
        return server


def _error_text(request_id):
    return f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":13009,"message":"unauthorized"}}}}'


class TestWhatNeedsIt:
    @pytest.mark.parametrize("channel", [RAW, QUOTE, ORDERS])
    @played
    async def test_a_subscription_that_meets_it_is_asked_for_again(self, channel):
        async with session() as (server, exchange, _):
            lose(server)
            await exchange.subscribe(channel, print)
            assert list(server.sessions[0].hearing.channels) == [channel]
            assert (server.requests["public/auth"], server.requests["private/subscribe"]) == (2, 2)
            await until(lambda: not any(task.get_name() == "wsx-regain" for task in asyncio.all_tasks()))
            lose(server)
            await exchange.unsubscribe(channel)
            assert server.sessions[0].hearing.channels == {}

    @pytest.mark.parametrize("silence", [True, False])
    @played
    async def test_what_is_subscribed_is_asked_for_again_and_what_was_missed_is_said(self, silence):
        async with session() as (server, exchange, events):
            book = await exchange.book(PERPETUAL, "raw")
            await exchange.subscribe([ORDERS, QUOTE], print)
            before_ns = time.monotonic_ns()
            lose(server, silence=silence)
            server.step(50)
            with pytest.raises(RpcError):
                await account(exchange)
            assert (book.state, book.stale_cause) == ("stale", "login lost")
            await until(lambda: same_book(server, book))
            server.step(50)
            await until(lambda: same_book(server, book))
            assert set(server.sessions[0].hearing.channels) == {RAW, ORDERS, QUOTE}
            streams = {event.gap.stream for event in events.of(GapEvent) if event.gap.first_good_ns}
            assert streams == {RAW, ORDERS}
            (gap,) = exchange.client.ledger.gaps(ORDERS)
            assert gap.cause == "login lost"
            assert gap.last_good_ns < before_ns < gap.first_good_ns
            assert exchange.client.epoch == 1

    @played
    async def test_where_it_is_lost_for_good_another_connection_is_tried(self):
        async with session() as (server, exchange, events):
            await exchange.subscribe(RAW, print)
            server.script.add("refuse", method="private/subscribe", times=None, connection=0, **LOST)
            lose(server)
            with pytest.raises(RpcError):
                await account(exchange)
            (event,) = await events.wait(Closed)
            assert "could not be renewed" in str(event.error)
            await exchange.client.wait_open()
            assert list(server.sessions[1].hearing.channels) == [RAW]


class TestSecondFactor:
    @staticmethod
    def server(*results):
        server, left = RpcServer(), list(results)
        server.answers["public/auth"] = lambda request: {"id": request["id"], **left.pop(0)}
        return server

    @played
    async def test_a_login_that_asks_for_one_is_refused(self):
        async with self.server({"result": SECOND_FACTOR}) as server:
            with pytest.raises(AuthenticationFailed, match="security_key_authorization_required"):
                await deribit.connect(server.url, credentials=CREDENTIALS)

    @pytest.mark.parametrize(
        "wanted", [{"result": SECOND_FACTOR}, {"error": {"code": 13668, "message": "security_key_authorization_error"}}]
    )
    @played
    async def test_in_the_middle_of_a_session_it_halts_and_is_not_tried_again(self, wanted):
        async with session(self.server({"result": TOKENS}, wanted)) as (server, exchange, events):
            server.answers["private/lost"] = lambda request: {"id": request["id"], "error": LOST}
            with pytest.raises(RpcError):
                await exchange.request("private/lost")
            (event,) = await events.wait(Halted)
            assert isinstance(event.error, AuthenticationFailed)
            await asyncio.sleep(0.05)
            assert [one["method"] for one in server.requests].count("public/auth") == 2
            assert exchange.client.state is wsx.State.HALTED


@pytest.mark.parametrize("time_said", ["soon", None, {"ms": 1}, 10**30, -(10**30)])
@played
async def test_a_refused_login_is_named_where_the_exchange_does_not_say_its_time(time_said):
    async with RpcServer() as server:
        refusal = {"code": 13004, "message": "invalid_credentials"}
        server.answers["public/auth"] = lambda request: {"id": request["id"], "error": refusal}
        server.answers["public/get_time"] = lambda request: json.dumps({"id": request["id"], "result": time_said})
        with pytest.raises(AuthenticationFailed, match="13004"):
            await deribit.connect(server.url, credentials=CREDENTIALS)


class TestScope:
    @pytest.mark.parametrize(
        ("asked", "granted", "missing"),
        [
            ("", "trade:read connection", []),
            ("trade:read", "trade:read_write mainaccount connection", []),
            ("trade:read_write", "trade:read connection", ["trade:read_write"]),
            ("trade:read wallet:read", "trade:read connection", ["wallet:read"]),
            ("wallet:none", "trade:read connection", []),
            ("session:desk expires:60 ip:*", "session:desk", []),
            ("session:desk", "connection", ["session:desk"]),
            ("session:desk", "session:other", ["session:desk"]),
            ("unheard", "connection", ["unheard"]),
        ],
    )
    def test_what_was_not_granted(self, asked, granted, missing):
        assert deribit.Credentials("id", "key", scope=asked).missing_from(granted) == missing

    def test_less_than_was_asked_for_is_said_once(self, caplog):
        async def main():
            credentials = deribit.Credentials("demo", "demo-secret", scope="trade:read_write unheard:read")
            async with session(credentials=credentials) as (server, exchange, _):
                lose(server)
                with pytest.raises(RpcError):
                    await account(exchange)
                await until(server.sessions[0].logged_in)
                await exchange.test()

        with caplog.at_level(logging.WARNING, "wsx"):
            wsx.run(main())
        (line,) = [record.getMessage() for record in caplog.records if "not granted" in record.getMessage()]
        assert "unheard:read" in line
        assert "demo-secret" not in line
