"""What an inbox dropped, as its client tells it: in band, as events, in the ledger; and how little it tells at once."""

import asyncio
import contextlib
import dataclasses
import time

import pytest
from raw_server import BINARY, LOOPS, TEXT, RawServer, close_frame, frame, run_bounded, until
from raw_server import connect as connect_once
from simulated_loop import simulate

from wsx import events
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx.config import Config
from wsx.drop_record import DropRecord, make_inbox
from wsx.ledger import Ledger
from wsx.testing import SimulatedLoop

SECOND = 1_000_000_000


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


@contextlib.asynccontextmanager
async def opened(**options):
    """A client, the far end of its connection, and what it told."""
    told = []
    async with RawServer() as server, connect_once(server.url, on_event=told.append, **options) as client:
        yield client, await server.peer(), told


def gaps_told(told):
    return [event.gap for event in told if isinstance(event, events.GapEvent)]


def of_kind(message):
    return message.data[:1] if message.opcode == TEXT else None


class TestClient:
    def test_the_oldest_are_dropped_and_it_is_said_in_band_by_an_event_and_in_the_ledger(self, run):
        async def main():
            async with opened(inbox_policy="drop_oldest", inbox_messages=10) as (client, peer, told):
                peer.send(frame(TEXT, b"first"))
                last_good = await client.recv()
                peer.send(*(frame(TEXT, b"%d" % number) for number in range(5000)))
                await until(lambda: client.telemetry.snapshot()["messages_received"] == 5001)
                read = [await client.recv() for _ in range(10)]
                assert [message.text for message in read] == [str(number) for number in range(4990, 5000)]
                gap = read[0].gap
                assert (gap.stream, gap.cause, gap.missed, gap.epoch) == ("", "inbox overflow", 4990, 1)
                assert (gap.last_good_ns, gap.first_good_ns) == (last_good.received_ns, read[0].received_ns)
                assert all(message.gap is None for message in read[1:])
                assert gaps_told(told) == [gap] and client.ledger.gaps() == (gap,)
                assert client.ledger.was_blind(gap.first_good_ns - 1) == gap
                counted = client.telemetry.snapshot()
                assert (counted["messages_dropped"], counted["inbox_pauses"]) == (4990, 0)
                assert counted["inbox_messages_peak"] == 10

        run(main())

    def test_only_the_newest_of_a_key_waits(self, run):
        async def main():
            async with opened(inbox_policy="conflate", conflate_key=of_kind) as (client, peer, told):
                peer.send(*(frame(TEXT, b"%c%d" % (b"ab"[number % 2], number)) for number in range(1000)))
                peer.send(frame(BINARY, b"a"), frame(BINARY, b"a"))
                await until(lambda: client.telemetry.snapshot()["messages_received"] == 1002)
                read = [await client.recv() for _ in range(4)]
                assert [message.data for message in read] == [b"a998", b"b999", b"a", b"a"]
                assert (read[0].gap.cause, read[0].gap.missed) == ("conflated", 998)
                assert [message.gap for message in read[1:]] == [None] * 3
                assert gaps_told(told) == list(client.ledger.gaps()) == [read[0].gap]
                assert client.telemetry.snapshot()["messages_conflated"] == 998

        run(main())

    def test_messages_that_cannot_be_conflated_pause_the_reading(self, run):
        async def main():
            options = {"inbox_policy": "conflate", "conflate_key": of_kind, "inbox_messages": 10}
            async with opened(**options) as (client, peer, told):
                peer.send(*(frame(BINARY, b"%d" % number) for number in range(20_000)), close_frame(1000))
                await until(lambda: len(told) > 1)
                read = [message.text async for message in client]
                assert read == [str(number) for number in range(20_000)]
                assert isinstance(told[1], events.ReadingPaused) and gaps_told(told) == []

        run(main())

    def test_what_is_too_old_is_not_read(self, run):
        async def main():
            async with opened(inbox_policy="drop_oldest", max_age=0.1) as (client, peer, told):
                peer.send(*(frame(TEXT, b"%d" % number) for number in range(3)))
                await until(lambda: client.telemetry.snapshot()["messages_received"] == 3)
                arrived_ns = client.telemetry.snapshot()["last_message_ns"]
                await until(lambda: time.monotonic_ns() - arrived_ns > 0.11 * SECOND)
                peer.send(frame(TEXT, b"young"))
                message = await client.recv()
                assert (message.text, message.gap.cause, message.gap.missed) == ("young", "too old", 3)
                assert gaps_told(told) == list(client.ledger.gaps()) == [message.gap]
                assert client.telemetry.snapshot()["messages_too_old"] == 3

        run(main())

    def test_a_function_of_keys_that_raises_is_said_and_costs_no_message(self, run, caplog):
        async def main():
            options = {"inbox_policy": "conflate", "conflate_key": lambda message: message.json()["channel"]}
            async with opened(name="desk", **options) as (client, peer, told):
                peer.send(frame(TEXT, b"no JSON"), frame(TEXT, b"no JSON"))
                assert [(await client.recv()).text for _ in range(2)] == ["no JSON"] * 2
                assert client.telemetry.snapshot()["errors_application"] == 2
                return [event.message_opcode for event in told if isinstance(event, events.CallbackFailed)]

        assert run(main()) == [TEXT, TEXT]
        assert "conflate_key of 'desk' raised; the message is kept unconflated" in caplog.text

    def test_what_nobody_read_is_on_record_when_the_client_is_closed(self, run):
        async def main():
            async with opened(inbox_policy="drop_oldest", inbox_messages=2) as (client, peer, told):
                peer.send(*(frame(TEXT, b"%d" % number) for number in range(100)))
                await until(lambda: client.telemetry.snapshot()["messages_received"] == 100)
            assert [gap.missed for gap in client.ledger.gaps()] == [98]
            assert gaps_told(told) == list(client.ledger.gaps())
            return [(message.text, message.gap and message.gap.missed) async for message in client]

        assert run(main()) == [("98", 98), ("99", None)]


class Desk:
    """A record of drops under a simulated clock, without a connection."""

    def __init__(self, loop, **settings):
        self.loop, self.told, self.ledger = loop, [], Ledger()
        self.record = DropRecord(self.ledger, self.told.append)
        config = Config(inbox_policy="drop_oldest", inbox_messages=1, **settings)
        self.inbox = make_inbox(config, self, Telemetry(loop), None, self.record)

    def bring(self, count):
        for _ in range(count):
            self.inbox.deliver(Message(b"x"))

    def missed(self):
        return [gap.missed for gap in self.ledger.gaps()]

    def hear(self, *_):
        """Not what this is about."""

    on_inbox_full = on_inbox_drained = on_callback_error = on_key_error = hear


def at_the_desk(scene):
    """Run `scene(desk)` on a simulated loop."""
    loop = SimulatedLoop()

    async def main():
        await scene(Desk(loop))

    simulate(main(), loop)


class TestEpisodes:
    def test_a_long_overflow_is_one_record_and_two_events(self):
        async def scene(desk):
            for _ in range(600):
                desk.bring(11)
                await asyncio.sleep(0.1)
            await asyncio.sleep(5)
            assert desk.missed() == [6599]
            assert [gap.missed for gap in desk.told] == [desk.told[0].missed, 6599]
            assert desk.told[-1] == desk.ledger.gaps()[0]

        at_the_desk(scene)

    def test_an_overflow_that_nobody_reads_is_told_within_a_second(self):
        async def scene(desk):
            desk.bring(3)
            await asyncio.sleep(1.01)
            assert desk.missed() == [gap.missed for gap in desk.told] == [2]

        at_the_desk(scene)

    def test_quiet_ends_an_episode_and_the_next_is_told_anew(self):
        async def scene(desk):
            desk.bring(3)
            await asyncio.sleep(3)
            desk.bring(3)
            await asyncio.sleep(3)
            assert desk.missed() == [gap.missed for gap in desk.told] == [2, 3]
            assert not desk.loop._scheduled

        at_the_desk(scene)

    def test_the_end_tells_what_has_grown_and_leaves_no_timer(self):
        async def scene(desk):
            desk.bring(3)
            await asyncio.sleep(1.5)
            desk.bring(3)
            desk.record.end()
            assert [gap.missed for gap in desk.told] == [2, 5]
            await asyncio.sleep(0)
            assert all(timer.cancelled() for timer in desk.loop._scheduled)

        at_the_desk(scene)

    def test_what_is_dropped_after_the_end_is_told_without_a_timer(self):
        async def scene(desk):
            desk.record.end()
            desk.bring(3)
            desk.inbox.flush()
            assert desk.missed() == [gap.missed for gap in desk.told] == [2]
            assert not desk.loop._scheduled

        at_the_desk(scene)

    def test_an_end_without_an_inbox_that_drops_tells_nothing(self):
        async def main():
            told = []
            DropRecord(Ledger(), told.append).end()
            assert told == []

        asyncio.run(main())


def gap(**changes):
    base = events.Gap(stream="", last_good_ns=10, first_good_ns=20, cause="inbox overflow", missed=3, epoch=1)
    return dataclasses.replace(base, **changes)


class TestJoining:
    def test_two_gaps_become_one_over_both(self):
        joined = DropRecord.join(gap(), gap(last_good_ns=15, first_good_ns=30, cause="too old", missed=4, epoch=2))
        assert joined == gap(first_good_ns=30, cause="inbox overflow, too old", missed=7)

    def test_a_cause_is_named_once(self):
        assert DropRecord.join(gap(), gap()).cause == "inbox overflow"

    @pytest.mark.parametrize(("one", "other"), [(None, 3), (3, None)])
    def test_what_one_of_them_does_not_know_nobody_knows(self, one, other):
        assert DropRecord.join(gap(missed=one), gap(missed=other)).missed is None
