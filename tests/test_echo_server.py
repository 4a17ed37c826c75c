"""The local echo server, and with it what every local server does: upgrades, closing, refusals, bounds."""

import asyncio
import socket
import struct
import subprocess
import sys
from functools import partial

import pytest
import websockets

import wsx
from wsx._frame import encode
from wsx.testing import EchoServer, LocalServer
from wsx.testing.certificates import Authority

connect = partial(wsx.connect, reconnect=False)  # an end is an end here

LOOPS = ["asyncio", "uvloop"]
KEY = b"\x01\x02\x03\x04"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9


def client_options(server, tls):
    return {"ssl": server.ssl_context()} if tls else {}


async def raw_client(server, request=UPGRADE + b"\r\n"):
    """A socket that has sent an upgrade request, and the head of the answer."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request)
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def rest_of(reader, writer):
    """Everything that still comes, until the server closes."""
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


def test_a_server_that_does_not_run_has_no_port():
    with pytest.raises(RuntimeError, match="is not running; enter it"):
        EchoServer().port  # noqa: B018, a property


def test_without_trustme_tls_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trustme", None)  # as where it is not installed
    with pytest.raises(ImportError, match=r"pip install 'wsx\[testing\]'"):
        Authority()


async def answer_to(request):
    async with EchoServer() as server:
        reader, writer, head = await raw_client(server, request)
        return head + await rest_of(reader, writer)


async def answer_to_frames(frames):
    """What an open connection answers to `frames`, until it is closed."""
    async with EchoServer(max_message_size=1000) as server:
        reader, writer, head = await raw_client(server)
        assert head.startswith(b"HTTP/1.1 101 ")
        writer.write(frames)
        return await rest_of(reader, writer)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_text_comes_back_as_text_and_binary_as_binary(loop, tls):
    async def main():
        async with EchoServer(tls=tls) as server, connect(server.url, **client_options(server, tls)) as client:
            received = []
            for data in ("grüße", b"\x00\xff", "", "x" * 300_000):
                await client.send(data)
                received.append(await client.recv())
            return [(message.opcode, message.data) for message in received]

    assert wsx.run(main(), loop=loop) == [
        (TEXT, "grüße".encode()),
        (BINARY, b"\x00\xff"),
        (TEXT, b""),
        (TEXT, b"x" * 300_000),
    ]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_closing_ends_in_good_order_on_both_sides(loop, tls):
    async def main():
        async with EchoServer(tls=tls) as server, connect(server.url, **client_options(server, tls)) as client:
            (connection,) = server.connections
            await client.close(4001, "enough")
            await connection.wait_closed()
            return connection.close_code, client.close_code, server.connections

    assert wsx.run(main(), loop=loop) == (4001, 4001, ())


def test_another_implementation_is_echoed_pinged_and_closed():
    async def main():
        async with EchoServer(subprotocols=["b", "a"]) as server:
            async with websockets.connect(server.url, subprotocols=["x", "a", "b"]) as client:
                await client.send("one")
                await client.send([b"frag", b"ments"])
                answers = [await client.recv(), await client.recv()]
                await (await client.ping())
            return client.subprotocol, answers, client.close_code

    assert asyncio.run(main()) == ("a", ["one", b"fragments"], 1000)


def test_a_client_that_speaks_no_common_subprotocol_gets_none():
    async def main():
        async with EchoServer(subprotocols=["a"]) as server, connect(server.url, subprotocols=["b"]) as client:
            return client.subprotocol

    assert wsx.run(main()) is None


def test_a_server_that_ends_says_so_to_every_client():
    async def main():
        async with EchoServer() as server:
            clients = [await connect(server.url) for _ in range(3)]
        for client in clients:
            await client.wait_closed()
        return [(client.close_code, client.close_reason) for client in clients]

    assert wsx.run(main()) == [(1001, "the server ends")] * 3


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_server_ends_although_a_client_does_not_take_part(tls):
    async def main():
        async with EchoServer(tls=tls, close_timeout=0.1) as server:
            context = server.ssl_context() if tls else None
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
            writer.write(UPGRADE + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()
        writer.transport.abort()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_client_that_trusts_other_authorities_does_not_get_in():
    async def main():
        async with EchoServer(tls=True) as server, EchoServer(tls=True) as other:
            with pytest.raises(wsx.errors.ConnectionFailed, match="certificate"):
                await connect(server.url, ssl=other.ssl_context())

    wsx.run(main())


def test_a_server_without_tls_has_no_context():
    with pytest.raises(RuntimeError, match="tls=True"):
        EchoServer().ssl_context()


@pytest.mark.parametrize(
    "request_bytes",
    [
        UPGRADE.replace(b"GET /", b"POST /") + b"\r\n",
        UPGRADE.replace(b"13", b"8") + b"\r\n",
        UPGRADE.replace(b"Host: localhost\r\n", b"") + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
    ids=["method", "version", "host", "tls"],
)
def test_what_is_no_upgrade_is_answered_with_400(request_bytes):
    assert asyncio.run(answer_to(request_bytes)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_server_may_refuse_with_a_status_of_its_own():
    async def main():
        async with LocalServer(check=lambda request: 429 if request.resource == "/full" else None) as server:
            with pytest.raises(wsx.errors.HandshakeRejected) as caught:
                await connect(server.url + "full")
            await (await connect(server.url)).close()
            return caught.value.status

    assert wsx.run(main()) == 429


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (encode(TEXT, b"unmasked"), 1002),
        (encode(TEXT, b"\xff", key=KEY), 1007),
        (encode(BINARY, bytes(1001), key=KEY), 1009),
        (b"\x83\x80" + KEY, 1002),
    ],
    ids=["unmasked", "not-utf-8", "too-big", "reserved-opcode"],
)
def test_a_broken_stream_is_closed_with_its_code(frames, code):
    answer = asyncio.run(answer_to_frames(frames + bytes(100_000)))
    assert answer[:1] == b"\x88"
    assert int.from_bytes(answer[2:4], "big") == code


def test_frames_in_the_segment_of_the_request_are_not_lost():
    async def main():
        async with EchoServer() as server:
            early = encode(TEXT, b"early", key=KEY) + encode(CLOSE, b"", key=KEY)
            reader, writer, _ = await raw_client(server, UPGRADE + b"\r\n" + early)
            return await rest_of(reader, writer)

    assert asyncio.run(main()) == encode(TEXT, b"early") + encode(CLOSE, b"")


async def flood(writer):
    """Send without reading; ends by the time limit alone, once the server has stopped reading too."""
    frame = encode(BINARY, bytes(60_000), key=KEY)
    while True:
        writer.write(frame)
        await writer.drain()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_client_that_does_not_read_is_not_read_from(loop, tls):
    async def main():
        async with EchoServer(tls=tls, close_timeout=0.2) as server:
            context = server.ssl_context() if tls else None
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context, limit=1024)
            writer.write(UPGRADE + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            (connection,) = server.connections
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flood(writer), 1)
            buffered = connection.wire.writer.buffered
            writer.transport.abort()
            return buffered

    # the limit, and what one read of the socket may ask for
    assert 0 < wsx.run(main(), loop=loop) < 256 * 1024 + 2 * 65536


def test_a_slow_client_gets_everything_in_the_end():
    async def main():
        async with EchoServer() as server:
            reader, writer, _ = await raw_client(server)
            frames = b"".join(encode(BINARY, number.to_bytes(4, "big") * 5000, key=KEY) for number in range(200))
            writer.write(frames + encode(CLOSE, b"\x03\xe8", key=KEY))
            return await rest_of(reader, writer)

    expected = b"".join(encode(BINARY, number.to_bytes(4, "big") * 5000) for number in range(200))
    assert asyncio.run(main()) == expected + encode(CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_is_cut_while_it_is_answered_leaves_no_error_behind(loop, caplog):
    async def main():
        async with EchoServer() as server:
            reader, writer, _ = await raw_client(server)
            (connection,) = server.connections
            frames = encode(PING, b"x" * 100, key=KEY) + encode(TEXT, b"y" * 1000, key=KEY)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.write(frames * 2000)
            await reader.readexactly(1)
            writer.transport.abort()  # a reset, with answers under way
            await connection.wait_closed()

    wsx.run(main(), loop=loop)
    assert not caplog.records


def test_a_server_ends_although_a_client_never_ends_its_tls_handshake():
    async def main():
        async with EchoServer(tls=True, close_timeout=0.1) as server:
            _, writer = await asyncio.open_connection(server.host, server.port)
        writer.transport.abort()

    wsx.run(asyncio.wait_for(main(), 5), loop="uvloop")


def test_code_that_fails_in_a_server_is_said_as_1011(caplog):
    def fail(connection, message):
        raise LookupError("a bug of the test's own")

    async def main():
        async with LocalServer(on_message=fail) as server, connect(server.url) as client:
            await client.send("x")
            await client.wait_closed()
            return client.close_code, client.close_reason

    assert wsx.run(main()) == (1011, "LookupError")
    assert "a bug of the test's own" in caplog.text


def test_a_server_sends_fragments_pings_and_parts_of_frames():
    async def main():
        def speak(connection):
            connection.send_frame(TEXT, b"in ", fin=False)
            connection.send_frame(PING, b"between")
            connection.send_frame(0, b"parts", fin=True)

        async with LocalServer(on_open=speak) as server, connect(server.url) as client:
            text = (await client.recv()).text
            await client.ping()  # its own ping was answered after the server's
            pongs = server.connections[0].telemetry.snapshot()["pongs_received"]
            server.connections[0].send_raw(encode(TEXT, b"cut off")[:5])
            server.connections[0].abort()
            await client.wait_closed()
            return text, pongs, client.close_code

    assert wsx.run(main()) == ("in parts", 1, 1006)


def test_a_server_that_runs_cannot_be_started_again():
    async def main():
        async with EchoServer() as server:
            with pytest.raises(RuntimeError, match=f"running already, at {server.url}"):
                await server.__aenter__()
        async with server, connect(server.url) as client:
            await client.send("again")
            return (await client.recv()).text

    assert wsx.run(main()) == "again"


@pytest.mark.parametrize(
    "kind, options",
    [(TypeError, {"subprotocols": "abc"}), (ValueError, {"max_message_size": 0}), (ValueError, {"close_timeout": -1})],
)
def test_what_a_server_cannot_be_is_refused_when_it_is_made(kind, options):
    with pytest.raises(kind, match=next(iter(options))):
        EchoServer(**options)


def test_without_trustme_the_text_names_the_extra():
    script = (
        "import sys; sys.modules['trustme'] = None\n"
        "from wsx.testing import EchoServer\n"
        "EchoServer()\n"
        "try: EchoServer(tls=True)\n"
        "except ImportError as error: print(error)"
    )
    assert "wsx[testing]" in subprocess.check_output([sys.executable, "-c", script], text=True)
