"""A session over real sockets: it comes back, in order, says what it missed, and ends where it must."""

import asyncio
import base64
import hashlib
import struct

import pytest

import wsx
from wsx import errors, events, telemetry
from wsx.client import Connecting
from wsx.clock import MonotonicClock
from wsx.driver import Surroundings
from wsx.testing import EchoServer
from wsx.transport.picows import dial

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
QUICK = wsx.Backoff(initial=0.01, cap=0.05)


class Server:
    """A raw server: `serve(number, reader, writer)` is each connection's life after the 101."""

    def __init__(self, serve, status=None):
        self.serve, self.status = serve, status or (lambda number: 101)
        self.count = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *args):
        self.server.close()

    async def _accept(self, reader, writer):
        self.count += 1
        number = self.count
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
            status = self.status(number)
            if status != 101:
                writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
                return
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            writer.write(b"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            await self.serve(number, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def text(words):
    payload = words.encode()
    return bytes([0x81, len(payload)]) + payload


def close(code):
    return b"\x88\x02" + struct.pack(">H", code)


async def read_text(reader):
    """The next text message of a client: short and masked."""
    head = await reader.readexactly(2)
    key = await reader.readexactly(4)
    payload = await reader.readexactly(head[1] & 0x7F)
    return bytes(byte ^ key[i & 3] for i, byte in enumerate(payload)).decode() if head[0] == 0x81 else head[0]


async def stay(reader):
    while await reader.read(4096):
        pass


def quiet_server():
    return Server(lambda number, reader, writer: stay(reader))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    return lambda main: wsx.run(asyncio.wait_for(main, 20), loop=request.param)


def test_reading_goes_on_over_a_cut_and_the_gap_is_said(run):
    async def serve(number, reader, writer):
        writer.write(text(f"from {number}"))
        if number == 1:
            await reader.read(1)
            writer.transport.abort()
        else:
            await stay(reader)

    async def main():
        seen = []
        async with Server(serve) as server, wsx.connect(server.url, reconnect=QUICK, on_event=seen.append) as client:
            first = await client.recv()
            client.send_nowait("x")
            second = await client.recv()
            assert (first.text, second.text) == ("from 1", "from 2")
            assert (first.epoch, second.epoch) == (1, 2)
            assert first.gap is None and second.gap.cause == "ConnectionLost"
            assert second.gap.last_good_ns < second.gap.first_good_ns == second.received_ns
            assert client.ledger.was_blind(second.gap.last_good_ns + 1) == second.gap
            assert client.state is wsx.State.OPEN
        kinds = [type(event).__name__ for event in seen]
        assert kinds == ["Opened", "Closed", "Reconnecting", "Opened", "GapEvent", "Closed"]

    run(main())


def test_the_first_opening_is_tried_once(run):
    async def main():
        async with Server(stay, status=lambda number: 503) as server:
            with pytest.raises(errors.HandshakeRejected):
                await wsx.connect(server.url, reconnect=QUICK)
            assert server.count == 1

    run(main())


def test_hooks_and_subscriptions_are_restored_in_order_before_user_traffic(run):
    heard = []

    async def serve(number, reader, writer):
        while True:
            words = await read_text(reader)
            heard.append((number, words))
            if words == "login":
                writer.write(text("news") + text("welcome"))
            if words == "cut":
                writer.transport.abort()
                return
            if words == 0x88:
                return

    async def login(route):
        answer = await route.request("login", lambda message: message.text == "welcome", timeout=5)
        assert answer.epoch == route.epoch

    async def main():
        async with Server(serve) as server, wsx.connect(server.url, reconnect=QUICK, on_open=[login]) as client:
            assert (await client.recv()).text == "news"
            await client.subscribe("one")
            await client.subscribe("two")
            await client.subscribe("three")
            await client.unsubscribe("no two", subscription="two")
            await client.send("cut")
            message = await client.recv()
            assert message.text == "news" and message.gap is not None
            await client.send("user")
        second = [words for number, words in heard if number == 2 and isinstance(words, str)]
        assert second == ["login", "one", "three", "user"]

    run(main())


def test_a_refused_login_halts_until_a_person_resumes(run):
    statuses = {1: 101, 2: 401}

    async def serve(number, reader, writer):
        writer.write(text(f"from {number}"))
        if number == 1:
            writer.write(close(1012))
        await stay(reader)

    async def main():
        async with (
            Server(serve, status=lambda number: statuses.get(number, 101)) as server,
            wsx.connect(server.url, reconnect=QUICK) as client,
        ):
            assert (await client.recv()).text == "from 1"
            with pytest.raises(errors.HandshakeRejected):
                await client.recv()
            assert client.state is wsx.State.HALTED
            with pytest.raises(errors.NotConnected, match="resume"):
                client.send_nowait("x")
            with pytest.raises(errors.NotConnected):
                await client.wait_open()
            client.resume()
            await client.wait_open()
            assert (await client.recv()).text == "from 3"

    run(main())


def test_exhausted_attempts_close_the_client_with_their_history(run):
    async def serve(number, reader, writer):
        writer.transport.abort()

    async def main():
        async with Server(serve, status=lambda number: 101 if number == 1 else 500) as server:
            client = await wsx.connect(server.url, reconnect=wsx.Backoff(initial=0.01, cap=0.02, attempts=3))
            with pytest.raises(errors.ReconnectExhausted) as caught:
                await client.recv()
            assert client.state is wsx.State.CLOSED and server.count == 4
            assert len(caught.value.history) == 4
            await client.wait_closed()

    run(main())


def test_closing_while_reconnecting_leaves_nothing(run):
    async def serve(number, reader, writer):
        writer.transport.abort()

    async def main():
        async with Server(serve, status=lambda number: 101 if number == 1 else 503) as server:
            lost = asyncio.Event()
            client = await wsx.connect(
                server.url,
                reconnect=wsx.Backoff(initial=30, cap=30),
                on_event=lambda event: (
                    lost.set() if isinstance(event, events.Reconnecting) and event.attempt == 2 else None
                ),
            )
            await lost.wait()
            assert client.state is wsx.State.RECONNECTING
            with pytest.raises(errors.NotConnected, match="RECONNECTING, attempt 2"):
                await client.send("x")
            await client.close()
            assert client.state is wsx.State.CLOSED
            others = [task for task in asyncio.all_tasks() if task.get_name() == "wsx-reconnect"]
            assert not others

    run(main())


def test_reconnect_by_hand_takes_another_connection(run):
    async def serve(number, reader, writer):
        writer.write(text(f"from {number}"))
        if await read_text(reader) == 0x88:
            writer.write(close(1000))

    async def main():
        async with Server(serve) as server, wsx.connect(server.url, reconnect=QUICK) as client:
            assert (await client.recv()).text == "from 1"
            client.reconnect()
            assert (await client.recv()).text == "from 2"
            assert client.epoch == 2

    run(main())


def test_a_cut_while_hooks_run_is_an_attempt_that_failed(run):
    async def serve(number, reader, writer):
        await read_text(reader)
        if number in (1, 4):
            writer.write(text("welcome"))
        if number != 4:
            writer.transport.abort()
            return
        await stay(reader)

    async def login(route):
        await route.request("login", lambda message: message.text == "welcome", timeout=5)

    async def main():
        attempts = []
        async with (
            Server(serve) as server,
            wsx.connect(
                server.url,
                reconnect=QUICK,
                on_open=[login],
                on_event=lambda event: (
                    attempts.append(event.attempt) if isinstance(event, events.Reconnecting) else None
                ),
            ) as client,
        ):
            while client.epoch < 4 or client.state is not wsx.State.OPEN:
                await asyncio.sleep(0.01)
        assert server.count == 4 and attempts == [1, 2, 3]

    run(main())


def test_a_server_that_pongs_and_sends_nothing_is_given_up(run):
    async def serve(number, reader, writer):
        writer.write(text(f"from {number}"))
        await stay(reader)

    async def main():
        stale = []

        def on_event(event):
            if isinstance(event, events.StaleData):
                stale.append(event.silent_ns)

        options = {"reconnect": QUICK, "data_timeout": 0.1, "on_event": on_event}
        async with Server(serve) as server, wsx.connect(server.url, **options) as client:
            assert (await client.recv()).text == "from 1"
            second = await client.recv()
            assert second.text == "from 2" and second.gap.cause == "DataTimeout"
        assert stale[0] >= 100_000_000

    run(main())


def test_health_follows_the_connection(run):
    async def serve(number, reader, writer):
        writer.write(text("hello"))
        if number == 1:
            await reader.read(1)
            writer.transport.abort()
        await stay(reader)

    async def main():
        async with Server(serve) as server:
            backoff = wsx.Backoff(initial=0.01, cap=0.02)
            async with wsx.connect(server.url, reconnect=backoff, rate_limit=wsx.TokenBucket(1, 10)) as client:
                await client.recv()
                healthy = client.health()
                assert healthy.ready and healthy.state == "open" and healthy.reconnects == 0
                await client.send("x", cost=5)
                assert client.health().rate_limit["rate_limit"] == pytest.approx(0.5, abs=0.01)
                await client.recv()
                again = client.health()
                assert again.reconnects == 1 and again.score < healthy.score and again.last_error

    run(main())


# ---- what waits to be sent ------------------------------------------------------------------------------------------


def test_a_message_that_waits_when_the_connection_is_cut_ends_at_once_and_is_never_sent(run):
    received = []

    async def serve(number, reader, writer):
        if number == 1:
            received.append(await read_text(reader))
            await asyncio.sleep(0.05)
            writer.transport.abort()
        else:
            received.append(await read_text(reader))
            await stay(reader)

    async def main():
        bucket = wsx.TokenBucket(rate=0.01, burst=1)
        async with Server(serve) as server, wsx.connect(server.url, reconnect=QUICK, rate_limit=bucket) as client:
            await client.send("first")
            with pytest.raises(errors.NotConnected, match="nothing was sent"):
                await client.send("stale")  # 100 s for its token
            await client.wait_open()
            client._write_paid("second", None)
            while len(received) < 2:
                await asyncio.sleep(0.01)
        return received

    assert run(main()) == ["first", "second"]


def test_a_message_has_a_deadline_of_its_own(run):
    async def main():
        bucket = wsx.TokenBucket(rate=0.01, burst=1)
        async with quiet_server() as server, wsx.connect(server.url, rate_limit=bucket) as client:
            await client.send("first", timeout=0.02)
            with pytest.raises(errors.SendTimeout):
                await client.send("second", timeout=0.02)
            return client.telemetry.snapshot()["messages_sent"], bucket.waiters

    assert run(main()) == (1, 0)


def test_a_profile_counts_each_message_by_its_method(run):
    async def main():
        async with quiet_server() as server, wsx.connect(server.url, rate_limit="deribit") as client:
            for _ in range(20):
                client.send_nowait("order", method="private/buy")
            with pytest.raises(errors.RateLimited) as refused:
                client.send_nowait("order", method="private/buy")
            await client.send("query", method="public/get_time")
            used = client.health().rate_limit
            return refused.value.retry_after, used["matching"], used["non_matching"], client.telemetry.snapshot()

    retry_after, matching, others, counters = run(main())
    assert 0 < retry_after <= 0.2 and matching > 0.9 and 0 < others < 0.05
    assert (counters["messages_sent"], counters["sends_rate_limited"]) == (21, 1)


def test_an_unknown_profile_is_told_before_anything_opens():
    with pytest.raises(ValueError, match="unknown rate profile 'deribid'; there are deribit"):
        wsx.connect("ws://127.0.0.1:1/", rate_limit="deribid")


# ---- what an error knows --------------------------------------------------------------------------------------------


def test_a_dead_peers_error_says_what_was_measured_and_what_came_before(run):
    async def main():
        seen = []
        async with quiet_server() as server:
            options = {"ping_interval": 0.05, "ping_timeout": 0.1, "reconnect": False, "on_event": seen.append}
            async with wsx.connect(server.url, **options) as client:
                await client.wait_closed()
        return seen[-1].error

    error = run(main())
    assert isinstance(error, errors.HeartbeatTimeout)
    assert any("last frame came" in phrase for phrase in error.context.evidence)
    assert "Opened in epoch 1" in error.context.last_events[0]
    assert "What was seen:" in wsx.explain(error) and "What came before:" in wsx.explain(error)


# ---- the machine slept ----------------------------------------------------------------------------------------------


class SleepyClock(MonotonicClock):
    slept_ns = 0

    def suspended_ns(self):
        return self.slept_ns


@pytest.mark.parametrize("reconnect", [QUICK, False])
def test_a_machine_that_slept_takes_another_connection_at_once(run, reconnect):
    async def main():
        seen, clock = [], SleepyClock()
        async with quiet_server() as server:
            config = wsx.Config(reconnect=reconnect)
            connecting = Connecting(dial, server.url, None, seen.append, config, Surroundings(clock=clock))
            async with connecting as client:
                clock.slept_ns += 3600 * 10**9
                while not any(isinstance(event, events.Suspended) for event in seen):
                    await asyncio.sleep(0.01)
                await client.wait_open()
                return [type(event).__name__ for event in seen], client.epoch

    kinds, epoch = run(main())
    if reconnect:
        assert (kinds, epoch) == (["Opened", "Suspended", "Closed", "Reconnecting", "Opened"], 2)
    else:
        assert (kinds, epoch) == (["Opened", "Suspended"], 1)


# ---- events by name -------------------------------------------------------------------------------------------------


def test_openings_failures_and_pongs_are_told_by_name(run):
    async def serve(number, reader, writer):
        if number > 1:
            await reader.readexactly(6)
            writer.write(b"\x8a\x08" + bytes(8))
            await stay(reader)

    async def main():
        told = []
        telemetry.attach("connection", lambda name, fields: told.append((name, fields.get("attempt"))), "test")
        try:
            server = Server(serve, status=lambda number: 503 if number == 2 else 101)
            async with server, wsx.connect(server.url, reconnect=QUICK) as client:
                while client.epoch < 2:
                    await asyncio.sleep(0.01)
                await client.wait_open()
        finally:
            telemetry.detach("test")
        return told

    told = run(main())
    assert [told[0], told[1][0]] == [("connection.opening", 1), "connection.opened"]
    assert ("connection.opening", 2) in told and ("connection.failed", 1) in told


def test_a_pong_is_told_by_name(run):
    async def main():
        rtts = []
        telemetry.attach("heartbeat", lambda name, fields: rtts.append(fields["rtt_ns"]), "test")
        try:
            async with EchoServer() as server, wsx.connect(server.url) as client:
                await client.ping()
        finally:
            telemetry.detach("test")
        return rtts

    (rtt_ns,) = run(main())
    assert rtt_ns > 0


# ---- what ends the restoring of a connection ------------------------------------------------------------------------


async def greet(route):
    await route.request("hello", lambda message: message.text == "welcome", timeout=5)


async def restore_against(reply, timeout=10):
    """A client whose second connection gets `reply(number, reader, writer)` instead of a welcome: what followed."""

    async def serve(number, reader, writer):
        await read_text(reader)
        if number == 2:
            await reply(reader, writer)
            return
        writer.write(text("welcome"))
        if number == 1:
            await asyncio.sleep(0.02)
            writer.transport.abort()
        await stay(reader)

    seen = []
    options = {"reconnect": QUICK, "on_open": [greet], "on_event": seen.append, "close_timeout": 0.1}
    async with Server(serve) as server, wsx.connect(server.url, **options) as client, asyncio.timeout(timeout):
        while client.epoch < 3 and client.state not in (wsx.State.HALTED, wsx.State.CLOSED):
            await asyncio.sleep(0.005)
        if client.state not in (wsx.State.HALTED, wsx.State.CLOSED):
            await client.wait_open()
        return client.state, client.epoch, [type(event).__name__ for event in seen], seen


def test_a_connection_that_is_cut_while_it_is_restored_is_followed_by_another(run):
    async def cut(reader, writer):
        writer.transport.abort()

    state, epoch, kinds, _ = run(restore_against(cut))
    assert (state, epoch) == (wsx.State.OPEN, 3)
    assert kinds.count("Opened") == 2 and kinds.count("Reconnecting") == 2


@pytest.mark.parametrize("code, state", [(1012, wsx.State.OPEN), (3000, wsx.State.HALTED), (1008, wsx.State.HALTED)])
def test_a_close_while_a_connection_is_restored_means_what_its_code_means(run, code, state):
    async def leave(reader, writer):
        writer.write(close(code))
        await stay(reader)

    assert run(restore_against(leave))[0] == state


def test_a_hook_whose_own_error_is_no_reason_to_give_up_is_tried_again(run):
    refused = []

    async def picky(route):
        await greet(route)
        if route.epoch == 2:
            refused.append(route.epoch)
            raise errors.RpcError(11051, "system_maintenance")

    async def serve(number, reader, writer):
        await read_text(reader)
        writer.write(text("welcome"))
        if number == 1:
            await asyncio.sleep(0.02)
            writer.transport.abort()
        await stay(reader)

    async def main():
        seen = []
        options = {"reconnect": QUICK, "on_open": [picky], "on_event": seen.append}
        async with Server(serve) as server, wsx.connect(server.url, **options) as client:
            while client.epoch < 3:
                await asyncio.sleep(0.005)
            await client.wait_open()
            return [event.error for event in seen if isinstance(event, events.Reconnecting)]

    first, second = run(main())
    assert refused == [2] and isinstance(first, errors.ConnectionLost)
    assert isinstance(second, errors.RestoreFailed) and "11051 system_maintenance" in str(second)
    assert isinstance(second.__cause__, errors.RpcError)
