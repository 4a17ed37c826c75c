"""Group 2, TLS: refused, stalled, cut and ended without a CLOSE, each named, and never tried again in a storm."""

import asyncio
import contextlib
import datetime
import ssl
import warnings

import pytest
import trustme
from faulty_server import FaultyServer
from leftovers import closes_with, ends_with
from raw_server import TEXT, close_frame, connect, frame

import wsx
from wsx.errors import ConnectionFailed, ConnectionLost, HandshakeRejected

AUTHORITY = trustme.CA()
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
SLOW = wsx.Backoff(initial=0.01, cap=60)
HELD_OPEN = 5  # seconds: longer than what a test takes


def trusting(*authorities):
    """A client's context: these authorities and no other."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata="".join(each.cert_pem.bytes().decode() for each in authorities))
    return context


def showing(certificate):
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def good():
    return showing(AUTHORITY.issue_cert("127.0.0.1"))


def expired():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return showing(AUTHORITY.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO))


def not_yet_valid():
    return showing(AUTHORITY.issue_cert("127.0.0.1", not_before=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)))


def self_signed():
    """An authority's own certificate, shown as a server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    with authority.private_key_pem.tempfile() as key, authority.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context


def wrong_host():
    return showing(AUTHORITY.issue_cert("elsewhere.example"))


def unknown_authority():
    return showing(trustme.CA().issue_cert("127.0.0.1"))


def incomplete_chain():
    """Issued by an authority between, whose certificate the server does not send."""
    leaf = AUTHORITY.create_child_ca().issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with leaf.private_key_pem.tempfile() as key, leaf.cert_chain_pems[0].tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context


def tls_1_1_only():
    context = good()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


REFUSED = {
    "2.1 expired": (expired, "expired"),
    "2.1 not yet valid": (not_yet_valid, "not yet valid"),
    "2.2 self-signed": (self_signed, "self-signed"),
    "2.3 wrong host": (wrong_host, "mismatch"),
    "2.4 unknown authority": (unknown_authority, "unable to get local issuer"),
    "2.5 incomplete chain": (incomplete_chain, "unable to get local issuer"),
    "2.6 TLS 1.1 only": (tls_1_1_only, "no TLS version that is accepted here, 1.2 or newer"),
}


@pytest.mark.parametrize(("context", "words"), REFUSED.values(), ids=REFUSED)
def test_2_1_to_2_6_what_cannot_be_trusted_is_refused_with_the_reason(run, context, words):
    async def main():
        with FaultyServer(lambda peer: peer.upgrade(), tls=context()) as server:
            error = await ends_with(
                ConnectionFailed, wsx.connect(server.url, ssl=trusting(AUTHORITY)), stage="tls", within=5
            )
        assert words in str(error).replace("self signed", "self-signed")  # as older versions of OpenSSL write it
        assert isinstance(error.__cause__, ssl.SSLError)

    run(main())


def test_2_4_the_systems_roots_do_not_know_an_authority_of_ours(run):
    async def main():
        with FaultyServer(lambda peer: peer.upgrade(), tls=good()) as server:
            error = await ends_with(ConnectionFailed, wsx.connect(server.url), stage="tls")
            assert "certificate was refused" in str(error)

    run(main())


@pytest.mark.parametrize(("context", "words"), REFUSED.values(), ids=REFUSED)
def test_2_1_to_2_6_a_client_that_comes_back_waits_the_longest_at_once(run, context, words):
    planned = []

    def first_good_then_bad(peer):
        server._tls = context()
        peer.upgrade()
        peer.frame()

    async def main():
        async with asyncio.timeout(10):
            client = await wsx.connect(server.url, ssl=trusting(AUTHORITY), reconnect=SLOW, on_event=planned.append)
            await client.send("cut me")
            while sum(isinstance(event, wsx.events.Reconnecting) for event in planned) < 2:
                await asyncio.sleep(0.005)
            await client.close()
        at_once, waiting = (event.delay_seconds for event in planned if isinstance(event, wsx.events.Reconnecting))
        assert at_once == 0 and waiting >= 0.8 * SLOW.cap
        assert client.state is wsx.State.CLOSED and server.count == 2

    with FaultyServer(first_good_then_bad, tls=good()) as server:
        run(main())


# ---- no TLS at all --------------------------------------------------------------------------------------------------

PLAIN_ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nThe plain HTTP request was sent to HTTPS port",
    "a redirect": b"HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "mail": b"220 mail.example.com ESMTP\r\n",
    "zeros": bytes(64),
}


@pytest.mark.parametrize("answer", PLAIN_ANSWERS.values(), ids=PLAIN_ANSWERS)
def test_2_7_plain_text_on_the_tls_port_is_said_in_words(run, answer):
    def serve(peer):
        peer.sock.recv(65536)
        peer.send(answer)
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            error = await ends_with(ConnectionFailed, wsx.connect(secure(server)), stage="tls", within=5)
            assert "does not speak TLS on this port" in str(error) and "ws://" in str(error)

    run(main())


def secure(server):
    return server.url.replace("ws:", "wss:")


class TlsByHand:
    """A server's TLS over a peer's socket, its records in the test's hands. Takes the socket's place in the peer."""

    def __init__(self, peer, context):
        self.raw, peer.sock = peer.sock, self
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self):
        self._until(self._tls.do_handshake)
        self.flush()

    def flush(self):
        """Send what TLS wants to say, such as an alert."""
        self.raw.sendall(self._outgoing.read())

    def hello(self):
        """The client's hello, answered: the bytes of that answer, not sent yet."""
        self._incoming.write(self.raw.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def recv(self, size):
        return self._until(lambda: self._tls.read(size))

    def sendall(self, data):
        self.raw.sendall(self.sealed(data))

    def sealed(self, data):
        """The record that carries `data`."""
        self._tls.write(data)
        return self._outgoing.read()

    def close_notify(self):
        """The record that says the end."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def close(self):
        self.raw.close()

    def _until(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                data = self.raw.recv(65536)
                self._incoming.write(data) if data else self._incoming.write_eof()


STALLS = {"before a byte": 0.0, "half-way": 0.5, "at the last byte": 0.999}


@pytest.mark.parametrize("part", STALLS.values(), ids=STALLS)
def test_2_8_a_handshake_that_stalls_meets_the_one_deadline(run, part):
    def serve(peer):
        hello = TlsByHand(peer, good()).hello()
        peer.sock.raw.sendall(hello[: int(len(hello) * part)])
        peer.sock = peer.sock.raw
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            error = await ends_with(
                ConnectionFailed,
                wsx.connect(secure(server), ssl=trusting(AUTHORITY), connect_timeout=0.3),
                stage="tls",
                within=3,
            )
            assert "connect_timeout=0.3 s" in str(error)

    run(main())


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("part", STALLS.values(), ids=STALLS)
def test_2_8_a_handshake_that_is_cut_is_named(run, part, how):
    def serve(peer):
        hello = TlsByHand(peer, good()).hello()
        peer.sock = peer.sock.raw
        peer.send(hello[: int(len(hello) * part)])
        getattr(peer, how)()
        if how == "end":
            peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            await ends_with(
                ConnectionFailed, wsx.connect(secure(server), ssl=trusting(AUTHORITY)), stage="tls", within=5
            )

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_2_8_a_server_that_wants_a_certificate_of_ours_is_named(run, version):
    """In TLS 1.3 the client is through with the handshake when the server's alert comes."""
    context = good()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(peer):
        tls = TlsByHand(peer, context)
        peer.sock = tls.raw
        with pytest.raises(ssl.SSLError):
            tls.handshake()
        tls.flush()
        peer.end()
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            error = await ends_with(
                ConnectionFailed, wsx.connect(secure(server), ssl=trusting(AUTHORITY)), stage="tls", within=5
            )
            assert version is ssl.TLSVersion.TLSv1_2 or "wants a certificate of this client's" in str(error)

    run(main())


def test_2_8_a_server_that_takes_our_certificate_is_reached(run):
    context, ours = good(), trusting(AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    AUTHORITY.issue_cert("client.example").configure_cert(ours)

    async def main():
        with FaultyServer(
            lambda peer: (peer.upgrade(behind=frame(TEXT, b"welcome")), peer.frame()), tls=context
        ) as server:
            async with connect(server.url, ssl=ours, close_timeout=0.1) as client:
                assert (await client.recv()).text == "welcome"

    run(main())


# ---- the end of an open connection ----------------------------------------------------------------------------------


def by_hand(serve):
    """A server that does TLS by hand: `serve(peer, tls)` after a good upgrade."""

    def live(peer):
        tls = TlsByHand(peer, good())
        tls.handshake()
        peer.upgrade()
        serve(peer, tls)

    return FaultyServer(live)


async def ends_lost(server, words="closed without a closing handshake"):
    """Connect, read the one message, meet the loss."""
    seen = []
    client = await connect(secure(server), ssl=trusting(AUTHORITY), on_event=seen.append, close_timeout=1)
    assert (await client.recv()).text == "whole"
    error = await closes_with(ConnectionLost, client)
    assert words in str(error)
    assert client.close_code == 1006
    assert [event.code for event in seen if isinstance(event, wsx.events.Closed)] == [1006]


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("size", [1, 5, 40, -1])
def test_2_9_a_cut_inside_a_record_is_a_loss(run, how, size):
    def serve(peer, tls):
        tls.raw.sendall(tls.sealed(frame(TEXT, b"whole")))
        tls.raw.sendall(tls.sealed(frame(TEXT, bytes(b"x" * 1000)))[:size])
        peer.sock = tls.raw
        peer.wait(0.05)
        getattr(peer, how)()
        if how == "end":
            peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            await ends_lost(server)

    run(main())


def test_2_9_a_record_that_was_changed_on_the_way_is_a_loss(run):
    def serve(peer, tls):
        tls.raw.sendall(tls.sealed(frame(TEXT, b"whole")))
        peer.wait(0.05)
        record = bytearray(tls.sealed(frame(TEXT, b"false")))
        record[-1] ^= 1
        tls.raw.sendall(record)
        peer.sock = tls.raw
        peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            await ends_lost(server)

    run(main())


def test_2_9_plain_text_in_the_middle_of_tls_is_a_loss(run):
    def serve(peer, tls):
        tls.raw.sendall(tls.sealed(frame(TEXT, b"whole")))
        peer.wait(0.05)
        tls.raw.sendall(frame(TEXT, b"false"))
        peer.sock = tls.raw
        peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            await ends_lost(server)

    run(main())


@pytest.mark.parametrize("together", [False, True], ids=["later", "in the same segment"])
def test_2_10_a_close_notify_without_a_close_is_1006(run, together):
    def serve(peer, tls):
        message = tls.sealed(frame(TEXT, b"whole"))
        if not together:
            tls.raw.sendall(message)
            peer.wait(0.05)
        tls.raw.sendall((message if together else b"") + tls.close_notify())
        peer.sock = tls.raw
        peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            await ends_lost(server)

    run(main())


def test_2_10_the_end_of_the_stream_without_a_close_notify_is_1006(run):
    def serve(peer, tls):
        tls.raw.sendall(tls.sealed(frame(TEXT, b"whole")))
        peer.sock = tls.raw
        peer.end()
        peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            await ends_lost(server)

    run(main())


def test_2_10_a_close_and_a_close_notify_are_an_orderly_end(run):
    def serve(peer, tls):
        tls.raw.sendall(tls.sealed(frame(TEXT, b"whole") + close_frame(1001, b"bye")) + tls.close_notify())
        peer.sock = tls.raw
        peer.until_gone()

    async def main():
        with by_hand(serve) as server:
            client = await connect(secure(server), ssl=trusting(AUTHORITY))
            assert [message.text async for message in client] == ["whole"]
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1001, "bye")

    run(main())


@pytest.mark.parametrize("how", ["close_notify", "end", "reset"])
def test_2_10_an_end_between_the_request_and_the_101_failed_at_the_upgrade(run, how):
    def serve(peer):
        tls = TlsByHand(peer, good())
        tls.handshake()
        peer.read_request()
        peer.sock = tls.raw
        if how == "close_notify":
            peer.send(tls.close_notify())
        else:
            getattr(peer, how)()
        if how != "reset":
            peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            await ends_with(
                ConnectionFailed, wsx.connect(secure(server), ssl=trusting(AUTHORITY)), stage="upgrade", within=5
            )

    run(main())


def test_a_rejection_behind_tls_keeps_its_status(run):
    def serve(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 403 No\r\n\r\nnot you")
        peer.sock.unwrap()

    async def main():
        with FaultyServer(serve, tls=good()) as server:
            error = await ends_with(HandshakeRejected, wsx.connect(server.url, ssl=trusting(AUTHORITY)), within=5)
            assert (error.status, error.body) == (403, b"not you")

    run(main())
