"""Logging in at the local exchange: grants, signatures, tokens and their ends, scopes, what an account may do."""

import asyncio
import hashlib
import hmac
import time

import pytest
from exchange_client import LOGIN, connected, played, trading

from wsx.testing import Account, DeribitExchange
from wsx.testing.deribit.auth import Tokens
from wsx.testing.deribit.wire import Refusal

ALL = "account:read_write block_rfq:read_write block_trade:read_write trade:read_write wallet:read_write"
TOKEN_KEYS = ["access_token", "expires_in", "refresh_token", "scope", "enabled_features", "token_type"]
BAD_CREDENTIALS = {"code": 13004, "message": "invalid_credentials"}
BAD_TOKEN = {"code": 13009, "data": {"reason": "invalid_token"}, "message": "unauthorized"}
ASK = "private/get_cancel_on_disconnect"
AMANDA = Account(client_id="AMANDA", client_secret="AMANDASECRECT", user_id=2)
FAMILY = (
    Account(client_id="main", client_secret="m", user_id=10),
    Account(client_id="sub", client_secret="s", user_id=11, main=10),
    Account(client_id="reader", client_secret="r", user_id=12, rights={"account": "read", "trade": "read"}),
)


def signed(secret="demo-secret", client_id="demo", age_ms=0, nonce="", data="", **other):
    """The params of a login by signature."""
    timestamp = int(time.time() * 1000) - age_ms
    text = f"{timestamp}\n{nonce}\n{data}".encode()
    params = {"grant_type": "client_signature", "client_id": client_id, "timestamp": timestamp}
    params |= {"signature": hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}
    return params | ({"nonce": nonce} if nonce else {}) | ({"data": data} if data else {}) | other


@played
async def test_every_token_of_a_connection_ends_with_it_and_those_of_a_session_do_not():
    async with trading() as (exchange, client):
        async with connected(exchange) as other:
            answers = [await other.login() for _ in range(3)] + [await other.login(scope="session:s")]
            for answer in answers:
                assert await other.result(ASK, {"access_token": answer["access_token"]})
        while exchange.sessions[1].open:
            await asyncio.sleep(0)
        refresh = [{"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]} for answer in answers]
        for params in refresh[:3]:
            assert await client.error("public/auth", params) == BAD_CREDENTIALS
        assert exchange.tokens.refreshed(answers[3]["refresh_token"], 0).session == "s"
        with pytest.raises(Refusal):  # as if the number of the socket were used again
            exchange.tokens.refreshed(answers[0]["refresh_token"], 1)
        assert await client.result("public/auth", refresh[3])


# ---- scopes that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["expires:", "expires:x", "expires:-1", "expires:²", "expires:" + "9" * 5000])
@played
async def test_a_life_that_is_none_is_refused(scope):
    async with trading() as (_, client):
        error = await client.error("public/auth", LOGIN | {"scope": f"account:read {scope}"})
        assert error["code"] == -32602 and error["data"] == {"reason": "invalid value", "param": "scope"}
        assert await client.error(ASK) == BAD_TOKEN
        assert (await client.login(scope="expires:60"))["expires_in"] == 60


@pytest.mark.parametrize("scope", [7, True, 1.5, [], ["account:read"], {"account": "read"}])
@played
async def test_a_scope_that_is_no_text_is_refused(scope):
    async with trading() as (_, client):
        error = await client.error("public/auth", LOGIN | {"scope": scope})
        assert error["code"] == -32602 and error["data"] == {"reason": "wrong format", "param": "scope"}


@pytest.mark.parametrize(
    "scope", [":", "account:", ":read", "account:read:write", "session:", "account:all trade", "é:²"]
)
@played
async def test_odd_words_of_a_scope_grant_nothing(scope):
    async with trading() as (_, client):
        granted = await client.login(scope=scope)
        assert set(granted["scope"].split()) <= {*ALL.split(), "connection", "mainaccount", "session:"}


# ---- grants -------------------------------------------------------------------------------------------------------


@played
async def test_credentials_give_tokens_and_the_socket_is_logged_in():
    async with trading() as (_, client):
        assert await client.error(ASK) == BAD_TOKEN
        answer = await client.result("public/auth", LOGIN)
        assert list(answer) == TOKEN_KEYS
        assert answer["expires_in"] == 31_536_000 and answer["token_type"] == "bearer"
        assert answer["enabled_features"] == [] and answer["scope"] == f"{ALL} connection mainaccount"
        assert len(answer["access_token"]) > 200 and answer["access_token"] != answer["refresh_token"]
        assert await client.result(ASK) == {"scope": "connection", "enabled": False}


@played
async def test_the_state_is_echoed():
    async with trading() as (_, client):
        assert (await client.login(state="mine"))["state"] == "mine"


@pytest.mark.parametrize(
    "wrong", [{"client_id": "nobody"}, {"client_secret": "guess"}, {"client_id": "démo", "client_secret": "é"}]
)
@played
async def test_wrong_credentials_are_refused_without_data(wrong):
    async with trading() as (_, client):
        assert await client.error("public/auth", LOGIN | wrong) == BAD_CREDENTIALS
        assert await client.error(ASK) == BAD_TOKEN


@pytest.mark.parametrize(
    ("params", "param", "reason"),
    [
        ({"grant_type": "password"}, "grant_type", "invalid value"),
        ({}, "grant_type", "value required"),
        ({"grant_type": "client_credentials", "client_id": "demo"}, "client_secret", "value required"),
        ({"grant_type": "client_signature", "client_id": "demo"}, "timestamp", "value required"),
        (signed(timestamp="1"), "timestamp", "wrong format"),
        ({"grant_type": "refresh_token"}, "refresh_token", "value required"),
    ],
)
@played
async def test_a_login_that_is_not_complete_names_what_is_missing(params, param, reason):
    async with trading() as (_, client):
        error = await client.error("public/auth", params)
        assert (error["code"], error["data"]) == (-32602, {"reason": reason, "param": param})


@pytest.mark.parametrize("parts", [{}, {"nonce": "1iqt2wls"}, {"nonce": "n", "data": "anything"}])
@played
async def test_a_signature_logs_in(parts):
    async with trading() as (_, client):
        assert (await client.result("public/auth", signed(**parts)))["token_type"] == "bearer"
        assert await client.result(ASK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "guess"},
        {"client_id": "nobody"},
        {"age_ms": 61_000},
        {"age_ms": -61_000},
        {"signature": "00"},
        {"signature": "é"},
    ],
)
@played
async def test_a_wrong_or_old_signature_is_refused(wrong):
    async with trading() as (_, client):
        assert await client.error("public/auth", signed(**wrong)) == BAD_CREDENTIALS


@played
async def test_a_signature_is_good_for_nearly_a_minute():
    async with trading() as (_, client):
        assert await client.result("public/auth", signed(age_ms=55_000))


@played
async def test_a_nonce_is_good_once_for_each_key():
    async with trading() as (_, client):
        params = signed(nonce="once")
        assert await client.result("public/auth", params)
        assert await client.error("public/auth", params) == BAD_CREDENTIALS


def test_the_signature_of_the_documents_is_taken():
    tokens = Tokens([AMANDA], seed=0, life=60)
    signature = "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1"
    stamp = (1576074319000, "1iqt2wls", "")
    assert tokens.by_signature("AMANDA", signature, stamp, now_ms=1576074319000) is AMANDA
    with pytest.raises(Refusal):
        tokens.by_signature("AMANDA", signature, stamp, now_ms=1576074319000)


@played
async def test_a_clock_that_is_wrong_refuses_good_signatures():
    async with trading() as (exchange, client):
        exchange.skew = 120.0
        assert await client.error("public/auth", signed()) == BAD_CREDENTIALS
        assert await client.result("public/get_time") > time.time() * 1000 + 100_000


# ---- tokens -------------------------------------------------------------------------------------------------------


@played
async def test_a_refresh_gives_new_tokens_and_uses_up_the_old_refresh_token():
    async with trading() as (_, client):
        first = await client.login()
        refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        second = await client.result("public/auth", refresh)
        assert list(second) == TOKEN_KEYS and second["scope"] == first["scope"]
        assert not {second["access_token"], second["refresh_token"]} & {first["access_token"], first["refresh_token"]}
        assert await client.error("public/auth", refresh) == BAD_CREDENTIALS
        for token in (first["access_token"], second["access_token"]):
            assert await client.result(ASK, {"access_token": token})


@played
async def test_a_token_expires_and_can_then_still_be_refreshed():
    async with trading(expires_in=1) as (_, client):
        first = await client.login()
        assert first["expires_in"] == 1
        await asyncio.sleep(1.05)
        assert await client.error(ASK) == BAD_TOKEN
        assert (await client.error("public/subscribe", {"channels": ["book.BTC-PERPETUAL.raw"]}))["code"] == 13778
        await client.result("public/auth", {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})
        assert await client.result(ASK)


@played
async def test_a_life_can_be_asked_for():
    async with trading() as (_, client):
        answer = await client.login(scope="expires:77 ip:* session:x")
        assert answer["expires_in"] == 77
        assert answer["scope"] == f"{ALL} expires:77 ip:* session:x mainaccount"


@played
async def test_connection_scope_dies_with_its_socket_and_is_good_on_no_other():
    async with trading() as (exchange, client):
        async with connected(exchange) as other:
            token = await other.login()
            assert await client.error(ASK, {"access_token": token["access_token"]}) == BAD_TOKEN
            refresh = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
            assert await client.error("public/auth", refresh) == BAD_CREDENTIALS
        while exchange.sessions[1].open:
            await asyncio.sleep(0)
        assert exchange.tokens.find(token["access_token"], 1, 0.0) is None


@played
async def test_a_token_in_the_params_is_as_good_as_a_login():
    async with trading() as (exchange, client), connected(exchange) as other:
        token = (await other.login(scope="session:main"))["access_token"]
        channel = "book.BTC-PERPETUAL.raw"
        params = {"channels": [channel], "access_token": token}
        assert await client.result("private/subscribe", params) == [channel]
        assert (await client.error("public/subscribe", {"channels": [channel]}))["code"] == 13778


@played
async def test_session_scope_outlives_its_socket():
    async with trading() as (exchange, client):
        async with connected(exchange) as other:
            token = await other.login(scope="session:main")
        assert token["scope"] == f"{ALL} session:main mainaccount"
        assert await client.result(ASK, {"access_token": token["access_token"]})
        refresh = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        assert (await client.result("public/auth", refresh))["scope"] == token["scope"]
        assert await client.result(ASK)


@played
async def test_the_seventeenth_session_takes_the_place_of_the_shortest():
    async with trading() as (_, client):
        lives = {number: 5 if number == 7 else 1000 + number for number in range(16)}
        tokens = [
            (await client.login(scope=f"session:s{n} expires:{life}"))["access_token"] for n, life in lives.items()
        ]
        await client.login(scope="session:s3 expires:4")
        assert await client.result(ASK, {"access_token": tokens[7]})
        await client.login(scope="session:seventeenth")
        good = ["result" in await client.call(ASK, {"access_token": token}) for token in tokens]
        assert good == [number != 7 for number in range(16)]


@played
async def test_a_session_can_be_forked():
    async with trading() as (_, client):
        token = await client.login(scope="session:main trade:read")
        forked = await client.result(
            "public/fork_token", {"refresh_token": token["refresh_token"], "session_name": "second"}
        )
        assert forked["scope"] == "trade:read session:second mainaccount"
        plain = await client.login()
        params = {"refresh_token": plain["refresh_token"], "session_name": "third"}
        assert await client.error("public/fork_token", params) == BAD_TOKEN


@played
async def test_a_token_can_be_exchanged_within_the_family_alone():
    async with trading(accounts=FAMILY) as (_, client):
        token = await client.login(client_id="main", client_secret="m")
        params = {"refresh_token": token["refresh_token"]}
        moved = await client.result("public/exchange_token", params | {"subject_id": 11})
        assert moved["scope"] == f"{ALL} connection"
        narrow = await client.result("public/exchange_token", params | {"subject_id": 11, "scope": "trade:read"})
        assert narrow["scope"] == "trade:read connection"
        summary = {"currency": "BTC", "extended": True, "access_token": moved["access_token"]}
        found = await client.result("private/get_account_summary", summary)
        assert (found["id"], found["type"]) == (11, "subaccount")
        for stranger in (12, 99):
            assert await client.error("public/exchange_token", params | {"subject_id": stranger}) == BAD_CREDENTIALS


@pytest.mark.parametrize("invalidate", [True, False])
@played
async def test_a_logout_is_never_answered_and_closes(invalidate):
    async with trading() as (exchange, client):
        token = await client.login(scope="session:main")
        await client.send("private/logout", {"invalidate_token": invalidate})
        assert (await client.closed())[0] == 1000
        assert client.answers == []
        async with connected(exchange) as other:
            assert ("error" in await other.call(ASK, {"access_token": token["access_token"]})) == invalidate


@played
async def test_a_logout_needs_a_login():
    async with trading() as (_, client):
        assert await client.error("private/logout") == BAD_TOKEN


# ---- scopes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("trade:read", "trade:read connection mainaccount"),
        ("trade:read_write account:read_write", "account:read trade:read connection mainaccount"),
        ("trade:none account:read", "account:read connection mainaccount"),
        ("wallet:read_write trade:read", "trade:read connection mainaccount"),
        ("trade:everything account:read", "account:read connection mainaccount"),
        ("connection", "account:read trade:read connection mainaccount"),
    ],
)
@played
async def test_no_more_is_granted_than_the_key_has(asked, granted):
    async with trading(accounts=FAMILY) as (_, client):
        assert (await client.login(client_id="reader", client_secret="r", scope=asked))["scope"] == granted


@played
async def test_what_goes_beyond_the_scope_is_refused():
    async with trading(login=False) as (_, client):
        await client.login(scope="account:read")
        assert await client.result(ASK)
        exceeded = {"code": 13403, "message": "scope_exceeded"}
        assert await client.error("private/enable_cancel_on_disconnect") == exceeded
        channels = ["user.orders.BTC-PERPETUAL.raw", "user.portfolio.btc"]
        assert await client.subscribe(*channels, method="private/subscribe") == ["user.portfolio.btc"]


# ---- the account --------------------------------------------------------------------------------------------------


@played
async def test_the_account_says_its_balances_and_its_limits_where_they_are_asked_for():
    async with trading(login=True) as (_, client):
        summary = await client.result("private/get_account_summary", {"currency": "BTC"})
        assert summary["balance"] == summary["equity"] == 10.0 and "limits" not in summary
        extended = await client.result("private/get_account_summary", {"currency": "USDC", "extended": True})
        assert extended["balance"] == 0.0
        assert extended["limits"]["non_matching_engine"] == {"rate": 20, "burst": 100}
        assert extended["limits"]["matching_engine"]["trading"]["total"] == {"rate": 5, "burst": 20}
        everything = await client.result("private/get_account_summaries")
        assert [summary["currency"] for summary in everything["summaries"]] == ["BTC", "ETH"]


@played
async def test_cancel_on_disconnect_is_a_flag_of_the_connection_or_of_the_account():
    async with trading(login=True) as (exchange, client):
        assert await client.result("private/enable_cancel_on_disconnect") == "ok"
        assert await client.result(ASK) == {"scope": "connection", "enabled": True}
        assert await client.result(ASK, {"scope": "account"}) == {"scope": "account", "enabled": False}
        assert await client.result("private/disable_cancel_on_disconnect") == "ok"
        assert not exchange.sessions[0].cancel_on_disconnect
        assert await client.result("private/enable_cancel_on_disconnect", {"scope": "account"}) == "ok"
        assert await client.result(ASK, {"scope": "account"}) == {"scope": "account", "enabled": True}
        async with connected(exchange) as other:
            await other.login()
            assert await other.result(ASK) == {"scope": "connection", "enabled": True}
        assert (await client.error(ASK, {"scope": "house"}))["code"] == -32602


def test_a_secret_is_not_in_the_text_of_an_account():
    assert "AMANDASECRECT" not in repr(AMANDA)


@played
async def test_two_sockets_of_one_key_keep_their_own_state():
    async with trading(login=True) as (exchange, client), connected(exchange) as other:
        await other.login()
        await client.result("private/enable_cancel_on_disconnect")
        assert await other.result(ASK) == {"scope": "connection", "enabled": False}
        await other.send("private/logout")
        await other.closed()
        assert await client.result(ASK)


def test_an_exchange_can_be_made_outside_a_loop():
    assert DeribitExchange(rate=None).sessions == []
