"""The default transport without a client above it: dialled to a server of blocking sockets, on both loops.

Not here: what picows does not promise (test_picows_traps.py), faults that a user meets (faults/).
"""

import asyncio
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from raw_server import LOOPS, PING, TEXT, RawServer, frame, run_bounded, until

import wsx
from wsx._assembler import Assembler
from wsx._inbox import Inbox
from wsx._telemetry import Telemetry
from wsx.endpoint import parse_url
from wsx.errors import ConnectionFailed, NotConnected
from wsx.headers import checked_headers
from wsx.testing.certificates import Authority
from wsx.transport._listener import Reader
from wsx.transport.base import Opening
from wsx.transport.picows import dial
from wsx.transport.tls import default_context


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


class Owner:
    """Everything above a transport, as lists of what it was told."""

    def __init__(self):
        self.messages, self.control, self.said = [], [], []
        self.telemetry = Telemetry()
        inbox = Inbox(self, self.telemetry, callback=lambda message: self.messages.append(message.data))
        inbox.start()
        self.assembler = Assembler(inbox, self, self.telemetry)

    def on_control(self, opcode, payload):
        self.control.append((opcode, payload))

    def on_close(self, code, reason):
        self.said.append(("close", code))

    def on_failure(self, close_code, text):
        self.said.append(("failure", close_code))

    def on_disconnected(self):
        self.said.append("disconnected")

    def on_writing_paused(self):
        self.said.append("writing paused")

    def on_writing_resumed(self):
        self.said.append("writing resumed")

    def on_broken(self, error):
        self.said.append(("broken", type(error)))

    def opening(self, url, *, seconds=5, **config):
        settings = wsx.Config(**{"connect_timeout": seconds} | config)
        deadline = asyncio.get_running_loop().time() + seconds
        endpoint, headers = parse_url(url), checked_headers(())
        return Opening(endpoint, headers, settings, self.assembler, self, self.telemetry, deadline)

    async def dial(self, url, **options):
        return await dial(self.opening(url, **options))


class Dialled:
    """`async with Dialled(...) as (transport, peer, owner)`; the transport is aborted at the end."""

    def __init__(self, *, tls=False, behind=b"", **config):
        authority = Authority() if tls else None
        self._server = RawServer(behind=behind, ssl=authority.server_context() if tls else None)
        self._config = config | ({"ssl": authority.client_context()} if tls else {})
        self._owner = Owner()

    async def __aenter__(self):
        await self._server.__aenter__()
        self._transport = await self._owner.dial(self._server.url, **self._config)
        return self._transport, await self._server.peer(), self._owner

    async def __aexit__(self, *error):
        self._transport.abort()
        await self._server.deserted()
        await self._server.__aexit__(*error)


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def tls(request):
    return request.param


# ---- opening --------------------------------------------------------------------------------------------------------


def test_an_open_transport_knows_its_times_and_its_socket(run, tls):
    async def main():
        async with Dialled(tls=tls) as (transport, peer, _):
            taken = transport.times
            assert taken.tcp_ns > 0
            assert taken.upgrade_ns > 0
            assert (taken.tls_ns > 0) == tls
            assert transport.subprotocol is None
            assert transport.get_extra_info("peername") == peer.writer.get_extra_info("sockname")
            assert (transport.get_extra_info("ssl_object") is not None) == tls

    run(main())


async def fails_at(stage, url, **options):
    with pytest.raises(ConnectionFailed) as caught:
        await Owner().dial(url, **options)
    assert caught.value.stage == stage
    return str(caught.value)


def test_a_look_up_that_fails_is_named(run):
    async def main():
        threading.stack_size(1 << 46)  # more than there are addresses: the look-up gets no thread
        try:
            assert "localhost" in await fails_at("dns", "ws://localhost:1/")
        finally:
            threading.stack_size(0)

    run(main())


def test_a_refused_connection_is_named(run):
    async def main():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            text = await fails_at("tcp", f"ws://127.0.0.1:{sock.getsockname()[1]}/")
            assert "connection refused; nothing listens on that port" in text

    run(main())


def test_a_source_address_of_another_machine_is_named(run):
    async def main():
        async with RawServer() as server:
            text = await fails_at("tcp", server.url, source_address="192.0.2.1")
            assert os.strerror(99) in text or sys.platform != "linux"

    run(main())


@pytest.mark.parametrize(("scheme", "stage"), [("ws", "upgrade"), ("wss", "tls")])
def test_a_reset_that_the_loop_sees_only_with_the_connection_is_not_a_failed_connect(run, scheme, stage):
    """TCP was through: the loop was slow, and finds the reset when it asks how the connecting went."""

    def serve(listener):
        for _ in range(5):
            sock, _ = listener.accept()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            slow = asyncio.create_task(slow_loop())
            default_context()
            for _ in range(5):
                await fails_at(stage, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/")
            slow.cancel()
            thread.join()

    async def slow_loop():
        while True:
            time.sleep(0.005)  # noqa: ASYNC251, on purpose
            await asyncio.sleep(0)

    run(main())


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that is there and cannot be read")
def test_roots_that_cannot_be_read_are_named_before_there_is_a_socket(run, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/proc/self/mem")  # nothing is at address 0
    default_context.cache_clear()

    async def main():
        text = await fails_at("tls", "wss://127.0.0.1:1/")
        assert "cannot read the system's roots: Input/output error" in text

    run(main())
    default_context.cache_clear()


def test_the_deadline_names_the_stage_and_leaves_no_socket(run, tls):
    async def main():
        default_context()
        async with RawServer(lambda request: None) as server:
            url = server.url.replace("ws:", "wss:") if tls else server.url
            text = await fails_at("tls" if tls else "upgrade", url, seconds=0.3)
            assert "connect_timeout=0.3 s" in text
            await server.deserted()

    run(main())


# ---- reading --------------------------------------------------------------------------------------------------------


def test_reading_starts_paused_and_can_be_paused_again(run, tls):
    async def main():
        async with Dialled(tls=tls, behind=frame(TEXT, b"1")) as (transport, peer, owner):
            await asyncio.sleep(0.02)
            assert owner.messages == []
            transport.resume_reading()
            transport.resume_reading()  # nothing more
            assert owner.messages == [b"1"]
            transport.pause_reading()
            transport.pause_reading()
            peer.send(frame(TEXT, b"2"), frame(PING, b"p"))
            await asyncio.sleep(0.02)
            assert owner.messages == [b"1"]
            transport.resume_reading()
            await until(lambda: owner.control)
            assert owner.messages == [b"1", b"2"]

    run(main())


def test_the_end_of_the_stream_is_told_once(run, tls):
    async def main():
        async with Dialled(tls=tls) as (transport, peer, owner):
            transport.resume_reading()
            peer.send(frame(TEXT, b"last"))
            peer.close()
            await until(lambda: owner.said)
            await asyncio.sleep(0.02)
            assert (owner.messages, owner.said) == ([b"last"], ["disconnected"])
            transport.pause_reading()
            transport.resume_reading()
            transport.discard_input()
            transport.close()
            with pytest.raises(NotConnected):
                transport.writer.send(TEXT, b"x")

    run(main())


def test_an_end_before_anybody_reads_is_told_after_what_came(run, tls):
    async def main():
        async with Dialled(tls=tls, behind=frame(TEXT, b"early")) as (transport, peer, owner):
            peer.close()
            await asyncio.sleep(0.05)
            assert owner.said == []
            transport.resume_reading()
            await until(lambda: owner.said)
            assert (owner.messages, owner.said) == ([b"early"], ["disconnected"])

    run(main())


@pytest.mark.parametrize("taken_over", [False, True], ids=["not yet read", "reading"])
def test_discarded_input_goes_nowhere_but_its_end_is_told(run, tls, taken_over):
    async def main():
        async with Dialled(tls=tls, behind=frame(TEXT, b"behind")) as (transport, peer, owner):
            if taken_over:
                transport.resume_reading()
            transport.discard_input()
            peer.send(frame(TEXT, bytes(100_000)) * 3)
            peer.close()
            await until(lambda: owner.said)
            assert owner.said == ["disconnected"]
            assert owner.messages == [b"behind"] * taken_over

    run(main())


def test_a_pause_by_what_came_behind_the_101_holds(run):
    async def main():
        async with Dialled(behind=frame(PING, b"1")) as (transport, peer, owner):
            owner.on_control = lambda opcode, payload: (owner.control.append(payload), transport.pause_reading())
            transport.resume_reading()
            peer.send(frame(PING, b"2"))
            await asyncio.sleep(0.02)
            assert owner.control == [b"1"]
            transport.resume_reading()
            await until(lambda: owner.control == [b"1", b"2"])

    run(main())


def test_large_messages_are_read_in_bounded_parts(run, tls):
    async def main():
        sizes = [10, 200_000, 3_000_000, 10]
        async with Dialled(tls=tls) as (transport, peer, owner):
            transport.resume_reading()
            peer.send(*(frame(TEXT, b"x" * size) for size in sizes))
            await until(lambda: len(owner.messages) == len(sizes))
            assert [len(message) for message in owner.messages] == sizes

    run(main())


# ---- writing --------------------------------------------------------------------------------------------------------


def test_what_is_written_before_the_close_arrives(run, tls):
    async def main():
        async with Dialled(tls=tls) as (transport, peer, _):
            transport.writer.send(TEXT, b"last words")
            transport.close()
            assert (await peer.frame()).payload == b"last words"
            assert await peer.frame() is None

    run(main())


# ---- faults of this side --------------------------------------------------------------------------------------------


def test_a_reader_takes_no_more_than_its_buffer_has():
    messages = []
    sink = Assembler(messages.append, None, Telemetry())
    reader = Reader(sink, None)
    reader.buffer[:4] = frame(TEXT, b"hi")
    reader.take(4)
    assert [message.data for message in messages] == [b"hi"]
    with pytest.raises(ValueError, match="32768 bytes, not 32769"):
        reader.take(32769)


def test_a_readers_buffer_grows_once_where_a_read_has_filled_it():
    messages = []
    reader = Reader(Assembler(messages.append, None, Telemetry()), None)
    stream, sizes = frame(TEXT, b"x" * 300_000), []
    while stream:
        size = min(len(reader.buffer), len(stream))
        reader.buffer[:size] = stream[:size]
        reader.take(size)
        stream = stream[size:]
        sizes.append(size)
    assert [message.data for message in messages] == [b"x" * 300_000]
    assert sizes[:3] == [32 * 1024, 128 * 1024, 128 * 1024]


def test_what_the_sink_raises_is_told(run):
    def raising(opcode, payload):
        raise RuntimeError("mine")

    async def main():
        async with Dialled() as (transport, peer, owner):
            owner.on_control = raising
            transport.resume_reading()
            peer.send(frame(PING))
            await until(lambda: owner.said)
            assert owner.said == [("broken", RuntimeError)]

    run(main())


@pytest.mark.parametrize(
    "fault", [frame(3), bytes([0x88, 2, *(1100).to_bytes(2, "big")])], ids=["opcode", "close code"]
)
def test_nothing_that_is_read_after_a_fault_is_delivered_before_it_is_told(run, fault):
    """uvloop reads once more before it runs what the reading before has scheduled."""

    async def main():
        async with Dialled(behind=frame(TEXT, b"good") + fault) as (transport, peer, owner):
            peer.send(frame(TEXT, b"never"))
            sock = transport.get_extra_info("socket")
            await until(lambda: select.select([sock.fileno()], [], [], 0)[0])
            transport.resume_reading()
            await until(lambda: owner.said)
            await asyncio.sleep(0.02)
            assert (owner.messages, owner.said) == ([b"good"], [("failure", 1002)])

    run(main())


def test_the_first_fault_of_a_read_is_the_one_that_counts(run):
    async def main():
        async with Dialled() as (transport, peer, owner):
            transport.resume_reading()
            peer.send(frame(3) + frame(TEXT, b"\xff"))
            await until(lambda: owner.said)
            await asyncio.sleep(0)
            assert owner.said == [("failure", 1002)]

    run(main())


def test_a_fault_is_told_with_its_code_behind_what_came_before_it(run):
    async def main():
        async with Dialled() as (transport, peer, owner):
            transport.resume_reading()
            peer.send(frame(TEXT, b"good"), frame(3))
            await until(lambda: owner.said)
            assert (owner.messages, owner.said) == ([b"good"], [("failure", 1002)])

    run(main())
