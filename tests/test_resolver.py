"""Names to addresses: literals at once, names on a thread that nobody has to wait for."""

import asyncio
import socket
import threading

import pytest
from raw_server import LOOPS, RawServer, connect, run_bounded

from wsx import errors
from wsx.transport.resolver import _look_up as look_up
from wsx.transport.resolver import resolve

UNKNOWN = "no-such-host.invalid"  # RFC 6761 6.4: never there


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


def look_ups():
    return [thread for thread in threading.enumerate() if thread.name == "wsx-dns"]


@pytest.mark.parametrize(
    "host, family, address",
    [
        ("127.0.0.1", socket.AF_INET, ("127.0.0.1", 80)),
        ("::1", socket.AF_INET6, ("::1", 80, 0, 0)),
        ("2001:db8::1", socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
    ],
)
def test_an_address_is_its_own_answer(run, host, family, address):
    async def main():
        return await resolve(host, 80), look_ups()

    assert run(main()) == ([(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)], [])


def test_a_name_gives_what_the_system_says(run):
    async def main():
        return await resolve("localhost", 80)

    assert run(main()) == socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)


def test_a_local_address_may_be_a_name_too(run):
    async def main():
        return await resolve("localhost", 0, local=True)

    assert run(main()) == socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


@pytest.mark.parametrize("host", ["a b", "x" * 64, "\u00e9" * 64], ids=["none", "too long", "too long in IDNA"])
def test_a_name_that_is_not_there_is_an_error(run, host):
    async def main():
        with pytest.raises(socket.gaierror):
            await resolve(host, 80)

    run(main())


def test_a_cancelled_look_up_leaves_the_loop_alone(run):
    async def main():
        looking = asyncio.create_task(resolve("localhost", 80))
        await asyncio.sleep(0)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        while look_ups():
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # its answer is delivered to nobody

    run(main())


def test_a_look_up_that_ends_after_its_loop_hurts_nobody():
    loop = asyncio.new_event_loop()
    answer = loop.create_future()
    loop.close()
    look_up(loop, answer, "127.0.0.1", 80, 0)
    assert not answer.done()


def test_the_threads_do_not_hold_up_the_end_of_the_program(run):
    async def main():
        looking = asyncio.create_task(resolve("localhost", 80))
        await asyncio.sleep(0)
        daemons = [thread.daemon for thread in look_ups()]
        await looking
        return daemons

    assert all(run(main()))


def test_a_name_that_is_not_there_is_a_failure_at_dns(run):
    async def main():
        with pytest.raises(errors.ConnectionFailed, match=UNKNOWN) as caught:
            await connect(f"ws://{UNKNOWN}/")
        return caught.value.stage

    assert run(main()) == "dns"


def test_a_source_address_that_is_no_name_is_a_failure_at_dns(run):
    async def main():
        async with RawServer() as server:
            with pytest.raises(errors.ConnectionFailed) as caught:
                await connect(server.url, source_address="x" * 64)
        return caught.value.stage

    assert run(main()) == "dns"


def test_a_name_is_connected_to(run):
    async def main():
        async with RawServer() as server:
            client = await connect(f"ws://localhost:{server.port}/", close_timeout=0.05)
            request = (await server.peer()).request
            await client.close()
            return f"Host: localhost:{server.port}\r\n".encode() in request

    assert run(main())
