"""Group 5, liveness, load and time: dead peers, blocked loops, jumping clocks, readers that cannot keep up.

Flapping servers, crowds and exhausted attempts are in test_faults_reconnect.py and the simulation.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_server import FaultyServer
from leftovers import LOOPS, run_checked
from namespaces import cut, in_namespace, loopback
from processes import in_process
from raw_server import PING, PONG, TEXT, frame

import wsx
from wsx import errors, events
from wsx.testing import EchoServer

QUICK = wsx.Backoff(initial=0.01, cap=0.05)
BEAT = {"ping_interval": 0.1, "ping_timeout": 0.2}
IN_TIME = 0.1 + 0.2 + 0.05
SLACK = 1.0  # seconds for a machine that is busy with other things; test_heartbeat.py holds the exact moment


async def dies(client, since, *, within=IN_TIME + SLACK):
    """Wait for the end: the error, and whether it came in time."""
    async with asyncio.timeout(10):
        await client.wait_closed()
    took = time.monotonic() - since
    assert IN_TIME - 0.15 <= took <= within, took
    return client


# ---- dead peers -----------------------------------------------------------------------------------------------------


def serve_in_process():
    """A server in a process of its own: prints its URL."""

    async def main():
        async with EchoServer() as server:
            sys.stdout.write(server.url + "\n")
            sys.stdout.flush()
            await asyncio.sleep(60)

    asyncio.run(main())


def start_server():
    start = f"import sys; sys.path[:0] = {sys.path!r}; import {__name__} as m; m.serve_in_process()"
    return subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)


def test_5_1_a_peer_that_was_stopped_is_noticed_in_time(run):
    async def main():
        process = start_server()
        try:
            url = (await asyncio.to_thread(process.stdout.readline)).strip()
            seen = []
            async with wsx.connect(url, reconnect=False, on_event=seen.append, **BEAT) as client:
                await client.ping()
                process.send_signal(signal.SIGSTOP)
                await dies(client, time.monotonic())
            return seen[-1]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    closed = run(main())
    assert isinstance(closed.error, errors.HeartbeatTimeout) and closed.code == 1006
    if sys.platform == "linux":
        assert any("acknowledged everything" in phrase for phrase in closed.error.context.evidence)


def test_5_1_a_line_that_was_cut_is_noticed_in_time():
    in_namespace(_cut_line)


def _cut_line():
    loopback()

    async def main():
        seen = []
        with FaultyServer(answers(bytes)) as server:
            async with wsx.connect(server.url, reconnect=False, on_event=seen.append, **BEAT) as client:
                await client.ping()
                cut()
                await dies(client, time.monotonic())
                await client.close()
        assert isinstance(seen[-1].error, errors.HeartbeatTimeout), seen
        assert any("not acknowledged" in phrase for phrase in seen[-1].error.context.evidence), seen[-1].error.context

    wsx.run(main(), loop="asyncio")


def answers(payload_of, pause=0.0):
    """A server whose PONGs carry another payload, or come late."""

    def serve(peer):
        peer.upgrade()
        while True:
            seen = peer.frame()
            if seen.opcode == PING:
                peer.wait(pause)
                peer.send(frame(PONG, payload_of(seen.payload)))

    return serve


@pytest.mark.parametrize(
    "payload_of, pause",
    [(lambda payload: b"another", 0), (lambda payload: b"", 0), (lambda payload: payload[:-1] + b"?", 0), (bytes, 0.5)],
    ids=["another payload", "no payload", "almost", "late"],
)
def test_5_2_pongs_that_answer_nothing_or_too_late_do_not_count(run, payload_of, pause):
    async def main():
        seen = []
        with FaultyServer(answers(payload_of, pause)) as server:
            async with wsx.connect(server.url, reconnect=False, on_event=seen.append, **BEAT) as client:
                await dies(client, time.monotonic())
        return seen[-1].error, client.telemetry.snapshot()

    error, counters = run(main())
    assert isinstance(error, errors.HeartbeatTimeout)
    assert counters["pongs_unmatched"] >= (1 if pause == 0 else 0)


def test_5_2_unasked_pongs_and_data_keep_no_dead_peer_alive(run):
    def serve(peer):
        peer.upgrade()
        while not peer.wait(0.02):
            peer.send(frame(PONG, b"unasked"), frame(TEXT, b"data"))

    async def main():
        seen = []
        with FaultyServer(serve) as server:
            options = {"reconnect": False, "on_message": bytes, "on_event": seen.append, **BEAT}
            async with wsx.connect(server.url, **options) as client:
                await dies(client, time.monotonic())
        return seen[-1].error

    assert isinstance(run(main()), errors.HeartbeatTimeout)


def test_5_a_peer_that_pongs_and_sends_nothing_is_given_up(run):
    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"hello"))
        while True:
            peer.send(frame(PONG, peer.frame().payload))

    async def main():
        seen = []
        with FaultyServer(serve) as server:
            options = {"data_timeout": 0.3, "reconnect": QUICK, "on_event": seen.append, **BEAT}
            async with wsx.connect(server.url, **options) as client:
                first, second = await client.recv(), await client.recv()
                return seen, first.gap, second.gap

    seen, before, gap = run(main())
    stale = next(event for event in seen if isinstance(event, events.StaleData))
    assert stale.silent_ns >= 300_000_000
    assert before is None and gap.cause == "DataTimeout"


# ---- this process ---------------------------------------------------------------------------------------------------


def test_5_3_a_blocked_loop_is_said_and_not_mistaken_for_a_dead_peer(run):
    async def main():
        seen = []
        with FaultyServer(answers(bytes)) as server:
            async with wsx.connect(server.url, reconnect=False, on_event=seen.append, **BEAT) as client:
                for _ in range(3):
                    time.sleep(0.7)  # noqa: ASYNC251, it is what is tried here
                    await asyncio.sleep(0.15)
                await client.ping()
                return seen, client.state, client.epoch

    seen, state, epoch = run(main())
    lags = [event.lag_ns for event in seen if isinstance(event, events.LoopBlocked)]
    assert lags and max(lags) >= 250_000_000
    assert (state, epoch) == (wsx.State.OPEN, 1)


JUMPING_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The wall clock, and nothing else, is a day ahead or behind once the file named by JUMP_FILE is there. */
static long offset(void)
{
    const char *file = getenv("JUMP_FILE"), *days = getenv("JUMP_DAYS");
    return file && days && access(file, F_OK) == 0 ? 86400L * atol(days) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def jumping_clock(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and Linux's way to put a library in front of another")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "jump.c").write_text(JUMPING_CLOCK)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", folder / "jump.so", folder / "jump.c", "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "jump.so"


@pytest.mark.parametrize("days", [1, -1])
def test_5_4_the_wall_clock_may_jump(jumping_clock, tmp_path, days):
    settings = {"LD_PRELOAD": jumping_clock, "JUMP_FILE": tmp_path / "jump", "JUMP_DAYS": days}
    before = ["env", *(f"{name}={value}" for name, value in settings.items())]
    assert in_process(_live_through_a_jump, before=before).split() == ["jumped", "calm"]


def _live_through_a_jump():
    async def main():
        seen = []
        bucket = wsx.TokenBucket(rate=1000, burst=10)
        async with EchoServer() as server:
            options = {"rate_limit": bucket, "data_timeout": 1, "on_event": seen.append, **BEAT}
            async with wsx.connect(server.url, **options) as client:
                await echo(client)
                wall, steady = time.time(), time.monotonic()
                jump()
                assert abs(time.time() - wall) > 80_000 and time.monotonic() - steady < 10
                sys.stdout.write("jumped ")
                for _ in range(20):
                    await asyncio.sleep(0.02)
                    await echo(client)
                assert 0 <= await client.ping() < 5
                assert client.health().ready and client.epoch == 1
                assert [type(event) for event in seen] == [events.Opened], seen
                sys.stdout.write("calm")

    for loop in LOOPS[:1]:
        run_checked(main(), loop)


def jump():
    Path(os.environ["JUMP_FILE"]).touch()


async def echo(client):
    await client.send("x")
    message = await client.recv()
    assert abs(message.received_ns - time.monotonic_ns()) < 10**10


# ---- load -----------------------------------------------------------------------------------------------------------


def test_5_8_a_slow_consumer_is_told_so_and_starts_afresh(run):
    def serve(peer):
        peer.upgrade()
        while not peer.stopped.is_set():
            peer.send(frame(TEXT, b"x" * 1000))

    async def main():
        seen = []
        with FaultyServer(serve) as server:
            limits = {"inbox_messages": 100, "inbox_bytes": 50_000, "max_pause": 0.5, "reconnect": QUICK, **BEAT}
            async with wsx.connect(server.url, on_event=seen.append, **limits) as client:
                while client.epoch < 2:  # a reader that never reads
                    await asyncio.sleep(0.01)
                    assert len(client._session.inbox) <= 200
                assert (await client.recv()).epoch == 1
                while (message := await client.recv()).epoch == 1:
                    pass
                counters = client.telemetry.snapshot()
        return seen, message.gap, counters

    seen, gap, counters = run(main())
    kinds = [type(event) for event in seen]
    assert events.ReadingPaused in kinds and events.SlowConsumer in kinds and events.LoopBlocked not in kinds
    lost = next(event for event in seen if isinstance(event, events.Closed))
    assert isinstance(lost.error, errors.SlowConsumer)  # and not HeartbeatTimeout: a PONG could not be seen
    assert gap.cause == "SlowConsumer" and counters["inbox_pauses"] >= 1


@pytest.mark.parametrize("reader", ["callback", "async for"])
def test_5_9_a_burst_is_delivered_in_order_in_bounded_memory(run, reader):
    count = 100_000

    def serve(peer):
        peer.upgrade()
        for start in range(0, count, 1000):
            peer.send(b"".join(frame(TEXT, b"%d" % number) for number in range(start, start + 1000)))
        peer.wait()

    async def main():
        seen, done = [], asyncio.Event()

        def on_message(message):
            seen.append(int(message.data))
            if len(seen) == count:
                done.set()

        callback = on_message if reader == "callback" else None
        with FaultyServer(serve) as server:
            async with wsx.connect(server.url, on_message=callback, inbox_messages=2000) as client:
                if callback is None:
                    async for message in client:
                        on_message(message)
                        if done.is_set():
                            break
                await done.wait()
                return seen, client.telemetry.snapshot()["inbox_messages_peak"]

    seen, peak = run(main())
    assert seen == list(range(count))
    assert peak <= 2000 + 40_000  # and what one read of the socket still brings


def test_5_a_server_that_reads_nothing_is_backpressure_and_then_a_dead_peer(run):
    def serve(peer):
        peer.upgrade()
        peer.wait()

    async def main():
        seen = []
        with FaultyServer(serve, receive_buffer=4096) as server:
            options = {"write_limit": 100_000, "reconnect": False, "on_event": seen.append, **BEAT}
            async with wsx.connect(server.url, **options) as client:
                with pytest.raises(errors.Backpressure) as full:
                    while True:
                        client.send_nowait(b"x" * 50_000)
                with pytest.raises(errors.WsxError) as ended:
                    await client.send(b"x" * 100_000)
                await client.wait_closed()
                return full.value.buffered, ended.value, seen[-1].error, client.telemetry.snapshot()

    buffered, ended, error, counters = run(main())
    assert 0 < buffered <= 100_000 and counters["write_buffered_bytes_peak"] <= 100_100
    assert isinstance(ended, errors.NotConnected | errors.ConnectionClosed)
    assert isinstance(error, errors.HeartbeatTimeout)
