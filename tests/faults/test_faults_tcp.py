"""Group 1, name, address and TCP: each fault really caused, the failure named by its stage, nothing left behind."""

import asyncio
import errno
import os
import resource
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from faulty_server import FaultyServer, note
from leftovers import LOOPS, ends_with, nothing_left, run_checked
from namespaces import NameServer, in_namespace, kernel, loopback, names
from processes import in_process
from raw_server import CLOSE, TEXT, frame

import wsx
from wsx.errors import ConnectionFailed
from wsx.transport.tls import default_context

NULL = Path(os.devnull)


class SilentListener:
    """A port that answers no SYN: its queue is full. Skips where the system goes on accepting."""

    def __init__(self, host="127.0.0.1", port=0):
        self._sockets = [note(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))]
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets[0].bind((host, port))
        self._sockets[0].listen(0)
        self.port = self._sockets[0].getsockname()[1]
        self.url = f"ws://{host}:{self.port}/"

    def __enter__(self):
        for _ in range(4):
            client = note(socket.socket(self._sockets[0].family))
            self._sockets.append(client)
            client.settimeout(0.1)
            if client.connect_ex(self._sockets[0].getsockname()) in (errno.EAGAIN, errno.EINPROGRESS, errno.ETIMEDOUT):
                return self
        self.__exit__()
        pytest.skip("this system goes on accepting connections for a full queue")

    def __exit__(self, *_):
        for sock in self._sockets:
            sock.close()


def echo(peer):
    """The upgrade, then every text back, until the client's CLOSE is answered."""
    peer.upgrade()
    while (seen := peer.frame()).opcode != CLOSE:
        peer.send(frame(TEXT, seen.payload))
    peer.send(frame(CLOSE, seen.payload))


async def talk(url, **options):
    """One round trip with an echo server; the address that it was with."""
    async with wsx.connect(url, **options) as client:
        await client.send("hello")
        assert (await client.recv()).text == "hello"
        return client._session.connection.transport.get_extra_info("peername")[0]


@pytest.fixture
def closed_port():
    with socket.socket() as sock:  # bound, so that nobody else listens there meanwhile
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def ipv6():
    with suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


# ---- names ----------------------------------------------------------------------------------------------------------


def test_1_1_a_name_that_does_not_exist_is_named():
    in_namespace(_no_such_name)


def _no_such_name():
    loopback()
    names()
    server = NameServer(lambda name: [])

    async def main():
        error = await ends_with(ConnectionFailed, wsx.connect("ws://nowhere.example:8080/a?token=canary"), stage="dns")
        assert "nowhere.example" in str(error) and "canary" not in str(error)
        assert not isinstance(error.__cause__, TimeoutError)

    for loop in LOOPS:
        run_checked(main(), loop)
    assert server.asked


def test_1_2_a_resolver_that_never_answers_meets_the_deadline_and_does_not_hold_up_the_end():
    in_namespace(_silent_resolver, within=25)  # the process has ended by then, too


def _silent_resolver():
    loopback()
    names(options="timeout:30 attempts:5")  # the look-up itself takes minutes
    server = NameServer(lambda name: None)

    async def late():
        await ends_with(ConnectionFailed, wsx.connect("ws://late.example/", connect_timeout=0.3), stage="dns")

    async def cancelled():
        connecting = asyncio.create_task(open_client("ws://cancelled.example/"))
        while "cancelled.example" not in server.asked:
            await asyncio.sleep(0.005)
        connecting.cancel()
        await ends_with(asyncio.CancelledError, connecting)
        server.asked.clear()

    for loop in LOOPS:
        run_checked(late(), loop)
        run_checked(cancelled(), loop)


async def open_client(url, **options):
    return await wsx.connect(url, **options)


def test_1_3_a_black_holed_first_address_does_not_hold_up_the_second():
    in_namespace(_two_addresses)


def _two_addresses():
    loopback()
    names("::1 both.example\n127.0.0.1 both.example\n")

    async def main(silent, answering):
        with SilentListener(silent) as dead, FaultyServer(echo, host=answering, port=dead.port):
            async with nothing_left():
                since = time.monotonic()
                host = await talk(f"ws://both.example:{dead.port}/")
                assert time.monotonic() - since < 3  # 0.25 s are planned; the kernel's own patience is two minutes
                assert host == answering

    first = socket.getaddrinfo("both.example", 1, type=socket.SOCK_STREAM)[0][4][0]
    second = "127.0.0.1" if first == "::1" else "::1"
    for loop in LOOPS:
        run_checked(main(first, second), loop)
        run_checked(main(second, first), loop)


def test_1_3_a_refused_first_address_gives_way_at_once():
    in_namespace(_refused_first)


def _refused_first():
    loopback()
    names("::1 both.example\n127.0.0.1 both.example\n")

    async def main():
        for host in ("::1", "127.0.0.1"):
            with FaultyServer(echo, host=host) as server:
                assert await talk(f"ws://both.example:{server.port}/") == host

    for loop in LOOPS:
        run_checked(main(), loop)


def test_1_8_a_name_is_looked_up_again_on_each_attempt():
    in_namespace(_moving_name)


def _moving_name():
    loopback()
    names()
    home = ["127.0.0.2"]
    NameServer(lambda name: home)

    def cut(peer):
        peer.upgrade(behind=frame(TEXT, peer.sock.getsockname()[0].encode()))
        peer.frame()
        home[:] = ["127.0.0.3"]
        peer.reset()

    async def main():
        home[:] = ["127.0.0.2"]
        with FaultyServer(cut, host="127.0.0.2") as old, FaultyServer(cut, host="127.0.0.3", port=old.port):
            url = f"ws://moving.example:{old.port}/"
            async with wsx.connect(url, reconnect=wsx.Backoff(initial=0.01, cap=0.1), close_timeout=0.1) as client:
                assert (await client.recv()).text == "127.0.0.2"
                await client.send("now")
                assert (await client.recv()).text == "127.0.0.3"

    for loop in LOOPS:
        run_checked(main(), loop)


# ---- TCP ------------------------------------------------------------------------------------------------------------


def test_1_4_a_closed_port_is_named(run, closed_port):
    async def main():
        error = await ends_with(ConnectionFailed, wsx.connect(f"ws://127.0.0.1:{closed_port}/"), stage="tcp")
        assert "refused" in str(error) and str(closed_port) in str(error)

    run(main())


def test_1_4_a_network_without_a_route_is_named():
    in_namespace(_no_route)


def _no_route():
    loopback()

    async def main():
        for url in ("ws://192.0.2.1/", "ws://[2001:db8::1]/"):
            error = await ends_with(ConnectionFailed, wsx.connect(url), stage="tcp")
            assert "unreachable" in str(error).lower() and not isinstance(error.__cause__, TimeoutError)

    for loop in LOOPS:
        run_checked(main(), loop)


def test_1_5_a_dropped_syn_ends_at_the_deadline(run):
    async def main():
        with SilentListener() as silent:
            error = await ends_with(ConnectionFailed, wsx.connect(silent.url, connect_timeout=0.2), stage="tcp")
            assert "connect_timeout=0.2 s" in str(error)

    run(main())


@pytest.mark.parametrize("when", ["accepted", "asked"])
@pytest.mark.parametrize("how", ["reset", "end"])
def test_1_6_a_connection_that_is_cut_before_the_101_failed_at_the_upgrade(run, when, how):
    def cut(peer):
        if when == "asked":
            peer.read_request()
        getattr(peer, how)()
        peer.wait(0.1 if how == "end" else 0)

    async def main():
        with FaultyServer(cut) as server:
            for _ in range(5):  # the reset can come before, while or after the request is written
                await ends_with(ConnectionFailed, wsx.connect(server.url), stage="upgrade")

    run(main())


# ---- nothing left to open with --------------------------------------------------------------------------------------


def test_1_7_a_lack_of_descriptors_is_named_and_passes():
    in_process(_few_descriptors)


@contextmanager
def descriptors(free):
    """Only so many more can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        spare = [stack.enter_context(NULL.open("rb"))]
        while spare[-1].fileno() <= highest + free:
            spare.append(stack.enter_context(NULL.open("rb")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare[-1].fileno() + 1, hard))
        for file in spare[:free]:
            file.close()
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def fails_with_few(free, url):
    async with nothing_left():
        with descriptors(free), pytest.raises(ConnectionFailed) as caught:
            await wsx.connect(url, connect_timeout=2)
    return caught.value


def _few_descriptors():
    async def main():
        default_context.cache_clear()
        with FaultyServer(echo) as server:
            await talk(server.url)
            secure = server.url.replace("ws:", "wss:")
            for url, stage in ((server.url, "tcp"), (secure, "tls")):  # the roots are a file as well
                error = await fails_with_few(0, url)
                assert error.stage == stage and "open files" in str(error)
            assert default_context().cert_store_stats()["x509"] or ssl.get_default_verify_paths().cafile is None
            error = await fails_with_few(0, server.url.replace("127.0.0.1", "localhost"))
            assert error.stage == "dns"
            with descriptors(2):  # the server's, too
                await talk(server.url)

    for loop in LOOPS:
        run_checked(main(), loop)


def test_1_7_a_lack_of_threads_is_named():
    in_process(_no_threads)


def _no_threads():
    async def main(url):
        threading.stack_size(1 << 46)  # more than there are addresses: no thread can be had
        try:
            await ends_with(ConnectionFailed, wsx.connect(url), stage="dns")
        finally:
            threading.stack_size(0)

    for loop in LOOPS:
        run_checked(main("ws://localhost:1/"), loop)


def test_1_7_a_lack_of_local_ports_is_named_and_passes():
    in_namespace(_few_ports)


def _few_ports():
    loopback()
    kernel("ipv4/ip_local_port_range", "40000 40001")

    async def main():
        # Where the client closes last the port is free again at once: no TIME_WAIT holds it.
        with FaultyServer(lambda peer: (peer.upgrade(), peer.frame(), peer.reset()), port=9000) as server:
            clients = [await wsx.connect(server.url, close_timeout=0.1) for _ in range(2)]
            error = await ends_with(ConnectionFailed, wsx.connect(server.url), stage="tcp")
            assert "assign requested address" in str(error)
            for client in clients:
                await client.close()
            client = await wsx.connect(server.url, close_timeout=0.1)
            await client.close()

    for loop in LOOPS:
        run_checked(main(), loop)


# ---- cancelled, and which addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_1_9_connecting_can_be_cancelled_at_any_await(run, host):
    async def main():
        with FaultyServer(echo) as server:
            url = server.url.replace("127.0.0.1", host)
            step, client = 0, None
            while client is None:
                async with nothing_left():
                    connecting = asyncio.create_task(open_client(url, close_timeout=0.5))
                    for _ in range(step):
                        await asyncio.sleep(0)
                    connecting.cancel()
                    with suppress(asyncio.CancelledError):
                        client = await connecting
                        await client.close()
                step += 1 + step // 8
            assert step > 5  # it was cancelled on the way, not only before its first step

    run(main())


def test_1_9_connecting_can_be_cancelled_where_it_is_stuck(run):
    asked = threading.Event()

    def stuck(peer):
        peer.read_request()
        asked.set()
        peer.until_gone()

    async def main():
        with SilentListener() as silent, FaultyServer(stuck) as server:
            for url, stage_reached in ((silent.url, None), (server.url, asked)):
                async with nothing_left():
                    connecting = asyncio.create_task(open_client(url))
                    while stage_reached and not stage_reached.is_set():
                        await asyncio.sleep(0.001)
                    await asyncio.sleep(0.05)
                    connecting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await connecting

    run(main())


@pytest.mark.skipif(not ipv6(), reason="this system has no IPv6 loopback")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_1_10_a_literal_address_of_either_family_works(run, host):
    async def main():
        with FaultyServer(echo, host=host) as server:
            assert await talk(server.url) == host

    run(main())


@pytest.mark.skipif(not ipv6(), reason="this system has no IPv6 loopback")
def test_1_10_an_address_is_written_into_host_as_the_rfc_wants_it(run):
    heard = []

    def serve(peer):
        peer.upgrade()
        heard.append(peer.request)
        peer.frame()

    async def main():
        with FaultyServer(serve, host="::1") as server:
            client = await wsx.connect(f"ws://[0:0:0:0:0:0:0:1]:{server.port}/x?y", close_timeout=0.2)
            await client.close()
            assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in heard[0]

    run(main())


def test_1_10_a_name_with_one_family_works():
    in_namespace(_one_family)


def _one_family():
    loopback()
    names()
    NameServer(lambda name: {"four.example": ["127.0.0.1"], "six.example": ["::1"]}.get(name, []))

    async def main():
        for name, host in (("four.example", "127.0.0.1"), ("six.example", "::1")):
            with FaultyServer(echo, host=host) as server:
                assert await talk(f"ws://{name}:{server.port}/") == host

    for loop in LOOPS:
        run_checked(main(), loop)


@pytest.mark.parametrize("source", ["127.0.0.5", ("127.0.0.6", 0)])
def test_1_10_a_source_address_is_used_or_its_lack_is_named(run, source):
    heard = []

    def serve(peer):
        heard.append(peer.sock.getpeername()[0])
        echo(peer)

    async def main():
        with FaultyServer(serve) as server:
            await talk(server.url, source_address=source)
            assert heard == [source if isinstance(source, str) else source[0]]
            await ends_with(ConnectionFailed, wsx.connect(server.url, source_address="192.0.2.77"), stage="tcp")

    run(main())
