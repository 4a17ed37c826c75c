"""The far end answers as RFC 6455 asks, to clients that were written elsewhere."""

import asyncio
import json
import os
import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bench.build import build
from bench.far_end import Certificate, FarEnd, client_context

pytestmark = pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
SIZES = [0, 1, 7, 125, 126, 65535, 65536, 1_000_000]
REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def far_end(certificate: Certificate) -> Iterator[FarEnd]:
    with FarEnd(build(), certificate, None) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def tls(request: pytest.FixtureRequest, far_end: FarEnd) -> bool:
    if request.param and not far_end.has_tls:
        pytest.skip("the far end was built without TLS")
    return bool(request.param)


@pytest.fixture
def context(tls: bool, certificate: Certificate) -> ssl.SSLContext | None:
    return client_context(str(certificate.authority)) if tls else None


def plain_socket(far_end: FarEnd) -> socket.socket:
    port = int(far_end.url("", tls=False).rsplit(":", 1)[1])
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_until(line: socket.socket, ending: bytes) -> bytes:
    got = b""
    while not got.endswith(ending):
        chunk = line.recv(1)
        assert chunk, got
        got += chunk
    return got


def test_echo_gives_text_and_binary_of_any_size_back(
    far_end: FarEnd, tls: bool, context: ssl.SSLContext | None
) -> None:
    async def exchange() -> None:
        async with connect(far_end.url("/echo", tls=tls), ssl=context, max_size=None) as client:
            for size in SIZES:
                await client.send("x" * size)
                assert await client.recv() == "x" * size
                await client.send(bytes(range(256)) * (size // 256) + bytes(size % 256))
                assert await client.recv() == bytes(range(256)) * (size // 256) + bytes(size % 256)

    asyncio.run(exchange())


def test_echo_keeps_the_order_of_many_messages_sent_at_once(
    far_end: FarEnd, tls: bool, context: ssl.SSLContext | None
) -> None:
    async def exchange() -> None:
        async with connect(far_end.url("/echo", tls=tls), ssl=context) as client:
            sending = asyncio.create_task(send_all(client))
            assert [await client.recv() for _ in range(3000)] == [f"{n}" * 500 for n in range(3000)]
            await sending

    async def send_all(client) -> None:  # type: ignore[no-untyped-def]
        for n in range(3000):
            await client.send(f"{n}" * 500)

    asyncio.run(exchange())


def test_fragments_come_back_as_one_message(far_end: FarEnd, tls: bool, context: ssl.SSLContext | None) -> None:
    async def exchange() -> None:
        async with connect(far_end.url("/echo", tls=tls), ssl=context) as client:
            await client.send(["one ", "two ", "three"])
            assert await client.recv() == "one two three"

    asyncio.run(exchange())


def test_a_flood_has_the_asked_count_and_size_and_an_end(
    far_end: FarEnd, tls: bool, context: ssl.SSLContext | None
) -> None:
    async def count_messages() -> None:
        url = far_end.url("/flood?count=2000&size=320&batch=7", tls=tls)
        async with connect(url, ssl=context) as client:
            messages = [await client.recv() for _ in range(2001)]
        assert messages.pop() == "end"
        assert {len(message) for message in messages} == {320}
        channels = {json.loads(message)["params"]["channel"] for message in messages}
        assert channels == {"book.BTC-PERPETUAL.100ms"}

    asyncio.run(count_messages())


def test_a_flood_of_books_is_json_of_the_asked_size_on_as_many_channels(far_end: FarEnd) -> None:
    async def read() -> None:
        async with connect(far_end.url("/flood?count=100&size=600&books=20", tls=False)) as client:
            messages = [await client.recv() for _ in range(100)]
        assert {len(message) for message in messages} == {600}
        parsed = [json.loads(message)["params"] for message in messages]
        assert len({params["channel"] for params in parsed}) == 20
        assert all(len(params["data"]["bids"]) > 10 for params in parsed)

    asyncio.run(read())


def test_a_request_is_answered_with_its_id(far_end: FarEnd) -> None:
    async def ask() -> None:
        async with connect(far_end.url("/rpc", tls=False)) as client:
            for number in (0, 7, 1 << 62):
                await client.send(json.dumps({"id": number, "method": "public/test"}, separators=(",", ":")))
                assert json.loads(await client.recv())["id"] == number

    asyncio.run(ask())


def test_a_waiting_flood_starts_with_each_message(far_end: FarEnd, tls: bool, context: ssl.SSLContext | None) -> None:
    async def flood_twice() -> None:
        async with connect(far_end.url("/flood?size=100&wait=1", tls=tls), ssl=context) as client:
            for count in (3, 0, 1000):
                await client.send(str(count))
                messages = [await client.recv() for _ in range(count + 1)]
                assert [len(message) for message in messages] == [100] * count + [3]

    asyncio.run(flood_twice())


def test_a_ping_is_answered_in_the_middle_of_a_flood(
    far_end: FarEnd, tls: bool, context: ssl.SSLContext | None
) -> None:
    async def ping() -> None:
        async with connect(far_end.url("/flood?count=200000", tls=tls), ssl=context) as client:
            pong = await client.ping(b"now")
            taken = 0
            while not pong.done():
                assert await client.recv() != "end"
                taken += 1
            assert taken < 200_000
            while await client.recv() != "end":
                taken += 1
            assert taken == 200_000

    asyncio.run(ping())


def test_a_close_in_the_middle_of_a_flood_is_answered_with_its_code(
    far_end: FarEnd, tls: bool, context: ssl.SSLContext | None
) -> None:
    async def close() -> None:
        client = await connect(far_end.url("/flood?count=500000", tls=tls), ssl=context, max_queue=None)
        await client.recv()
        await client.close(4321)
        assert (client.close_code, client.protocol.close_rcvd_then_sent) == (4321, False)

    asyncio.run(close())


def test_silent_sends_nothing_but_a_pong(far_end: FarEnd, tls: bool, context: ssl.SSLContext | None) -> None:
    async def listen() -> None:
        async with connect(far_end.url("/silent", tls=tls), ssl=context) as client:
            await client.send("anything")
            await (await client.ping())
            reader = asyncio.create_task(client.recv())
            await (await client.ping())
            assert not reader.done()
            reader.cancel()

    asyncio.run(listen())


def test_picows_gets_its_echo_and_its_close(far_end: FarEnd, tls: bool, context: ssl.SSLContext | None) -> None:
    class Recorder(WSListener):
        def __init__(self) -> None:
            self.frames: list[tuple[WSMsgType, bytes]] = []

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            self.frames.append((frame.msg_type, frame.get_payload_as_bytes()))
            if frame.msg_type == WSMsgType.TEXT:
                transport.send_close(WSCloseCode.GOING_AWAY)

    async def exchange() -> list[tuple[WSMsgType, bytes]]:
        recorder = Recorder()
        transport, _ = await ws_connect(lambda: recorder, far_end.url("/echo", tls=tls), ssl_context=context)
        transport.send(WSMsgType.TEXT, b"hello")
        await transport.wait_disconnected()
        return recorder.frames

    assert asyncio.run(exchange()) == [(WSMsgType.TEXT, b"hello"), (WSMsgType.CLOSE, b"\x03\xe9")]


def test_an_unknown_path_is_not_found(far_end: FarEnd, tls: bool, context: ssl.SSLContext | None) -> None:
    async def ask() -> None:
        with pytest.raises(InvalidStatus, match="404"):
            await connect(far_end.url("/nothing", tls=tls), ssl=context)

    asyncio.run(ask())


def test_a_handshake_and_a_frame_may_come_byte_by_byte(far_end: FarEnd) -> None:
    with plain_socket(far_end) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST + b"\x81\x82\x01\x02\x03\x04" + bytes([ord("h") ^ 1, ord("i") ^ 2]):
            line.sendall(bytes([byte]))
        response = read_until(line, b"\r\n\r\n")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # RFC 6455 1.3
        assert read_until(line, b"hi") == b"\x81\x02hi"


def test_a_frame_without_a_mask_is_a_protocol_error(far_end: FarEnd) -> None:
    with plain_socket(far_end) as line:
        line.sendall(REQUEST + b"\x81\x02hi")
        read_until(line, b"\r\n\r\n")
        assert read_until(line, b"\x03\xea") == b"\x88\x02\x03\xea"
        assert line.recv(1) == b""


def test_a_request_without_a_key_is_refused(far_end: FarEnd) -> None:
    with plain_socket(far_end) as line:
        line.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_until(line, b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_the_far_end_leaves_with_its_stdin(certificate: Certificate) -> None:
    with FarEnd(build(), certificate, None) as running:
        line = plain_socket(running)
        line.sendall(REQUEST)
        read_until(line, b"\r\n\r\n")
    with line:
        assert line.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            plain_socket(running)
