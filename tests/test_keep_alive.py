"""What a hook has said again and again while its connection lives."""

import asyncio

import pytest
from raw_server import BINARY, LOOPS, TEXT, RawServer, run_bounded

import wsx

QUICK = wsx.Backoff(initial=0.01, cap=0.01)


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


async def pinging(route):
    told = bytearray(b"\x00")
    route.repeat('{"op":"ping"}', 0.01)
    route.repeat(told, 0.01)
    route.repeat(b"?", 0.01, text=True)
    told[0] = 1  # what is said is what was given


def test_it_is_said_until_the_connection_closes_and_anew_on_the_next(run):
    async def main():
        async with RawServer() as server:
            async with wsx.connect(server.url, on_open=[pinging], reconnect=QUICK, close_timeout=0.5) as client:
                first = await server.peer()
                seen = [await first.frame() for _ in range(9)]
                assert [(each.opcode, each.payload) for each in seen[:6]] == 2 * [
                    (TEXT, b'{"op":"ping"}'), (BINARY, b"\x00"), (TEXT, b"?")
                ]  # fmt: skip
                first.reset()
                second = await server.peer()
                counted = [(await second.frame()).payload for _ in range(9)]
                assert [counted.count(payload) for payload in (b'{"op":"ping"}', b"\x00", b"?")] == [3, 3, 3]
                closing = asyncio.ensure_future(client.close())
                await second.answer_close()
                await closing
                assert await second.frames() == []
            await server.deserted()

    run(main())


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(run, seconds):
    async def wrong(route):
        route.repeat("ping", seconds)

    async def main():
        async with RawServer() as server:
            with pytest.raises(ValueError, match="more than 0 seconds"):
                await wsx.connect(server.url, on_open=[wrong])
            await server.deserted()

    run(main())


def test_on_a_connection_that_has_ended_nothing_is_said(run):
    async def late(route):
        (await server.peer()).reset()
        while route.error is None:
            await asyncio.sleep(0)
        route.repeat("ping", 0.01)
        await asyncio.sleep(0.03)

    async def main():
        nonlocal server
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
        async with RawServer() as server:
            with pytest.raises(wsx.errors.ConnectionLost):
                await wsx.connect(server.url, on_open=[late])
            await server.deserted()

    server, raised = None, []
    run(main())
    assert raised == []
