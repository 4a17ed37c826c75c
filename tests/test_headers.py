"""Header fields of the user's: fault 3.7 and promise 6."""

import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx.headers import carries_credentials, checked_headers, is_token
from wsx.secret import Secret


def test_pairs_keep_their_order_and_case():
    pairs = [("X-b", "1"), ("x-A", "2"), ("X-b", "3")]
    assert checked_headers(pairs) == checked_headers(iter(pairs)) == tuple(pairs)
    assert checked_headers([["X-b", "1"]]) == (("X-b", "1"),)


def test_a_mapping_gives_its_items():
    assert checked_headers({"X-b": "1", "x-A": ""}) == (("X-b", "1"), ("x-A", ""))


def test_no_headers_are_fine():
    assert checked_headers(()) == checked_headers({}) == ()


def test_a_secret_stays_a_secret():
    secret = Secret("abc")
    assert checked_headers({"Authorization": secret}) == (("Authorization", secret),)


@pytest.mark.parametrize(
    "headers", [None, 5, "Authorization: x", b"x", ["Authorization: x"], [("a",)], [("a", "b", "c")]]
)
def test_what_is_not_name_and_value_is_a_type_error(headers):
    with pytest.raises(TypeError, match="name and value") as caught:
        checked_headers(headers)
    assert "Authorization" not in str(caught.value)


def test_types_of_name_and_value_are_checked():
    with pytest.raises(TypeError, match="name must be a str, not bytes"):
        checked_headers([(b"a", "b")])
    with pytest.raises(TypeError, match="header X-Id must be a str or a Secret, not int"):
        checked_headers({"X-Id": 5})


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\nb", "a\0", "n\xe4me", "(a)", " a", "a\u2028"])
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(ValueError, match="name must be"):
        checked_headers({name: "x"})


def test_a_whole_line_given_as_a_name_is_not_shown():
    with pytest.raises(ValueError, match=r"'Authorization\.\.\.'") as caught:
        checked_headers({"Authorization: Bearer canary": ""})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\n", "\r", "\0", "\x7f", "\x1b", "\xe9", "\u2028", "\ud800"])
@pytest.mark.parametrize("wrap", [str, Secret])
def test_a_value_that_http_does_not_carry_is_refused_and_not_shown(value, wrap):
    with pytest.raises(ValueError, match="value of header X-A") as caught:
        checked_headers({"X-A": wrap("canary" + value)})
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary" not in str(caught.value)
    assert wrap is str or "canary-" not in shown


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Upgrade", "itself"),
        ("CONNECTION", "itself"),
        ("sec-websocket-key", "itself"),
        ("Sec-WebSocket-Version", "itself"),
        ("Sec-WebSocket-Extensions", "itself"),
        ("Sec-WebSocket-Accept", "only a server"),
        ("Sec-WebSocket-Protocol", "subprotocols"),
        ("Content-Length", "no body"),
        ("Transfer-Encoding", "no body"),
    ],
)
def test_what_wsx_writes_itself_is_refused_with_a_hint(name, hint):
    with pytest.raises(ValueError, match=hint):
        checked_headers({name: "x"})


def test_one_host_may_be_given_and_no_second():
    assert checked_headers({"Host": "h"}) == (("Host", "h"),)
    with pytest.raises(ValueError, match="more than one Host"):
        checked_headers([("Host", "h"), ("host", "h")])


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "X-Api-Key",
        "X-MBX-APIKEY",
        "OK-ACCESS-SIGN",
        "ok_access_key",
        "X-Auth-Token",
        "Api-Signature",
        "CLIENT-SECRET",
        "OK-ACCESS-PASSPHRASE",
    ],
)
def test_names_that_look_like_credentials(name):
    assert carries_credentials(checked_headers({"User-Agent": "x", name: "y"}))


def test_any_secret_is_a_credential():
    assert carries_credentials(checked_headers({"X-Plain": Secret("y")}))


@pytest.mark.parametrize("name", ["User-Agent", "Origin", "X-Request-Id", "Accept-Language", "X-Signal", "Keyboard"])
def test_names_that_do_not_look_like_credentials(name):
    assert not carries_credentials(checked_headers({name: "y"}))


@pytest.mark.parametrize(
    ("text", "expected"), [("chat", True), ("v1.chat+x", True), ("", False), ("a b", False), ("a\n", False)]
)
def test_tokens_are_told_from_other_text(text, expected):
    assert is_token(text) is expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=3))
def test_what_passes_can_be_written_as_lines(pairs):
    try:
        checked = checked_headers(pairs)
    except ValueError:
        return
    wire = "".join(f"{name}: {value}\r\n" for name, value in checked).encode("ascii")
    assert wire.count(b"\n") == wire.count(b"\r") == len(pairs)
    assert b"\0" not in wire
