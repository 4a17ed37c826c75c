"""Socket options, read back from real sockets."""

import socket

import pytest
from raw_server import LOOPS, RawServer, connect, run_bounded

import wsx
from wsx.transport.socket_options import apply_options

OPTIONS = {
    "nodelay": (socket.IPPROTO_TCP, "TCP_NODELAY"),
    "quickack": (socket.IPPROTO_TCP, "TCP_QUICKACK"),
    "keepalive": (socket.SOL_SOCKET, "SO_KEEPALIVE"),
    "user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
    "receive_buffer": (socket.SOL_SOCKET, "SO_RCVBUF"),
    "send_buffer": (socket.SOL_SOCKET, "SO_SNDBUF"),
}


def read(sock, field):
    level, name = OPTIONS[field]
    if not hasattr(socket, name):
        pytest.skip(f"this system has no {name}")
    return sock.getsockopt(level, getattr(socket, name))


@pytest.fixture
def sock():
    with socket.socket() as sock:
        yield sock


@pytest.mark.parametrize("field", ["nodelay", "quickack", "keepalive"])
@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_switched_on_and_off(sock, field, value):
    apply_options(sock, wsx.SocketOptions(**{field: value}))
    assert bool(read(sock, field)) is value


def test_seconds_become_the_kernels_milliseconds(sock):
    apply_options(sock, wsx.SocketOptions(user_timeout=12.3456))
    assert read(sock, "user_timeout") == 12_346


@pytest.mark.parametrize("field", ["receive_buffer", "send_buffer"])
def test_a_buffer_has_the_size_that_was_asked_for(sock, field):
    small, large = 10_000, 100_000
    sizes = []
    for size in (small, large):
        apply_options(sock, wsx.SocketOptions(**{field: size}))
        sizes.append(read(sock, field))
    assert sizes[0] in (small, 2 * small) and sizes[1] in (large, 2 * large)  # Linux doubles it for its own needs


@pytest.mark.parametrize("field", ["user_timeout", "receive_buffer", "send_buffer"])
def test_what_is_not_set_is_left_to_the_system(sock, field):
    before = read(sock, field)
    apply_options(sock, wsx.SocketOptions())
    assert read(sock, field) == before


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_has_them(loop):
    async def main():
        async with RawServer() as server:
            client = await connect(server.url, socket_options=wsx.SocketOptions(keepalive=False), close_timeout=0.05)
            sock = client._session.connection.transport.get_extra_info("socket")
            seen = bool(read(sock, "nodelay")), bool(read(sock, "keepalive"))
            await client.close()
            return seen

    assert run_bounded(main(), loop) == (True, False)
