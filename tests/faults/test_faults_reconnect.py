"""Group 5 again: servers that flap, a thousand clients cut at once, attempts that are used up.

Dead peers, blocked loops and slow readers are in test_faults_liveness.py.
"""

import asyncio
import contextlib
import resource
from bisect import bisect_left

import pytest
from faulty_server import FaultyServer
from leftovers import closes_with

import wsx
from wsx import errors, events
from wsx.client import Connecting
from wsx.config import make_config
from wsx.driver import Surroundings
from wsx.reconnection import HostBudget
from wsx.testing import Door, LocalServer, MemoryServer, SimulatedLoop, connect_in_memory
from wsx.transport.picows import dial

NS = 1_000_000_000
CROWD = 1000


def told(seen, kind):
    return [event for event in seen if isinstance(event, kind)]


# ---- a server that flaps --------------------------------------------------------------------------------------------


def test_5_6_backoff_grows_under_a_server_that_accepts_and_cuts_and_starts_afresh_only_after_a_stable_connection():
    """Simulated: each connection lives a second, the ninth lives longer than `stable_after`."""
    backoff = wsx.Backoff(initial=0.1, cap=30, stable_after=30)
    lives = [1] * 8 + [31] + [1] * 3

    async def main():
        loop, seen = asyncio.get_running_loop(), []
        server = MemoryServer(Door(), lambda end: loop.call_later(lives.pop(0), end.abort) if lives else None)
        options = {"surroundings": loop.surroundings, "on_event": seen.append, "reconnect": backoff}
        async with connect_in_memory(server, **options) as client:
            while lives:
                await asyncio.sleep(1)
            await asyncio.sleep(1)
            await client.wait_open()
        return told(seen, events.Reconnecting)

    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(6)) as runner:
        plans = runner.run(main())
    assert [plan.attempt for plan in plans] == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]
    at_once = [plan.attempt for plan in plans if plan.delay_seconds == 0]
    assert at_once == [1, 1], "only the first after a stable connection is made at once"
    assert all(plan.delay_seconds < backoff.ceiling(plan.attempt) for plan in plans if plan.attempt > 1)
    assert max(plan.delay_seconds for plan in plans) > backoff.ceiling(4)


def test_5_6_a_flapping_server_on_a_real_socket_is_met_with_a_growing_count(run):
    def flap(peer):
        peer.upgrade()
        peer.wait(0.01)
        peer.reset()

    async def main():
        seen = []
        with FaultyServer(flap) as server:
            options = {"reconnect": wsx.Backoff(initial=0.001, cap=0.02), "on_event": seen.append}
            async with wsx.connect(server.url, **options):
                while len(told(seen, events.Reconnecting)) < 12:
                    await asyncio.sleep(0.005)
        attempts = [plan.attempt for plan in told(seen, events.Reconnecting)]
        assert attempts == list(range(1, len(attempts) + 1))
        assert all(plan.delay_seconds <= 0.02 for plan in told(seen, events.Reconnecting))

    run(main())


# ---- a crowd --------------------------------------------------------------------------------------------------------


def enough_descriptors(count):
    """Raise the soft limit where the hard one allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        pytest.skip(f"needs {count} descriptors, this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


class WatchedBudget(HostBudget):
    """Remembers when somebody was let go at once."""

    def __init__(self):
        super().__init__()
        self.at_once_ns = []

    def allow_immediate(self, host, now_ns):
        allowed = super().allow_immediate(host, now_ns)
        if allowed:
            self.at_once_ns.append(now_ns)
        return allowed


def most_in(window_ns, times_ns):
    """The most that lie within any window of this length."""
    times_ns = sorted(times_ns)
    return max(bisect_left(times_ns, at_ns + window_ns) - first for first, at_ns in enumerate(times_ns))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
def test_5_7_a_thousand_clients_that_were_cut_at_once_come_back_in_turn(loop):
    enough_descriptors(2 * CROWD + 200)
    backoff = wsx.Backoff(cap=30)
    budget = WatchedBudget()  # of its own: the process's may have served other tests just now
    surroundings = Surroundings(budget=budget)
    plans, back_ns = [], []

    def told_by_a_client(event):
        if isinstance(event, events.Reconnecting):
            plans.append(event)
        elif isinstance(event, events.Opened) and event.epoch == 2:
            back_ns.append(event.at_ns)

    async def main():
        config = make_config(None, {"reconnect": backoff, "ping_interval": None})
        async with LocalServer() as server, contextlib.AsyncExitStack() as crowd:
            for _ in range(CROWD):
                connecting = Connecting(dial, server.url, None, told_by_a_client, config, surroundings)
                await crowd.enter_async_context(connecting)
            assert len(server.connections) == CROWD
            cut_ns = surroundings.clock.now_ns()
            for connection in server.connections:
                connection.abort()
            while len(back_ns) < CROWD:
                await asyncio.sleep(0.05)
            assert len(server.connections) == CROWD
        return cut_ns

    cut_ns = wsx.run(asyncio.wait_for(main(), 100), loop=loop)
    first = [plan for plan in plans if plan.attempt == 1]
    assert len(first) == CROWD
    in_turn = [plan.at_ns + round(plan.delay_seconds * NS) for plan in first if plan.delay_seconds > 0]
    assert most_in(NS, budget.at_once_ns) == HostBudget.IMMEDIATE_PER_SECOND
    assert max(back_ns) - cut_ns < backoff.cap * NS
    window_ns = NS // 10
    mean = len(in_turn) / ((max(in_turn) - min(in_turn)) / window_ns)
    assert most_in(window_ns, in_turn) <= 3 * mean


# ---- attempts that are used up --------------------------------------------------------------------------------------


def test_5_10_a_client_whose_attempts_are_used_up_is_closed_with_their_history(run):
    def once(peer):
        peer.upgrade()
        peer.frame()
        peer.reset()

    async def main():
        seen = []
        with FaultyServer(once) as server:
            backoff = wsx.Backoff(initial=0.001, cap=0.01, attempts=3)
            client = await wsx.connect(server.url, reconnect=backoff, on_event=seen.append)
        # The server is gone, its port closed: it was cut, and every attempt is refused.
        error = await closes_with(errors.ReconnectExhausted, client)
        assert [failure.attempt for failure in error.history] == [0, 1, 2, 3]
        assert "ConnectionLost" in error.history[0].error
        assert all("refused" in failure.error for failure in error.history[1:])
        assert [plan.attempt for plan in told(seen, events.Reconnecting)] == [1, 2, 3]
        assert client.error is error
        with pytest.raises(errors.ConnectionClosed):
            client.send_nowait("x")
        assert "all 3 attempts have failed" in str(error) and "refused" in wsx.explain(error)

    run(main())
