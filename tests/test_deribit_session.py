"""A session at Deribit: where credentials may go, tokens, budgets, timing; and its books.

Not here: faults (faults/test_faults_deribit.py), the verbs (test_deribit_protocol.py).
"""

import asyncio

import pytest
from deribit_session import CREDENTIALS, PERPETUAL, RAW, market, reopened, same_book, say, session, until
from exchange_client import played
from rpc_servers import RpcServer

import wsx
from wsx import telemetry
from wsx.adapters import deribit
from wsx.adapters.deribit.session import _credentials
from wsx.errors import NotConnected, RestoreFailed, RpcError, SubscriptionRefused
from wsx.events import Closed, Reconnecting

QUOTE = f"quote.{PERPETUAL}"
FEED = f"book.{PERPETUAL}.100ms"


class TestWhereCredentialsMayGo:
    @pytest.mark.parametrize(
        "url",
        [
            "wss://test.deribit.com/ws/api/v2",
            "wss://www.deribit.com/ws/api/v2",
            "wss://localhost:8443/",
            "ws://127.0.0.1:1234/",
            "wss://my.gateway/ws",
        ],
    )
    def test_to_the_exchanges_own_hosts_this_machine_and_those_that_are_trusted(self, url):
        assert _credentials(CREDENTIALS, url, ("My.Gateway",)) is CREDENTIALS

    def test_trusted_hosts_are_several(self):
        with pytest.raises(TypeError, match=r"write \(host,\)"):
            deribit.connect("wss://my.gateway/ws", credentials=CREDENTIALS, trusted_hosts="my.gateway")

    @pytest.mark.parametrize(
        "url",
        [
            "wss://www.deribit.com.evil.example/ws/api/v2",
            "wss://www.deribit.com@evil.example/ws/api/v2",
            "wss://evil.example/www.deribit.com",
            "wss://deribit.com/ws",
            "wss://deribit.com.evil.example/",
            "wss://evilderibit.com/",
            "wss://sub.www.deribit.com/",
            "wss://www.deribit.com./",
            "wss://www.deribit.com:443@evil.example/",
            "wss://www.deribit.com\\@evil.example/",
            "wss://evil.example/?@www.deribit.com",
            "ws://localhost.evil.example/",
            "ws://127.0.0.1.evil.example/",
            "ws://0.0.0.0/",
        ],
    )
    def test_to_no_other_host(self, url):
        with pytest.raises(ValueError, match=r"trusted_hosts|user|in clear") as caught:
            deribit.connect(url, credentials=CREDENTIALS)
        assert "demo-secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "wss://www\u3002deribit\u3002com/",
            "wss://www.deribit\uff0ecom/",
            "wss://www.d\u0435ribit.com/",
            "wss://www.deribit.com%2eevil.example/",
            "wss://evil.example\\www.deribit.com/",
            "wss://www.deribit.com\t/",
            "wss:///www.deribit.com/",
            "wss://evil.example/#@www.deribit.com",
            "ws://2130706433/",
        ],
    )
    def test_to_no_url_that_others_may_read_otherwise(self, url):
        with pytest.raises(ValueError, match="url cannot be used"):
            deribit.connect(url, credentials=CREDENTIALS)

    @pytest.mark.parametrize("url", ["wss://WWW.Deribit.COM/", "WSS://test.deribit.com:8443/ws", "ws://[::1]:1/"])
    def test_however_the_host_is_written(self, url):
        assert _credentials(CREDENTIALS, url, ()) is CREDENTIALS

    @pytest.mark.parametrize(
        ("wrong", "error"), [("*.deribit.com", ValueError), ("a:443", ValueError), ("", ValueError), (5, TypeError)]
    )
    def test_a_trusted_host_is_a_host(self, wrong, error):
        with pytest.raises(error):
            deribit.connect("wss://my.gateway/", credentials=CREDENTIALS, trusted_hosts=(wrong,))

    @pytest.mark.parametrize("url", ["ws://www.deribit.com/ws/api/v2", "ws://my.gateway/ws"])
    def test_never_in_clear_beyond_this_machine(self, url):
        with pytest.raises(ValueError, match="ws:// would send the login in clear"):
            deribit.connect(url, credentials=CREDENTIALS, trusted_hosts=("my.gateway",))

    def test_those_of_the_environment_go_to_the_exchanges_own_hosts_alone(self, monkeypatch):
        monkeypatch.setenv("DERIBIT_CLIENT_ID", "id")
        monkeypatch.setenv("DERIBIT_CLIENT_SECRET", "key")
        assert _credentials(None, "wss://test.deribit.com/ws/api/v2", ()).client_id == "id"
        for url in ("ws://www.deribit.com/", "wss://evil.example/", "ws://127.0.0.1:1/", "wss://my.gateway/"):
            assert _credentials(None, url, ("my.gateway",)) is None
        assert _credentials(False, "wss://test.deribit.com/ws/api/v2", ()) is None

    @pytest.mark.parametrize("wrong", [True, "id:key", ("id", "key")])
    def test_anything_else_is_refused(self, wrong):
        with pytest.raises(TypeError, match="must be Credentials, None or False"):
            deribit.connect("test", credentials=wrong)


class TestConnect:
    @pytest.mark.parametrize("venue", [5, None, b"test"])
    def test_a_venue_is_text(self, venue):
        with pytest.raises(TypeError, match="venue must be a str, not"):
            deribit.connect(venue)

    @pytest.mark.parametrize("venue", ["tset", "", "test.deribit.com"])
    def test_an_unknown_venue_is_refused(self, venue):
        with pytest.raises(ValueError, match="'test' or 'prod', or a URL"):
            deribit.connect(venue, credentials=False)

    def test_an_unknown_setting_is_refused(self):
        with pytest.raises(TypeError, match="heartbeat_intervall"):
            deribit.connect("test", credentials=False, heartbeat_intervall=10)

    @played
    async def test_the_budget_is_the_exchanges_unless_another_is_given(self):
        bucket = wsx.TokenBucket(rate=100, burst=100)
        async with market() as server:
            for options, expected in (
                ({}, "deribit"),
                ({"rate_limit": None}, None),
                ({"rate_limit": bucket}, bucket),
                ({"config": wsx.Config(rate_limit=bucket)}, bucket),
                ({"config": wsx.Config(rate_limit="deribit-tier-1")}, "deribit-tier-1"),
            ):
                async with deribit.connect(server.url, credentials=False, **options) as exchange:
                    limit = exchange.client.config.rate_limit
                    assert (limit.profile.name if isinstance(expected, str) else limit) == expected

    @played
    async def test_over_tls_it_is_the_same(self):
        server = market(tls=True)
        async with session(server, ssl=server.ssl_context()) as (_, exchange, _events):
            assert await exchange.get_time()

    @played
    async def test_two_sessions_keep_their_own_state(self):
        async with session() as (server, one, _), deribit.connect(server.url, credentials=CREDENTIALS) as two:
            await one.subscribe(RAW, print)
            assert len(two.subscriptions) == 0
            assert one.adapter.token != two.adapter.token


class TestTiming:
    @played
    async def test_each_answer_is_split_and_told_by_name_where_somebody_listens(self):
        told = []
        async with session() as (_server, exchange, _):
            await exchange.get_time()
            before = exchange.timing.snapshot()["answers"]
            telemetry.attach("request.answered", lambda name, fields: told.append(dict(fields)), "timing")
            try:
                await exchange.get_time()
            finally:
                telemetry.detach("timing")
            await exchange.test()
            assert exchange.timing.snapshot()["answers"] == before + 2
            (fields,) = told
            assert (fields["method"], fields["client"], fields["epoch"]) == ("public/get_time", "127.0.0.1", 1)
            assert fields["exchange_ns"] >= 0
            assert fields["wire_ns"] > 0

    @played
    async def test_the_clocks_offset_is_estimated(self):
        async with session(market()) as (server, exchange, _):
            server.skew = 30.0
            for _ in range(64):
                await exchange.request("public/test")
            assert exchange.timing.offset_ns == pytest.approx(30e9, abs=1e9)

    @played
    async def test_an_answer_without_times_is_an_answer(self):
        async with session(RpcServer(), credentials=False) as (_, exchange, _events):
            assert await exchange.request("any", {"a": 1}) == {"a": 1}
            assert exchange.timing.snapshot()["answers"] == 0


class TestTokens:
    @played
    async def test_they_are_renewed_at_four_fifths_of_their_life(self):
        async with session(market(expires_in=1)) as (server, exchange, _):
            first = exchange.adapter.token
            await until(lambda: exchange.adapter.token is not first)
            assert 0 < first.expires_at - exchange.adapter.token.refresh_at + 0.8 < 1
            assert server.sessions[0].grant.access_token == exchange.adapter.token.access.reveal()
            assert exchange.client.epoch == 1

    @played
    async def test_a_life_shorter_than_the_other_hooks_take_is_renewed_once_it_is_open(self):
        async def slow(route):
            await asyncio.sleep(0.05)

        credentials = deribit.Credentials("demo", "demo-secret", scope="expires:0")
        async with market() as server:
            exchange = await deribit.connect(server.url, credentials=credentials, on_open=[slow])
            await until(lambda: server.requests["public/auth"] >= 3)
            assert exchange.client.epoch == 1
            await exchange.close()

    @played
    async def test_a_hook_that_fails_leaves_no_timer(self):
        async def broken(route):
            raise RpcError(1, "no", method="m", request_id=1)

        async with market() as server:
            with pytest.raises(RpcError):
                await deribit.connect(server.url, credentials=CREDENTIALS, on_open=[broken])
            await until(lambda: not server.sessions[0].open)

    @played
    async def test_without_reconnecting_a_renewal_that_fails_ends_the_session_with_its_reason(self):
        async with market(expires_in=1) as server:
            server.script.add("refuse", method="public/auth", nth=2, times=None)
            exchange = await deribit.connect(server.url, credentials=CREDENTIALS, reconnect=False)
            await exchange.wait_closed()
            assert isinstance(exchange.client.error, RestoreFailed)
            assert "could not be renewed" in str(exchange.client.error)

    @played
    async def test_closing_while_they_are_renewed_ends_at_once(self):
        async with session(market(expires_in=1)) as (server, exchange, events):
            server.script.add("silence", method="public/auth")
            await until(lambda: server.requests["public/auth"] == 2)
            await exchange.close()
            assert events.of(Closed)[-1].code == 1000

    @played
    async def test_a_cut_while_they_are_renewed_is_for_the_next_connection(self):
        async with session(market(expires_in=1)) as (server, exchange, events):
            server.script.add("cut_unanswered", method="public/auth")
            await reopened(exchange, events)
            assert server.sessions[1].grant is not None


TOKENS = {"access_token": "access", "refresh_token": "refresh", "scope": "", "expires_in": 1}
NO_TOKENS = [5, None, "ok", [], {}, TOKENS | {"expires_in": "900"}]


class TestAnswersOfAnotherShape:
    """security_key_authorization_required comes instead of a result; and an exchange may have a bad day."""

    @staticmethod
    def server(*results, method="public/auth"):
        """Answers with each of them in turn, then as it should be."""
        server, left = RpcServer(), list(results)
        good = {
            "public/auth": lambda request: TOKENS,
            "public/subscribe": lambda request: request["params"]["channels"],
        }

        def answer(request):
            wrong = left.pop(0) if request["method"] == method and left else good[request["method"]](request)
            return {"id": request["id"], "result": wrong}

        server.answers |= dict.fromkeys(good, answer)
        return server

    @pytest.mark.parametrize("wrong", NO_TOKENS, ids=str)
    @played
    async def test_a_login_without_tokens_is_refused_and_shows_nothing(self, wrong):
        async with self.server(wrong) as server:
            with pytest.raises(RpcError, match="holds no tokens on public/auth") as caught:
                await deribit.connect(server.url, credentials=CREDENTIALS)
            assert caught.value.__cause__ is None

    @pytest.mark.parametrize("wrong", NO_TOKENS, ids=str)
    @played
    async def test_a_renewal_without_tokens_becomes_a_full_login_and_is_renewed_again(self, wrong):
        async with session(self.server(TOKENS, wrong)) as (server, exchange, _events):
            await until(lambda: len(self.logins(server)) == 4)
            assert self.logins(server) == ["client_signature", "refresh_token", "client_signature", "refresh_token"]
            assert exchange.client.epoch == 1

    @staticmethod
    def logins(server):
        return [one["params"]["grant_type"] for one in server.requests if one["method"] == "public/auth"]

    @pytest.mark.parametrize("life", [0, -5, 1e-3])
    @played
    async def test_tokens_that_are_no_good_at_once_are_no_reason_for_a_flood(self, life):
        async with session(self.server(*[TOKENS | {"expires_in": life}] * 100)) as (server, _, _events):
            await asyncio.sleep(0.7)
            assert len(self.logins(server)) == 2

    @pytest.mark.parametrize("wrong", [5, None, "ok", {QUOTE: 1}], ids=str)
    @played
    async def test_a_restore_is_tried_again_on_another_connection(self, wrong):
        server = self.server(method="public/subscribe")
        async with session(server, credentials=False) as (_, exchange, events):
            await exchange.subscribe(QUOTE, print)
            good = server.answers["public/subscribe"]
            server.answers["public/subscribe"] = lambda request: {"id": request["id"], "result": wrong}
            exchange.client.reconnect()
            await until(lambda: any("no list of channels" in str(event) for event in events.of(Reconnecting)))
            with pytest.raises(NotConnected):
                await exchange.subscribe("quote.X", print)
            server.answers["public/subscribe"] = good
            await exchange.client.wait_open()
            assert list(exchange.subscriptions) == [QUOTE]


class TestBook:
    @pytest.mark.parametrize("options", [{}, {"interval": "raw"}])
    @played
    async def test_it_is_the_exchanges_own(self, options):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL, **options)
            assert same_book(server, book)
            server.step(200)
            server.end_interval()
            await until(lambda: same_book(server, book))

    @played
    async def test_a_grouped_one_is_whole_each_time(self):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL, depth=10, group="none")
            assert book.depth == (10, 10)
            server.step(200)
            server.end_interval()
            await until(lambda: book.best_bid[0] == server.floor.listings[PERPETUAL].book.best_bid * 0.5)

    @played
    async def test_whoever_asks_again_gets_the_same_one_until_all_have_closed_it(self):
        async with session() as (server, exchange, _):
            first, second = await asyncio.gather(exchange.book(PERPETUAL), exchange.book(PERPETUAL))
            third = await exchange.book(PERPETUAL)
            assert first is second is third
            assert server.requests["private/subscribe"] == 1
            await exchange.close_book(first)
            await exchange.close_book(first)
            assert first.state == "valid"
            await exchange.close_book(first)
            assert (first.state, first.stale_cause) == ("stale", "closed")
            assert server.sessions[0].hearing.channels == {}
            with pytest.raises(KeyError, match="not kept here"):
                await exchange.close_book(first)
            assert (await exchange.book(PERPETUAL)).state == "valid"

    @played
    async def test_a_channel_that_somebody_hears_already_brings_a_snapshot_all_the_same(self):
        seen = []
        async with session() as (server, exchange, _):
            await exchange.subscribe(FEED, seen.append)
            book = await exchange.book(PERPETUAL)
            assert same_book(server, book)
            await exchange.close_book(book)
            assert FEED in exchange.subscriptions
            server.step(100)
            server.end_interval()
            await until(lambda: len(seen) == 3)

    @played
    async def test_giving_its_channel_up_for_everybody_ends_it_and_it_shows_no_prices(self):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL, "raw")
            await exchange.unsubscribe(RAW)
            assert (book.state, book.bids(), book.best_ask) == ("stale", [], None)
            with pytest.raises(KeyError, match="not kept here"):
                await exchange.close_book(book)
            again = await exchange.book(PERPETUAL, "raw")
            assert again is not book
            assert same_book(server, again)

    @played
    async def test_giving_another_callback_up_leaves_it(self):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL, "raw")
            await exchange.subscribe(RAW, print)
            await exchange.unsubscribe(RAW, print)
            server.step(50)
            await until(lambda: same_book(server, book))

    @played
    async def test_one_that_is_refused_is_nobodys(self):
        async with session() as (_server, exchange, _):
            for _ in range(2):
                with pytest.raises(SubscriptionRefused, match="NOPE"):
                    await exchange.book("NOPE")
            results = await asyncio.gather(exchange.book("NO"), exchange.book("NO"), return_exceptions=True)
            assert [type(result) for result in results] == [SubscriptionRefused] * 2
            with pytest.raises(ValueError, match="instrument must be a name"):
                await exchange.book("a.b")
            assert len(exchange.subscriptions) == 0

    @played
    async def test_without_a_snapshot_it_is_given_up_in_time_and_leaves_nothing(self):
        async with session() as (server, exchange, _):
            server.script.add("skip", channel=FEED)
            with pytest.raises(TimeoutError, match=f"no snapshot of {FEED} within 0.05 s"):
                await exchange.book(PERPETUAL, timeout=0.05)
            assert (len(exchange.subscriptions), server.sessions[0].hearing.channels) == (0, {})
            assert same_book(server, await exchange.book(PERPETUAL))

    @played
    async def test_who_gives_up_does_not_take_it_from_who_still_waits(self):
        async with session() as (server, exchange, _):
            server.script.add("skip", channel=FEED)
            patient = asyncio.ensure_future(exchange.book(PERPETUAL))
            with pytest.raises(TimeoutError):
                await exchange.book(PERPETUAL, timeout=0.05)
            assert not patient.done()
            await exchange.renew(FEED)
            assert same_book(server, await patient)

    @played
    async def test_cancelling_gives_it_up(self):
        async with session() as (server, exchange, _):
            server.script.add("late", method="private/subscribe", seconds=0.05)
            task = asyncio.ensure_future(exchange.book(PERPETUAL))
            await until(lambda: server.requests["private/subscribe"] == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert same_book(server, await exchange.book(PERPETUAL))

    @played
    async def test_closing_the_session_ends_who_waits_and_shows_no_prices(self):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL)
            server.script.add("skip", channel=RAW)
            waiting = asyncio.ensure_future(exchange.book(PERPETUAL, "raw"))
            await until(lambda: RAW in exchange.subscriptions)
            await exchange.close()
            with pytest.raises(NotConnected, match="was closed before it was valid"):
                await waiting
            assert (book.state, book.best_bid) == ("stale", None)
            assert exchange.client.ledger.gaps(FEED)[-1].first_good_ns is not None

    @played
    async def test_a_message_of_another_instrument_does_not_touch_it(self):
        async with session() as (server, exchange, _):
            book = await exchange.book(PERPETUAL, "raw")
            say(
                server,
                RAW,
                {"type": "snapshot", "instrument_name": "ETH-PERPETUAL", "change_id": 5, "bids": [], "asks": []},
            )
            await exchange.get_time()
            assert same_book(server, book)
