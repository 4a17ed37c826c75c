"""Every exception, close code and status has a verdict, and the user may change it."""

import asyncio
import builtins
import logging
import socket
import ssl

import pytest
from test_errors import EACH

from wsx import errors
from wsx.error_handler import ErrorHandler, judge, judge_close, judge_status
from wsx.errors import (
    AuthenticationFailed,
    Category,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    HandshakeRejected,
    Pace,
    ProtocolError,
    RateLimited,
    Recovery,
    Verdict,
    WsxError,
)

RECONNECTING = {1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, *range(3000, 5000)} - {3000, 3003}
HALTING = {1008, 3000, 3003}
CATEGORY_OF = {
    Recovery.RECONNECT: Category.CONNECTION,
    Recovery.NOTIFY: Category.PROTOCOL,
    Recovery.HALT: Category.AUTHENTICATION,
}


def caused(error, cause):
    error.__cause__ = cause
    return error


class TestCloseCodes:
    @pytest.mark.parametrize("codes", [range(first, first + 500) for first in range(0, 5500, 500)], ids=str)
    def test_each_code_has_the_recovery_of_the_design(self, codes):
        for code in codes:
            verdict = judge_close(code)
            expected = Recovery.RECONNECT if code in RECONNECTING else Recovery.NOTIFY
            expected = Recovery.HALT if code in HALTING else expected
            assert (verdict.recovery, verdict.category) == (expected, CATEGORY_OF[expected]), code

    @pytest.mark.parametrize("code", [-1, 65535, 10**20])
    def test_a_code_that_cannot_be_is_a_protocol_error(self, code):
        assert judge_close(code).recovery is Recovery.NOTIFY

    @pytest.mark.parametrize(
        ("code", "pace"), [(1006, Pace.IMMEDIATE), (1012, Pace.JITTERED), (1013, Pace.LONGEST), (4321, Pace.IMMEDIATE)]
    )
    def test_a_server_that_restarts_or_is_overloaded_is_not_stormed(self, code, pace):
        assert judge_close(code).pace is pace

    def test_the_user_changes_single_codes(self):
        handler = ErrorHandler(close_codes={4001: Recovery.HALT, 1008: "reconnect", 1000: "pass_through"})
        assert handler.judge_close(4001) == Verdict(Category.AUTHENTICATION, Recovery.HALT, None, Pace.IMMEDIATE)
        assert handler.judge_close(1008).recovery is Recovery.RECONNECT
        assert handler.judge_close(1000).category is Category.APPLICATION
        assert handler.judge_close(4002).recovery is Recovery.RECONNECT


class TestStatuses:
    @pytest.mark.parametrize("statuses", [range(first, first + 100) for first in range(0, 700, 100)], ids=str)
    def test_each_status_has_a_verdict_and_the_error_agrees(self, statuses):
        for status in statuses:
            expected = Recovery.HALT if status in (401, 403) else Recovery.RECONNECT
            error = HandshakeRejected(status)
            assert judge(error) == judge_status(status)
            assert (judge(error).category, judge(error).recovery) == (error.category, error.recovery)
            assert judge(error).recovery is expected, status

    @pytest.mark.parametrize("status", [301, 307, 407, 429])
    def test_what_a_moment_will_not_change_waits_for_the_longest_backoff(self, status):
        assert judge_status(status).pace is Pace.LONGEST

    @pytest.mark.parametrize("status", [200, 404, 500, 503, 520, 526])
    def test_others_are_retried_with_jitter(self, status):
        assert judge_status(status).pace is Pace.JITTERED

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_handed_on(self, status):
        verdict = judge(HandshakeRejected(status, [("Retry-After", "7")]))
        assert (verdict.retry_after, verdict.pace) == (7.0, Pace.JITTERED)


class TestExceptions:
    @pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
    def test_each_error_of_wsx_is_judged_by_what_it_carries(self, error):
        verdict = judge(error)
        assert (verdict.category, verdict.recovery) == (error.category, error.recovery)

    def test_each_class_of_the_tree_was_judged(self):
        tree = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, WsxError)}
        assert tree == {type(error) for error in EACH}

    def test_every_built_in_exception_has_a_verdict(self):
        kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
        assert len(kinds) > 60
        for kind in kinds:
            verdict = judge(
                kind.__new__(kind, "x", [OSError()]) if issubclass(kind, BaseExceptionGroup) else kind.__new__(kind)
            )
            assert verdict.recovery in (Recovery.RECONNECT, Recovery.PASS_THROUGH), kind

    @pytest.mark.parametrize(
        "error",
        [
            OSError(24, "Too many open files"),
            OSError(99, "Cannot assign requested address"),
            ConnectionResetError(),
            BrokenPipeError(),
            TimeoutError(),
            PermissionError(1, "Operation not permitted"),
            socket.gaierror(-2, "Name or service not known"),
            ssl.SSLEOFError(),
            EOFError(),
            asyncio.IncompleteReadError(b"", 1),
        ],
        ids=repr,
    )
    def test_what_the_network_does_is_reconnected(self, error):
        assert judge(error) == Verdict(Category.CONNECTION, Recovery.RECONNECT)

    @pytest.mark.parametrize(
        "error",
        [
            asyncio.CancelledError(),
            KeyboardInterrupt(),
            RuntimeError(),
            ValueError(),
            MemoryError(),
            FileNotFoundError(2, "x"),
            ProcessLookupError(),
            ExceptionGroup("x", [OSError()]),
        ],
        ids=repr,
    )
    def test_what_is_not_the_networks_passes_through(self, error):
        assert judge(error) == Verdict(Category.APPLICATION, Recovery.PASS_THROUGH)

    def test_tokens_that_are_not_there_say_when_they_will_be(self):
        assert judge(RateLimited(0.25)).retry_after == 0.25


class TestTls:
    def refused(self, cause):
        return caused(ConnectionFailed("tls", "x"), cause)

    @pytest.mark.parametrize("cause", [ssl.SSLCertVerificationError(), ssl.SSLError(), None, ValueError()], ids=repr)
    def test_what_the_verifier_refused_waits_for_the_longest_backoff(self, cause):
        assert judge(self.refused(cause)) == Verdict(Category.CONNECTION, Recovery.RECONNECT, None, Pace.LONGEST)

    @pytest.mark.parametrize("cause", [ssl.SSLEOFError(), ConnectionResetError(), TimeoutError()], ids=repr)
    def test_a_handshake_that_was_cut_or_late_does_not(self, cause):
        assert judge(self.refused(cause)).pace is Pace.IMMEDIATE

    def test_a_bare_tls_error_waits_too(self):
        assert judge(ssl.SSLError(1, "x")).pace is Pace.LONGEST

    def test_another_stage_does_not(self):
        assert judge(caused(ConnectionFailed("tcp", "x"), ssl.SSLError())).pace is Pace.IMMEDIATE


class TestOverrides:
    def test_without_changes_it_is_the_table(self):
        handler = ErrorHandler()
        assert handler.judge(ConnectionLost("x")) == judge(ConnectionLost("x"))
        assert handler.judge_close(1008, "no") == judge_close(1008)

    def test_what_a_callback_raised_is_the_applications_whatever_it_is(self):
        handler = ErrorHandler()
        for error in (ConnectionLost("x"), AuthenticationFailed("x"), OSError(), ValueError()):
            assert handler.judge(error, in_callback=True) == Verdict(Category.APPLICATION, Recovery.PASS_THROUGH)

    def test_an_override_is_asked_for_its_category_alone(self):
        asked = []

        def override(error, verdict):
            asked.append((error, verdict))
            return Recovery.HALT

        handler = ErrorHandler({Category.PROTOCOL: override})
        broken = ProtocolError(1002, "RSV1 is set")
        assert handler.judge(broken).recovery is Recovery.HALT
        assert handler.judge(ConnectionLost("x")).recovery is Recovery.RECONNECT
        assert asked == [(broken, judge(broken))]

    def test_an_override_sees_the_close_code_and_reason(self):
        def override(error, verdict):
            assert isinstance(error, ConnectionClosed)
            return Recovery.HALT if error.reason == "banned" else verdict

        handler = ErrorHandler({Category.CONNECTION: override})
        assert handler.judge_close(4000, "banned").recovery is Recovery.HALT
        assert handler.judge_close(4000, "bye").recovery is Recovery.RECONNECT

    def test_an_override_may_change_everything(self):
        own = Verdict(Category.APPLICATION, Recovery.RECONNECT, 3.0, Pace.JITTERED)
        assert ErrorHandler({"connection": lambda error, verdict: own}).judge(OSError()) == own

    def test_a_word_for_a_recovery_will_do_and_keeps_the_rest(self):
        handler = ErrorHandler({"authentication": lambda error, verdict: "reconnect"})
        verdict = handler.judge(HandshakeRejected(401, [("Retry-After", "5")]))
        assert verdict == Verdict(Category.AUTHENTICATION, Recovery.RECONNECT, 5.0, Pace.LONGEST)

    @pytest.mark.parametrize("answer", [None, "no such word", 7])
    def test_an_override_that_answers_nonsense_is_logged_and_the_table_holds(self, answer, caplog):
        handler = ErrorHandler({Category.CONNECTION: lambda error, verdict: answer})
        with caplog.at_level(logging.ERROR, logger="wsx"):
            assert handler.judge(OSError()) == judge(OSError())
        assert "override for connection errors failed" in caplog.text

    def test_an_override_that_raises_is_logged_and_the_table_holds(self, caplog):
        def override(error, verdict):
            raise LookupError("mine")

        with caplog.at_level(logging.ERROR, logger="wsx"):
            assert ErrorHandler({Category.CONNECTION: override}).judge(OSError()) == judge(OSError())
        assert "LookupError: mine" in caplog.text

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"overrides": {"weather": print}}, ValueError),
            ({"overrides": {Category.PROTOCOL: Recovery.HALT}}, TypeError),
            ({"close_codes": {1000: "perhaps"}}, ValueError),
            ({"close_codes": {"1000": Recovery.HALT}}, TypeError),
        ],
    )
    def test_wrong_changes_are_refused(self, arguments, error):
        with pytest.raises(error):
            ErrorHandler(**arguments)
