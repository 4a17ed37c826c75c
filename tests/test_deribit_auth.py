"""Credentials, signatures and tokens of Deribit's: pure, with plain numbers."""

import pickle

import pytest

from wsx import Secret
from wsx.adapters.deribit.auth import Credentials, Token, login_params, revealed, sign
from wsx.adapters.deribit.errors import as_login_error, is_passing
from wsx.errors import AuthenticationFailed, RpcError

ID, KEY = "DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"
CANARY = "canary-secret-4711"


class TestSignature:
    def test_it_is_the_one_that_the_documentation_computes(self):
        signature = sign(Secret("AMANDASECRECT"), 1576074319000, "1iqt2wls")
        assert signature == "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1"

    def test_data_is_a_part_of_what_is_signed(self):
        assert sign(Secret("s"), 1, "n", "data") != sign(Secret("s"), 1, "n")


class TestLoginParams:
    def test_by_default_the_secret_does_not_leave(self):
        params = login_params(Credentials("AMANDA", "AMANDASECRECT"), 1576074319000, "1iqt2wls")
        assert params == {
            "grant_type": "client_signature",
            "client_id": "AMANDA",
            "timestamp": 1576074319000,
            "nonce": "1iqt2wls",
            "data": "",
            "signature": "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1",
        }

    def test_without_signing_it_is_sent_as_it_is(self):
        params = login_params(Credentials("id", "key", sign=False), 1, "n")
        assert "key" not in str(params)
        assert revealed(params) == {"grant_type": "client_credentials", "client_id": "id", "client_secret": "key"}

    @pytest.mark.parametrize(
        ("wanted", "scope"),
        [
            ({"scope": "trade:read"}, "trade:read"),
            ({"session": "one"}, "session:one"),
            ({"session": "one", "scope": "trade:read expires:60"}, "session:one trade:read expires:60"),
        ],
    )
    def test_session_and_scope_are_asked_for(self, wanted, scope):
        assert login_params(Credentials("id", "key", **wanted), 1, "n")["scope"] == scope


class TestCredentials:
    def test_a_text_is_made_a_secret_that_nothing_shows(self):
        credentials = Credentials("id", CANARY)
        assert isinstance(credentials.client_secret, Secret)
        assert CANARY not in f"{credentials!r} {credentials} {credentials.client_secret}"
        with pytest.raises(TypeError):
            pickle.dumps(credentials)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"session": "desk trade:read_write"},
            {"session": " "},
            {"session": "a\tb"},
            {"session": "a\u00a0b"},
            {"scope": "trade:read\nwallet:read"},
        ],
    )
    def test_a_session_is_one_word(self, wrong):
        with pytest.raises(ValueError, match="session must be one word"):
            Credentials("id", "key", **wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"client_secret": CANARY.encode()},
            {"client_id": 5},
            {"scope": None},
            {"session": 1},
        ],
    )
    def test_another_type_is_refused_without_showing_the_secret(self, wrong):
        with pytest.raises(TypeError) as caught:
            Credentials(**{"client_id": "id", "client_secret": CANARY} | wrong)
        assert CANARY not in str(caught.value)

    def test_an_empty_id_is_refused(self):
        with pytest.raises(ValueError, match=f"is {ID} set"):
            Credentials("", "key")

    def test_they_come_from_the_environment_whole_or_not_at_all(self):
        found = Credentials.from_environment({ID: "id", KEY: CANARY})
        assert found is not None
        assert (found.client_id, found.client_secret.reveal()) == ("id", CANARY)
        assert Credentials.from_environment({}) is None
        assert Credentials.from_environment({ID: "", KEY: ""}) is None

    @pytest.mark.parametrize(("given", "missing"), [({ID: "id"}, KEY), ({KEY: CANARY}, ID)])
    def test_half_of_them_is_a_mistake_that_names_the_other_half(self, given, missing):
        with pytest.raises(ValueError, match=f"^{missing} is not set") as caught:
            Credentials.from_environment(given)
        assert CANARY not in str(caught.value)


class TestToken:
    RESULT = {"access_token": CANARY, "refresh_token": CANARY, "scope": "connection", "expires_in": 900}

    def test_it_is_refreshed_at_four_fifths_of_its_life(self):
        token = Token.from_result(self.RESULT, now=100.0)
        assert (token.expires_at, token.refresh_at, token.scope) == (1000.0, 820.0, "connection")
        assert CANARY not in repr(token)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"expires_in": "soon"},
            {"expires_in": "nan"},
            {"expires_in": True},
            {"expires_in": None},
            {"expires_in": 10**400},
            {"access_token": 5},
        ],
    )
    def test_what_is_no_token_is_refused_without_showing_it(self, wrong):
        with pytest.raises(RpcError, match="no tokens") as caught:
            Token.from_result(self.RESULT | wrong, now=0.0)
        assert CANARY not in str(caught.value)

    def test_one_that_is_no_good_at_once_is_not_renewed_at_once(self):
        assert Token.from_result(self.RESULT | {"expires_in": 0}, now=100.0).refresh_at == 100.5


class TestErrorCodes:
    @pytest.mark.parametrize("code", [13004, 13009, 13021, 13403])
    def test_a_login_that_will_not_be_better_tomorrow_is_a_failed_authentication(self, code):
        error = as_login_error(RpcError(code, "no", method="public/auth", request_id=1))
        assert isinstance(error, AuthenticationFailed)
        assert str(code) in str(error)

    @pytest.mark.parametrize("code", [10001, 10028, 11051, 12003, 13028, -32602])
    def test_any_other_error_is_what_it_was(self, code):
        error = RpcError(code, "no", method="public/auth", request_id=1)
        assert as_login_error(error) is error

    @pytest.mark.parametrize(("code", "passes"), [(10028, True), (13028, True), (13004, False), (10009, False)])
    def test_some_errors_are_worth_another_try(self, code, passes):
        assert is_passing(RpcError(code, "x", method="m", request_id=1)) is passes
