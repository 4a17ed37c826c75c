"""The tree, its words, and what must never be in a text."""

import copy
import pickle
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx import errors
from wsx.errors import (
    AnswerTimeout,
    AuthenticationFailed,
    Backpressure,
    Category,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    DataTimeout,
    ErrorContext,
    Failure,
    HandshakeRejected,
    HeartbeatTimeout,
    InvalidHandshake,
    InvalidUtf8,
    MessageTooBig,
    NotConnected,
    Outcome,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    RateLimitTimeout,
    ReconnectExhausted,
    Recovery,
    RestartsExceeded,
    RestoreFailed,
    RpcError,
    SendTimeout,
    SlowConsumer,
    Stage,
    SubscriptionRefused,
    TooManyPending,
    WrongThread,
    WsxError,
)

CONTEXT = ErrorContext("opening", "wss://h/ws", attempt=2, epoch=1)

EACH = [
    WsxError("it broke"),
    ConnectionFailed("dns", "no such name"),
    HandshakeRejected(429, [("Retry-After", "5"), ("Set-Cookie", "canary")], b"canary"),
    InvalidHandshake("no Upgrade"),
    ConnectionLost("the peer reset the connection"),
    DataTimeout(30),
    HeartbeatTimeout(5),
    SlowConsumer(10, 2000, 5.0),
    ReconnectExhausted("attempts=2 are used up", [Failure(1, 5, "refused"), Failure(2, 9, "no route")]),
    ProtocolError(1002, "RSV1 is set"),
    InvalidUtf8(),
    MessageTooBig(1025, 1024),
    AuthenticationFailed("13004 invalid_credentials"),
    SendTimeout(0.5),
    RestoreFailed("no answer"),
    SubscriptionRefused(["book.NOPE.raw"]),
    RpcError(10028, "too_many_requests", {"wait": 1}, method="private/buy", request_id=42),
    OutcomeUnknown("private/buy", 42, "the connection ended before it came"),
    AnswerTimeout("private/buy", 42),
    TooManyPending(10_000),
    NotConnected("cannot send on 'a': CLOSED"),
    ConnectionClosed(1001, "going away"),
    RestartsExceeded("desk", "more than 1 restarts within 60 s", [Failure(1, 5, "a: refused")]),
    RateLimited(0.25),
    RateLimitTimeout("private/buy", 0.5, 1.25),
    Backpressure(1_048_576),
    WrongThread("client.send()"),
]

TREE = {
    WsxError: (Category.APPLICATION, Recovery.PASS_THROUGH, Exception),
    ConnectionFailed: (Category.CONNECTION, Recovery.RECONNECT, ConnectionError),
    HandshakeRejected: (Category.CONNECTION, Recovery.RECONNECT, ConnectionFailed),
    InvalidHandshake: (Category.PROTOCOL, Recovery.NOTIFY, ProtocolError),
    ConnectionLost: (Category.CONNECTION, Recovery.RECONNECT, ConnectionError),
    DataTimeout: (Category.CONNECTION, Recovery.RECONNECT, TimeoutError),
    HeartbeatTimeout: (Category.CONNECTION, Recovery.RECONNECT, TimeoutError),
    SlowConsumer: (Category.CONNECTION, Recovery.RECONNECT, ConnectionLost),
    ReconnectExhausted: (Category.CONNECTION, Recovery.PASS_THROUGH, ConnectionError),
    ProtocolError: (Category.PROTOCOL, Recovery.NOTIFY, WsxError),
    InvalidUtf8: (Category.PROTOCOL, Recovery.NOTIFY, ProtocolError),
    MessageTooBig: (Category.PROTOCOL, Recovery.NOTIFY, ProtocolError),
    AuthenticationFailed: (Category.AUTHENTICATION, Recovery.HALT, WsxError),
    RpcError: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    OutcomeUnknown: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    AnswerTimeout: (Category.APPLICATION, Recovery.PASS_THROUGH, TimeoutError),
    RestoreFailed: (Category.CONNECTION, Recovery.RECONNECT, ConnectionLost),
    SubscriptionRefused: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    SendTimeout: (Category.APPLICATION, Recovery.PASS_THROUGH, TimeoutError),
    TooManyPending: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    NotConnected: (Category.APPLICATION, Recovery.PASS_THROUGH, ConnectionError),
    ConnectionClosed: (Category.APPLICATION, Recovery.PASS_THROUGH, ConnectionError),
    RestartsExceeded: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    RateLimited: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    RateLimitTimeout: (Category.APPLICATION, Recovery.PASS_THROUGH, TimeoutError),
    Backpressure: (Category.APPLICATION, Recovery.PASS_THROUGH, WsxError),
    WrongThread: (Category.APPLICATION, Recovery.PASS_THROUGH, RuntimeError),
}


def named(error):
    return type(error).__name__


class TestTree:
    @pytest.mark.parametrize("error", EACH, ids=named)
    def test_each_class_has_the_category_and_recovery_drawn_in_the_docstring(self, error):
        category, recovery, base = TREE[type(error)]
        assert (error.category, error.recovery) == (category, recovery)
        assert isinstance(error, WsxError)
        assert isinstance(error, base)

    def test_every_error_of_the_module_is_tried_here_and_drawn(self):
        classes = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, WsxError)}
        assert classes == set(TREE) == {type(error) for error in EACH}
        assert all(kind.__name__ in errors.__doc__ for kind in classes)

    def test_what_became_of_the_request_is_said_by_each_error_that_is_about_one(self):
        outcomes = {type(error): error.outcome for error in EACH if error.outcome is not None}
        assert outcomes == {
            RpcError: Outcome.REJECTED,
            OutcomeUnknown: Outcome.UNKNOWN,
            AnswerTimeout: Outcome.UNKNOWN,
            **dict.fromkeys((SendTimeout, TooManyPending, NotConnected, ConnectionClosed), Outcome.NOT_SENT),
            **dict.fromkeys((RateLimited, RateLimitTimeout, Backpressure, WrongThread), Outcome.NOT_SENT),
        }

    def test_no_error_is_a_value_error(self):
        assert not any(isinstance(error, ValueError) for error in EACH)

    def test_words_are_equal_to_their_strings(self):
        assert (Stage.TLS, Category.PROTOCOL, Recovery.PASS_THROUGH) == ("tls", "protocol", "pass_through")


class TestCopies:
    @pytest.mark.parametrize("error", EACH, ids=named)
    @pytest.mark.parametrize("context", [None, CONTEXT])
    def test_a_copy_and_a_pickle_keep_everything(self, error, context):
        error = copy.copy(error)
        error.context = context
        error.add_note("seen in a test")
        for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert type(twin) is type(error)
            assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))

    def test_a_copy_does_not_share_its_attributes(self):
        error = ConnectionLost("reset")
        twin = copy.copy(error)
        twin.context = CONTEXT
        assert error.context is None


class TestText:
    def test_each_text_says_what_wsx_did_or_what_to_do(self):
        assert str(ConnectionFailed("tcp", "refused")) == (
            "could not connect, failed at tcp: refused; nothing is left open;"
            " check that the server is up, the port, and any firewall between"
        )
        assert str(MessageTooBig(1025, 1024)) == (
            "message of at least 1025 bytes exceeds max_message_size=1024; closed with 1009"
        )
        assert str(MessageTooBig(3, 2, "max_fragments")) == (
            "message of at least 3 fragments exceeds max_fragments=2; closed with 1009"
        )
        rpc_error = next(error for error in EACH if isinstance(error, RpcError))
        assert str(rpc_error) == "10028 too_many_requests on private/buy (id 42)"
        assert str(RpcError(-32601, "Method not found")) == "-32601 Method not found"
        assert "no message within data_timeout=30 s" in str(DataTimeout(30))
        assert "no matching PONG within ping_timeout=5 s" in str(HeartbeatTimeout(5))
        assert "10 messages (2000 bytes)" in str(SlowConsumer(10, 2000, 5.0))
        assert "try again in 0.25 s" in str(RateLimited(0.25))
        assert "1048576 bytes wait" in str(Backpressure(1_048_576))
        assert "client.call_threadsafe" in str(WrongThread("client.send()"))
        assert "1007" in str(InvalidUtf8())
        assert "1002" in str(ProtocolError(1002, "x"))
        assert "check the credentials" in str(AuthenticationFailed("13004"))
        assert str(NotConnected("cannot send on 'a': CLOSED")) == "cannot send on 'a': CLOSED"

    @pytest.mark.parametrize("stage", Stage)
    def test_each_stage_is_named_with_advice(self, stage):
        assert f"failed at {stage}: why; nothing is left open; check" in str(ConnectionFailed(stage.value, "why"))

    def test_an_unknown_stage_is_a_mistake_of_ours(self):
        with pytest.raises(ValueError, match="upgraded"):
            ConnectionFailed("upgraded", "x")

    def test_the_context_is_told_where_it_is_known(self):
        error = NotConnected("cannot send", context=CONTEXT)
        assert str(error) == "cannot send [opening wss://h/ws, attempt 2, epoch 1]"

    def test_the_context_may_come_later(self):
        error = ConnectionFailed("dns", "no such name")
        error.context = ErrorContext("reopening", attempt=3)
        assert str(error).endswith("resolver [reopening, attempt 3]")

    def test_a_context_counts_what_was_in_flight_and_leaves_the_rest_to_explain(self):
        context = ErrorContext("open", "wss://h/", in_flight=2, evidence=("loop lag 3 s",), last_events=("Opened",))
        assert str(context) == "open wss://h/, in flight 2"

    def test_giving_up_names_the_limit_and_the_last_failure(self):
        assert str(ReconnectExhausted("attempts=2 are used up", [Failure(2, 9, "no route")])) == (
            "gave up: attempts=2 are used up; the last failure: no route; the client is closed;"
            " see this error's history, then connect anew"
        )
        assert "last failure" not in str(ReconnectExhausted("no attempt was allowed"))

    def test_a_supervisor_that_gave_up_names_the_last_to_end(self):
        assert str(RestartsExceeded("desk", "more than 1 restarts within 60 s", [Failure(2, 9, "a: refused")])) == (
            "'desk' gave up: more than 1 restarts within 60 s; the last to end: a: refused; all its children are"
            " stopped; see this error's history"
        )
        assert "the last" not in str(RestartsExceeded("desk", "more than 0 restarts within 60 s"))

    def test_a_close_without_reason_has_no_brackets(self):
        assert str(ConnectionClosed(1000)) == "connection closed with 1000; nothing more can be sent or received"

    def test_a_reason_with_control_characters_is_shown_escaped(self):
        assert r"'\x1b[2Jgone'" in str(ConnectionClosed(1001, "\x1b[2Jgone"))

    def test_a_peers_endless_message_is_cut(self):
        assert len(str(RpcError(1, "x" * 100_000))) < 250

    @pytest.mark.parametrize(
        ("status", "advice"), [(401, "credentials"), (403, "credentials"), (302, "redirect"), (500, "headers and body")]
    )
    def test_a_rejection_says_what_to_look_at(self, status, advice):
        assert advice in str(HandshakeRejected(status))

    def test_a_status_nobody_knows_has_no_phrase(self):
        assert "HTTP 520;" in str(HandshakeRejected(520))
        assert "HTTP 404 Not Found;" in str(HandshakeRejected(404))


class TestSecrecy:
    @pytest.mark.parametrize(
        "url",
        [
            "wss://user:canary@h/p",
            "wss://canary@h/p?x=1",
            "wss://h/p?token=canary",
            "wss://h/p#canary",
            "wss://h?token=canary/@/",
            "wss://user:p@canary@h/p",
            "user:canary@h/p?canary",
        ],
    )
    def test_a_context_drops_user_info_query_and_fragment(self, url):
        context = ErrorContext("opening", url)
        assert "canary" not in repr(context) + str(context) + repr(vars(NotConnected("x", context=context)))
        assert context.endpoint.removeprefix("wss://").removesuffix("/p") == "h"

    @given(st.text())
    @settings(deadline=None)
    def test_a_context_takes_any_text_for_an_endpoint(self, text):
        assert "?" not in ErrorContext("opening", text).endpoint

    def test_headers_and_body_of_a_rejection_stay_out_of_its_texts(self):
        error = HandshakeRejected(401, [("Set-Cookie", "canary")], b"canary")
        assert "canary" not in str(error) + repr(error) + repr(error.args)

    def test_the_data_of_an_rpc_error_stays_out_of_its_texts(self):
        error = RpcError(1, "no", {"key": "canary"})
        assert error.data == {"key": "canary"}
        assert "canary" not in str(error) + repr(error)


class TestHandshakeRejected:
    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_credentials_halt(self, status):
        error = HandshakeRejected(status)
        assert (error.category, error.recovery) == (Category.AUTHENTICATION, Recovery.HALT)

    @pytest.mark.parametrize("status", [200, 400, 404, 407, 429, 500, 503])
    def test_anything_else_may_be_tried_again(self, status):
        error = HandshakeRejected(status)
        assert (error.category, error.recovery) == (Category.CONNECTION, Recovery.RECONNECT)

    def test_its_halt_is_its_own(self):
        HandshakeRejected(401)
        assert HandshakeRejected.recovery is Recovery.RECONNECT

    @pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("120", 120.0), (" 7\t", 7.0)])
    def test_retry_after_in_seconds(self, text, seconds):
        error = HandshakeRejected(503, [("x", "y"), ("RETRY-after", text)])
        assert error.retry_after == seconds
        assert f"wait {seconds:g} s" in str(error)

    NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    LATER = datetime(2026, 3, 1, 12, 1, 30, tzinfo=UTC)

    def test_retry_after_as_a_date_needs_to_know_the_time(self):
        headers = [("Retry-After", format_datetime(self.LATER, usegmt=True))]
        assert HandshakeRejected(503, headers).retry_after is None
        assert HandshakeRejected(503, headers, now=self.NOW.timestamp()).retry_after == 90.0

    def test_the_responses_own_date_goes_before_this_machines_clock(self):
        headers = [("Date", format_datetime(self.NOW)), ("Retry-After", format_datetime(self.LATER, usegmt=True))]
        assert HandshakeRejected(503, headers, now=0.0).retry_after == 90.0

    def test_a_date_in_another_zone_is_understood(self):
        headers = [("Retry-After", "Sun, 01 Mar 2026 13:01:30 +0100")]
        assert HandshakeRejected(503, headers, now=self.NOW.timestamp()).retry_after == 90.0

    def test_a_date_in_the_past_means_now(self):
        headers = [("Retry-After", format_datetime(self.NOW, usegmt=True))]
        assert HandshakeRejected(503, headers, now=self.LATER.timestamp()).retry_after == 0.0

    @pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "1" * 5000, "\u0661", "Fri, 99 Foo 0000 99:99:99 GMT"])
    def test_a_retry_after_without_sense_is_none(self, text):
        assert HandshakeRejected(503, [("Retry-After", text)], now=0.0).retry_after is None

    @given(st.text())
    @settings(deadline=None)
    def test_no_retry_after_breaks_the_error(self, text):
        retry_after = HandshakeRejected(503, [("Retry-After", text)], now=0.0).retry_after
        assert retry_after is None or retry_after >= 0.0

    def test_the_first_of_two_counts(self):
        assert HandshakeRejected(503, [("Retry-After", "1"), ("Retry-After", "2")]).retry_after == 1.0
