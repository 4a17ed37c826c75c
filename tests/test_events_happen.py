"""Every event of the table really happens: each is brought about, and heard by whoever listens by name."""

import asyncio
import logging

import pytest

import wsx
from wsx import errors, telemetry
from wsx.message_handler import MessageHandler
from wsx.rate_limiter import RateLimiter
from wsx.rate_profile import Budget, Charge, RateProfile
from wsx.supervisor import ChildSpec, Supervisor
from wsx.testing import Door, MemoryServer, SimulatedLoop, connect_in_memory

OF_AN_ADAPTER = {"request.answered", "subscription.restored", "subscription.refused"}  # tests/test_deribit_session.py


def connect(server, loop, **options):
    return connect_in_memory(server, surroundings=loop.surroundings, **options)


def cut(server):
    server.connections[0].abort()


async def lives(loop):
    """Messages both ways, a PONG, a cut, a refusal, a person."""
    statuses = [None, 503, 401]
    server = MemoryServer(Door(on_message=lambda end, message: end.send(message.data), check=lambda _: statuses.pop(0)))
    async with connect(server, loop, ping_interval=1) as client:
        await client.send("x")
        await client.recv()
        await asyncio.sleep(2)
        cut(server)
        with pytest.raises(errors.HandshakeRejected):  # the reader hears of it once
            await client.recv()
        assert client.state is wsx.State.HALTED
        statuses += [None]
        client.resume()
        await client.wait_open()
        server.connections[0].send("after the gap")
        assert (await client.recv()).gap is not None


async def gives_up(loop):
    server = MemoryServer(Door())
    async with connect(server, loop, reconnect=wsx.Backoff(attempts=1, stable_after=0.001)) as client:
        server._door = Door(check=lambda _: 500)
        cut(server)
        await client.wait_closed()


async def sleeps(loop):
    async with connect(MemoryServer(Door()), loop):
        loop.suspend(60)
        await asyncio.sleep(2)


async def blocks(loop):
    async with connect(MemoryServer(Door()), loop, ping_interval=1):
        await asyncio.sleep(0.9)
        loop._time.now_ns += 2 * 10**9
        await asyncio.sleep(1)


async def reads_slowly(loop):
    server = MemoryServer(Door())
    async with connect(server, loop, inbox_messages=2, max_pause=5) as client:
        for _ in range(2):
            server.connections[0].send("x")
        await asyncio.sleep(1)
        await client.recv()
        await client.recv()
        for _ in range(2):
            server.connections[0].send("x")
        await asyncio.sleep(10)


async def answers_badly(loop):
    def answer(end, message):
        if b"slow" in message.data:
            loop.call_later(2, end.send, '{"id":1,"result":0}')
        else:
            end.send('{"id":77,"result":0}')
            end.send("no JSON")

    def fail(message):
        raise ValueError("mine")

    server = MemoryServer(Door(on_message=answer))
    async with connect(server, loop, on_message=fail) as client:
        rpc = wsx.JsonRpc(client)
        with pytest.raises(errors.AnswerTimeout):
            await rpc.request("slow", {}, timeout=1)
        await asyncio.sleep(2)
        rpc.notify("other", {})
        await asyncio.sleep(1)
        server.connections[0].send('{"method":"nobody\'s"}')
        await asyncio.sleep(1)


async def falls_silent(loop):
    async with connect(MemoryServer(Door()), loop) as client:
        MessageHandler(client).on_channel("book", print, data_timeout=1)
        await asyncio.sleep(2)


async def is_limited(loop):
    profile = RateProfile("mine", {"all": Budget(rate=1, burst=1)}, Charge("all"))
    limiter = RateLimiter(profile, clock=loop)
    await limiter.acquire("m")
    assert not limiter.try_acquire("m")
    await limiter.acquire("m")
    limiter.backoff(1)


async def is_supervised(loop):
    async def fail():
        if tries:
            raise ValueError("again")
        tries.append(1)

    tries = []
    with pytest.raises(errors.RestartsExceeded):
        async with Supervisor(ChildSpec("child", fail), max_restarts=2, surroundings=loop.surroundings) as supervisor:
            await supervisor.wait_closed()


def test_every_event_of_the_table_happens(caplog):
    caplog.set_level(logging.CRITICAL, "wsx")
    seen = {}
    telemetry.attach("*", lambda name, fields: seen.setdefault(name, set(fields)), "all")
    for scenario in (
        lives,
        gives_up,
        sleeps,
        blocks,
        reads_slowly,
        answers_badly,
        falls_silent,
        is_limited,
        is_supervised,
    ):
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            runner.run(scenario(runner.get_loop()))
    telemetry.attach("heartbeat", lambda name, fields: 1 / 0, "fails")
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(lives(runner.get_loop()))
    telemetry.detach("all")
    assert set(telemetry.EVENTS) - set(seen) == OF_AN_ADAPTER
    assert all(fields == set(telemetry.EVENTS[name].fields) for name, fields in seen.items())
