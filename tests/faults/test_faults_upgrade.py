"""Group 3, the upgrade: what a server may answer instead of a good 101, and what of it a user sees."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import pytest
from faulty_server import FaultyServer
from leftovers import LOOPS, closes_with, ends_with, nothing_left, run_checked
from processes import in_process
from raw_server import CLOSE, TEXT, accept, close_frame, connect, frame

import wsx
from wsx.errors import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    HandshakeRejected,
    InvalidHandshake,
    ProtocolError,
)

QUICK = wsx.Backoff(initial=0.01, cap=0.02)
STATUSES = [200, 204, 301, 302, 304, 307, 400, 401, 403, 404, 407, 426, 429, 500, 502, 503, 504, *range(520, 527)]


def answering(*pieces, pause=0.0):
    """A server that answers every request with these bytes and goes on listening."""

    def serve(peer):
        peer.read_request()
        for piece in pieces:
            peer.send(piece)
            if pause and peer.wait(pause):
                return
        peer.until_gone()

    return FaultyServer(serve)


def upgrading(change=lambda head: head, behind=b"", then=lambda peer: peer.until_gone()):
    """A server whose 101 is changed by the test."""

    def serve(peer):
        peer.send(change(accept(peer.read_request())) + behind)
        then(peer)

    return FaultyServer(serve)


async def refused(server, words, kind=InvalidHandshake, **options):
    error = await ends_with(kind, connect(server.url, **options), stage="upgrade", within=5)
    assert words in str(error)
    return error


# ---- 3.1 rejections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
def test_3_1_a_rejection_is_kept_whole(run, status):
    body = b"" if status in (204, 304) else b"x" * 5000
    head = f"HTTP/1.1 {status} No\r\nX-Trace: 7\r\nLocation: /elsewhere\r\nContent-Length: {len(body)}\r\n\r\n"

    async def main():
        with answering(head.encode() + body) as server:
            error = await ends_with(HandshakeRejected, connect(server.url), stage="upgrade", within=5)
            assert (error.status, error.body) == (status, body[:4096])
            assert ("X-Trace", "7") in error.headers
            assert server.count == 1  # no redirect is followed

    run(main())


BODIES = {
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nsorry\r\n0\r\n\r\n",
    "chunked, in odd case, beside a length": b"transfer-encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n5\r\nsorry\r\n0\r\n\r\n",
    "chunks with bare line feeds": b"Transfer-Encoding: chunked\n\n5\nsorry\n0\n\n",
    "two equal lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nsorry",
    "a list of equal lengths": b"Content-Length: 5, 5\r\n\r\nsorry",
    "more than its length": b"Content-Length: 5\r\n\r\nsorry and more",
}


@pytest.mark.parametrize("rest", BODIES.values(), ids=BODIES)
def test_3_1_a_body_of_known_length_ends_with_it(run, rest):
    async def main():
        with answering(b"HTTP/1.1 503 No\r\n" + rest) as server:
            error = await ends_with(HandshakeRejected, connect(server.url), within=5)
            assert (error.status, error.body) == (503, b"sorry")

    run(main())


UNENDED = {
    "no length, the server stays": b"\r\nsorry",
    "less than its length": b"Content-Length: 50\r\n\r\nsorry",
    "a chunk without its end": b"Transfer-Encoding: chunked\r\n\r\n50\r\nsorry",
    "a length that is none": b"Content-Length: -1\r\n\r\nsorry",
}


@pytest.mark.parametrize("rest", UNENDED.values(), ids=UNENDED)
def test_3_1_a_body_that_never_ends_is_cut_at_the_deadline_and_the_status_kept(run, rest):
    async def main():
        with answering(b"HTTP/1.1 401 No\r\n" + rest) as server:
            for _ in range(3):
                error = await ends_with(HandshakeRejected, connect(server.url, connect_timeout=0.11), within=5)
                assert (error.status, error.body) == (401, b"sorry")

    run(main())


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("rest", UNENDED.values(), ids=UNENDED)
def test_3_1_a_body_that_is_cut_keeps_the_status(run, rest, how):
    def serve(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 429 No\r\n" + rest)
        getattr(peer, how)()
        if how == "end":
            peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            error = await ends_with(HandshakeRejected, connect(server.url), within=5)
            assert (error.status, error.body) == (429, b"sorry")

    run(main())


def test_3_1_a_body_without_end_is_bounded(run):
    def serve(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    async def main():
        with FaultyServer(serve) as server:
            error = await ends_with(HandshakeRejected, connect(server.url), within=5)
            assert error.body == b"x" * 4096

    run(main())


def cut_then_rejecting(answer):
    """The first connection is good and cut when the client speaks; from then on every request gets `answer`."""

    def serve(peer):
        request = peer.read_request()
        if server.count == 1:
            peer.send(accept(request))
            peer.frame()
        else:
            peer.send(answer)

    server = FaultyServer(serve)
    return server


async def first_plans(server, backoff, count):
    """What a client plans after that cut: the events of its reconnection, so many of them."""
    seen = []
    client = await wsx.connect(server.url, reconnect=backoff, on_event=seen.append)
    await client.send("cut me")
    while len(plans := [event for event in seen if isinstance(event, wsx.events.Reconnecting)]) < count:
        assert client.state is not wsx.State.CLOSED
        await asyncio.sleep(0.005)
    await client.close()
    return plans


@pytest.mark.parametrize("status", [401, 403])
def test_3_1_refused_credentials_halt(run, status):
    async def main():
        with cut_then_rejecting(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as server:
            client = await wsx.connect(server.url, reconnect=QUICK)
            await client.send("cut me")
            with pytest.raises(HandshakeRejected):
                await client.recv()
            assert client.state is wsx.State.HALTED
            await asyncio.sleep(0.1)  # five attempts' time
            assert server.count == 2
            await client.close()
            assert client.state is wsx.State.CLOSED

    run(main())


@pytest.mark.parametrize("status", [429, 503])
def test_3_1_a_server_that_asks_to_wait_is_heard(run, status):
    async def main():
        with cut_then_rejecting(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % status) as server:
            _, asked = await first_plans(server, QUICK, 2)
            assert 7 <= asked.delay_seconds <= 7 + QUICK.cap
            assert asked.error.retry_after == 7

    run(main())


@pytest.mark.parametrize("status", [301, 429])
def test_3_1_what_will_not_go_away_soon_is_asked_the_longest_after(run, status):
    async def main():
        with cut_then_rejecting(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as server:
            _, longest = await first_plans(server, wsx.Backoff(initial=0.01, cap=60), 2)
            assert longest.delay_seconds >= 48

    run(main())


# ---- 3.2, 3.6 a 101 that is none ------------------------------------------------------------------------------------

BROKEN = {
    "wrong accept": (lambda head: head.replace(b"Accept: ", b"Accept: x"), "Sec-WebSocket-Accept"),
    "no accept": (lambda head: head.replace(b"Sec-WebSocket-Accept", b"X"), "Sec-WebSocket-Accept"),
    "accept twice": (
        lambda head: head[:-2] + head[head.index(b"Sec-WebSocket-Accept") : -2] + b"\r\n",
        "Sec-WebSocket-Accept",
    ),
    "no Upgrade": (lambda head: head.replace(b"Upgrade: websocket\r\n", b""), "Upgrade"),
    "another Upgrade": (lambda head: head.replace(b"websocket", b"h2c"), "Upgrade"),
    "no Connection": (lambda head: head.replace(b"Connection: Upgrade\r\n", b""), "Connection"),
    "HTTP/1.0": (lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0"), "HTTP/1.0"),
    "HTTP/2": (lambda head: head.replace(b"HTTP/1.1", b"HTTP/2"), "status line"),
    "http in lower case": (lambda head: head.replace(b"HTTP", b"http"), "does not speak HTTP"),
    "a space before the colon": (lambda head: head.replace(b"Upgrade:", b"Upgrade :"), "proper name"),
    "a name with a space": (lambda head: head.replace(b"Upgrade:", b"X Y: z\r\nUpgrade:"), "proper name"),
    "a line without a colon": (lambda head: head.replace(b"Upgrade:", b"X\r\nUpgrade:"), "proper name"),
    "a bare carriage return": (lambda head: head.replace(b"Upgrade:", b"X: a\rb\r\nUpgrade:"), "control character"),
    "NUL": (lambda head: head.replace(b"Upgrade:", b"X: a\0b\r\nUpgrade:"), "control character"),
    "a fold before any header": (lambda head: head.replace(b"Upgrade:", b" x\r\nUpgrade:", 1), "folded"),
    "an empty first line": (lambda head: b"\r\n" + head, "does not speak HTTP"),
    "an extension": (lambda head: head[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"),
    "a subprotocol": (lambda head: head[:-2] + b"Sec-WebSocket-Protocol: never\r\n\r\n", "subprotocol"),
    "no subprotocol's name": (lambda head: head[:-2] + b"Sec-WebSocket-Protocol:\r\n\r\n", "subprotocol"),
    "two subprotocols in a list": (lambda head: head[:-2] + b"Sec-WebSocket-Protocol: a, b\r\n\r\n", "subprotocol"),
    "a subprotocol twice": (
        lambda head: head[:-2] + b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n\r\n",
        "subprotocol",
    ),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_3_2_and_3_6_a_101_that_breaks_the_rules_is_refused(run, change, words):
    async def main():
        with upgrading(change) as server:
            await refused(server, words, subprotocols=["a", "b"])

    run(main())


# ---- 3.3 what looks odd and is legal --------------------------------------------------------------------------------

ODD = {
    "keep-alive beside Upgrade": lambda head: head.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
    "odd case": lambda head: head.replace(b"Upgrade: websocket", b"uPGRADE: WebSocket").replace(
        b"Connection: Upgrade", b"CONNECTION: UPGRADE"
    ),
    "folded": lambda head: head.replace(b"Connection: Upgrade", b"Connection: keep-alive,\r\n\t Upgrade"),
    "spaces around": lambda head: head.replace(b"Upgrade: websocket", b"Upgrade: \t websocket \t"),
    "no space": lambda head: head.replace(b"Upgrade: websocket", b"Upgrade:websocket"),
    "Connection in two fields": lambda head: head.replace(b"Connection:", b"Connection: x\r\nConnection:"),
    "bare line feeds": lambda head: head.replace(b"\r\n", b"\n"),
    "no reason": lambda head: head.replace(b" Switching Protocols", b""),
    "a reason in another script": lambda head: head.replace(b"Switching", "ねこ".encode()),
    "other headers": lambda head: head.replace(b"Upgrade:", b"Set-Cookie: a=b\r\nX: \xff\r\nUpgrade:", 1),
    "100 and 103 before": lambda head: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + head,
    "an empty list of extensions": lambda head: head[:-2] + b"Sec-WebSocket-Extensions: ,\r\n\r\n",
    "a body's length": lambda head: head[:-2] + b"Content-Length: 5\r\n\r\n",  # RFC 9112 6.3, point 1: it has none
    "a body's coding": lambda head: head[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
    "a subprotocol that was offered": lambda head: head[:-2] + b"Sec-WebSocket-Protocol: b\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_3_3_what_is_legal_is_accepted(run, change, drip):
    def serve(peer):
        answer = change(accept(peer.read_request())) + frame(TEXT, b"welcome")
        peer.drip(answer) if drip else peer.send(answer)
        while peer.frame().opcode != CLOSE:
            pass
        peer.send(close_frame(1000))

    async def main():
        with FaultyServer(serve) as server:
            async with connect(server.url, subprotocols=["a", "b"]) as client:
                assert (await client.recv()).text == "welcome"

    run(main())


# ---- 3.4 without end ------------------------------------------------------------------------------------------------


def endless(piece, head=b"HTTP/1.1 101 Switching Protocols\r\n"):
    def serve(peer):
        peer.read_request()
        peer.send(head)
        for _ in range(200_000):
            peer.send(piece)

    return FaultyServer(serve)


ENDLESS = {
    "a header of a mebibyte": (b"X: ".ljust(1 << 20, b"y") + b"\r\n", "16384 bytes"),
    "headers of a mebibyte": (b"X: ".ljust(8000, b"y") + b"\r\n", "65536 bytes"),
    "10,000 headers": (b"X: y\r\n", "256 header lines"),
    "10,000 folded lines": (b" y\r\n", "folded line before any header"),
    "a line without end": (b"y" * 1000, "16384 bytes"),
    "interim responses": (b"\r\nHTTP/1.1 100 Continue\r\n", "interim responses"),
}


@pytest.mark.parametrize(("piece", "words"), ENDLESS.values(), ids=ENDLESS)
def test_3_4_headers_have_a_greatest_size(run, piece, words):
    head = b"HTTP/1.1 100 Continue\r\n" if "interim" in words else b"HTTP/1.1 101 Switching Protocols\r\n"

    async def main():
        with endless(piece, head) as server:
            await refused(server, words)

    run(main())


SLOW = {
    "nothing": b"",
    "a status line": b"HTTP/1.1 101 ".ljust(1000, b"y"),
    "a header": b"HTTP/1.1 101 Switching Protocols\r\nX: ".ljust(1000, b"y"),
    "interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 5,
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_3_4_a_byte_now_and_then_does_not_put_off_the_one_deadline(run, answer):
    def serve(peer):
        peer.read_request()
        peer.drip(answer, pause=0.03)
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            since = time.monotonic()
            error = await ends_with(ConnectionFailed, connect(server.url, connect_timeout=0.3), stage="upgrade")
            assert time.monotonic() - since < 3  # all the bytes take longer, or never end
            assert "connect_timeout=0.3 s" in str(error)

    run(main())


# ---- 3.5 what comes behind the 101 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "reset", "close frame"])
@pytest.mark.parametrize("count", [1, 500])
def test_3_5_frames_behind_the_101_are_delivered_also_where_the_server_ends_at_once(run, count, how):
    frames = b"".join(frame(TEXT, b"%d" % number) for number in range(count))

    def serve(peer):
        peer.upgrade(behind=frames + (close_frame(1000) if how == "close frame" else b""))
        if how != "close frame":
            getattr(peer, how)()
        if how != "reset":
            peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left():
                client = await connect(server.url)
                assert [(await client.recv()).text for _ in range(count)] == [str(number) for number in range(count)]
                with pytest.raises(ConnectionClosed if how == "close frame" else ConnectionLost):
                    await client.recv()
                await client.wait_closed()

    run(main())


NOT_FRAMES = {
    "HTML": b"<html>not a frame</html>",
    "another response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "noise": bytes(range(0x70, 0xF0)),
}


@pytest.mark.parametrize("behind", NOT_FRAMES.values(), ids=NOT_FRAMES)
def test_3_5_what_is_no_frame_behind_the_101_is_a_protocol_error_of_an_open_client(run, behind):
    async def main():
        with upgrading(behind=behind, then=lambda peer: peer.frames()) as server:
            async with nothing_left():
                client = await connect(server.url, close_timeout=0.3)
                await closes_with(ProtocolError, client)

    run(main())


# ---- 3.7 what a user gives ------------------------------------------------------------------------------------------

BAD = ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\x7fb", "ä", "a\u2028b", "a\x1b[2Jb"]


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_3_7_what_must_not_go_onto_the_wire_is_refused_before_anything_opens(run, text):
    async def main():
        with FaultyServer(lambda peer: peer.upgrade()) as server:
            attempts = [
                lambda: connect(server.url, headers={"X-Name": text}),
                lambda: connect(server.url, headers={"X" + text: "value"}),
                lambda: connect(server.url, headers={"X-Name": wsx.Secret(text)}),
                lambda: connect(server.url, headers={"Host": text}),
                lambda: connect(server.url, headers=lambda: {"X-Name": text}),
                lambda: connect(server.url, subprotocols=[text]),
                lambda: connect(server.url + text),
                lambda: connect(server.url + "?" + text),
                lambda: connect(lambda: server.url + text),
                lambda: connect(server.url.replace("127.0.0.1", text)),
            ]
            for attempt in attempts:
                with pytest.raises(ValueError, match=r"\S") as caught:
                    await attempt()
                assert text.isprintable() or text not in str(caught.value)
            assert server.count == 0

    run(main())


# ---- 3.9 the environment --------------------------------------------------------------------------------------------


def test_3_9_the_environments_proxies_and_netrc_are_ignored():
    in_process(_with_proxies_and_netrc)


def _with_proxies_and_netrc():
    heard, asked = [], []

    def serve(peer):
        peer.upgrade()
        asked.append(peer.request)
        peer.frame()

    async def main():
        with FaultyServer(lambda peer: heard.append(peer.sock.recv(100))) as trap, FaultyServer(serve) as server:
            for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
                os.environ[name] = os.environ[name.upper()] = f"http://user:canary@127.0.0.1:{trap.port}"
            async with connect(server.url, close_timeout=0.2) as client:
                assert client.state is wsx.State.OPEN

    with tempfile.TemporaryDirectory() as home:
        netrc = Path(home, ".netrc")
        netrc.write_text("machine 127.0.0.1 login user password canary\ndefault login user password canary\n")
        netrc.chmod(0o600)
        os.environ |= {"HOME": home, "NETRC": str(netrc), "no_proxy": "", "NO_PROXY": ""}
        for loop in LOOPS:
            run_checked(main(), loop)
    assert not heard
    assert len(asked) == len(LOOPS)
    assert not any(b"canary" in request or b"uthorization" in request for request in asked)
