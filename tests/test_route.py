"""The private way of a hook: what it asks, and what that becomes when somebody fails.

Not here: hooks and reconnection (test_session.py), repeated messages (test_keep_alive.py).
"""

import asyncio

import pytest
from raw_server import LOOPS, TEXT, RawServer, close_frame, connect, frame, run_bounded


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


async def ask(route, text, is_answer, outcomes):
    """Note what the request became: its answer's text, or the name of the error."""
    try:
        outcomes.append((await route.request(text, is_answer, timeout=5)).text)
    except ConnectionError as error:
        outcomes.append(type(error).__name__)


async def becomes(hook, *answers):
    """Opening with this hook, which asks twice, fails after these frames, sent at once."""
    async with RawServer() as server:
        opening = asyncio.ensure_future(connect(server.url, on_open=[hook]))
        peer = await server.peer()
        await peer.frame()
        await peer.frame()
        peer.send(*answers)
        peer.close()
        with pytest.raises(ConnectionError):
            await opening
        await server.deserted()


def test_a_test_that_raises_fails_its_own_hook_and_the_message_is_the_users(run):
    seen = []

    async def hook(route):
        with pytest.raises(ZeroDivisionError):
            await route.request("1", lambda message: 1 / 0, timeout=5)
        seen.append((await route.request("2", lambda message: message.text == "two", timeout=5)).text)

    async def main():
        async with RawServer() as server:
            opening = asyncio.ensure_future(connect(server.url, on_open=[hook], close_timeout=0.5))
            peer = await server.peer()
            await peer.frame()
            peer.send(frame(TEXT, b"one"))
            await peer.frame()
            peer.send(frame(TEXT, b"two"))
            client = await opening
            seen.append((await client.recv()).text)
            closing = asyncio.ensure_future(client.close())
            await peer.answer_close()
            await closing

    run(main())
    assert seen == ["two", "one"]


def test_a_test_may_end_the_connection_and_each_who_asks_has_one_outcome(run):
    outcomes = []

    async def hook(route):
        def end(message):
            route.drop()
            return True

        await asyncio.gather(
            ask(route, "a", lambda message: message.text == "a", outcomes),
            ask(route, "b", lambda message: message.text == "b" and end(message), outcomes),
        )

    run(becomes(hook, frame(TEXT, b"a"), frame(TEXT, b"b")))
    assert outcomes == ["a", "ConnectionLost"]


def test_an_answer_that_is_there_already_is_kept_when_the_connection_ends(run):
    outcomes = []

    async def hook(route):
        await asyncio.gather(
            *(ask(route, name, lambda message, name=name: message.text == name, outcomes) for name in ("a", "b"))
        )

    run(becomes(hook, frame(TEXT, b"a"), close_frame(1000)))
    assert outcomes == ["a", "ConnectionClosed"]
