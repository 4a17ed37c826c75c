"""The server's half of the upgrade: RFC 6455 4.2."""

import base64
import itertools

import pytest
import websockets.client
import websockets.uri
import wsproto
import wsproto.events
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx.endpoint import parse_url
from wsx.errors import HandshakeRejected, ProtocolError
from wsx.transport.handshake import ResponseReader, build_request
from wsx.transport.server_handshake import Request, RequestReader, accept_response, reject_response

NONCE = bytes(range(16))
FIELDS = [
    ("Host", "h"),
    ("Upgrade", "websocket"),
    ("Connection", "keep-alive, Upgrade"),
    ("Sec-WebSocket-Key", base64.b64encode(NONCE).decode()),
    ("Sec-WebSocket-Version", "13"),
]


def request(fields=FIELDS, line="GET /ws?a=1 HTTP/1.1", body=b""):
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields), "", ""]).encode() + body


def changed(name, *values):
    return [field for field in FIELDS if field[0] != name] + [(name, value) for value in values]


def outcome(data, cuts=()):
    reader, edges = RequestReader(), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        try:
            got = reader.feed(data[start:end])
        except ProtocolError as error:
            return str(error)
        if got is not None:
            return got.resource, got.headers, got.key, got.subprotocols, got.leftover + data[end:]
    return None


class TestRequest:
    def test_it_is_taken_apart(self):
        fields = [*FIELDS, ("Sec-WebSocket-Protocol", "a, b"), ("X-a", "1"), ("sec-websocket-protocol", "c")]
        got = RequestReader().feed(request(fields, body=b"early"))
        assert got == Request("/ws?a=1", tuple(fields), FIELDS[3][1], ("a", "b", "c"), b"early")

    def test_the_clients_half_is_understood(self):
        data = build_request(parse_url("ws://h:81/p"), {"X-a": "1"}, ["v1", "v2"], nonce=NONCE)
        got = RequestReader().feed(data)
        assert (got.resource, got.subprotocols) == ("/p", ("v1", "v2"))
        assert ("Host", "h:81") in got.headers
        assert ("X-a", "1") in got.headers

    @pytest.mark.parametrize(
        ("data", "word"),
        [
            (request(line="POST / HTTP/1.1"), "b'POST'"),
            (request(line="GET / HTTP/1.0"), "request line"),
            (request(line="GET /a b HTTP/1.1"), "request line"),
            (request(line="GET  HTTP/1.1"), "request line"),
            (request(line="GET "), "request line"),
            (request(changed("Host")), "Host"),
            (request(changed("Host", "a", "b")), "Host"),
            (request(changed("Upgrade", "h2c")), "Upgrade"),
            (request(changed("Connection", "close")), "Connection"),
            (request(changed("Sec-WebSocket-Key")), "Key"),
            (request(changed("Sec-WebSocket-Key", FIELDS[3][1], FIELDS[3][1])), "Key"),
            (request(changed("Sec-WebSocket-Key", "AAAA")), "Key"),
            (request(changed("Sec-WebSocket-Key", "not base64")), "Key"),
            (request(changed("Sec-WebSocket-Key", "\xe9" * 24)), "Key"),
            (request(changed("Sec-WebSocket-Version", "8")), "Version"),
            (b"\x16\x03\x01\x02\x00", "TLS"),
            (request([("X", "y")] * 257), "256"),
        ],
    )
    def test_one_that_breaks_the_rules_is_named(self, data, word):
        with pytest.raises(ProtocolError, match=f"the client .*{word}") as caught:
            RequestReader().feed(data)
        assert caught.value.close_code == 1002

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10_000), max_size=8), st.integers(0, 200), st.binary(max_size=3))
    def test_damaged_or_not_any_split_gives_the_same(self, cuts, at, added):
        data = request(body=b"early")
        for whole in (data, data[:at] + added + data[at + len(added) :]):
            assert outcome(whole, cuts) == outcome(whole) == outcome(whole, range(len(whole)))


class TestAnswer:
    def test_an_acceptance_is_accepted_by_the_clients_half(self):
        got = RequestReader().feed(request([*FIELDS, ("Sec-WebSocket-Protocol", "v1")]))
        response = ResponseReader(NONCE, ["v1"]).feed(accept_response(got, "v1", [("X-a", "1")]) + b"frames")
        assert (response.subprotocol, response.headers[-1], response.leftover) == ("v1", ("X-a", "1"), b"frames")

    @pytest.mark.parametrize("status", [404, 599])
    def test_a_rejection_reaches_the_client_whole(self, status):
        with pytest.raises(HandshakeRejected) as caught:
            ResponseReader(NONCE).feed(reject_response(status, [("Retry-After", "3")], b"no"))
        assert (caught.value.status, caught.value.body, caught.value.retry_after) == (status, b"no", 3.0)

    def test_a_line_break_in_a_field_is_refused(self):
        got = RequestReader().feed(request())
        for fields in ([("X", "a\r\nY: b")], [("X\n", "a")]):
            with pytest.raises(ValueError, match="line break"):
                accept_response(got, headers=fields)
            with pytest.raises(ValueError, match="line break"):
                reject_response(400, fields)


class TestInterop:
    def test_websockets_is_accepted(self):
        client = websockets.client.ClientProtocol(websockets.uri.parse_uri("ws://h:81/p"), subprotocols=["v1"])
        client.send_request(client.connect())
        got = RequestReader().feed(b"".join(client.data_to_send()))
        client.receive_data(accept_response(got, "v1"))
        client.events_received()
        assert client.state is websockets.client.State.OPEN
        assert client.subprotocol == "v1"

    def test_wsproto_is_accepted(self):
        client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        got = RequestReader().feed(client.send(wsproto.events.Request(host="h", target="/p")))
        client.receive_data(accept_response(got))
        assert [type(event) for event in client.events()] == [wsproto.events.AcceptConnection]
