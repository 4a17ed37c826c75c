"""One connection's life, from its transport on: a server of raw frames, and an owner that writes down what it hears.

Not here: what a client makes of it (test_client.py), what may go wrong below (faults/).
"""

import asyncio

import pytest
from raw_server import CLOSE, LOOPS, PING, TEXT, RawServer, close_frame, frame, run_bounded, until

import wsx
from wsx._inbox import Inbox
from wsx._telemetry import Telemetry
from wsx.clock import MonotonicClock
from wsx.connection import Connection, open_connection
from wsx.endpoint import parse_url
from wsx.errors import ConnectionLost, MessageTooBig, ProtocolError
from wsx.transport.picows import dial


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


class Owner:
    """Who holds the connection."""

    def __init__(self, url, **config):
        self.said, self.messages = [], []
        self.config = wsx.Config(**{"close_timeout": 0.3} | config)
        self.telemetry = Telemetry()
        self.inbox = Inbox(self, self.telemetry, callback=lambda message: self.messages.append(message.text))
        self.inbox.start()
        self.connection = Connection(self.config, self.telemetry, self, self.inbox, 1, MonotonicClock())
        self._url = url

    async def open(self):
        await open_connection(self.connection, dial, parse_url(self._url), (), self.config, self.telemetry)
        self.connection.resume_reading()
        return self.connection

    def on_closing(self):
        self.said.append("closing")

    def on_ended(self, end):
        self.said.append("ended")

    def on_writable(self):
        self.said.append("writable")


def on_a_connection(test, **config):
    """Run a test's steps with an open connection, its owner and the server's side of it."""

    async def main():
        async with RawServer() as server:
            owner = Owner(server.url, **config)
            connection = await owner.open()
            peer = await server.peer()
            await test(connection, owner, peer)
            peer.close()
            await connection.end
            await server.deserted()
            assert owner.said == ["closing", "ended"]

    return main()


def test_closing_is_asked_for_once(run):
    async def test(connection, owner, peer):
        connection.close(1000, "done")
        connection.close(1001, "again")
        assert connection.closing
        seen = await peer.frame()
        assert (seen.close_code, seen.payload[2:]) == (1000, b"done")
        peer.send(close_frame(1000))
        peer.close()
        end = await connection.end
        assert (end.code, end.error) == (1000, None)
        connection.close(1000, "")
        connection.abort(ConnectionLost("late"))
        connection.fail(ProtocolError(1002, "late"), 1002)
        connection.on_disconnected()
        assert connection.end.result() is end

    run(on_a_connection(test))


def test_the_first_failure_counts(run):
    async def test(connection, owner, peer):
        first = ProtocolError(1002, "the first")
        connection.fail(first, 1002)
        connection.fail(ProtocolError(1007, "the second"), 1007)
        assert (await peer.frame()).close_code == 1002
        peer.close()
        end = await connection.end
        assert (end.code, end.error) == (1006, first)
        assert await peer.frame() is None

    run(on_a_connection(test))


def test_a_frame_that_this_side_cannot_take_is_1011_with_its_cause(run):
    async def test(connection, owner, peer):
        cause = MemoryError()
        connection.on_broken(cause)
        assert (await peer.frame()).close_code == 1011
        peer.close()
        end = await connection.end
        assert isinstance(end.error, ConnectionLost)
        assert end.error.__cause__ is cause
        assert "MemoryError" in str(end.error)

    run(on_a_connection(test))


def test_an_abort_says_nothing_to_the_peer(run):
    async def test(connection, owner, peer):
        error = ConnectionLost("the heartbeat said so")
        connection.abort(error)
        assert (await connection.end).error is error
        assert await peer.frame() is None

    run(on_a_connection(test))


def test_an_abort_while_closing_ends_it_at_once(run):
    async def test(connection, owner, peer):
        connection.close(1000, "")
        connection.abort(ConnectionLost("no patience"))
        assert connection.end.done()
        assert connection.end.result().code == 1006

    run(on_a_connection(test))


def test_a_dropped_connection_says_why(run):
    async def test(connection, owner, peer):
        connection.drop()
        assert "could not be restored" in str((await connection.end).error)

    run(on_a_connection(test))


def test_a_paused_connection_takes_nothing_until_it_goes_on(run):
    async def test(connection, owner, peer):
        connection.pause_reading()
        peer.send(frame(TEXT, b"1"))
        await asyncio.sleep(0.02)
        assert owner.messages == []
        connection.resume_reading()
        await until(lambda: owner.messages)
        connection.close(1000, "")
        connection.resume_reading()  # it closes: nothing is watched any more
        assert [each.opcode for each in await first_frames(peer, 1)] == [CLOSE]

    run(on_a_connection(test))


async def first_frames(peer, count):
    return [await peer.frame() for _ in range(count)]


@pytest.mark.parametrize(
    ("limits", "sent", "name"),
    [
        ({"max_message_size": 10}, frame(TEXT, bytes(11)), "max_message_size"),
        ({"max_fragments": 2}, frame(TEXT, b"a", fin=False) + frame(0, b"b", fin=False) * 2, "max_fragments"),
    ],
)
def test_a_limit_is_named_by_its_field(run, limits, sent, name):
    async def test(connection, owner, peer):
        peer.send(sent)
        assert (await peer.frame()).close_code == 1009
        peer.close()
        error = (await connection.end).error
        assert isinstance(error, MessageTooBig)
        assert (error.limit_name, error.limit) == (name, limits[name])

    run(on_a_connection(test, **limits))


def test_a_ping_is_answered_until_we_close(run):
    async def test(connection, owner, peer):
        peer.send(frame(PING, b"1"))
        assert (await peer.frame()).payload == b"1"
        connection.close(1000, "")
        peer.send(frame(PING, b"2"), close_frame(1000))
        assert [each.opcode for each in await first_frames(peer, 1)] == [CLOSE]
        peer.close()

    run(on_a_connection(test))
