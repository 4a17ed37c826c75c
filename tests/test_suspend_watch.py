"""The suspend watch: told within a second of waking up, once, and only of sleeps that matter."""

import asyncio
import sys

import pytest

from wsx.clock import MonotonicClock
from wsx.suspend_watch import SuspendWatch
from wsx.testing import SimulatedLoop


def watched(main):
    """What a watch tells while `main(loop, watch)` runs, and the timers it leaves."""
    told = []
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        watch = SuspendWatch(loop, loop, told.append)
        watch.start()
        runner.run(main(loop, watch))
        watch.stop()
        watch.stop()
        return told, loop.pending_timers()


def test_a_sleep_is_told_once_within_a_second_of_waking_up():
    async def main(loop, watch):
        await asyncio.sleep(5.5)
        loop.suspend(3600)
        await asyncio.sleep(1)
        loop.suspend(2)
        await asyncio.sleep(10)

    assert watched(main) == ([3600 * 10**9, 2 * 10**9], [])


def test_a_sleep_of_less_than_a_second_hurts_nobody():
    async def main(loop, watch):
        loop.suspend(0.9)
        await asyncio.sleep(3)

    assert watched(main) == ([], [])


def test_what_was_slept_before_the_start_does_not_count():
    async def main(loop, watch):
        watch.stop()
        loop.suspend(60)
        watch.start()
        await asyncio.sleep(3)

    assert watched(main) == ([], [])


def test_the_machines_clock_knows_how_long_it_slept():
    first = MonotonicClock().suspended_ns()
    assert abs(MonotonicClock().suspended_ns() - first) < 1_000_000_000


@pytest.mark.parametrize("platform, knows", [("linux", True), ("darwin", True), ("win32", False)])
def test_where_no_clock_goes_on_in_sleep_nothing_is_known(monkeypatch, platform, knows):
    monkeypatch.setattr(sys, "platform", platform)
    assert isinstance(MonotonicClock().suspended_ns(), int)
    assert knows or MonotonicClock().suspended_ns() == 0
