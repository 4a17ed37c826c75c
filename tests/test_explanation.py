"""Every error can be explained: in words that fit it, with what was seen, and without a secret."""

import asyncio
import errno
import os
import socket
import ssl

import pytest
from test_errors import EACH

from wsx.errors import (
    AuthenticationFailed,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    ErrorContext,
    Failure,
    HandshakeRejected,
    HeartbeatTimeout,
    RateLimited,
    ReconnectExhausted,
    RpcError,
    Stage,
)
from wsx.explanation import describe, explain
from wsx.testing.certificates import Authority


def caused(error, cause):
    error.__cause__ = cause
    return error


def meaning(error):
    return explain(error).split("What it means: ")[1].split("\n\n")[0]


def advice(error):
    return explain(error).partition("What to try:")[2].partition("\n\n")[0]


class TestEverythingIsExplained:
    @pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
    def test_each_error_of_wsx_has_its_text_a_meaning_and_what_wsx_does(self, error):
        text = explain(error)
        assert text.startswith(f"{type(error).__name__}: {error}\n\nWhat it means: ")
        assert "\n\nWhat wsx does: It " in text

    def test_errors_of_different_classes_are_explained_differently(self):
        assert len({meaning(error) for error in EACH}) == len(EACH)

    @pytest.mark.parametrize("error", [error for error in EACH if type(error).__name__ != "WsxError"], ids=repr)
    def test_there_is_something_to_try_for_each(self, error):
        assert advice(error).count("\n  - ") >= 1

    def test_every_status_is_explained(self):
        for status in [*range(100, 600), 0, 999]:
            about_all, _, about_this = meaning(HandshakeRejected(status)).partition("into a WebSocket. ")
            assert about_all and about_this, status
            assert advice(HandshakeRejected(status)), status

    def test_every_close_code_is_explained(self):
        for code in range(5001):
            known = 1000 <= code < 5000 and code not in (1004, *range(1015, 3000))
            assert ("may not be on the wire" in meaning(ConnectionClosed(code))) != known, code

    @pytest.mark.parametrize("stage", Stage)
    def test_every_stage_is_explained(self, stage):
        _, _, about_this = meaning(ConnectionFailed(stage, "x")).partition("No connection came about. ")
        assert about_this
        assert advice(ConnectionFailed(stage, "x"))

    @pytest.mark.parametrize("number", sorted(errno.errorcode))
    def test_every_error_number_of_the_system_is_named(self, number):
        assert f"{os.strerror(number)} (errno {number})" in explain(OSError(number, "canary"))
        assert "canary" not in explain(OSError(number, "canary"))


class TestWords:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (HandshakeRejected(404), "check the path of the URL"),
            (HandshakeRejected(302), "use the final URL"),
            (HandshakeRejected(403), "client.resume()"),
            (HandshakeRejected(429), "open fewer connections"),
            (HandshakeRejected(521), "status page"),
            (ConnectionClosed(4001), "look it up in the server's documentation"),
            (ConnectionClosed(1009), "send smaller messages"),
            (OSError(errno.EMFILE, "x"), "raise ulimit -n"),
            (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "check the port"),
            (socket.gaierror(socket.EAI_AGAIN, "x"), "resolv.conf"),
            (socket.gaierror(socket.EAI_NONAME, "x"), "check the name for misspellings"),
            (ssl.SSLError(1, "x"), "speaks TLS (wss://)"),
            (AuthenticationFailed("x"), "test or production"),
            (RateLimited(1), "await client.send()"),
            (TimeoutError(), "drops packets silently"),
        ],
        ids=repr,
    )
    def test_the_advice_fits(self, error, words):
        assert words in advice(error)

    def test_the_cause_adds_its_words(self):
        error = caused(ConnectionFailed("tcp", "x"), OSError(errno.EADDRNOTAVAIL, "x"))
        assert "No local port is free" in meaning(error)
        assert "source_address" in advice(error)

    def test_the_same_advice_is_given_once(self):
        error = caused(ConnectionFailed("tls", "x"), ssl.SSLError(1, "x"))
        lines = advice(error).splitlines()
        assert len(lines) == len(set(lines))

    def test_what_wsx_does_follows_its_verdict(self):
        assert "HALTED" in explain(HandshakeRejected(401))
        assert "at the longest backoff" in explain(EACH[3])
        assert "opens another by its backoff" in explain(ConnectionLost("x"))
        assert "handed the error to your code" in explain(RpcError(1, "x"))
        assert "took no token" in explain(RateLimited(1))

    def test_a_server_that_asks_to_wait_is_quoted(self):
        assert "asked to wait 7 s" in explain(HandshakeRejected(503, [("Retry-After", "7")])).split("What wsx does")[1]
        assert "asked to wait" not in explain(RateLimited(7))

    def test_a_cancelled_task_is_no_failure(self):
        assert "nothing failed" in explain(asyncio.CancelledError())

    def test_a_refused_certificate_is_told_by_its_reason(self):
        error = refused_certificate("localhost", Authority())
        assert "authority is not known here" in meaning(error)

    def test_a_certificate_for_another_name_is_told(self):
        error = refused_certificate("exchange.test", None)
        assert "It is for another name." in meaning(error)
        assert "exchange.test" in describe(error)


def refused_certificate(name, trusted):
    """What a client says to a certificate for localhost. trusted: an authority, None for the right one."""
    authority = Authority()
    client_context = (trusted or authority).client_context()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = authority.server_context().wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
    raise AssertionError("the certificate was accepted")


class TestWhatWasSeen:
    CONTEXT = ErrorContext(
        "open", "wss://h/", evidence=("loop lag 3.1 s at most", "0 bytes wait in the socket"), last_events=("Opened",)
    )

    def test_evidence_and_events_are_listed(self):
        text = explain(HeartbeatTimeout(5, context=self.CONTEXT))
        assert "What was seen:\n  - loop lag 3.1 s at most\n  - 0 bytes wait in the socket" in text
        assert text.endswith("What came before:\n  - Opened")

    def test_without_any_nothing_is_claimed(self):
        assert "What was seen" not in explain(HeartbeatTimeout(5))
        assert "What came before" not in explain(HeartbeatTimeout(5, context=ErrorContext("open")))

    def test_a_client_that_gave_up_shows_its_last_failures(self):
        history = [Failure(n, n * 1_000_000_000, f"refused {n}") for n in range(20)]
        text = explain(ReconnectExhausted("attempts=19 are used up", history))
        before = text.split("What came before:")[1]
        assert before.count("\n") == 8
        assert "attempt 18, -1.000 s: refused 18" in before

    def test_one_that_gave_up_without_a_history_has_none(self):
        assert "What came before" not in explain(ReconnectExhausted("x"))


class TestSecrecy:
    @pytest.mark.parametrize(
        "error",
        [
            HandshakeRejected(401, [("Set-Cookie", "canary")], b"canary"),
            RpcError(1, "no", {"key": "canary"}),
            ValueError("canary"),
            OSError("canary"),
            OSError(errno.EMFILE, "canary", "canary"),
            KeyError("canary"),
            type("Homemade", (Exception,), {})("canary"),
            ConnectionLost("x", context=ErrorContext("open", "wss://user:canary@h/p?token=canary#canary")),
            caused(ConnectionLost("x"), OSError("canary")),
            caused(ConnectionLost("x"), ValueError("canary")),
        ],
        ids=repr,
    )
    def test_no_secret_is_repeated(self, error):
        assert "canary" not in explain(error) + describe(error)

    def test_a_strangers_error_is_named_by_its_class(self):
        assert describe(ValueError("canary")) == "ValueError"
        assert "not an error of wsx" in explain(ValueError("canary"))
