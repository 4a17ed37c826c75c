"""A session over simulated time: orders of events that a real clock brings about once in a thousand runs."""

import asyncio

import pytest

import wsx
from wsx import errors, events
from wsx.message_handler import MessageHandler
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
        with pytest.raises(errors.RestoreFailed, match="another client of mine") as caught:
            await connect(MemoryServer(Door()), loop, on_open=[hook])
        assert isinstance(caught.value.__cause__, errors.NotConnected)
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


@pytest.mark.parametrize("with_callback", [True, False])
@pytest.mark.parametrize("turns", range(0, 14, 2))
def test_what_comes_right_behind_a_hooks_answer_stays_behind_what_the_hook_held_back(turns, with_callback):
    async def hook(route):
        await route.request("hello", lambda message: message.text == "answer", timeout=1)
        for _ in range(turns):
            await asyncio.sleep(0)

    async def main(loop):
        def stream(end, number=0):
            if number == 2:
                end.send("answer")
            end.send(f"{number}")
            if number < 40:
                loop.call_soon(stream, end, number + 1)

        seen = []
        server = MemoryServer(Door(on_message=lambda end, message: stream(end)))
        callback = (lambda message: seen.append(message.text)) if with_callback else None
        async with connect(server, loop, on_open=[hook], on_message=callback) as client:
            await asyncio.sleep(1)
            return seen if with_callback else [(await client.recv()).text for _ in range(41)]

    assert run(main) == [f"{number}" for number in range(41)]


def test_what_a_hook_held_back_pauses_reading_once_and_a_reader_that_catches_up_is_not_slow():
    async def hook(route):
        await route.request("hello", lambda message: message.text == "answer", timeout=1)

    def answer(end, message):
        flood(end, 4)
        end.send("answer")

    async def main(loop):
        seen = []
        server = MemoryServer(Door(on_message=answer))
        async with connect(server, loop, inbox_messages=4, on_open=[hook], on_event=seen.append) as client:
            for _ in range(4):
                await client.recv()
            await asyncio.sleep(60)  # far beyond max_pause
        return [type(event) for event in seen]

    assert run(main) == [events.Opened, events.ReadingPaused, events.ReadingResumed, events.Closed]


def test_a_hook_may_close_the_client_for_good():
    async def main(loop):
        clients, ends = [], []

        async def hook(route):
            if route.epoch == 2:
                await clients[0].close()
                with pytest.raises(errors.NotConnected):
                    route.send("too late")

        server = MemoryServer(Door(), ends.append)
        clients.append(await connect(server, loop, on_open=[hook]))
        ends[0].abort()
        await asyncio.sleep(1000)
        return clients[0].state, len(ends), [end for end in ends if end.open]

    assert run(main) == (wsx.State.CLOSED, 2, [])


def test_a_hook_that_waits_for_its_own_end_is_told_so_instead_of_hanging():
    async def main(loop):
        clients, seen = [], []

        async def hook(route):
            if route.epoch == 2:
                await clients[0].wait_open()

        server = MemoryServer(Door())
        async with connect(server, loop, on_open=[hook], on_event=seen.append) as client:
            clients.append(client)
            server.connections[0].abort()
            await asyncio.sleep(0.1)
            await client.wait_open()
            assert client.epoch == 3
        return [event.error for event in seen if isinstance(event, events.Reconnecting)]

    _, failure = run(main)
    assert isinstance(failure, errors.RestoreFailed)
    assert "one of them waits for it" in str(failure)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("verb", ["resume", "reconnect"])
def test_a_person_may_answer_from_inside_the_event_that_asks(status, verb):
    async def main(loop):
        statuses = [None, status, None]
        server = MemoryServer(Door(check=lambda request: statuses.pop(0)))

        def told(event):
            if isinstance(event, events.Halted):
                getattr(client, verb)()

        async with connect(server, loop, on_event=told) as client:
            server.connections[0].abort()
            await asyncio.sleep(0.1)
            await client.wait_open()
            return client.epoch

    assert run(main) == 2


def test_a_client_that_gives_up_for_good_says_so_and_why(caplog):
    async def hook(route):
        if route.epoch == 2:
            raise ValueError("canary")

    async def main(loop):
        seen = []
        server = MemoryServer(Door())
        async with connect(server, loop, on_open=[hook], on_event=seen.append) as client:
            server.connections[0].abort()
            await client.wait_closed()
        return seen[-1], client.error

    event, error = run(main)
    assert isinstance(event, events.GaveUp)
    assert event.error is error
    assert isinstance(error, ValueError)
    assert "'localhost' is closed: ValueError" in caplog.text
    assert "canary" not in caplog.text  # a stranger's words may hold a secret


def test_a_machine_that_slept_while_it_waited_to_try_again_tries_at_once():
    async def main(loop):
        times = []

        def check(request):
            times.append(loop.time())
            return 503 if 1 < len(times) < 4 else None

        server = MemoryServer(Door(check=check))
        slow = wsx.Backoff(initial=10_000, cap=20_000)
        async with connect(server, loop, reconnect=slow) as client:
            server.connections[0].abort()
            await asyncio.sleep(2)
            loop.suspend(3600)
            await asyncio.sleep(2)
            assert len(times) == 3
            loop.suspend(3600)
            await asyncio.sleep(2)
            assert client.state is wsx.State.OPEN
        assert loop.pending_timers() == []

    run(main)


def test_a_sleep_is_nothing_to_who_waits_for_a_person():
    async def main(loop):
        seen, statuses = [], [None, 401]
        server = MemoryServer(Door(check=lambda request: statuses.pop(0)))
        async with connect(server, loop, on_event=seen.append) as client:
            server.connections[0].abort()
            while client.state is not wsx.State.HALTED:
                await asyncio.sleep(1)
            loop.suspend(3600)
            await asyncio.sleep(2)
            return client.state, [event.suspended_ns // 10**9 for event in seen if isinstance(event, events.Suspended)]

    assert run(main) == (wsx.State.HALTED, [])


def test_a_connection_that_ends_before_messages_may_flow_is_followed_by_another():
    async def main(loop):
        server = MemoryServer(Door())
        async with connect(server, loop) as client:
            client._session.connection.drop()  # in the same turn of the loop
            await client.wait_open()
            server.connections[0].send("x")
            return client.epoch, (await client.recv()).text

    assert run(main) == (2, "x")


def test_what_cannot_be_kept_is_not_subscribed_to():
    async def main(loop):
        received = []
        server = MemoryServer(Door(on_message=lambda end, message: received.append(message.data)))
        async with connect(server, loop) as client:
            with pytest.raises(TypeError, match="bytearray"):
                await client.subscribe(bytearray(b"it may change"))
            await asyncio.sleep(1)
        return received

    assert run(main) == []


def test_every_error_of_a_connection_knows_where_and_what_came_before():
    async def main(loop):
        found, seen = [], []
        server = MemoryServer(Door())
        async with connect(server, loop, on_event=seen.append) as client:
            server.connections[0].close(1001)
            while client.state is wsx.State.OPEN:
                await asyncio.sleep(0)
            with pytest.raises(errors.NotConnected) as caught:
                client.send_nowait("x")
            found.append(caught.value)
            await asyncio.sleep(0.1)
            await client.wait_open()
            server.connections[0].close(1008)
            with pytest.raises(errors.ConnectionClosed) as caught:
                await client.recv()
            found.append(caught.value)
        for ask in (client.recv, client.wait_open, client.ping, lambda: client.send("x")):
            with pytest.raises(errors.ConnectionClosed) as caught:
                await ask()
            found.append(caught.value)
        return found, [event.error for event in seen if isinstance(event, events.Reconnecting | events.Halted)]

    raised, told = run(main)
    assert len(told) == 2
    for error in [*raised, *told]:
        assert error.context.endpoint == "ws://localhost/"
        assert error.context.epoch in (1, 2)
        assert any("Opened in epoch 1" in line for line in error.context.last_events)
        assert "What came before:" in wsx.explain(error)


def test_an_error_says_how_much_was_in_flight():
    async def main(loop):
        server = MemoryServer(Door())
        async with connect(server, loop) as client:
            rpc = wsx.JsonRpc(client)
            requests = [asyncio.ensure_future(rpc.request(f"m{number}", {}, timeout=5)) for number in range(3)]
            await asyncio.sleep(0.1)
            server.connections[0].abort()
            results = await asyncio.gather(*requests, return_exceptions=True)
            return [result.__cause__.context.in_flight for result in results]

    assert run(main) == [3, 3, 3]


def test_data_that_comes_at_the_last_look_is_data():
    async def main(loop):
        server = MemoryServer(Door())
        async with connect(server, loop, data_timeout=30, ping_interval=None) as client:
            await asyncio.sleep(30.005)  # the limit has passed, and the socket is looked at once more
            server.connections[0].send("x")
            await asyncio.sleep(29)
            return client.epoch

    assert run(main) == 1


@pytest.mark.parametrize("messages", [0, 3])
def test_a_server_that_only_pongs_leaves_a_client_blind_since_its_last_message(messages):
    async def main(loop):
        server = MemoryServer(Door())
        async with connect(server, loop, data_timeout=30, ping_interval=1) as client:
            for _ in range(messages):
                await asyncio.sleep(1)
                server.connections[0].send("x")
            silent_since = loop.time()
            while client.epoch == 1:
                await asyncio.sleep(0.1)
            server.connections[0].send("back")
            await asyncio.sleep(0.1)
            return silent_since, client.ledger.gaps(), client.ledger.was_blind(round((silent_since + 15) * 1e9))

    silent_since, gaps, found = run(main)
    (gap,) = gaps
    assert found is gap and gap.cause == "DataTimeout"
    assert gap.last_good_ns / 1e9 == pytest.approx(silent_since, abs=0.02)


@pytest.mark.parametrize("watches", [{"data_timeout": 1}, {}])
def test_a_callback_that_blocks_for_longer_than_data_timeout_makes_no_stream_stale(watches):
    """The messages that came meanwhile lie in the socket: nobody has looked."""

    async def main(loop):
        def block(message):
            if message.json()["params"]["data"] % 4 == 3:
                loop._time.now_ns += 3 * 10**9

        def stream(number):
            if server.connections and number < 60:
                server.connections[0].send(f'{{"method":"subscription","params":{{"channel":"book","data":{number}}}}}')
                loop.call_later(0.4, stream, number + 1)

        seen = []
        server = MemoryServer(Door())
        async with connect(server, loop, on_event=seen.append, on_message=block, **watches) as client:
            if not watches:
                MessageHandler(client).on_channel("book", block, data_timeout=1)
            stream(0)
            while client.telemetry.snapshot()["messages_received"] < 60:
                await asyncio.sleep(0.1)
            told = [type(event) for event in seen]
            await asyncio.sleep(1.1)
        return told, [type(event) for event in seen]

    told, then = run(main)
    assert set(told) == {events.Opened, events.LoopBlocked}
    assert events.StaleData in then


def test_a_channel_that_is_watched_late_is_waited_for_from_then_on():
    async def main(loop):
        seen = []
        async with connect(MemoryServer(Door()), loop, on_event=seen.append) as client:
            await asyncio.sleep(100)
            MessageHandler(client).on_channel("book", print, data_timeout=5)
            await asyncio.sleep(4.9)
            early = [event for event in seen if isinstance(event, events.StaleData)]
            await asyncio.sleep(0.2)
        return early, [type(event) for event in seen]

    early, kinds = run(main)
    assert early == []
    assert events.StaleData in kinds
