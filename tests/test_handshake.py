"""The client's half of the upgrade: RFC 6455 4.1, and faults 3.1 to 3.6."""

import base64
import itertools
import ssl

import pytest
import trustme
import websockets.http11
import websockets.server
import wsproto
import wsproto.events
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx.endpoint import Endpoint, parse_url
from wsx.errors import ConnectionFailed, HandshakeRejected, InvalidHandshake, ProtocolError, Recovery, Stage
from wsx.secret import Secret
from wsx.transport.handshake import Response, ResponseReader, build_request, sec_websocket_accept

NONCE = base64.b64decode("dGhlIHNhbXBsZSBub25jZQ==")  # the example of RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ENDPOINT = parse_url("wss://server.example.com/chat?room=1")
UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)]


def answer(fields=UPGRADE, status_line="HTTP/1.1 101 Switching Protocols", body=b""):
    lines = [status_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def without(name):
    return [field for field in UPGRADE if field[0] != name]


def read(data, *, subprotocols=(), now=None, step=None):
    """Feed `data` in pieces of `step` bytes (None: at once), then the end of the connection."""
    reader = ResponseReader(NONCE, subprotocols, now=now)
    for start in range(0, len(data), step or max(1, len(data))):
        response = reader.feed(data[start : start + (step or len(data))])
        if response is not None:
            return (
                Response(response.headers, response.subprotocol, data[start + (step or len(data)) :])
                if step
                else response
            )
    reader.eof()
    return None


def outcome(data, **options):
    """What reading `data` ends with, in a form that can be compared."""
    try:
        return read(data, **options)
    except ConnectionFailed as error:
        return type(error), str(error), {name: value for name, value in vars(error).items() if name != "context"}


class TestRequest:
    def test_it_is_the_one_of_rfc_6455(self):
        assert build_request(ENDPOINT, nonce=NONCE) == (
            b"GET /chat?room=1 HTTP/1.1\r\n"
            b"Host: server.example.com\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"\r\n"
        )

    def test_the_users_headers_follow_in_their_order_and_case(self):
        request = build_request(ENDPOINT, [("x-B", "2"), ("X-a", "1"), ("x-B", "3")], nonce=NONCE)
        assert request.endswith(b"Sec-WebSocket-Version: 13\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\n\r\n")

    def test_subprotocols_are_offered_in_order_of_preference(self):
        request = build_request(ENDPOINT, subprotocols=["chat.v2", "chat"], nonce=NONCE)
        assert b"\r\nSec-WebSocket-Protocol: chat.v2, chat\r\n" in request

    def test_a_host_of_the_users_takes_the_place_of_ours(self):
        request = build_request(ENDPOINT, {"host": "front.example.net"}, nonce=NONCE)
        assert request.startswith(b"GET /chat?room=1 HTTP/1.1\r\nHost: front.example.net\r\nUpgrade")
        assert request.lower().count(b"host:") == 1

    def test_a_secret_is_revealed_onto_the_wire(self):
        request = build_request(ENDPOINT, {"Authorization": Secret("Bearer abc")}, nonce=NONCE)
        assert b"\r\nAuthorization: Bearer abc\r\n" in request

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "caf\xe9", "\u20ac"])
    def test_a_value_that_would_break_out_is_refused_without_showing_it(self, value):
        with pytest.raises(ValueError, match="header X-Test") as caught:
            build_request(ENDPOINT, {"X-Test": value}, nonce=NONCE)
        assert value not in str(caught.value)

    @pytest.mark.parametrize("item", ["a b", "a,b", "a\r\nX: 1", "", "\xe9"])
    def test_a_subprotocol_that_is_no_token_is_refused(self, item):
        with pytest.raises(ValueError, match="token"):
            build_request(ENDPOINT, subprotocols=["chat", item], nonce=NONCE)

    @pytest.mark.parametrize("resource", ["/a\r\nX-Evil: 1", "/a\0", "/\xe9"])
    def test_an_endpoint_built_by_hand_cannot_inject_a_header(self, resource):
        with pytest.raises(ValueError, match="parse_url"):
            build_request(Endpoint(True, "h", 443, resource), nonce=NONCE)

    @pytest.mark.parametrize("length", [0, 15, 17])
    def test_a_nonce_of_another_length_is_refused(self, length):
        with pytest.raises(ValueError, match="16 random bytes"):
            build_request(ENDPOINT, nonce=bytes(length))


class TestUpgradeAccepted:
    def test_the_accept_value_is_the_one_of_rfc_6455(self):
        assert sec_websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == ACCEPT

    def test_headers_are_kept_as_pairs_in_order(self):
        fields = [*UPGRADE, ("X-Two", "b"), ("x-two", "a\xe9")]
        assert read(answer(fields)) == Response(tuple(fields), None, b"")

    @pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "UPGRADE", "upgrade,keep-alive", ",, uPgRaDe ,"])
    def test_odd_but_legal_forms_of_connection_are_accepted(self, connection):
        assert read(answer([*without("Connection"), ("cOnNeCtIoN", connection)])).subprotocol is None

    def test_connection_may_come_in_two_fields(self):
        fields = [*without("Connection"), ("Connection", "keep-alive"), ("Connection", "Upgrade")]
        assert read(answer(fields)).headers == tuple(fields)

    def test_folded_lines_are_joined_with_a_space(self):
        data = answer().replace(b"Connection: Upgrade", b"Connection:\r\n \t keep-alive,\r\n\tUpgrade  ")
        assert ("Connection", "keep-alive, Upgrade") in read(data).headers

    def test_the_case_of_websocket_does_not_matter(self):
        assert read(answer([("upgrade", " WebSocket\t"), *without("Upgrade")])).leftover == b""

    @pytest.mark.parametrize("line", ["HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.1 101 Whatever it says"])
    def test_the_reason_phrase_does_not_matter(self, line):
        assert read(answer(status_line=line)).headers == tuple(UPGRADE)

    def test_frames_in_the_same_segment_are_left_over(self):
        assert read(answer(body=b"\x81\x02hi\r\n\r\n")).leftover == b"\x81\x02hi\r\n\r\n"

    def test_an_offered_subprotocol_is_reported(self):
        fields = [*UPGRADE, ("Sec-WebSocket-Protocol", "chat")]
        assert read(answer(fields), subprotocols=["other", "chat"]).subprotocol == "chat"

    def test_a_server_may_choose_no_subprotocol(self):
        assert read(answer(), subprotocols=["chat"]).subprotocol is None

    def test_an_empty_list_of_extensions_switches_nothing_on(self):
        assert read(answer([*UPGRADE, ("Sec-WebSocket-Extensions", "")])).leftover == b""

    def test_interim_responses_are_skipped(self):
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert read(hints * 8 + b"" + answer(body=b"x")).leftover == b"x"

    def test_lines_may_end_in_a_bare_line_feed(self):
        assert read(answer().replace(b"\r\n", b"\n")).headers == tuple(UPGRADE)


BROKEN = {
    "no Upgrade": (answer(without("Upgrade")), "Upgrade"),
    "another protocol": (answer([("Upgrade", "h2c"), *without("Upgrade")]), "Upgrade"),
    "Upgrade twice": (answer([("Upgrade", "websocket"), *UPGRADE]), "Upgrade"),
    "no Connection": (answer(without("Connection")), "Connection"),
    "Connection: close": (answer([("Connection", "close"), *without("Connection")]), "Connection"),
    "upgrade as a part of a word": (answer([("Connection", "upgraded"), *without("Connection")]), "Connection"),
    "no accept": (answer(without("Sec-WebSocket-Accept")), "Accept"),
    "wrong accept": (
        answer([*without("Sec-WebSocket-Accept"), ("Sec-WebSocket-Accept", ACCEPT.lower())]),
        "Accept",
    ),
    "accept twice": (answer([*UPGRADE, ("sec-websocket-accept", ACCEPT)]), "Accept"),
    "extension": (answer([*UPGRADE, ("Sec-WebSocket-Extensions", "permessage-deflate")]), "extension"),
    "subprotocol": (answer([*UPGRADE, ("Sec-WebSocket-Protocol", "chat")]), "subprotocol"),
    "HTTP/1.0": (answer(status_line="HTTP/1.0 101 Switching Protocols"), "HTTP/1.0"),
    "HTTP/2 in words": (answer(status_line="HTTP/2.0 200 OK"), "HTTP/2.0"),
    "no status": (answer(status_line="HTTP/1.1 Switching Protocols"), "status line"),
    "status below 100": (answer(status_line="HTTP/1.1 001 Early"), "status line"),
    "nine interim responses": (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + answer(), "interim"),
    "space before the colon": (answer([("Upgrade ", "websocket"), *without("Upgrade")]), "name"),
    "no colon": (answer().replace(b"Upgrade: ", b"Upgrade ", 1), "name"),
    "no name": (answer([("", "x"), *UPGRADE]), "name"),
    "fold before any header": (answer().replace(b"Upgrade", b" Upgrade", 1), "folded"),
    "NUL in a value": (answer([*UPGRADE, ("X", "a\0b")]), "control"),
    "bare CR in a value": (answer([*UPGRADE, ("X", "a\rb")]), "control"),
}


class TestUpgradeRefused:
    @pytest.mark.parametrize(("data", "word"), BROKEN.values(), ids=BROKEN.keys())
    def test_an_answer_that_breaks_the_rules_is_named(self, data, word):
        with pytest.raises(InvalidHandshake, match=word) as caught:
            read(data)
        assert isinstance(caught.value, ConnectionFailed)
        assert isinstance(caught.value, ProtocolError)
        assert (caught.value.stage, caught.value.close_code) == (Stage.UPGRADE, 1002)

    @pytest.mark.parametrize("data", [data for data, _ in BROKEN.values()], ids=BROKEN.keys())
    def test_it_is_the_same_byte_by_byte(self, data):
        assert outcome(data, step=1) == outcome(data)

    def test_a_subprotocol_other_than_the_offered_ones_is_refused(self):
        with pytest.raises(InvalidHandshake, match="subprotocol"):
            read(answer([*UPGRADE, ("Sec-WebSocket-Protocol", "Chat")]), subprotocols=["chat"])

    def test_two_chosen_subprotocols_are_refused(self):
        fields = [*UPGRADE, ("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b")]
        with pytest.raises(InvalidHandshake, match="subprotocol"):
            read(answer(fields), subprotocols=["a", "b"])


NOT_HTTP = {
    "http2": (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "HTTP/2"),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    "smtp": (b"220 mail.example.com ESMTP\r\n", "does not speak HTTP here: it began with b'220 m'"),
    "empty lines": (b"\r\n\r\n\r\n", "does not speak HTTP"),
    "frame": (b"\x81\x05hello", "does not speak HTTP"),
}


class TestNotHttp:
    """Faults that a person meets with a wrong port or a wrong scheme: named in their words."""

    def test_a_tls_server_answers_a_plain_request_with_an_alert(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(b"\x16\x03\x01\x00\x05hello")  # OpenSSL alerts on a broken hello, as other servers do on HTTP
        with pytest.raises(ssl.SSLError):
            server.do_handshake()
        alert = outgoing.read()
        assert alert[:2] == b"\x15\x03"
        with pytest.raises(InvalidHandshake, match=r"speaks TLS here.*wss://"):
            ResponseReader(NONCE).feed(alert)

    @pytest.mark.parametrize(("data", "words"), NOT_HTTP.values(), ids=NOT_HTTP.keys())
    def test_what_is_spoken_there_is_said(self, data, words):
        with pytest.raises(InvalidHandshake, match=words):
            ResponseReader(NONCE).feed(data)

    @pytest.mark.parametrize("data", [data for data, _ in NOT_HTTP.values()], ids=NOT_HTTP.keys())
    def test_it_is_the_same_byte_by_byte(self, data):
        assert outcome(data, step=1) == outcome(data)

    @pytest.mark.parametrize(("data", "words"), [(b"\x15\x03", "TLS"), (b"\x15", "TLS"), (b"220", "b'220'")])
    def test_also_when_the_connection_ends_after_a_few_bytes(self, data, words):
        with pytest.raises(InvalidHandshake, match=words):
            read(data)


STATUSES = [200, 301, 400, 401, 403, 404, 429, 500, 502, 503, *range(520, 527), 999]


class TestRejected:
    @pytest.mark.parametrize("status", STATUSES)
    def test_status_headers_and_body_are_kept(self, status):
        data = answer([("Content-Length", "5"), ("X-Id", "7")], f"HTTP/1.1 {status} No", b"sorry")
        with pytest.raises(HandshakeRejected) as caught:
            ResponseReader(NONCE).feed(data)
        error = caught.value
        assert (error.status, error.body, error.stage) == (status, b"sorry", "upgrade")
        assert error.headers == [("Content-Length", "5"), ("X-Id", "7")]
        assert (error.recovery is Recovery.HALT) == (status in (401, 403))

    def test_a_rejection_in_http_1_0_is_still_a_rejection(self):
        with pytest.raises(HandshakeRejected) as caught:
            read(answer([], "HTTP/1.0 404 Not Found", b"gone"))
        assert (caught.value.status, caught.value.body) == (404, b"gone")

    def test_a_redirect_is_not_followed_and_its_target_not_shown(self):
        with pytest.raises(HandshakeRejected, match="not followed") as caught:
            read(answer([("Location", "wss://evil.example/?token=canary")], "HTTP/1.1 301 Moved"))
        assert "canary" not in str(caught.value) + repr(caught.value)

    def test_the_body_is_cut_at_4096_bytes_without_waiting_for_the_rest(self):
        with pytest.raises(HandshakeRejected) as caught:
            ResponseReader(NONCE).feed(answer([("Content-Length", "1000000")], "HTTP/1.1 500 No", b"x" * 5000))
        assert caught.value.body == b"x" * 4096

    def test_a_body_without_length_ends_with_the_connection(self):
        reader = ResponseReader(NONCE)
        assert reader.status is None
        assert reader.feed(answer([], "HTTP/1.1 502 Bad Gateway", b"up")) is None
        assert reader.feed(b"stream") is None
        assert reader.status == 502
        with pytest.raises(HandshakeRejected) as caught:
            reader.eof()
        assert caught.value.body == b"upstream"

    def test_a_chunked_body_is_decoded(self):
        body = b"4;x=1\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n"
        with pytest.raises(HandshakeRejected) as caught:
            ResponseReader(NONCE).feed(answer([("Transfer-Encoding", "chunked")], "HTTP/1.1 404 No", body))
        assert caught.value.body == b"wikipedia"

    def test_retry_after_as_a_date_is_measured_against_now(self):
        fields = [("Content-Length", "0"), ("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")]
        with pytest.raises(HandshakeRejected) as caught:
            read(answer(fields, "HTTP/1.1 503 Later"), now=946684769.0)
        assert caught.value.retry_after == 30.0


class TestEndOfConnection:
    def test_closing_before_the_answer_fails_at_the_upgrade(self):
        with pytest.raises(ConnectionFailed, match="without answering") as caught:
            ResponseReader(NONCE).eof()
        assert type(caught.value) is ConnectionFailed
        assert caught.value.stage == "upgrade"

    @pytest.mark.parametrize("cut", range(1, len(answer())))
    def test_closing_at_any_byte_of_the_answer_fails_at_the_upgrade(self, cut):
        with pytest.raises(ConnectionFailed, match="middle of the headers") as caught:
            read(answer()[:cut])
        assert caught.value.stage == "upgrade"


class TestCaps:
    def endless(self, piece, first=b"HTTP/1.1 101 X\r\n", most=200_000):
        """Bytes taken until the reader refuses to go on."""
        reader = ResponseReader(NONCE)
        reader.feed(first)
        try:
            for fed in range(len(first), most, len(piece)):
                taken = fed
                reader.feed(piece)
        except InvalidHandshake as error:
            return taken, str(error)
        pytest.fail(f"{most} bytes were taken")

    def test_a_line_without_end_stops_at_16_kib(self):
        taken, text = self.endless(b"x" * 100)
        assert taken <= 16 * 1024 + 100
        assert "16384" in text

    def test_a_status_line_without_end_stops_at_16_kib(self):
        taken, text = self.endless(b"x", b"HTTP/1.1 101 ")
        assert taken <= 16 * 1024
        assert "16384" in text

    def test_headers_of_a_mebibyte_stop_at_64_kib(self):
        taken, text = self.endless(b"X: " + b"y" * 8000 + b"\r\n")
        assert taken <= 64 * 1024
        assert "65536" in text

    def test_ten_thousand_headers_stop_at_256(self):
        taken, text = self.endless(b"X: y\r\n")
        assert taken <= 16 + 257 * 6
        assert "256" in text

    def test_256_headers_pass(self):
        fields = [*UPGRADE, *[("X", "y")] * 253]
        assert len(read(answer(fields)).headers) == 256

    def test_each_interim_response_has_the_caps_of_any_other(self):
        with pytest.raises(InvalidHandshake, match="16384"):
            read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 " + b"x" * 20_000)


GOOD_ANSWERS = [
    answer(body=b"\x81\x00"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
    answer([*UPGRADE, ("Sec-WebSocket-Protocol", "chat")]),
    answer([("Content-Length", "3")], "HTTP/1.1 503 Busy", b"abc"),
    answer([("Transfer-Encoding", "chunked")], "HTTP/1.1 404 No", b"2\r\nab\r\n1;z\r\nc\r\n0\r\n\r\n"),
    answer([("Retry-After", "7")], "HTTP/1.1 429 Slow down", b"until the end"),
]


def feed_in_pieces(data, cuts):
    reader, edges = ResponseReader(NONCE, ["chat"]), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    try:
        for start, end in itertools.pairwise(edges):
            response = reader.feed(data[start:end])
            if response is not None:
                return Response(response.headers, response.subprotocol, response.leftover + data[end:])
        reader.eof()
    except ConnectionFailed as error:
        return type(error), str(error), {name: value for name, value in vars(error).items() if name != "context"}


class TestAnyBytes:
    @settings(deadline=None)
    @given(st.sampled_from(GOOD_ANSWERS), st.lists(st.integers(0, 10_000), max_size=8))
    def test_any_split_gives_the_same_result(self, data, cuts):
        assert feed_in_pieces(data, cuts) == outcome(data, subprotocols=["chat"])

    @settings(deadline=None)
    @given(
        st.sampled_from(GOOD_ANSWERS),
        st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2), st.binary(max_size=3)), min_size=1, max_size=4),
        st.lists(st.integers(0, 10_000), max_size=4),
    )
    def test_damaged_answers_end_in_a_named_error_or_pass_the_same_in_any_split(self, data, damages, cuts):
        for place, removed, added in damages:
            at = place % (len(data) + 1)
            data = data[:at] + added + data[at + removed :]
        assert feed_in_pieces(data, cuts) == feed_in_pieces(data, ()) == feed_in_pieces(data, range(len(data)))

    @settings(deadline=None)
    @given(st.binary(max_size=64))
    def test_bytes_without_sense_end_in_a_named_error(self, data):
        kind, text, _ = outcome(b"HTTP/" + data)
        assert issubclass(kind, ConnectionFailed)
        assert "upgrade" in text


class TestInterop:
    """The same bytes with two implementations that know nothing of this one."""

    def test_websockets_accepts_the_request_and_its_answer_is_accepted(self):
        server = websockets.server.ServerProtocol(subprotocols=["chat"])
        server.receive_data(build_request(ENDPOINT, {"X-A": "1"}, ["chat"], nonce=NONCE))
        [request] = server.events_received()
        assert isinstance(request, websockets.http11.Request)
        assert request.headers["X-A"] == "1"
        server.send_response(server.accept(request))
        assert read(b"".join(server.data_to_send()), subprotocols=["chat"]).subprotocol == "chat"

    def test_wsproto_accepts_the_request_and_its_answer_is_accepted(self):
        server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        server.receive_data(build_request(ENDPOINT, nonce=NONCE))
        [request] = server.events()
        assert (request.host, request.target) == ("server.example.com", "/chat?room=1")
        assert read(server.send(wsproto.events.AcceptConnection())).subprotocol is None

    def test_a_rejection_by_websockets_is_read_whole(self):
        server = websockets.server.ServerProtocol()
        server.receive_data(build_request(ENDPOINT, nonce=NONCE))
        server.send_response(server.reject(403, "not you\n"))
        with pytest.raises(HandshakeRejected) as caught:
            read(b"".join(server.data_to_send()))
        assert (caught.value.status, caught.value.body) == (403, b"not you\n")
