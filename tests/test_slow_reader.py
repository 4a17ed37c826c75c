"""A reader that falls behind its line: what that means for the connection.

Not here: what policies that drop lose (test_drops.py, test_drop_record.py).
"""

import pytest
from raw_server import BINARY, TEXT, RawServer, close_frame, connect, frame, opened, read_all, until

from wsx import errors, events


def test_reading_stops_while_the_inbox_is_full_and_goes_on(run, tls):
    async def main():
        seen = []
        options = {"inbox_messages": 10, "on_event": seen.append}
        async with opened(tls[0], **options, **tls[1]) as (client, peer):
            peer.send(*(frame(TEXT, b"%d" % number) for number in range(30_000)), close_frame(1000))
            await until(lambda: len(seen) > 1)
            most = client.telemetry.snapshot()["inbox_messages_peak"]
            read = await read_all(client)
            return read == [str(number) for number in range(30_000)], most < 30_000, seen

    whole, bounded, seen = run(main())
    assert whole and bounded
    assert [type(event) for event in seen[1:3]] == [events.ReadingPaused, events.ReadingResumed]
    assert seen[1].inbox_messages >= 10 and seen[2].paused_ns > 0


def test_bytes_fill_an_inbox_too(run):
    async def main():
        seen = []
        async with opened(inbox_bytes=1000, on_event=seen.append) as (client, peer):
            peer.send(frame(BINARY, bytes(999)))
            await until(lambda: len(client._session.inbox) == 1)
            before = len(seen)
            peer.send(frame(BINARY, b"x"))
            await until(lambda: len(seen) > 1)
            return before, type(seen[1]), seen[1].inbox_bytes

    assert run(main()) == (1, events.ReadingPaused, 1000)


def test_what_a_hook_has_held_back_may_fill_the_inbox_exactly(run):
    async def main():
        seen = []

        async def hold(route):
            await until(lambda: len(route.held) == 2)

        async with RawServer(behind=frame(TEXT, b"1") + frame(TEXT, b"2")) as server:
            options = {"inbox_messages": 2, "on_open": [hold], "on_event": seen.append}
            async with connect(server.url, **options) as client:
                peer = await server.peer()
                peer.send(frame(TEXT, b"3"), close_frame(1000))
                await until(lambda: len(seen) == 2)
                return [(await client.recv()).text for _ in range(3)], [type(event) for event in seen[:2]]

    assert run(main()) == (["1", "2", "3"], [events.Opened, events.ReadingPaused])


def test_a_pause_that_lasts_too_long_ends_the_connection(run):
    async def main():
        seen = []
        async with opened(inbox_messages=2, max_pause=0.05, on_event=seen.append) as (client, peer):
            peer.send(*(frame(TEXT, b"x") for _ in range(5)))
            close = await peer.frame()
            peer.close()
            await client.wait_closed()
            read = [(await client.recv()).text for _ in range(5)]
            with pytest.raises(errors.SlowConsumer) as caught:
                await client.recv()
            return read, close.close_code, seen, caught.value

    read, code, seen, error = run(main())
    assert (read, code) == (["x"] * 5, 1008)
    kinds = [events.Opened, events.ReadingPaused, events.SlowConsumer, events.Closed]
    assert [type(event) for event in seen] == kinds
    assert (seen[2].inbox_messages, error.inbox_messages) == (5, 5)
    assert seen[2].paused_ns >= 50_000_000 and error.paused_seconds >= 0.05


def test_a_full_inbox_may_end_the_connection_at_once(run):
    async def main():
        seen = []
        options = {"inbox_messages": 2, "inbox_policy": "disconnect", "on_event": seen.append}
        async with opened(**options) as (client, peer):
            peer.send(*(frame(TEXT, b"x") for _ in range(3)))
            close = await peer.frame()
            peer.close()
            await client.wait_closed()
            read = [(await client.recv()).text for _ in range(3)]  # what the same read had brought
            with pytest.raises(errors.SlowConsumer):
                await client.recv()
            return read, close.close_code, [type(event) for event in seen], seen[1].paused_ns

    assert run(main()) == (["x"] * 3, 1008, [events.Opened, events.SlowConsumer, events.Closed], 0)


def test_closing_ends_the_pause(run):
    async def main():
        seen = []
        options = {"inbox_messages": 2, "max_pause": 0.02, "close_timeout": 0.2, "on_event": seen.append}
        async with opened(**options) as (client, peer):
            peer.send(*(frame(TEXT, b"x") for _ in range(5)))
            await until(lambda: client._session.inbox.full)
            await client.close()  # the peer does not answer for longer than max_pause
            return [type(event) for event in seen], client.close_code

    assert run(main()) == ([events.Opened, events.ReadingPaused, events.Closed], 1006)


def test_the_heartbeat_rests_while_reading_does(run):
    async def main():
        options = {"inbox_messages": 2, "ping_interval": 0.02, "ping_timeout": 0.02, "max_pause": 0.3}
        async with opened(**options) as (client, peer):
            peer.send(*(frame(TEXT, b"x") for _ in range(5)))
            await client.wait_closed()
            return type(client._session.end.error)

    assert run(main()) is errors.SlowConsumer
