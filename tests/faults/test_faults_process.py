"""Group 8, process and runtime: signals, forks, threads, the end of the loop, no memory, callbacks and secrets."""

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import resource
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import tracemalloc
import warnings
from pathlib import Path

import pytest
import trustme
from faulty_server import SERVERS_INODES, FaultyServer
from leftovers import LOOPS, closes_with, nothing_left, run_checked
from processes import in_process
from raw_server import CLOSE, PING, PONG, TEXT, accept, close_frame, connect, frame, until

import wsx
from wsx.errors import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    HandshakeRejected,
    NotConnected,
    ProtocolError,
    WrongThread,
)

QUICK = wsx.Backoff(initial=0.01, cap=0.05)


def echo(peer):
    """The upgrade, then every text back, until the client's CLOSE is answered."""
    peer.upgrade()
    answers = {TEXT: TEXT, PING: PONG}
    while (seen := peer.frame()).opcode != CLOSE:
        peer.send(frame(answers[seen.opcode], seen.payload))
    peer.send(frame(CLOSE, seen.payload))


# ---- 8.1 signals ----------------------------------------------------------------------------------------------------

SIGNALLED = """
    import asyncio, sys, wsx

    async def main():
        print("starting", flush=True)
        seen = 0
        try:
            async with wsx.connect(sys.argv[1], close_timeout=0.5, reconnect=wsx.Backoff(initial=0.05)) as client:
                print("open", flush=True)
                async for message in client:
                    seen += 1
        finally:
            print("summary", flush=True)

    wsx.run(main(), loop=sys.argv[2])
"""


def flood(peer):
    """Messages without end."""
    peer.upgrade()
    while True:
        peer.send(frame(TEXT, b"x" * 100) * 100)


PEERS = {
    "idle": lambda peer: (peer.upgrade(), peer.until_gone()),
    "flooding": flood,
    "deaf": lambda peer: (peer.upgrade(), peer.wait()),
    "upgrade hangs": lambda peer: peer.until_gone(),
    "flapping": lambda peer: peer.upgrade(),
}


@pytest.mark.parametrize("delay", [0.0, 0.05])
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("loop", LOOPS)
def test_8_1_ctrl_c_ends_within_a_second_with_the_summary_and_the_code(loop, peer, delay):
    with FaultyServer(PEERS[peer]) as server:
        program = [sys.executable, "-W", "error", "-c", textwrap.dedent(SIGNALLED), server.url, loop]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            seen = process.stdout.readline()
            if peer != "upgrade hangs":
                seen += process.stdout.readline()
            time.sleep(delay)
            since = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=20)
            took = time.monotonic() - since
    assert "summary" in out, errors
    assert process.returncode in (-signal.SIGINT, 130)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "never" not in errors
    assert "Exception ignored" not in errors
    assert took < 3  # a second is meant; close_timeout is a half; this machine may be busy


TERMINATED = """
    import asyncio, signal, sys, wsx

    async def main():
        client = await wsx.connect(sys.argv[1], close_timeout=0.5)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: asyncio.ensure_future(client.close(1001, "terminated")))
        print("open", flush=True)
        async for message in client:
            pass
        await client.wait_closed()
        print("summary", client.close_code, flush=True)

    wsx.run(main(), loop=sys.argv[2])
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_8_1_a_handler_for_sigterm_can_close_in_good_order(loop):
    heard = []

    def serve(peer):
        peer.upgrade()
        heard.append(peer.frame())
        peer.send(frame(CLOSE, heard[0].payload))

    with FaultyServer(serve) as server:
        program = [sys.executable, "-W", "error", "-c", textwrap.dedent(TERMINATED), server.url, loop]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, "summary 1001\n", "")
    assert heard[0].close_code == 1001


# ---- 8.2 fork -------------------------------------------------------------------------------------------------------


def test_8_2_a_forked_child_is_refused_and_makes_masks_of_its_own():
    in_process(_forked)


def _forked():
    keys = []

    def serve(peer):
        peer.upgrade()
        while (seen := peer.frame()).opcode != CLOSE:
            keys.append(seen.key)
            if seen.opcode == PING:
                peer.send(frame(PONG, seen.payload))
        peer.send(frame(CLOSE, seen.payload))

    async def main(url):
        async with connect(url) as client:
            for _ in range(5):
                await client.send("fills the pool of keys")
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.write(writing, _in_the_child(client))
                os._exit(0)
            refused = (await asyncio.to_thread(os.read, reading, 1000)).decode().split()
            await asyncio.to_thread(os.waitpid, child, 0)
            for descriptor in (reading, writing):
                os.close(descriptor)
            assert set(refused) == {"NotConnected"}, refused
            await client.send("the parent goes on")
            await client.ping()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        for loop in LOOPS:
            with FaultyServer(serve) as server:
                run_checked(main(server.url), loop)
    assert len(set(keys)) == len(keys) >= 10


def _in_the_child(client):
    """What each call raises in the child."""
    calls = [
        lambda: client.send_nowait("x"),
        lambda: client.send("x").send(None),
        lambda: client.recv().send(None),
        lambda: client.ping().send(None),
        lambda: client.close().send(None),
        lambda: client.subscribe("x").send(None),
        lambda: client.wait_open().send(None),
        client.reconnect,
        client.resume,
        client.health,
        lambda: aiter(client),
    ]
    return " ".join(raised(call) for call in calls).encode()


def raised(call):
    try:
        call()
    except BaseException as error:
        return type(error).__name__
    return "nothing"


# ---- 8.3 threads ----------------------------------------------------------------------------------------------------


def test_8_3_every_call_from_another_thread_is_refused_and_changes_nothing(run):
    async def main():
        with FaultyServer(echo) as server:
            async with connect(server.url) as client:
                await client.subscribe("kept")
                calls = {
                    "subscribe": lambda: client.subscribe("x").send(None),
                    "unsubscribe": lambda: client.unsubscribe("kept").send(None),
                    "unsubscribe of none": lambda: client.unsubscribe("never").send(None),
                    "wait_open": lambda: client.wait_open().send(None),
                    "reconnect": client.reconnect,
                    "resume": client.resume,
                    "health": client.health,
                    "anext": lambda: anext(aiter(client)).send(None),
                    "leaving": lambda: client.close().send(None),
                }
                seen = {name: await asyncio.to_thread(raised, call) for name, call in calls.items()}
                assert set(seen.values()) == {"WrongThread"}, seen
                with pytest.raises(WrongThread, match="call_threadsafe"):
                    await asyncio.to_thread(client.send_nowait, "x")
                assert list(client._session.subscriptions) == ["kept"]
                assert (await client.recv()).text == "kept"
                assert client.state is wsx.State.OPEN

    run(main())


# ---- 8.4 the loop ends first ----------------------------------------------------------------------------------------

ABANDONED = """
    import asyncio, gc, sys, wsx

    async def main():
        client = await wsx.connect(sys.argv[1], reconnect=True)
        if sys.argv[3] == "reading":
            asyncio.ensure_future(client.recv())
            await asyncio.sleep(0)
        if sys.argv[3] == "sending":
            try:
                while True:
                    client.send_nowait(bytes(100000))
            except wsx.errors.Backpressure:
                asyncio.ensure_future(client.send("x"))
                await asyncio.sleep(0)
        if sys.argv[3] == "in use":
            return client
        if sys.argv[3] == "reconnecting":
            client.send_nowait("cut")
            while client.state is wsx.State.OPEN or client.state is wsx.State.CLOSING:
                await asyncio.sleep(0.001)

    left = wsx.run(main(), loop=sys.argv[2])
    if left is not None:
        for call in (lambda: left.send_nowait("x"), lambda: left.close().send(None), lambda: left.ping().send(None),
                     left.health, left.reconnect, lambda: left.recv().send(None)):
            try:
                call()
            except BaseException as error:
                print(type(error).__name__)
    left = None
    gc.collect()
    print("the end")
"""


@pytest.mark.parametrize("doing", ["nothing", "reading", "sending", "in use", "reconnecting"])
@pytest.mark.parametrize("loop", LOOPS)
def test_8_4_a_client_whose_loop_ended_warns_and_nothing_crashes(loop, doing):
    def serve(peer):
        peer.upgrade()
        if doing == "reconnecting" and server.count == 1:
            peer.frame()
            peer.reset()
        else:
            peer.wait()

    with FaultyServer(serve) as server:
        program = [sys.executable, "-X", "faulthandler", "-W", "always", "-c", textwrap.dedent(ABANDONED)]
        done = subprocess.run([*program, server.url, loop, doing], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the end\n")
    assert "ResourceWarning: <Client '127.0.0.1'" in done.stderr
    assert "never closed; await client.close()" in done.stderr
    assert "Fatal" not in done.stderr
    assert "Traceback" not in done.stderr, done.stderr


# ---- 8.5 no memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_8_5_a_message_that_memory_does_not_hold_ends_the_connection_and_no_more(loop):
    pytest.importorskip("resource")
    in_process({"asyncio": _no_room_asyncio, "uvloop": _no_room_uvloop}[loop])


def _no_room_asyncio():
    _no_room("asyncio")


def _no_room_uvloop():
    _no_room("uvloop")


def address_space():
    """Bytes of addresses in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _no_room(loop):
    size = 64 << 20
    go, large = threading.Event(), frame(TEXT, bytes(size))

    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"small"))
        go.wait(10)
        peer.send(large)
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            client = await connect(server.url, max_message_size=2 * size, close_timeout=0.5)
            assert (await client.recv()).text == "small"
            await asyncio.sleep(0.05)
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            used = address_space()
            resource.setrlimit(resource.RLIMIT_AS, (used + size + size // 2, hard))
            go.set()
            try:
                error = await closes_with(ConnectionLost, client)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            assert isinstance(error.__cause__, MemoryError), error
            client = await connect(server.url, close_timeout=0.5)  # the process goes on
            assert (await client.recv()).text == "small"
            await client.close()

    run_checked(main(), loop)


def test_8_5_wherever_an_allocation_fails_there_is_memory_error_and_no_corruption():
    pytest.importorskip("_testcapi")
    in_process(_failing_allocations, within=120)


def _failing_allocations():
    """Each allocation of a stream's reading fails once: the codec raises, or delivers what it would have."""
    import _testcapi

    from streams import Endpoint
    from streams import frame as wire

    stream = wire(TEXT, b"one") + wire(TEXT, b"tw", fin=False) + wire(0, b"o") + wire(PING, b"p") + wire(2, bytes(5000))
    expected = Endpoint().feed(stream).events
    failed = 0
    for start in range(1, 120):
        end = Endpoint()
        _testcapi.set_nomemory(start, start + 1)
        try:
            end.feed(stream)
        except MemoryError:
            failed += 1
        finally:
            _testcapi.remove_mem_hooks()
        assert end.events == expected[: len(end.events)]
        assert Endpoint().feed(stream).events == expected
    assert failed > 3


# ---- 8.6 callbacks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("mine"), asyncio.CancelledError(), GeneratorExit(), StopIteration()])
@pytest.mark.parametrize("where", ["on_message", "on_event"])
def test_8_6_a_callback_that_raises_changes_nothing(run, where, error, caplog):
    def raising(_):
        raise error

    seen = []

    async def main():
        with FaultyServer(echo) as server:
            client = await connect(server.url, **{"on_message": seen.append, where: raising})
            await client.send("1")
            await client.ping()
            assert client.state is wsx.State.OPEN
            assert client.telemetry.snapshot()["errors_application"] == 1
            await client.close()

    run(main())
    assert "raised" in caplog.text


def test_8_6_a_callback_that_blocks_is_not_mistaken_for_a_dead_peer(run):
    events = []

    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"block"))
        while (seen := peer.frame()).opcode != CLOSE:
            if seen.opcode == PING:
                peer.send(frame(PONG, seen.payload))
        peer.send(frame(CLOSE, seen.payload))

    async def main():
        with FaultyServer(serve) as server:
            options = {"ping_interval": 0.1, "ping_timeout": 0.1, "on_event": events.append}
            client = await connect(server.url, on_message=lambda message: time.sleep(0.6), **options)
            await asyncio.sleep(0.3)
            await client.ping()
            assert client.state is wsx.State.OPEN
            await client.close()
        assert any(isinstance(event, wsx.events.LoopBlocked) for event in events)

    run(main())


def test_8_6_a_callback_may_send_subscribe_ping_and_close(run):
    """on_message is called inline: what can be awaited is given to a task."""
    heard, tasks = [], []

    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"go") + frame(TEXT, b"after"))
        while (seen := peer.frame()).opcode != CLOSE:
            if seen.opcode == PING:
                peer.send(frame(PONG, seen.payload))
            heard.append(seen.payload)
        peer.send(frame(CLOSE, seen.payload))

    async def main():
        def on_message(message):
            client.send_nowait(b"sent")
            if message.text == "go":
                calls = (client.subscribe("channel"), client.ping(), client.close())
                tasks.extend(asyncio.ensure_future(call) for call in calls)

        with FaultyServer(serve) as server:
            client = await connect(server.url, on_message=on_message)
            await client.wait_closed()
            await asyncio.wait(tasks)
            assert heard[:2] == [b"sent", b"sent"]
            assert b"channel" in heard
            assert [type(task.exception()) for task in tasks] == [type(None), NotConnected, type(None)]

    run(main())


def test_8_6_a_callback_may_take_another_connection(run):
    seen = []

    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"%d" % server.count) * 3)
        peer.send(frame(CLOSE, peer.frame().payload))

    async def main():
        def on_message(message):
            seen.append((message.text, message.epoch))
            if len(seen) < 4:
                client.reconnect()

        client = await wsx.connect(server.url, on_message=on_message, reconnect=QUICK)
        await until(lambda: ("2", 2) in seen)
        await client.close()
        assert ("1", 1) in seen

    with FaultyServer(serve) as server:
        run(main())


ACTIONS = {
    "sends": lambda client: client.send_nowait("x"),
    "closes": lambda client: asyncio.ensure_future(client.close()),
    "subscribes": lambda client: asyncio.ensure_future(client.subscribe("x")),
    "reconnects": lambda client: client.reconnect(),
    "resumes": lambda client: client.resume(),
    "looks": lambda client: (client.health(), repr(client), client.state, client.close_code, client.telemetry.snapshot()),
}  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("kind", ["Closed", "Reconnecting", "Opened", "GapEvent", "Halted"])
def test_8_6_an_event_handler_may_do_anything_once(run, kind, action):
    """Its own errors, such as sending while nothing is open, are its own: the client comes back, or closes."""
    client, done = None, []

    def serve(peer):
        request = peer.read_request()
        if kind == "Halted" and server.count == 2:
            peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            return
        peer.send(accept(request) + frame(TEXT, b"hello"))
        seen = peer.frame()
        if server.count == 1 and seen.opcode == TEXT:
            peer.reset()
            return
        while seen.opcode != CLOSE:
            seen = peer.frame()
        peer.send(close_frame(seen.close_code))

    async def main():
        nonlocal client

        def on_event(event):
            if client is not None and type(event).__name__ == kind and not done:
                done.append(action(client))

        client = await wsx.connect(server.url, reconnect=QUICK, on_event=on_event, close_timeout=0.3)
        await client.recv()
        await client.send("cut me")
        with contextlib.suppress(HandshakeRejected, ConnectionClosed, NotConnected):
            await asyncio.wait_for(client.recv(), 5)
        await asyncio.sleep(0.05)
        assert client.state in (wsx.State.OPEN, wsx.State.CLOSED, wsx.State.HALTED, wsx.State.RECONNECTING)
        await asyncio.wait_for(client.close(), 5)
        assert client.state is wsx.State.CLOSED
        tasks = [each for each in done if isinstance(each, asyncio.Task)]
        await asyncio.gather(*tasks, return_exceptions=True)

    with FaultyServer(serve) as server:
        run(main())


# ---- 8.7 cycles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_8_7_cycles_that_fail_leave_nothing(loop):
    """Good cycles are in test_client.py, and ten thousand of them in the bench."""
    in_process({"asyncio": _cycles_asyncio, "uvloop": _cycles_uvloop}[loop], within=120)


def _cycles_asyncio():
    _cycles("asyncio")


def _cycles_uvloop():
    _cycles("uvloop")


def _cycles(loop):
    ends = {
        "rejected": lambda peer: (peer.read_request(), peer.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")),
        "cut": lambda peer: peer.upgrade(),
        "broken": lambda peer: (peer.upgrade(behind=frame(3)), peer.frame()),
    }

    async def cycle(url):
        with contextlib.suppress(ConnectionFailed, ConnectionLost, ProtocolError):
            client = await connect(url, close_timeout=0.5)
            await client.recv()

    async def main(serve):
        with FaultyServer(serve) as server:
            for _ in range(30):
                await cycle(server.url)
            growth, known = [], set(SERVERS_INODES)
            for _ in range(3):
                gc.collect()
                server._threads[1:], server._sockets[:] = [], []
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(100):
                    await cycle(server.url)
                for thread in server._threads[1:]:
                    thread.join()
                server._threads[1:], server._sockets[:] = [], []
                SERVERS_INODES.intersection_update(known)  # the test's own memory is not wsx's
                gc.collect()
                growth.append((tracemalloc.get_traced_memory()[0] - before) / 100)
            return min(growth)

    tracemalloc.start()
    for name, serve in ends.items():
        assert run_checked(main(serve), loop, within=60) <= 64, name


# ---- 8.8 secrets ----------------------------------------------------------------------------------------------------

CANARY = "c4nary"


def places(thing):
    """Every text that a person or a log may get of it."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing!a}"
    with contextlib.suppress(Exception):
        yield str(pickle.dumps(thing))
    if isinstance(thing, BaseException):
        yield "".join(traceback.format_exception(thing))
        yield from locals_of_wsx(thing)
        yield from (str(each) for each in (thing.__cause__, thing.__context__, vars(thing)))


def locals_of_wsx(error):
    """The local variables that a tool may show beside a traceback; this file's own are its own."""
    while error is not None:
        for one, _ in traceback.walk_tb(error.__traceback__):
            if os.sep + "wsx" + os.sep in one.f_code.co_filename and "tests" not in one.f_code.co_filename:
                yield f"{one.f_code.co_qualname}: {one.f_locals!r}"
        error = error.__cause__ or error.__context__


OUTCOMES = {
    "refused by HTTP": lambda peer: answer(peer, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
    "redirected": lambda peer: answer(peer, b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    "not HTTP": lambda peer: answer(peer, b"SSH-2.0-x\r\n"),
    "broken upgrade": lambda peer: answer(peer, b"HTTP/1.1 101 X\r\n\r\n"),
    "closed": lambda peer: peer.read_request(),
    "late": lambda peer: (peer.read_request(), peer.until_gone()),
    "broken frame": lambda peer: (peer.upgrade(behind=frame(3)), peer.frame()),
    "reset": lambda peer: (peer.upgrade(), peer.reset()),
    "closed by code": lambda peer: (peer.upgrade(behind=close_frame(1008, b"policy")), peer.frame()),
}


def answer(peer, data):
    peer.read_request()
    peer.send(data)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("serve", OUTCOMES.values(), ids=OUTCOMES)
def test_8_8_secrets_are_found_nowhere(run, serve, tls, caplog):
    authority = trustme.CA()
    events, asked = [], []

    def noting(peer):
        try:
            serve(peer)
        finally:
            asked.append(peer.request)

    async def main():
        asyncio.get_running_loop().set_debug(True)
        server_context, options = None, {}
        if tls:
            server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(server_context)
            options["ssl"] = ssl.create_default_context()
            authority.configure_trust(options["ssl"])
        with FaultyServer(noting, tls=server_context) as server:
            headers = {"Authorization": wsx.Secret(f"Bearer {CANARY}"), "X-Api-Key": wsx.Secret(CANARY)}
            connecting = connect(
                f"{server.url}path?token={CANARY}", headers=headers, on_event=events.append, connect_timeout=0.5,
                close_timeout=0.3, subprotocols=["a"], **options,
            )  # fmt: skip
            things = [connecting]
            try:
                client = await connecting
                things += [
                    client,
                    client.config,
                    client.health(),
                    client._session.connection,
                    client.telemetry.snapshot(),
                ]
                await client.wait_closed()
                things += [client, client.ledger, client._session.end]
                await client.recv()
            except wsx.errors.WsxError as error:
                things += [error, wsx.explain(error)]
            things += events
            return [text for thing in things for text in places(thing) if CANARY in text]

    with caplog.at_level(1), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = run(main())
        gc.collect()
    assert asked[0].count(CANARY.encode()) == 3  # it was sent
    assert found == []
    assert CANARY not in caplog.text
    assert not [each for each in warned if CANARY in str(each.message)]


@pytest.mark.parametrize("level", [logging.DEBUG, 1])
def test_8_8_a_rejected_reconnection_logs_no_secret(run, level, caplog):
    def serve(peer):
        if server.count > 1:
            peer.read_request()
            peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        else:
            peer.upgrade()
            peer.frame()

    async def main():
        asyncio.get_running_loop().set_debug(True)
        headers = {"Authorization": wsx.Secret(f"Bearer {CANARY}")}
        client = await wsx.connect(f"{server.url}?token={CANARY}", headers=lambda: headers, reconnect=QUICK)
        await client.send("cut me")
        await until(lambda: client.state is wsx.State.HALTED)
        with pytest.raises(HandshakeRejected) as caught:
            await client.recv()
        with pytest.raises(NotConnected) as refused:
            client.send_nowait("x")
        await client.close()
        return [text for error in (caught.value, refused.value) for text in places(error) if CANARY in text]

    with caplog.at_level(level), FaultyServer(serve) as server:
        assert run(main()) == []
    assert CANARY not in caplog.text


# ---- 8.10 what is not installed -------------------------------------------------------------------------------------

BARE = """
    import builtins, sys
    real = builtins.__import__
    missing = {"uvloop", "trustme", "cryptography", "prometheus_client", "certifi", "rich"}
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in missing:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Finder())
    import asyncio, wsx

    async def main():
        async with wsx.connect(sys.argv[1]) as client:
            await client.send("hello")
            assert (await client.recv()).text == "hello"
            print(type(asyncio.get_running_loop()).__module__)

    wsx.run(main())
    try:
        wsx.run(main(), loop="uvloop")
    except ImportError as error:
        print(error)
    try:
        from wsx.testing import EchoServer
        wsx.run(EchoServer(tls=True).__aenter__())
    except ImportError as error:
        print(error)
"""


def test_8_10_without_any_optional_package_it_works_and_says_what_is_missing():
    with FaultyServer(echo) as server:
        program = [sys.executable, "-c", textwrap.dedent(BARE), server.url]
        done = subprocess.run(program, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    loop, no_uvloop, no_trustme = done.stdout.splitlines()
    assert loop.startswith("asyncio")
    assert "pip install" in no_uvloop and "uvloop" in no_uvloop
    assert "wsx[testing]" in no_trustme


def test_8_5_nothing_is_left_when_connecting_runs_out_of_memory(run):
    """The user's own callable is the place where a test can have it fail without hurting the interpreter."""

    def headers():
        raise MemoryError

    async def main():
        with FaultyServer(echo) as server:
            async with nothing_left():
                with pytest.raises(MemoryError):
                    await connect(server.url, headers=headers)
            assert server.count == 0

    run(main())
