"""The events of each message, told from compiled code; and how long callbacks held the loop, measured once a read."""

import asyncio

import pytest

import wsx
from wsx import telemetry
from wsx._assembler import Assembler
from wsx._inbox import Inbox
from wsx._telemetry import Telemetry
from wsx.testing import Door, EchoServer, MemoryServer, SimulatedLoop, connect_in_memory

TEXT = b"\x81\x02hi"
PART, PING, LAST_PART = b"\x01\x01h", b"\x89\x00", b"\x80\x01i"


@pytest.fixture
def told():
    seen = []
    for name in ("message.received", "message.sent"):
        telemetry.attach(name, lambda name, fields: seen.append((name, dict(fields))), name)
    yield seen
    for name in ("message.received", "message.sent"):
        telemetry.detach(name)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_message_is_told_by_its_client_and_connection_and_nothing_of_a_servers(told, loop):
    async def main():
        async with EchoServer() as server, wsx.connect(server.url, name="desk-1") as client:
            client.send_nowait("three")
            await client.send(b"four")
            await client.recv()
            await client.recv()
            client.reconnect()
            await client.wait_open()
            client.send_nowait("x" * 70_000)
            await client.recv()

    wsx.run(main(), loop=loop)
    short = [(name, fields["client"], fields["epoch"], fields["opcode"], fields["bytes"]) for name, fields in told]
    assert sorted(short) == [
        ("message.received", "desk-1", 1, 1, 5),
        ("message.received", "desk-1", 1, 2, 4),
        ("message.received", "desk-1", 2, 1, 70_000),
        ("message.sent", "desk-1", 1, 1, 5),
        ("message.sent", "desk-1", 1, 2, 4),
        ("message.sent", "desk-1", 2, 1, 70_000),
    ]
    assert all(set(fields) == set(telemetry.EVENTS[name].fields) for name, fields in told)
    times = [fields["at_ns"] for _, fields in told]
    assert times[0] > 0 and times == sorted(times)


def test_a_hooks_messages_and_restored_subscriptions_are_told_too(told):
    async def hook(route):
        await route.request("login", lambda message: True, timeout=5)

    async def main():
        async with EchoServer() as server, wsx.connect(server.url, on_open=[hook]):
            pass

    wsx.run(main())
    assert [(name, fields["bytes"]) for name, fields in told] == [("message.sent", 5), ("message.received", 5)]


class Deaf:
    """Who has nothing to do with what comes."""

    def on_control(self, opcode, payload):
        pass


def test_parts_and_control_frames_are_no_messages(told):
    counters = Telemetry()
    counters.belong_to("a", 7)
    inbox = Inbox(Deaf(), counters)
    Assembler(inbox, Deaf(), counters, epoch=7).feed(PART + PING + LAST_PART)
    assert [(name, fields["epoch"], fields["bytes"]) for name, fields in told] == [("message.received", 7, 2)]


def test_a_handler_that_raises_is_detached_and_the_message_arrives(caplog):
    def fail(name, fields):
        raise ValueError("mine")

    telemetry.attach("message.received", fail, "messages")
    counters = Telemetry()
    counters.belong_to("a", 1)
    inbox = Inbox(Deaf(), counters)
    Assembler(inbox, Deaf(), counters).feed(TEXT)
    assert len(inbox) == 1
    assert not telemetry.detach("messages")
    assert "'messages' raised on message.received" in caplog.text


# ---- how long callbacks take ----------------------------------------------------------------------------------------


class _Ticking:
    """A clock that a callback moves."""

    def __init__(self):
        self.ns = 1_000

    def now_ns(self):
        return self.ns


def _assembler(takes_ns):
    """An assembler whose callback takes so long for each message."""
    clock = _Ticking()

    def callback(message):
        clock.ns += takes_ns[0]

    counters = Telemetry(clock)
    inbox = Inbox(Deaf(), counters, callback=callback)
    inbox.start()
    return Assembler(inbox, Deaf(), counters), counters


def test_the_callbacks_of_one_read_are_timed_together():
    takes_ns = [50]
    assembler, counters = _assembler(takes_ns)
    assembler.feed(TEXT * 3)
    assert counters.snapshot()["last_callback_ns"] == counters.snapshot()["callback_ns_max"] == 150
    takes_ns[0] = 1
    assembler.feed(TEXT)
    assert (counters.snapshot()["last_callback_ns"], counters.snapshot()["callback_ns_max"]) == (1, 150)
    assert assembler.slowest_ns == 150


def test_a_read_that_ends_in_the_middle_of_a_message_or_with_a_ping_is_timed_too():
    assembler, counters = _assembler([50])
    assembler.feed(TEXT + PART)
    assert counters.snapshot()["last_callback_ns"] == 50
    assembler.feed(TEXT[:0] + LAST_PART + PING)
    assert counters.snapshot()["last_callback_ns"] == 50


def test_a_peer_that_died_behind_slow_callbacks_is_told_with_them():
    """The callbacks are slow enough to be noticed and too quick to be called a blocked loop."""

    async def main(loop):
        def callback(message):
            loop._time.now_ns += 200_000_000

        server = MemoryServer(Door())
        options = {"ping_interval": 1, "ping_timeout": 1, "reconnect": False, "surroundings": loop.surroundings}
        async with connect_in_memory(server, on_message=callback, **options) as client:
            (end,) = server.connections
            end.wire.pause_reading()  # it answers no PING any more
            await asyncio.sleep(0.1)
            end.send("one")
            await client.wait_closed()
            return client.error

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        error = runner.run(main(runner.get_loop()))
    assert isinstance(error, wsx.errors.HeartbeatTimeout)
    assert "this process was slow: callbacks held the loop for up to 0.200 s at a time" in error.context.evidence
