"""The fault proxy between two real sockets, on both kinds of loop: what each command does, and that nothing is left."""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

import pytest
import uvloop

import wsx
from wsx.errors import ConnectionFailed, ConnectionLost
from wsx.testing import EchoServer, FaultProxy, FaultScript, Step
from wsx.testing.certificates import Authority

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
TICK = 0.001  # what uvloop's clock is read in
FDS = Path("/proc/self/fd")
DATA = bytes(range(256)) * 40


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine on a fresh loop, within a bound, and looks for tasks that it has left behind."""

    async def bounded(work):
        async with asyncio.timeout(20):
            await work
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def runner(work):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop_runner:
            loop_runner.run(bounded(work))

    return runner


class Server:
    """A TCP server that sends back what it gets. received: by each connection; ended: how each one's input ended."""

    def __init__(self, answer=None, tls=None):
        self.received, self.ended, self.writers = [], [], []
        self._answer, self._tls = answer, tls
        self._handlers = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.gather(*self._handlers)

    async def _handle(self, reader, writer):
        self._handlers.add(asyncio.current_task())
        self.writers.append(writer)
        number = len(self.received)
        self.received.append(bytearray())
        self.ended.append(None)
        try:
            while data := await reader.read(65536):
                self.received[number] += data
                writer.write(data if self._answer is None else self._answer)
                await writer.drain()
            self.ended[number] = "eof"
        except ConnectionError:
            self.ended[number] = "reset"
        await close(writer)


class Lengths(asyncio.Protocol):
    """Notes how many bytes each read gave."""

    def __init__(self):
        self.lengths = []

    def data_received(self, data):
        self.lengths.append(len(data))


async def close(writer):
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def client_of(port, **tls):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await close(writer)


@contextlib.asynccontextmanager
async def through_proxy(answer=None, **options):
    """(proxy, server, reader, writer) of one client whose first byte has made the round trip."""
    async with (
        Server(answer) as server,
        FaultProxy("127.0.0.1", server.port, **options) as proxy,
        client_of(proxy.port) as (reader, writer),
    ):
        await echoed(reader, writer, b"!")
        yield proxy, server, reader, writer


async def echoed(reader, writer, data):
    writer.write(data)
    assert await reader.readexactly(len(data)) == data


def open_sockets():
    return sum(path.readlink().name.startswith("socket:") for path in FDS.iterdir() if path.is_symlink())


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


class TestUntouched:
    def test_bytes_pass_in_order_both_ways(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                sent = os.urandom(1 << 20)
                writer.write(sent)
                assert await reader.readexactly(len(sent)) == sent
                assert server.received[0] == b"!" + sent
                await until(lambda: proxy.connections[0].passed["to_client"] == len(sent) + 1)
                assert proxy.connections[0].passed["to_server"] == len(sent) + 1

        run(work())

    def test_tls_passes_untouched(self, run):
        async def work():
            authority = Authority()
            tls = {"ssl": authority.client_context(), "server_hostname": "localhost"}
            async with (
                Server(tls=authority.server_context()) as server,
                FaultProxy("127.0.0.1", server.port) as proxy,
            ):
                proxy.split(100)
                async with client_of(proxy.port, **tls) as (reader, writer):
                    await echoed(reader, writer, DATA)

        run(work())

    def test_a_clients_half_close_passes_and_answers_still_come(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                writer.write(DATA)
                writer.write_eof()
                assert await reader.read() == DATA
                await until(lambda: not proxy.connections)
                assert server.ended == ["eof"]

        run(work())

    def test_a_servers_reset_reaches_the_client(self, run):
        async def work():
            async with through_proxy() as (_, server, reader, _):
                sock = server.writers[0].get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                server.writers[0].transport.abort()
                with pytest.raises(ConnectionResetError):
                    await reader.read()

        run(work())

    def test_a_clients_reset_reaches_the_server(self, run):
        async def work():
            async with through_proxy() as (_, server, _, writer):
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                await until(lambda: server.ended == ["reset"])

        run(work())

    def test_a_url_is_rewritten_to_go_through_the_proxy(self):
        proxy = FaultProxy("h", 1, port=81)
        assert proxy.via("wss://exchange.test:8443/ws/v2?x=1") == "wss://127.0.0.1:81/ws/v2?x=1"
        assert FaultProxy("h", 1, host="::1", port=81).via("ws://[::1]:9/") == "ws://[::1]:81/"


class TestWithClients:
    def test_the_example_of_the_documentation_holds(self, run):
        async def work():
            async with EchoServer(tls=True) as server, FaultProxy("127.0.0.1", server.port) as proxy:
                async with wsx.connect(proxy.via(server.url), ssl=server.ssl_context(), reconnect=False) as client:
                    proxy.split(7)
                    await client.send("through single pieces")
                    assert (await client.recv()).text == "through single pieces"
                    proxy.stall(direction="to_client")
                    await client.send("late")
                    proxy.heal()
                    assert (await client.recv()).text == "late"
                    proxy.reset()
                    with pytest.raises(ConnectionLost):
                        await client.recv()
                proxy.refuse()
                with pytest.raises(ConnectionFailed) as refused:
                    await wsx.connect(proxy.via(server.url))
                assert refused.value.stage == "tcp"
                proxy.accept()
                proxy.after(10, "cut", direction="to_client")
                with pytest.raises(ConnectionFailed) as cut:
                    await wsx.connect(proxy.via(server.url), ssl=server.ssl_context())
                assert cut.value.stage == "tls"

        run(work())


class TestLateness:
    def test_a_delay_holds_bytes_back_and_keeps_them(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.delay(0.05)
                start = asyncio.get_running_loop().time()
                await echoed(reader, writer, DATA)
                assert asyncio.get_running_loop().time() - start >= 0.1 - 2 * TICK  # once in each direction

        run(work())

    def test_jitter_keeps_the_order(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.delay(0.0, jitter=0.02, direction="to_server")
                for byte in range(50):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
                assert await reader.readexactly(50) == bytes(range(50))

        run(work())

    def test_healing_ends_a_delay_for_what_is_already_held(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.delay(1000.0, direction="to_client")
                writer.write(b"held")
                await until(lambda: proxy.connections[0].passed["to_server"] == 5)
                proxy.heal()
                assert await reader.readexactly(4) == b"held"

        run(work())

    def test_a_throttle_lets_so_many_bytes_pass_a_second(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.throttle(10_000, direction="to_client")
                start = asyncio.get_running_loop().time()
                await echoed(reader, writer, DATA[:2000])
                assert asyncio.get_running_loop().time() - start >= (2000 - 200) / 10_000 - TICK

        run(work())

    def test_a_split_gives_single_bytes(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                proxy.split()
                loop = asyncio.get_running_loop()
                transport, protocol = await loop.create_connection(Lengths, "127.0.0.1", proxy.port)
                transport.write(b"0123456789" * 5)
                await until(lambda: sum(protocol.lengths) == 50)
                transport.abort()
                assert protocol.lengths == [1] * 50

        run(work())


class TestHeldBack:
    def test_a_stall_holds_everything_back_until_it_is_healed(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.connections[0].stall(direction="to_client")
                writer.write(DATA)
                async with client_of(proxy.port) as (other_reader, other_writer):
                    for _ in range(20):
                        await echoed(other_reader, other_writer, DATA)
                assert proxy.connections[0].passed == {"to_server": len(DATA) + 1, "to_client": 1}
                proxy.heal()
                assert await reader.readexactly(len(DATA)) == DATA

        run(work())

    def test_what_is_held_back_is_bounded_and_the_sender_is_held_up(self, run):
        async def work():
            answer = bytes(1 << 20)
            async with through_proxy(b"!") as (proxy, server, reader, _):
                proxy.stall(direction="to_client")
                pipe = proxy.connections[0]._pipes["to_client"]
                sender = server.writers[0].transport
                written = 0
                while sender.get_write_buffer_size() == 0 or pipe._held_bytes <= 64 * 1024:
                    if sender.get_write_buffer_size() == 0:
                        sender.write(answer)
                        written += len(answer)
                    await asyncio.sleep(0)
                assert pipe._held_bytes <= 128 * 1024
                assert pipe._source._paused
                proxy.heal()
                assert len(await reader.readexactly(written)) == written

        run(work())

    def test_an_end_is_held_back_too(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                proxy.connections[0].stall(direction="to_server")
                writer.write_eof()
                async with client_of(proxy.port) as (other_reader, other_writer):
                    for _ in range(20):
                        await echoed(other_reader, other_writer, DATA)
                assert server.ended[0] is None
                proxy.heal()
                assert await reader.read() == b""
                assert server.ended[0] == "eof"

        run(work())

    def test_a_black_hole_takes_and_gives_nothing(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                proxy.black_hole(direction="to_client")
                writer.write(b"lost")
                await until(lambda: proxy.connections[0].passed["to_client"] == 5)
                proxy.heal()
                await echoed(reader, writer, b"found")
                assert server.received[0] == b"!lostfound"

        run(work())


class TestDamage:
    @staticmethod
    async def damaged(fraction, seed=0, pieces=1, connections=1, sent=DATA):
        """What comes back of `sent` on the last of so many connections, damaged on its way to the client."""
        async with Server() as server, FaultProxy("127.0.0.1", server.port, seed=seed) as proxy:
            proxy.corrupt(fraction, direction="to_client")
            for _ in range(connections):
                async with client_of(proxy.port) as (reader, writer):
                    came = b""
                    for number in range(pieces):
                        writer.write(sent[number::pieces])
                        came += await reader.readexactly(len(sent[number::pieces]))
            return came

    def test_every_byte_can_be_made_another(self, run):
        async def work():
            came = await self.damaged(1.0)
            assert all(byte != original for byte, original in zip(came, DATA, strict=True))

        run(work())

    def test_about_so_many_bytes_are_damaged_and_the_rest_pass(self, run):
        async def work():
            came = await self.damaged(0.02)
            differing = sum(byte != original for byte, original in zip(came, DATA, strict=True))
            assert 100 < differing < 320  # 205 are to be expected

        run(work())

    def test_the_same_seed_damages_the_same_bytes_however_they_are_cut(self, run):
        async def work():
            zeros = bytes(5000)
            whole = await self.damaged(0.02, sent=zeros)
            assert whole != zeros
            assert await self.damaged(0.02, sent=zeros, pieces=7) == whole
            assert await self.damaged(0.02, sent=zeros, seed=1) != whole
            assert await self.damaged(0.02, sent=zeros, connections=2) != whole

        run(work())

    def test_damage_can_begin_and_end_while_connected(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.corrupt(1.0, direction="to_server")
                writer.write(DATA)
                assert await reader.readexactly(len(DATA)) != DATA
                proxy.heal()
                await echoed(reader, writer, DATA)

        run(work())


class TestEnds:
    def test_a_cut_ends_both_sides_in_order(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, _):
                proxy.cut()
                assert await reader.read() == b""
                await until(lambda: server.ended == ["eof"])
                await until(lambda: not proxy.connections)

        run(work())

    def test_a_reset_is_one_on_both_sides(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, _):
                proxy.reset()
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                await until(lambda: server.ended == ["reset"])

        run(work())

    def test_one_connection_is_cut_and_the_other_lives(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                async with client_of(proxy.port) as (other_reader, other_writer):
                    await echoed(other_reader, other_writer, b"x")
                    proxy.connections[1].cut()
                    assert await other_reader.read() == b""
                await echoed(reader, writer, DATA)

        run(work())

    def test_a_half_close_ends_one_direction_and_the_other_lives(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                proxy.half_close("to_client")
                proxy.half_close("to_client")
                assert await reader.read() == b""
                writer.write(DATA)
                await until(lambda: server.received[0] == b"!" + DATA)
                writer.write_eof()
                await until(lambda: not proxy.connections)
                assert server.ended == ["eof"]

        run(work())

    def test_a_half_close_of_both_directions_ends_both(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, _):
                proxy.half_close("both")
                assert await reader.read() == b""
                await until(lambda: server.ended == ["eof"])

        run(work())

    def test_a_half_close_throws_away_what_was_held_back(self, run):
        async def work():
            async with through_proxy() as (proxy, server, reader, writer):
                proxy.stall(direction="to_client")
                writer.write(DATA)
                await until(lambda: len(server.received[0]) == len(DATA) + 1)
                proxy.half_close("to_client")
                assert await reader.read() == b""

        run(work())


class TestAfterSoManyBytes:
    def test_a_connection_is_cut_after_each_number_of_bytes(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                for count in range(12):
                    proxy.after(count, "cut")
                    async with client_of(proxy.port) as (reader, writer):
                        writer.write(b"0123456789abc")
                        assert await reader.read() == b"0123456789abc"[:count]

        run(work())

    def test_a_reset_comes_after_so_many_bytes_to_the_server(self, run):
        async def work():
            async with Server(answer=b"") as server, FaultProxy("127.0.0.1", server.port) as proxy:
                proxy.after(7, "reset", direction="to_server")
                async with client_of(proxy.port) as (reader, writer):
                    writer.write(b"0123456789")
                    with pytest.raises(ConnectionResetError):
                        await reader.read()
                await until(lambda: server.ended == ["reset"])
                assert len(server.received[0]) <= 7

        run(work())

    def test_a_stall_comes_in_the_middle_and_is_healed(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                proxy.after(4, "stall")
                async with client_of(proxy.port) as (reader, writer):
                    writer.write(b"0123456789")
                    assert await reader.readexactly(4) == b"0123"
                    await until(lambda: proxy.connections[0].passed["to_server"] == 10)
                    assert proxy.connections[0].passed["to_client"] == 4
                    proxy.heal()
                    assert await reader.readexactly(6) == b"456789"

        run(work())

    @pytest.mark.parametrize("action", ["half_close", "black_hole"])
    def test_what_is_behind_a_half_close_or_in_a_black_hole_is_gone(self, run, action):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                proxy.after(4, action)
                async with client_of(proxy.port) as (reader, writer):
                    writer.write(b"0123456789")
                    writer.write_eof()
                    assert await reader.read() == b"0123"
                assert server.received[0] == b"0123456789"

        run(work())

    def test_bytes_that_have_already_passed_count(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, _):
                proxy.after(1, "cut")
                assert await reader.read() == b""

        run(work())


class TestListening:
    def test_a_refusing_proxy_keeps_what_is_open_and_comes_back_on_its_port(self, run):
        async def work():
            async with through_proxy() as (proxy, _, reader, writer):
                proxy.refuse()
                proxy.refuse()
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", proxy.port)
                await echoed(reader, writer, DATA)
                port = proxy.port
                proxy.accept()
                proxy.accept()
                assert proxy.port == port
                async with client_of(port) as (other_reader, other_writer):
                    await echoed(other_reader, other_writer, DATA)
                assert proxy.accepted == 2

        run(work())

    def test_a_client_that_was_half_accepted_is_served_or_reset(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                for turns in range(8):
                    proxy.accept()
                    accepted = proxy.accepted
                    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                        for _ in range(turns):
                            await asyncio.sleep(0)
                        proxy.refuse()
                        assert await self.served(client) == (proxy.accepted > accepted)

        run(work())

    @staticmethod
    async def served(client):
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        try:
            await loop.sock_sendall(client, b"x")
            return await loop.sock_recv(client, 1) == b"x"
        except (ConnectionResetError, BrokenPipeError):
            return False

    def test_a_target_that_is_not_there_resets_the_client(self, run):
        async def work():
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                port = nobody.getsockname()[1]
            async with FaultProxy("127.0.0.1", port) as proxy, client_of(proxy.port) as (reader, _):
                with pytest.raises(ConnectionResetError):
                    await reader.read()

        run(work())

    def test_a_client_whose_target_does_not_answer_can_be_cut(self, run):
        async def work():
            async with FaultProxy(*self.mute.getsockname()) as proxy, client_of(proxy.port) as (reader, _):
                await until(lambda: proxy.accepted == 1)
                assert proxy.connections == ()
                proxy.cut()
                assert await reader.read() == b""

        with contextlib.ExitStack() as stack:
            # Once its queue is full, the kernel drops every further SYN.
            self.mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(self.mute.getsockname())
            run(work())

    def test_commands_are_for_future_connections_too_until_they_are_healed(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                proxy.corrupt(1.0)
                proxy.heal(direction="to_server")
                async with client_of(proxy.port) as (reader, writer):
                    writer.write(DATA)
                    assert await reader.readexactly(len(DATA)) != DATA
                    assert server.received[0] == DATA
                proxy.heal()
                async with client_of(proxy.port) as (reader, writer):
                    await echoed(reader, writer, DATA)

        run(work())

    @pytest.mark.skipif(not FDS.exists(), reason="this system does not list a process's descriptors")
    def test_leaving_it_closes_every_socket(self, run):
        async def work():
            before = open_sockets()
            async with (
                Server() as server,
                FaultProxy("127.0.0.1", server.port) as proxy,
                contextlib.AsyncExitStack() as clients,
            ):
                for number in range(30):
                    reader, writer = await clients.enter_async_context(client_of(proxy.port))
                    await echoed(reader, writer, b"x")
                    getattr(proxy.connections[number], ("stall", "black_hole", "split")[number % 3])()
                    writer.write(DATA)
                await proxy.close()
                assert proxy.connections == ()
            await until(lambda: open_sockets() == before)

        run(work())


class TestWrongCommands:
    @pytest.mark.parametrize(
        ("command", "arguments"),
        [
            ("delay", {"seconds": -1}),
            ("delay", {"seconds": 1, "jitter": float("nan")}),
            ("throttle", {"bytes_per_second": 0}),
            ("split", {"max_bytes": 0}),
            ("corrupt", {"fraction": -0.1}),
            ("stall", {"direction": "upward"}),
            ("after", {"action": "cut", "count": -1}),
            ("after", {"count": 1, "action": "explode"}),
        ],
    )
    def test_they_are_refused_by_name(self, command, arguments):
        with pytest.raises(ValueError, match=next(reversed(arguments))):
            getattr(FaultProxy("h", 1), command)(**arguments)


class TestScripts:
    def test_steps_are_played_at_their_times_whatever_their_order(self, run):
        async def work():
            loop = asyncio.get_running_loop()
            played = []

            class Notebook:
                def cut(self):
                    played.append(("cut", loop.time()))

                def delay(self, **arguments):
                    played.append((arguments, loop.time()))

            start = loop.time()
            await FaultScript((Step(0.05, "cut"), Step(0.02, "delay", {"seconds": 1}))).play(Notebook())
            assert [command for command, _ in played] == [{"seconds": 1}, "cut"]
            assert played[0][1] - start >= 0.02 - TICK and played[1][1] - start >= 0.05 - TICK

        run(work())

    def test_a_proxy_plays_its_script_from_the_start(self, run):
        async def work():
            script = FaultScript((Step(0.0, "after", {"count": 5, "action": "cut"}), Step(0.3, "refuse")))
            async with Server() as server, FaultProxy("127.0.0.1", server.port, script=script) as proxy:
                answers = []
                with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                    while True:
                        async with client_of(proxy.port) as (reader, writer):
                            writer.write(b"0123456789")
                            answers.append(await reader.read())
                assert set(answers) == {b"01234"}
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", proxy.port)

        run(work())

    def test_leaving_the_proxy_ends_its_script(self, run):
        async def work():
            script = FaultScript((Step(1000.0, "cut"),))
            async with FaultProxy("127.0.0.1", 1, script=script):
                pass

        run(work())

    def test_what_a_script_raised_is_raised_at_the_end(self, run):
        async def work():
            script = FaultScript((Step(0.0, "delay", {"seconds": -1}),))
            with pytest.raises(ValueError, match="seconds"):
                async with FaultProxy("127.0.0.1", 1, script=script) as proxy:
                    await asyncio.wait([proxy._playing])

        run(work())

    def test_the_same_seed_gives_the_same_script(self):
        one, other = FaultScript.from_seed(7, duration=600), FaultScript.from_seed(7, duration=600)
        assert one == other and one.seed == 7
        assert one != FaultScript.from_seed(8, duration=600)

    def test_a_seed_means_the_same_on_every_version_of_python(self):
        steps = FaultScript.from_seed(1, duration=15).steps
        assert [(round(step.at, 6), step.command) for step in steps] == SEED_ONE

    def test_there_is_one_fault_in_each_slot_and_what_lasts_is_healed_in_it(self):
        steps = FaultScript.from_seed(3, duration=5000, every=5).steps
        faults = [step for step in steps if step.command not in ("heal", "accept")]
        assert [int(step.at // 5) for step in faults] == list(range(1000))
        assert {step.command for step in faults} == {
            "after", "black_hole", "corrupt", "cut", "delay", "half_close", "refuse", "reset", "split", "stall", "throttle",
        }  # fmt: skip
        for step, following in zip(steps, steps[1:]):
            if step.command not in ("cut", "reset", "half_close", "heal", "accept"):
                assert following.command == ("accept" if step.command == "refuse" else "heal")
                assert following.at // 5 == step.at // 5

    def test_every_command_that_is_drawn_is_understood(self, run):
        async def work():
            async with Server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
                drawn = FaultScript.from_seed(5, duration=100, every=1)
                await FaultScript(tuple(Step(0.0, step.command, step.arguments) for step in drawn.steps)).play(proxy)
                proxy.heal()
                proxy.accept()
                async with client_of(proxy.port) as (reader, writer):
                    await echoed(reader, writer, DATA)

        run(work())

    def test_only_the_named_commands_are_drawn(self):
        steps = FaultScript.from_seed(3, duration=100, commands=["cut", "stall"]).steps
        assert {step.command for step in steps} == {"cut", "stall", "heal"}

    @pytest.mark.parametrize("commands", [[], ["explode"], ["heal"]])
    def test_what_cannot_be_drawn_is_refused(self, commands):
        with pytest.raises(ValueError, match="commands"):
            FaultScript.from_seed(1, commands=commands)

    @pytest.mark.parametrize("step", [(0.0, "explode"), (-1.0, "cut"), (float("nan"), "cut")])
    def test_a_wrong_step_is_refused(self, step):
        with pytest.raises(ValueError, match="command must|at must"):
            Step(*step)


SEED_ONE = [
    (2.118584, "throttle"),
    (3.357172, "heal"),
    (6.628982, "stall"),
    (6.863631, "heal"),
    (12.089413, "delay"),
    (12.094678, "heal"),
]
