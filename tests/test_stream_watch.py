"""The stream watch: a silent stream is told once, blind meanwhile, and its next message carries the gap."""

import asyncio

import pytest

from wsx._message import Message
from wsx._watched import Watched
from wsx.events import GapEvent, StaleData
from wsx.health import HealthInputs, Thresholds, assess
from wsx.ledger import Ledger
from wsx.message_handler import MessageHandler
from wsx.stream_watch import StreamWatch
from wsx.testing import Door, MemoryServer, SimulatedLoop, connect_in_memory

S = 1_000_000_000
LAST_LOOK = 10_000_000


class Watch:
    """A watch on a simulated loop, and what it says."""

    def __init__(self, loop):
        self.loop, self.told, self.ledger = loop, [], Ledger()
        self.streams = StreamWatch(
            loop, loop, self.ledger, lambda kind, **fields: self.told.append((kind, fields)), lambda: 7
        )
        self.got = []

    def stale(self):
        return [(fields["stream"], fields["silent_ns"]) for kind, fields in self.told if kind is StaleData]

    def gaps(self):
        return [fields["gap"] for kind, fields in self.told if kind is GapEvent]


@pytest.fixture
def simulate():
    def run(scenario):
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            watch = Watch(runner.get_loop())
            runner.run(scenario(watch))
            watch.streams.stop()
            assert runner.get_loop().pending_timers() == []
            return watch

    return run


def test_a_silent_stream_is_told_once_and_the_others_are_not(simulate):
    async def scenario(watch):
        watch.streams.watch("slow", watch.got.append, 10)
        watch.streams.watch("slower", watch.got.append, 50)
        watch.streams.start()
        await asyncio.sleep(45)

    watch = simulate(scenario)
    assert watch.stale() == [("slow", 10 * S + LAST_LOOK)]
    assert watch.ledger.was_blind(20 * S, "slow").cause == "no data"
    assert watch.ledger.was_blind(20 * S, "slower") is None


def test_while_it_rests_silence_does_not_count(simulate):
    async def scenario(watch):
        watch.streams.watch("a", watch.got.append, 10)
        await asyncio.sleep(100)
        watch.streams.start()
        await asyncio.sleep(9)
        watch.streams.stop()
        await asyncio.sleep(100)
        watch.streams.start()
        await asyncio.sleep(9)

    assert simulate(scenario).stale() == []


def test_a_stream_may_come_later_and_leave_early(simulate):
    async def scenario(watch):
        watch.streams.start()
        watch.streams.watch("late", watch.got.append, 10)
        watch.streams.watch("gone", watch.got.append, 5)
        watch.streams.forget("gone")
        await asyncio.sleep(11)
        assert watch.ledger.was_blind(10 * S + S // 2, "late")
        watch.streams.forget("late")

    watch = simulate(scenario)
    assert watch.stale() == [("late", 10 * S + LAST_LOOK)]
    assert [gap.first_good_ns for gap in watch.ledger.gaps("late")] == [
        pytest.approx(11 * S, abs=10)
    ]  # blind no longer: nobody looks


def test_whoever_is_told_may_end_the_connection(simulate):
    async def scenario(watch):
        watch.streams._tell = lambda kind, **fields: watch.streams.stop()
        watch.streams.watch("a", watch.got.append, 10)
        watch.streams.watch("b", watch.got.append, 20)
        watch.streams.start()
        await asyncio.sleep(60)

    simulate(scenario)


def test_whoever_is_told_of_one_stream_may_take_away_another(simulate):
    async def scenario(watch):
        def tell(kind, **fields):
            watch.told.append((kind, fields))
            if kind is StaleData:
                watch.streams.forget("b")

        watch.streams._tell = tell
        watch.streams.watch("a", watch.got.append, 10)
        watch.streams.watch("b", watch.got.append, 10)
        watch.streams.start()
        await asyncio.sleep(60)

    assert simulate(scenario).stale() == [("a", 10 * S + LAST_LOOK)]


def test_a_message_that_ends_a_silence_while_the_watch_rests_begins_no_look(simulate):
    async def scenario(watch):
        a = watch.streams.watch("a", watch.got.append, 10)
        watch.streams.start()
        await asyncio.sleep(20)
        watch.streams.stop()
        a(Message(b"x"))
        assert watch.loop.pending_timers() == []

    watch = simulate(scenario)
    assert [gap.stream for gap in watch.gaps()] == ["a"]


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_is_above_zero(simulate, limit):
    async def scenario(watch):
        with pytest.raises(ValueError, match="data_timeout must be above 0"):
            watch.streams.watch("a", watch.got.append, limit)

    simulate(scenario)


def test_a_stream_has_one_limit(simulate):
    async def scenario(watch):
        watch.streams.watch("a", watch.got.append, 1)
        with pytest.raises(ValueError, match="'a' is watched already"):
            watch.streams.watch("a", watch.got.append, 2)

    simulate(scenario)


def test_health_judges_each_stream_by_its_own_limit(simulate):
    async def scenario(watch):
        watch.streams.start()
        watch.streams.watch("a", watch.got.append, 10)
        watch.streams.watch("b", watch.got.append, 100)
        await asyncio.sleep(20)

    watch = simulate(scenario)
    inputs = HealthInputs(
        state="open", since_ns=0, streams=watch.streams.last_seen() | {"c": 0}, stream_limits=watch.streams.limits()
    )
    health = assess(inputs, Thresholds(), 20 * S)
    assert health.stale == {"a": 20.0}
    assert [reason.text for reason in health.reasons] == ["no data for up to 20.0 s on a"]


def test_a_watched_callback_keeps_time_and_passes_on():
    got = []
    watched = Watched(got.append)
    message = Message(b"x")
    assert watched(message) is None and got == [message] and watched.last_ns == message.received_ns


def test_silence_on_a_living_connection_is_said_in_band():
    """The whole way: a server in memory that goes silent on one channel, a client, its handler, its ledger."""
    channel = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"%b","data":%d}}'

    async def main(loop):
        events, got = [], []
        server = MemoryServer(Door(on_message=lambda connection, message: None))
        options = {"surroundings": loop.surroundings, "on_event": events.append, "ping_interval": None}
        async with connect_in_memory(server, **options) as client:
            handler = MessageHandler(client)
            handler.on_channel("a", got.append, data_timeout=10)
            remove = handler.on_channel("b", got.append, data_timeout=10)
            (end,) = server.connections
            for second in range(25):
                end.send((channel % (b"b", second)).decode())
                await asyncio.sleep(1)
            assert client.health().stale.keys() == {"a"} and not client.health().stale["a"] < 24
            end.send((channel % (b"a", 1)).decode())
            await asyncio.sleep(1)
            remove()
            await asyncio.sleep(30)
        return events, got

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        events, got = runner.run(main(loop))
    stale = [(event.stream, event.silent_ns // S) for event in events if isinstance(event, StaleData)]
    assert stale[0] == ("a", 10) and ("b", 10) not in stale
    assert got[-1].gap.stream == "a" and got[-1].gap.cause == "no data"
    assert [message.gap for message in got[:-1]] == [None] * 25
