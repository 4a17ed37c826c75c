"""Readers of reset sockets, on both loops: called until they remove themselves, also where bytes came with the reset."""

import asyncio
import gc
import os
import resource
import select
import socket
import struct
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
from raw_server import LOOPS, run_bounded, until

from wsx.transport.error_watch import with_error_watch

CALLS = 3  # more than libuv makes for two sockets


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


def pair():
    """Two ends of a TCP connection; the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    return ours, theirs


def reset(sock, last=b""):
    sock.sendall(last)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors():
    """This process' descriptors: all but the one that lists them."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            os.fstat(int(name))
            found.append(name)
    return sorted(found)


def test_a_reset_behind_the_last_bytes_is_read_at_once(run):
    async def main():
        loop, (ours, theirs), seen = with_error_watch(asyncio.get_running_loop()), pair(), []

        def read():
            try:
                seen.append(ours.recv(100))
            except ConnectionResetError:
                seen.append("reset")
                assert loop.remove_reader(ours.fileno())

        loop.add_reader(ours.fileno(), read)
        await asyncio.sleep(0)
        reset(theirs, b"last")  # one round of the loop sees both
        await until(lambda: "reset" in seen)
        assert seen == [b"last", "reset"]
        assert not loop.remove_reader(ours.fileno())
        ours.close()

    run(main())


def test_a_reader_is_called_as_long_as_the_error_lasts(run):
    async def main():
        loop, (ours, theirs), seen = with_error_watch(asyncio.get_running_loop()), pair(), []
        loop.add_reader(ours.fileno(), seen.append, "called")
        reset(theirs)
        await until(lambda: len(seen) > CALLS)
        assert set(seen) == {"called"}
        loop.remove_reader(ours.fileno())
        ours.close()

    run(main())


def test_readers_that_end_each_other_are_fine(run):
    async def main():
        loop, pairs, called = with_error_watch(asyncio.get_running_loop()), [pair(), pair()], []

        def end_all():
            called.append(True)
            if len(called) == CALLS:
                for ours, _ in pairs:
                    loop.remove_reader(ours.fileno())

        for ours, _ in pairs:
            loop.add_reader(ours.fileno(), end_all)
        await asyncio.sleep(0.01)
        for _, theirs in pairs:
            reset(theirs)
        await until(lambda: len(called) >= CALLS)
        await asyncio.sleep(0.01)
        assert len(called) == CALLS
        for ours, _ in pairs:
            ours.close()

    run(main())


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll, and needs none")
def test_a_reader_may_be_changed_and_nothing_is_left_at_the_end(run):
    async def main():
        real = asyncio.get_running_loop()
        loop, seen = with_error_watch(real), []
        assert with_error_watch(real) is loop
        before = descriptors()
        (ours, theirs), (others, far) = pair(), pair()
        loop.add_reader(ours.fileno(), seen.append, "never")
        loop.add_reader(ours.fileno(), lambda: seen.append(ours.recv(10)))
        loop.add_reader(others.fileno(), seen.append, "nothing comes")
        theirs.sendall(b"x")
        await until(lambda: seen)
        assert seen == [b"x"]
        for sock in (ours, others):
            loop.remove_reader(sock.fileno())
        for sock in (ours, others, theirs, far):
            sock.close()
        assert descriptors() == before

    run(main())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list descriptors")
def test_without_a_descriptor_for_the_watch_reading_works(run):
    async def main():
        loop, (ours, theirs), seen = with_error_watch(asyncio.get_running_loop()), pair(), []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = os.dup(ours.fileno())  # the next number that is free
        os.close(limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            loop.add_reader(ours.fileno(), lambda: seen.append(ours.recv(10)))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        theirs.sendall(b"x")
        await until(lambda: seen)
        assert seen == [b"x"]
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()

    run(main())


@pytest.mark.parametrize("name", LOOPS)
def test_it_keeps_no_loop_alive(name):
    async def main():
        loop, (ours, theirs) = with_error_watch(asyncio.get_running_loop()), pair()
        loop.add_reader(ours.fileno(), print)
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
        return weakref.ref(asyncio.get_running_loop())

    loop = run_bounded(main(), name)
    gc.collect()
    assert loop() is None
