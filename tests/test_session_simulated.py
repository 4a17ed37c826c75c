"""A session over simulated time: orders of events that a real clock brings about once in a thousand runs."""

import asyncio

import pytest

import wsx
from wsx import errors, events
from wsx.testing import Door, MemoryServer, SimulatedLoop, connect_in_memory

BACKOFF = wsx.Backoff(initial=1, cap=64)


def run(main, seed=0):
    """What `main(loop)` returns, on a simulated loop of its own."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(seed)) as runner:
        return runner.run(main(runner.get_loop()))


def connect(server, loop, **options):
    return connect_in_memory(server, surroundings=loop.surroundings, **{"reconnect": BACKOFF, **options})


def flood(end, count=1000):
    for number in range(count):
        end.send(f"{number}")


def test_a_reconnect_by_hand_with_a_full_inbox_keeps_the_cap_while_the_old_connection_closes():
    async def main(loop):
        server = MemoryServer(Door(), read_bytes=8)
        async with connect(server, loop, inbox_messages=4) as client:
            flood(server.connections[0])
            while client.health().state != "open" or client.telemetry.snapshot()["inbox_messages"] < 4:
                await asyncio.sleep(0.001)
            client.reconnect()
            while client.epoch == 1:
                await asyncio.sleep(0.001)
            peak = client.telemetry.snapshot()["inbox_messages_peak"]
            server.connections[0].send("after")
            seen = [await client.recv()]
            while seen[-1].epoch == 1:
                seen.append(await client.recv())
            return peak, [message.text for message in seen], seen[-1].gap

    peak, texts, gap = run(main)
    assert peak <= 4 + 2  # what one read of eight bytes brings
    assert texts[:-1] == [str(number) for number in range(len(texts) - 1)] and texts[-1] == "after"
    assert gap.cause == "inbox full while closing"


def test_an_inbox_that_fills_while_the_old_connection_closes_keeps_its_cap_too():
    async def main(loop):
        server = MemoryServer(Door(), read_bytes=8)
        async with connect(server, loop, inbox_messages=4) as client:
            flood(server.connections[0])
            client.reconnect()
            while client.epoch == 1:
                await asyncio.sleep(0.001)
            return client.telemetry.snapshot()["inbox_messages_peak"], (await client.recv()).text

    assert run(main) == (4, "0")


def test_what_hooks_hold_back_counts_against_what_waits_in_the_inbox():
    """A reader that has stopped must not cost another inbox with every reconnect."""

    async def hook(route):
        await route.request("hello", lambda message: message.text == "answer", timeout=1)

    def answer(end, message):
        flood(end, 3)
        end.send("answer")

    async def main(loop):
        seen = []
        server = MemoryServer(Door(on_message=answer))
        async with connect(server, loop, inbox_messages=8, on_open=[hook], on_event=seen.append) as client:
            for _ in range(30):
                await asyncio.sleep(10)
                for end in server.connections:
                    end.abort()
            depth = client.telemetry.snapshot()["inbox_messages_peak"]
        return depth, [type(event.error) for event in seen if isinstance(event, events.Reconnecting)]

    depth, reasons = run(main)
    assert depth <= 8
    assert errors.SlowConsumer in reasons


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4000])
@pytest.mark.parametrize("asks", [True, False])
def test_a_server_that_closes_while_a_connection_is_restored_is_judged_by_its_code(code, asks):
    async def hook(route):
        if asks and route.epoch in (2, 3):
            await route.request("hello", lambda message: False, timeout=100)
        await asyncio.sleep(1)
        route.send("hello again")

    async def main(loop):
        connections = []

        def opened(end):
            connections.append(end)
            if len(connections) in (2, 3):
                loop.call_later(0.5, end.close, code)

        async with connect(MemoryServer(Door(), opened), loop, on_open=[hook]) as client:
            connections[0].abort()
            await asyncio.sleep(0.1)
            await client.wait_open()
            return client.epoch, len(connections), client.error

    assert run(main) == (4, 4, None)


@pytest.mark.parametrize("code", [1008, 3000])
def test_a_server_that_refuses_while_a_connection_is_restored_needs_a_person(code):
    async def hook(route):
        if route.epoch > 1:
            await route.request("hello", lambda message: False, timeout=100)

    async def main(loop):
        server = MemoryServer(Door(on_message=lambda end, message: end.close(code)))
        async with connect(server, loop, on_open=[hook]) as client:
            server.connections[0].abort()
            await asyncio.sleep(1000)
            assert client.state is wsx.State.HALTED

    run(main)


def test_a_hook_that_finds_nothing_open_elsewhere_is_not_taken_for_the_end_of_the_connection():
    async def hook(route):
        raise errors.NotConnected("another client of mine")

    async def main(loop):
        with pytest.raises(errors.WsxError, match="another client of mine"):
            await connect(MemoryServer(Door()), loop, on_open=[hook])
        await asyncio.sleep(5)

    run(main)


def test_bytes_that_hooks_hold_back_are_bounded_too():
    async def hook(route):
        await route.request("hello", lambda message: message.text == "answer", timeout=1)

    async def main(loop):
        server = MemoryServer(Door(on_message=lambda end, message: end.send("x" * 2000)))
        with pytest.raises(errors.SlowConsumer, match="2000 bytes"):
            await connect(server, loop, inbox_bytes=1000, on_open=[hook])
        await asyncio.sleep(5)

    run(main)


def test_a_reconnect_asked_for_while_the_end_is_told_is_made_at_once_and_counts_afresh():
    async def main(loop):
        plans = []

        def told(event):
            if isinstance(event, events.Closed) and event.code == 1013:  # which waits for the longest backoff else
                client.reconnect()
            if isinstance(event, events.Reconnecting):
                plans.append((event.attempt, event.delay_seconds))

        server = MemoryServer(Door())
        async with connect(server, loop, on_event=told) as client:
            server.connections[0].close(1013)
            await asyncio.sleep(0.1)
            assert client.state is wsx.State.OPEN
        return plans

    assert run(main) == [(1, 0.0)]


def test_a_reconnect_asked_for_during_an_attempt_hurries_no_later_one():
    async def main(loop):
        statuses, times = [None, 500, 500, None], []

        def check(request):
            times.append(loop.time())
            if len(times) == 2:
                client.reconnect()  # an attempt is being made in this moment
            return statuses[len(times) - 1]

        delays = []

        def told(event):
            if isinstance(event, events.Reconnecting):
                delays.append(event.delay_seconds)

        server = MemoryServer(Door(check=check))
        async with connect(server, loop, on_event=told) as client:
            server.connections[0].abort()
            await asyncio.sleep(0)
            while client.epoch == 1:
                await asyncio.sleep(0.01)
        return delays, [later - earlier for earlier, later in zip(times[1:], times[2:])]

    delays, waited = run(main)
    assert delays[0] == 0 and len(delays) == 3
    assert waited == pytest.approx(delays[1:], abs=1e-6)


def test_a_send_into_a_connection_that_has_just_ended_says_what_it_says_over_a_socket():
    async def main(loop):
        server = MemoryServer(Door())
        async with connect(server, loop) as client:
            server.connections[0].abort()
            with pytest.raises(errors.NotConnected, match="nothing was sent"):
                client.send_nowait("x")

    run(main)
