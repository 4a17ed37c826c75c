"""Evidence: what a socket tells, and what the numbers say about who was slow."""

import asyncio
import socket
import sys

import pytest

from wsx.evidence import Measured, SocketState, ask_socket, phrases

MS = 1_000_000
CALM = SocketState(unread_bytes=0, unacked=0, retransmits=0, rtt_ns=250_000, since_ack_ns=3 * MS)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells so much about a socket")


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    with near, far:
        yield near, far


@linux
def test_a_socket_tells_what_waits_in_it_unread(pair):
    near, far = pair
    far.sendall(b"x" * 1000)
    near.recv(1, socket.MSG_PEEK)
    state = ask_socket(near)
    assert state.unread_bytes == 1000
    assert (state.unacked, state.retransmits) == (0, 0)
    assert state.rtt_ns > 0 and state.since_ack_ns >= 0


@linux
def test_a_socket_that_is_gone_tells_nothing(pair):
    near, _ = pair
    near.close()
    assert ask_socket(near) is None


@linux
def test_what_is_no_tcp_socket_tells_nothing():
    near, far = socket.socketpair()
    with near, far:
        assert ask_socket(near) is None


def test_a_transport_without_a_socket_tells_nothing():
    assert ask_socket(None) is None


@linux
def test_a_transport_of_either_loop_can_be_asked(pair):
    near, _ = pair

    async def main():
        _, writer = await asyncio.open_connection(sock=near.dup())
        state = ask_socket(writer.get_extra_info("socket"))
        writer.close()
        await writer.wait_closed()
        return state.unread_bytes

    assert asyncio.run(main()) == 0


def said(**measured):
    return "; ".join(phrases(Measured(**measured)))


def test_a_late_loop_is_this_process():
    assert "this process was slow: its event loop ran up to 1.500 s late" in said(lag_ns=1500 * MS)
    assert "this process" not in said(lag_ns=10 * MS)


def test_long_callbacks_are_this_process():
    assert "callbacks held the loop for up to 0.800 s at a time" in said(callback_ns=800 * MS)


def test_bytes_that_were_not_read_are_this_process():
    state = SocketState(unread_bytes=42, unacked=0, retransmits=0, rtt_ns=1, since_ack_ns=0)
    assert "this process was slow: 42 bytes had come and waited unread" in said(socket=state)


def test_segments_without_an_acknowledgement_are_the_line():
    state = SocketState(unread_bytes=0, unacked=2, retransmits=5, rtt_ns=MS, since_ack_ns=4000 * MS)
    text = said(socket=state, silent_ns=7000 * MS)
    assert "the line or the peer's machine is gone: 2 segments are not acknowledged, sent again 5 times" in text
    assert "the last acknowledgement came 4.000 s before" in text and "the last frame came 7.000 s before" in text


def test_a_machine_that_acknowledges_leaves_the_peers_program():
    text = said(socket=CALM, silent_ns=15_000 * MS)
    assert "has acknowledged everything" in text and "TCP's own round trip is 0.250 ms" in text
    assert "this process" not in text and "the line" not in text
