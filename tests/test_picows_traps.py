"""What picows 2.3.1 does not promise and wsx does: one test a trap, on real sockets, on both loops.

Each trap was reproduced on raw picows; its number stands in the test's name. The pin in pyproject.toml moves to a newer
picows when these pass on it. P21, unix sockets, is not offered.
"""

import asyncio
import errno
import logging
import os
import socket
import sys

import pytest
from raw_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RawServer,
    accept,
    close_frame,
    connect,
    frame,
    run_bounded,
    until,
)

import wsx
from wsx._telemetry import Telemetry
from wsx.testing.certificates import Authority
from wsx.transport._pipe import PipeWriter
from wsx.transport.tls import default_context


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


def test_p1_a_server_that_closes_before_the_101_is_a_failed_upgrade(run):
    async def main():
        async with RawServer(lambda request: b"") as server:
            with pytest.raises(wsx.errors.ConnectionFailed) as caught:
                await connect(server.url)
        return caught.value.stage

    assert run(main()) == "upgrade"


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_p2_connecting_can_be_cancelled_at_every_step_and_leaves_no_socket(run, tls):
    async def main():
        authority = Authority()
        options = {"ssl": authority.client_context()} if tls else {}
        async with RawServer(ssl=authority.server_context() if tls else None) as server:
            steps, client = 1, None
            while client is None:
                connecting = asyncio.create_task(attempt(server.url, options))
                for _ in range(steps):
                    await asyncio.sleep(0)
                connecting.cancel()
                client, steps = await connecting, steps + 1 + steps // 20
            await client.close()
            await server.deserted()
        return steps

    async def attempt(url, options):
        try:
            return await connect(url, close_timeout=0.1, **options)
        except asyncio.CancelledError:
            return None

    assert run(main()) > 5


def test_p3_a_send_after_the_end_is_refused_by_name(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            closing = asyncio.create_task(client.close())
            await until(lambda: client.state is wsx.State.CLOSING)
            with pytest.raises(wsx.errors.NotConnected):
                client.send_nowait("after CLOSE")
            with pytest.raises(wsx.errors.NotConnected):
                await client.send("after CLOSE")
            await peer.answer_close()
            await closing
            with pytest.raises(wsx.errors.ConnectionClosed):
                client.send_nowait("after the end")
            with pytest.raises(wsx.errors.ConnectionClosed):
                await client.send("after the end")
            return client.telemetry.snapshot()["messages_sent"]

    assert run(main()) == 0


KEYS_PROGRAM = """
import asyncio, sys, wsx

async def main():
    async with wsx.connect(sys.argv[1]) as client:
        for _ in range(20):
            client.send_nowait("x")

wsx.run(main(), loop="asyncio")
"""


def test_p4_mask_keys_differ_from_frame_to_frame_and_from_process_to_process():
    async def main():
        async with RawServer() as server:
            sequences = []
            for _ in range(2):
                program = await asyncio.create_subprocess_exec(sys.executable, "-c", KEYS_PROGRAM, server.url)
                peer = await server.peer()
                keys = [(await peer.frame()).key for _ in range(20)]
                keys.append((await peer.answer_close()).key)
                sequences.append(keys)
                assert await program.wait() == 0
            return sequences

    first, second = run_bounded(main())
    assert len(set(first)) > 19
    assert first != second
    assert None not in first


def test_p5_a_line_break_in_a_header_is_refused_before_anything_is_opened(run):
    async def main():
        async with RawServer() as server:
            for headers in ({"X-A": "1\r\nX-B: 2"}, {"X-A\r\nX-B": "1"}, {"X-A": "1\nX-B: 2"}):
                with pytest.raises(ValueError, match="header"):
                    connect(server.url, headers=headers)
            with pytest.raises(ValueError, match="header"):
                await connect(server.url, headers=lambda: {"X-A": "1\r\nX-B: 2"})
            return server.all_peers

    assert run(main()) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_p6_a_redirect_is_not_followed_and_credentials_go_nowhere_else(run, status):
    async def main():
        async with RawServer() as other:

            def redirect(request):
                return f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()

            async with RawServer(redirect) as server:
                with pytest.raises(wsx.errors.HandshakeRejected) as caught:
                    await connect(server.url, headers={"Authorization": "Bearer s3cret"})
            return caught.value.status, dict(caught.value.headers)["Location"] == other.url, other.all_peers

    assert run(main()) == (status, True, [])


def test_p7_user_info_in_a_url_is_refused_with_the_place_where_it_goes():
    with pytest.raises(ValueError, match="credentials into headers") as caught:
        connect("ws://user:s3cret@127.0.0.1:1/")
    assert "s3cret" not in str(caught.value)


BROKEN = {
    "invalid UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "UTF-8 that is cut": (frame(TEXT, "€".encode()[:2]), 1007),
    "UTF-8 that breaks in a fragment": (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"\xff", fin=False), 1007),
    "RSV1": (frame(TEXT, b"a", rsv=4), 1002),
    "RSV2": (frame(TEXT, b"a", rsv=2), 1002),
    "RSV3": (frame(TEXT, b"a", rsv=1), 1002),
    "a stray continuation": (frame(CONTINUATION, b"a"), 1002),
    "a message inside a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
}


@pytest.mark.parametrize("sent, code", BROKEN.values(), ids=BROKEN)
def test_p8_what_rfc_6455_forbids_is_failed_and_not_delivered(run, sent, code):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            peer.send(frame(TEXT, b"good"), sent)
            close = await peer.frame()
            peer.close()
            good = await client.recv()
            with pytest.raises(wsx.errors.ProtocolError) as caught:
                await client.recv()
            await client.wait_closed()
            return good.text, close.close_code, caught.value.close_code, await peer.frames()

    assert run(main()) == ("good", code, code, [])


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535])
def test_p9_a_close_code_that_may_not_be_sent_is_a_protocol_error(run, code):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            peer.send(close_frame(code), frame(TEXT, b"after CLOSE"))
            close = await peer.frame()
            peer.close()
            with pytest.raises(wsx.errors.ProtocolError):
                await client.recv()
            await client.wait_closed()
            with pytest.raises(ValueError, match="close code"):
                await client.close(code)
            return close.close_code, client.close_code

    assert run(main()) == (1002, 1006)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_p9_a_peers_close_is_answered_with_its_own_code_and_ends_the_messages(run, code):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            peer.send(frame(TEXT, b"last"), close_frame(code, b"why"), frame(TEXT, b"after CLOSE"))
            answer = await peer.frame()
            peer.close()
            await client.wait_closed()
            message = await client.recv()
            with pytest.raises(wsx.errors.ConnectionClosed):
                await client.recv()
            return message.text, answer.opcode, answer.close_code, client.close_code, client.close_reason

    assert run(main()) == ("last", CLOSE, code, code, "why")


def test_p10_nothing_that_follows_a_protocol_error_is_delivered(run):
    async def main():
        seen = []
        async with RawServer() as server:
            client = await connect(server.url, on_message=lambda message: seen.append(message.text))
            peer = await server.peer()
            peer.send(frame(TEXT, b"1"), frame(TEXT, b"2", rsv=1), *(frame(TEXT, b"3") for _ in range(100)))
            close = await peer.frame()
            peer.send(frame(TEXT, b"4"))
            peer.close()
            await client.wait_closed()
            return seen, close.close_code

    assert run(main()) == (["1"], 1002)


class OddError(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize(
    "error", [OddError, asyncio.CancelledError, GeneratorExit, ValueError], ids=lambda e: e.__name__
)
def test_p11_what_a_callback_raises_does_not_end_the_connection(run, error, caplog):
    async def main():
        seen, events = [], []

        def on_message(message):
            seen.append(message.text)
            if message.text == "1":
                raise error

        async with RawServer() as server:
            client = await connect(server.url, on_message=on_message, on_event=events.append)
            peer = await server.peer()
            peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"))
            await until(lambda: "2" in seen)
            peer.send(frame(TEXT, b"3"), close_frame(1000))
            await peer.frame()
            peer.close()
            await client.wait_closed()
            return seen, [type(event.error) for event in events if isinstance(event, wsx.events.CallbackFailed)]

    assert run(main()) == (["1", "2", "3"], [error])
    assert error.__name__ in caplog.text


def test_p12_a_close_has_a_code_and_no_control_frame_is_over_125_bytes(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            with pytest.raises(ValueError, match="123 bytes"):
                await client.close(1000, "é" * 62)
            closing = asyncio.create_task(client.close(reason="é" * 61 + "x"))
            seen = await peer.answer_close()
            await closing
            return seen.close_code, seen.payload[2:].decode()

    assert run(main()) == (1000, "é" * 61 + "x")
    with pytest.raises(ValueError, match="126 bytes"):
        PipeWriter(Telemetry()).send(PING, bytes(126))


SMALL = wsx.SocketOptions(send_buffer=4096)  # so that little is in the kernel when a peer does not read


def test_p13_a_peer_that_does_not_read_meets_a_bound(run):
    async def main():
        async with RawServer(receive_buffer=4096) as server:
            client = await connect(server.url, write_limit=100_000, socket_options=SMALL)
            peer = await server.peer()
            peer.stop_reading()
            sent = 0
            with pytest.raises(wsx.errors.Backpressure) as caught:
                while True:
                    client.send_nowait(bytes(1000))
                    sent += 1
            waiting = asyncio.create_task(client.send(bytes(1000)))
            await asyncio.sleep(0)
            assert not waiting.done()
            peer.writer.transport.resume_reading()
            received = [len((await peer.frame()).payload) for _ in range(sent + 1)]
            await waiting
            peer.close()
            await client.wait_closed()
            peak = client.telemetry.snapshot()["write_buffered_bytes_peak"]
            return received == [1000] * (sent + 1), caught.value.buffered <= 100_000, peak <= 100_000

    assert run(main()) == (True, True, True)


def test_p14_a_flood_of_pings_buffers_one_pong_and_answers_the_newest(run):
    async def main():
        async with RawServer(receive_buffer=4096) as server:
            client = await connect(server.url, socket_options=SMALL, ping_interval=None)
            peer = await server.peer()
            peer.stop_reading()
            last, pings = b"", 0
            while not client.telemetry.snapshot()["write_buffered_bytes"]:
                pings += 1
                last = f"{pings:0125}".encode()
                peer.send(frame(PING, last))
                await peer.writer.drain()
                await asyncio.sleep(0)
            for _ in range(1000):
                pings += 1
                last = f"{pings:0125}".encode()
                peer.send(frame(PING, last))
                await peer.writer.drain()
            await until(lambda: client.telemetry.snapshot()["pings_received"] == pings)
            peak = client.telemetry.snapshot()["write_buffered_bytes_peak"]
            peer.writer.transport.resume_reading()
            pongs = [await peer.frame()]
            while pongs[-1].payload != last:
                pongs.append(await peer.frame())
            peer.close()
            await client.wait_closed()
            return peak <= 131, {pong.opcode for pong in pongs}, len(pongs) < pings - 900

    assert run(main()) == (True, {PONG}, True)


@pytest.mark.parametrize(
    "sent",
    [
        frame(BINARY, announced=1001),
        frame(BINARY, announced=2**40),
        frame(BINARY, bytes(600), fin=False) + frame(CONTINUATION, bytes(401), fin=False),
        b"".join([frame(BINARY, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 10]),
    ],
    ids=["a frame", "a huge frame", "fragments", "many fragments"],
)
def test_p15_a_message_has_a_greatest_size_and_number_of_fragments(run, sent):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url, max_message_size=1000, max_fragments=10)
            peer = await server.peer()
            peer.send(frame(BINARY, bytes(1000)), sent)
            close = await peer.frame()
            peer.close()
            message = await client.recv()
            with pytest.raises(wsx.errors.MessageTooBig):
                await client.recv()
            await client.wait_closed()
            return len(message), close.close_code

    assert run(main()) == (1000, 1009)


def test_p15_one_read_is_bounded_however_much_is_there(run):
    reads = [0]

    def on_message(message):
        reads[-1] += len(message)
        if message.last_in_batch:
            reads.append(0)

    async def main():
        async with RawServer() as server, wsx.connect(server.url, on_message=on_message):
            peer = await server.peer()
            peer.send(frame(BINARY, bytes(1000)) * 16_000)
            await until(lambda: sum(reads) == 16_000_000)
            peer.close()
        return max(reads)

    assert run(main()) <= 128 * 1024


def test_p16_a_stuck_peer_is_noticed_by_pings_of_wsxs_own(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url, ping_interval=0.01, ping_timeout=0.05)
            peer = await server.peer()
            peer.stop_reading()
            with pytest.raises(wsx.errors.HeartbeatTimeout):
                await client.recv()
            return client.state

    assert wsx.Config().ping_interval is not None
    assert run(main()) is wsx.State.CLOSED


def test_p16_a_pong_that_was_not_asked_for_keeps_nobody_alive(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url, ping_interval=0.01, ping_timeout=0.1)
            peer = await server.peer()
            while client.state is wsx.State.OPEN:
                peer.send(frame(PONG, b""), frame(PONG, b"12345678"))
                await asyncio.sleep(0.01)
            with pytest.raises(wsx.errors.HeartbeatTimeout):
                await client.recv()
            return client.telemetry.snapshot()["pongs_unmatched"] > 0

    assert run(main())


def test_p16_closing_is_bounded_where_the_peer_takes_no_part(run):
    async def main():
        async with RawServer(receive_buffer=4096) as server:
            client = await connect(server.url, close_timeout=0.05, socket_options=SMALL)
            peer = await server.peer()
            peer.stop_reading()
            client.send_nowait(bytes(1_000_000))  # the CLOSE waits behind it
            await client.close()
            return client.state, client.close_code

    assert run(main()) == (wsx.State.CLOSED, 1006)


@pytest.mark.parametrize("tls", [False, True], ids=["upgrade", "tls"])
def test_p16_one_deadline_covers_every_stage_of_opening(run, tls):
    default_context()  # loading the roots takes longer than the deadline where the machine is busy

    async def main():
        async with RawServer(lambda request: None) as server:
            url = server.url.replace("ws:", "wss:") if tls else server.url
            with pytest.raises(wsx.errors.ConnectionFailed, match="connect_timeout=0.05 s") as caught:
                await connect(url, connect_timeout=0.05)
            await server.deserted()
        return caught.value.stage

    assert run(main()) == ("tls" if tls else "upgrade")


def test_p16_the_deadline_covers_a_tcp_connection_that_is_not_accepted(run):
    async def main():
        with full_listener() as listener:
            with pytest.raises(wsx.errors.ConnectionFailed, match=r"connect_timeout=0\.05 s") as caught:
                await connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/", connect_timeout=0.05)
            return caught.value.stage

    assert run(main()) == "tcp"


class full_listener:  # noqa: N801, used like a function
    """A listening socket that answers no further connection: its queue is full. Skips where the system differs."""

    def __init__(self, address=("127.0.0.1", 0), family=socket.AF_INET):
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(0)
        self.clients = []

    def __enter__(self):
        for _ in range(4):
            client = socket.socket(self.listener.family)
            self.clients.append(client)
            client.settimeout(0.1)
            if client.connect_ex(self.listener.getsockname()) in (errno.EAGAIN, errno.EINPROGRESS, errno.ETIMEDOUT):
                return self.listener
        self.__exit__()
        pytest.skip("this system goes on accepting connections for a full queue")

    def __exit__(self, *_):
        for sock in (self.listener, *self.clients):
            sock.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
def test_p16_the_kernel_watches_written_bytes_where_it_is_told_to(run):
    async def main():
        async with RawServer() as server:
            options = wsx.SocketOptions(user_timeout=1.5)
            client = await connect(server.url, socket_options=options, close_timeout=0.05)
            sock = client._session.connection.transport.get_extra_info("socket")
            set_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            await client.close()
            return set_ms

    assert run(main()) == 1500


def test_p17_keep_alive_beside_upgrade_is_legal(run):
    async def main():
        async with RawServer(lambda request: accept(request, connection="keep-alive, Upgrade")) as server:
            client = await connect(server.url, close_timeout=0.05)
            state = client.state
            await client.close()
            return state

    assert run(main()) is wsx.State.OPEN


@pytest.mark.parametrize("status", [400, 429, 503, *range(520, 527)])
def test_p17_a_rejection_keeps_its_status_headers_and_body(run, status):
    async def main():
        head = f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nCF-Ray: 1\r\nContent-Length: 4\r\n\r\n"
        async with RawServer(lambda request: head.encode() + b"busy") as server:
            with pytest.raises(wsx.errors.HandshakeRejected) as caught:
                await connect(server.url)
        error = caught.value
        return error.status, dict(error.headers)["CF-Ray"], error.body, error.retry_after

    assert run(main()) == (status, "1", b"busy", 7)


@pytest.mark.parametrize(
    "field", ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: never-offered"]
)
def test_p17_what_nobody_asked_for_is_not_switched_on(run, field):
    async def main():
        async with RawServer(lambda request: accept(request, field)) as server:
            with pytest.raises(wsx.errors.InvalidHandshake):
                await connect(server.url, subprotocols=["offered"])
            await server.deserted()

    run(main())


def test_p18_a_descriptor_that_was_used_again_never_gets_a_frame(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            descriptor = client._session.connection.transport.get_extra_info("socket").fileno()
            peer.reset()
            await client.wait_closed()
            await until(lambda: is_free(descriptor))
            pairs = [socket.socketpair()]
            while descriptor not in [sock.fileno() for pair in pairs for sock in pair]:
                pairs.append(socket.socketpair())
            with pytest.raises(wsx.errors.ConnectionClosed):
                client.send_nowait("secret")
            seen = [arrived(sock) for pair in pairs for sock in pair]
            for sock in (sock for pair in pairs for sock in pair):
                sock.close()
            return seen

    assert set(run(main())) == {b""}


def arrived(sock):
    try:
        return sock.recv(1000, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def is_free(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


PARSER_ERRORS = {
    "a masked frame": frame(TEXT, b"a", masked=True),
    "an unknown opcode": frame(0x3, b"a"),
    "an unknown control opcode": frame(0xB, b"a"),
    "a control frame in parts": frame(PING, b"a", fin=False),
    "a control frame of 126 bytes": frame(PING, bytes(126)),
    "a length in 2 bytes that fits in 1": bytes([0x82, 126, 0, 125]) + bytes(125),
    "a length in 8 bytes that fits in 2": bytes([0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255]),
    "a length of 2**63": bytes([0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    "a CLOSE of 1 byte": frame(CLOSE, b"\x03"),
}


@pytest.mark.parametrize("sent", PARSER_ERRORS.values(), ids=PARSER_ERRORS)
def test_p19_what_a_frame_may_not_be_is_one_close_and_one_error(run, sent):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            peer.send(frame(TEXT, b"good"), sent)
            first = await peer.frame()
            peer.close()
            good = (await client.recv()).text
            with pytest.raises(wsx.errors.ProtocolError) as caught:
                await client.recv()
            await client.wait_closed()
            return good, first.opcode, first.close_code, await peer.frames(), caught.value.close_code

    assert run(main()) == ("good", CLOSE, 1002, [], 1002)


def test_p19_a_reason_that_is_no_utf8_is_1007(run):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url)
            peer = await server.peer()
            peer.send(close_frame(1000, b"\xff"))
            close = await peer.frame()
            peer.close()
            with pytest.raises(wsx.errors.InvalidUtf8):
                await client.recv()
            await client.wait_closed()
            return close.close_code

    assert run(main()) == 1007


def test_p20_no_log_at_any_level_holds_a_credential(run, caplog):
    async def main():
        asyncio.get_running_loop().set_debug(True)
        async with RawServer() as server:
            headers = {"Authorization": "Bearer s3cret", "X-Key": wsx.Secret("s3cret")}
            client = await connect(server.url + "?token=s3cret", headers=headers, close_timeout=0.05)
            peer = await server.peer()
            peer.send(frame(0x3, b"a parser error"))
            await peer.frame()
            peer.close()
            await client.wait_closed()
            return peer.request.count(b"s3cret")

    with caplog.at_level(1):
        logging.getLogger("picows").setLevel(1)
        assert run(main()) == 3
    logging.getLogger("picows").setLevel(logging.NOTSET)
    assert "s3cret" not in caplog.text


def names_both_families():
    found = {info[0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    return {socket.AF_INET, socket.AF_INET6} <= found


@pytest.mark.skipif(not names_both_families(), reason="localhost has no IPv6 address here")
def test_p22_an_address_that_does_not_answer_does_not_hold_up_the_other(run):
    async def main():
        first, *_ = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)
        silent, answering = ("::1", "127.0.0.1") if first[0] == socket.AF_INET6 else ("127.0.0.1", "::1")
        async with RawServer(host=answering) as server:
            with full_listener((silent, server.port), first[0]):
                client = await connect(f"ws://localhost:{server.port}/", connect_timeout=10, close_timeout=0.05)
                host = client._session.connection.transport.get_extra_info("peername")[0]
                await client.close()
                return host == answering

    assert run(main())
