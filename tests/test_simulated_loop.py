"""Simulated time: it jumps where a real loop would wait, and everything happens again in the same order."""

import asyncio

import pytest
from simulated_loop import simulate

from wsx.testing import Door, MemoryServer, NothingLeftToWaitFor, SimulatedLoop, connect_in_memory


def run(main, seed=0):
    """What `main` returns, on a simulated loop of its own."""
    return simulate(main(), SimulatedLoop(seed))


def test_a_month_passes_at_once():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(30 * 86400)
        return loop.time()

    assert run(main) == pytest.approx(30 * 86400)


def test_timers_run_in_the_order_of_their_times_and_never_early():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        for delay in (0.3, 1e-9, 0.1, 2.0, 0.2):
            due = loop.time() + delay
            loop.call_at(due, lambda due=due: seen.append((due, loop.time())))
        await asyncio.sleep(3)
        return seen

    seen = run(main)
    assert [due for due, _ in seen] == [1e-9, 0.1, 0.2, 0.3, 2.0]
    assert all(0 <= at - due < 2e-9 for due, at in seen)


def test_a_loop_that_is_held_runs_its_timers_late():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        loop.call_later(1, lambda: seen.append(loop.time()))
        loop.jump(30)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen, loop.now_ns()

    assert run(main) == ([30.0], 30 * 10**9)


def test_waiting_for_nothing_is_an_error_where_a_real_loop_would_hang():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeftToWaitFor):
        run(main)


def test_timers_that_are_left_are_named():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(5, print)
        loop.call_later(4, print).cancel()
        return [timer.when() for timer in loop.pending_timers()]

    assert run(main) == [5.0]


def test_chance_comes_from_the_seed():
    async def main():
        return asyncio.get_running_loop().random.random()

    assert run(main, 1) == run(main, 1) != run(main, 2)


def test_a_client_lives_on_its_clock():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        server = MemoryServer(Door(), lambda end: loop.call_later(35, end.send, "late"))
        options = {"surroundings": loop.surroundings, "on_event": seen.append, "ping_interval": 10}
        async with connect_in_memory(server, **options) as client:
            message = await client.recv()
            return message.received_ns, seen[0].at_ns, client.telemetry.snapshot()["pings_sent"]

    assert run(main) == (35_000_000_000, 0, 3)
