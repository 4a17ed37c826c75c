"""The heartbeat alone: a real loop whose time is simulated, and a line that writes down what is asked of it."""

import asyncio

import pytest
from simulated_loop import simulate

import wsx
from wsx._telemetry import Telemetry
from wsx.errors import HeartbeatTimeout, NotConnected
from wsx.heartbeat import Heartbeat
from wsx.testing import SimulatedLoop

MS = 1_000_000


class Line:
    """The other side of a heartbeat: its pings, and what it says about the peer. late: seconds to answer, or None."""

    def __init__(self, answers_after=None, **config):
        self.pings, self.errors, self.blocked, self.round_trips = [], [], [], []
        self._answers_after = answers_after
        self.loop = asyncio.get_running_loop()
        self.telemetry = Telemetry()
        settings = wsx.Config(**{"ping_interval": 10, "ping_timeout": 5} | config)
        self.heartbeat = Heartbeat(self, self, settings, self.telemetry, self.loop, self.loop)

    def write(self, opcode, payload):
        assert opcode == 0x9
        self.pings.append((self.loop.time(), payload))
        if self._answers_after is not None:
            self.loop.call_later(self._answers_after, self.heartbeat.on_pong, payload)

    def abort(self, error):
        self.errors.append((self.loop.time(), error))
        self.heartbeat.stop()

    def on_pong(self, rtt_ns):
        self.round_trips.append(rtt_ns)

    def on_loop_blocked(self, lag_ns):
        self.blocked.append(lag_ns)

    @property
    def times(self):
        return [round(at, 3) for at, _ in self.pings]


def on_a_line(test, **options):
    """Run a test's steps with a line, on a simulated loop."""

    async def main():
        line = Line(**options)
        await test(line)
        line.heartbeat.stop()
        return line

    return simulate(main())


class TestBeating:
    def test_pings_come_every_interval_whatever_a_pong_takes(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(35)

        line = on_a_line(test, answers_after=2)
        assert line.times == [10, 20, 30]
        assert line.errors == []

    def test_a_pong_that_took_longer_than_the_interval_is_followed_at_once(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(9)

        line = on_a_line(test, answers_after=3, ping_interval=1)
        assert line.times == [1, 4, 7]

    def test_without_an_interval_there_are_none(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(100)

        assert on_a_line(test, ping_interval=None).pings == []

    def test_payloads_differ_and_cannot_be_guessed(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(105)

        payloads = [payload for _, payload in on_a_line(test, answers_after=0).pings]
        assert len(set(payloads)) == len(payloads) == 10
        assert {len(payload) for payload in payloads} == {8}

    def test_the_round_trip_is_recorded_and_the_peer_was_seen(self):
        async def test(line):
            assert line.heartbeat.seen_ns == line.loop.now_ns()
            line.heartbeat.start()
            await asyncio.sleep(12)
            assert line.telemetry.snapshot()["last_rtt_ns"] == pytest.approx(500 * MS, abs=10)
            assert line.round_trips == [pytest.approx(500 * MS, abs=10)]
            assert line.heartbeat.seen_ns == pytest.approx(10_500 * MS, abs=10)

        on_a_line(test, answers_after=0.5)


class TestDeadPeer:
    def test_no_pong_within_the_timeout_is_the_end(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(60)

        line = on_a_line(test)
        ((at, error),) = line.errors
        assert line.times == [10]
        assert 15 <= at < 15.1
        assert isinstance(error, HeartbeatTimeout)
        assert error.ping_timeout == 5

    def test_a_late_pong_counts_no_more(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(60)

        line = on_a_line(test, answers_after=6)
        assert len(line.errors) == 1

    @pytest.mark.parametrize("payload", [b"", b"another", bytes(8)])
    def test_a_pong_with_another_payload_counts_for_nothing(self, payload):
        async def test(line):
            line.heartbeat.start()
            for _ in range(30):
                await asyncio.sleep(1)
                line.heartbeat.on_pong(payload)

        line = on_a_line(test)
        assert len(line.errors) == 1
        assert line.telemetry.snapshot()["pongs_unmatched"] == 30

    def test_a_pong_counts_once(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(11)
            for _ in range(2):
                line.heartbeat.on_pong(line.pings[0][1])

        assert on_a_line(test).telemetry.snapshot()["pongs_unmatched"] == 1


class TestResting:
    def test_nothing_is_sent_or_judged_while_reading_is_paused(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(11)
            line.heartbeat.pause()
            await asyncio.sleep(1000)
            assert line.errors == []
            line.heartbeat.start()  # the PONG has its whole time once more
            await asyncio.sleep(4.9)
            assert line.errors == []
            await asyncio.sleep(0.2)
            assert len(line.errors) == 1

        assert on_a_line(test).times == [10]

    def test_a_pong_that_is_seen_at_the_pause_begins_no_new_beat(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(11)
            line.heartbeat.pause()
            line.heartbeat.on_pong(line.pings[0][1])
            await asyncio.sleep(100)
            assert len(line.pings) == 1
            line.heartbeat.start()
            await asyncio.sleep(10.1)
            assert len(line.pings) == 2

        on_a_line(test)


class TestBlockedLoop:
    def test_a_beat_that_is_late_is_said_and_sent(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(5)
            line.loop.jump(30)
            await asyncio.sleep(1)

        line = on_a_line(test, answers_after=0.1)
        assert line.blocked == [pytest.approx(25_000 * MS, abs=MS)]
        assert line.errors == []

    def test_a_deadline_that_passed_meanwhile_is_set_again(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(11)
            line.loop.jump(30)
            await asyncio.sleep(4)
            assert line.errors == []
            line.heartbeat.on_pong(line.pings[0][1])
            await asyncio.sleep(3)

        line = on_a_line(test)
        assert line.blocked == [pytest.approx(26_000 * MS, abs=MS)]
        assert line.errors == []

    def test_a_peer_that_stays_silent_is_dead_all_the_same(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(11)
            line.loop.jump(30)
            await asyncio.sleep(6)

        line = on_a_line(test)
        assert len(line.errors) == 1

    def test_a_little_late_is_nothing_to_say(self):
        async def test(line):
            line.heartbeat.start()
            await asyncio.sleep(9.9)
            line.loop.jump(0.3)
            await asyncio.sleep(1)

        assert on_a_line(test, answers_after=0.1).blocked == []


class TestByHand:
    def test_each_ping_has_its_own_round_trip(self):
        async def test(line):
            slow, fast = line.heartbeat.ping(), line.heartbeat.ping()
            await asyncio.sleep(1)
            line.heartbeat.on_pong(line.pings[1][1])
            await asyncio.sleep(1)
            line.heartbeat.on_pong(line.pings[0][1])
            assert await asyncio.gather(slow, fast) == [pytest.approx(2), pytest.approx(1)]

        on_a_line(test, ping_interval=None)

    def test_one_that_was_given_up_is_forgotten(self):
        async def test(line):
            waiter = line.heartbeat.ping()
            waiter.cancel()
            line.heartbeat.on_pong(line.pings[0][1])  # before the loop has told the heartbeat
            await asyncio.sleep(0)
            line.heartbeat.on_pong(line.pings[0][1])
            assert waiter.cancelled()
            assert line.telemetry.snapshot()["pongs_unmatched"] == 1

        on_a_line(test, ping_interval=None)

    def test_there_is_a_greatest_number_at_the_same_time(self):
        async def test(line):
            waiting = [line.heartbeat.ping() for _ in range(64)]
            with pytest.raises(RuntimeError, match="64 pings"):
                line.heartbeat.ping()
            assert len(line.pings) == 64
            waiting.pop().cancel()
            await asyncio.sleep(0)
            waiting.append(line.heartbeat.ping())
            line.heartbeat.stop()
            assert {type(each.exception()) for each in waiting} == {NotConnected}

        on_a_line(test, ping_interval=None)

    def test_the_end_is_told_to_those_who_still_wait(self):
        async def test(line):
            answered, cancelled, waiting = (line.heartbeat.ping() for _ in range(3))
            line.heartbeat.on_pong(line.pings[0][1])
            cancelled.cancel()
            line.heartbeat.stop()
            assert await answered == 0
            assert cancelled.cancelled()
            with pytest.raises(NotConnected, match="before the PONG"):
                await waiting

        on_a_line(test, ping_interval=None)


def test_the_end_leaves_no_timer():
    async def main():
        line = Line()
        line.heartbeat.start()
        await asyncio.sleep(11)
        line.heartbeat.stop()

    loop = SimulatedLoop()
    simulate(main(), loop)
    assert not [timer for timer in loop._scheduled if not timer.cancelled()]
