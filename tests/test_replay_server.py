"""The replay server: every message, in order, byte for byte; in the recorded rhythm, or as fast as it is taken."""

import asyncio
import gzip
import time
from functools import partial

import pytest

import wsx
from wsx.testing import Capture, ReplayServer, load_capture
from wsx.testing.capture import make_capture

connect = partial(wsx.connect, reconnect=False)  # an end is an end here

LOOPS = ["asyncio", "uvloop"]
LINES = [b'{"price":1.0002e6}', b"", '{"text":"grüße \\u2028"}'.encode(), b'{"cr":1}\r', b"x" * 200_000]


async def everything(server, **options):
    """What a client receives until the server closes, and the close code."""
    async with connect(server.url, **options) as client:
        received = [message.data async for message in client]
        return received, client.close_code


async def replayed(capture, *args, **options):
    async with ReplayServer(capture, *args, **options) as server:
        return await everything(server)


@pytest.fixture
def capture_file(tmp_path):
    path = tmp_path / "day.jsonl"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


def capture_names(folder):
    return sorted(path for path in folder.iterdir() if ".jsonl" in path.name)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_each_line_is_one_message_byte_for_byte(loop, tls, capture_file):
    async def main():
        async with ReplayServer(capture_file, tls=tls) as server:
            return await everything(server, **({"ssl": server.ssl_context()} if tls else {}))

    assert wsx.run(main(), loop=loop) == (LINES, 1000)


def test_a_packed_capture_is_the_same_capture(capture_file):
    packed = capture_file.with_name("day.jsonl.gz")
    packed.write_bytes(gzip.compress(capture_file.read_bytes()))
    capture_file.with_name("day.times.txt").write_text("\n".join(str(1e9 + number) for number in range(len(LINES))))
    assert load_capture(packed) == load_capture(capture_file)
    assert load_capture(packed).seconds == (0, 1, 2, 3, 4)


def test_messages_may_be_given_as_they_are():
    assert wsx.run(replayed(["a", b"b", "ü"])) == ([b"a", b"b", "ü".encode()], 1000)


def test_a_capture_is_played_as_often_as_asked():
    assert wsx.run(replayed(["a", "b"], repeat=3)) == ([b"a", b"b"] * 3, 1000)


def test_an_empty_capture_is_closed_in_good_order(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert wsx.run(replayed(tmp_path / "empty.jsonl")) == ([], 1000)


@pytest.mark.parametrize("speed", [1.0, 4])
def test_the_recorded_rhythm_is_kept(speed):
    async def main():
        times = [7.0, 7.1, 7.1, 7.3]
        async with ReplayServer(list("abcd"), times, speed=speed) as server, connect(server.url) as client:
            return [message.received_ns / 1e9 async for message in client]

    arrived = wsx.run(main())
    assert arrived[1] - arrived[0] >= 0.09 / speed
    assert arrived[3] - arrived[0] >= 0.29 / speed


def test_a_clock_that_was_set_back_keeps_the_order():
    assert make_capture("abc", [5.0, 3.0, 6.0]) == Capture((b"a", b"b", b"c"), (0.0, 0.0, 1.0))


def test_every_client_gets_the_whole_of_it():
    async def main():
        async with ReplayServer([str(number) for number in range(1000)]) as server:
            return await asyncio.gather(*(everything(server) for _ in range(3)))

    assert wsx.run(main()) == [([str(number).encode() for number in range(1000)], 1000)] * 3


def test_it_begins_with_the_clients_first_message_and_answers_nothing_else():
    async def main():
        server = ReplayServer(["one", "two"], wait_for_message=True)
        async with server, connect(server.url) as client:
            await client.ping()
            waiting = client.telemetry.snapshot()["messages_received"]
            await client.send('{"method":"public/subscribe"}')
            await client.send("ignored")
            return waiting, [message.text async for message in client]

    assert wsx.run(main()) == (0, ["one", "two"])


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_at_full_speed_a_slow_client_holds_the_server_back(loop, tls):
    messages = [number.to_bytes(4, "big").hex() * 100 for number in range(40_000)]  # 32 MB
    sent = []

    async def main():
        server = ReplayServer(messages, speed="full", tls=tls, on_sent=lambda batch, now_ns: sent.append(len(batch)))
        options = {"ssl": server.ssl_context()} if tls else {}
        async with server, connect(server.url, inbox_messages=100, **options) as client:
            while client.telemetry.snapshot()["inbox_messages"] < 100:
                await client.recv() if not sent else await asyncio.sleep(0)
            stalled = await stalls(sent)
            received = 0
            async for message in client:
                received += message.text == messages[received]
            return stalled, received

    stalled, received = wsx.run(main(), loop=loop)
    assert stalled < len(messages)
    assert received == len(messages)


async def stalls(sent):
    """How much was sent when nothing more had been sent for 0.1 s."""
    before = -1
    while sum(sent) > before:
        before = sum(sent)
        await asyncio.sleep(0.1)
    return before


def test_what_is_written_is_said_just_before():
    seen = []

    async def main():
        def note(messages, now_ns):
            seen.append((list(messages), now_ns))

        async with ReplayServer(["a", "b"], on_sent=note) as server, connect(server.url) as client:
            return [message.received_ns async for message in client]

    before = time.monotonic_ns()
    received = wsx.run(main())
    assert [message for messages, _ in seen for message in messages] == [b"a", b"b"]
    assert before <= seen[0][1] <= received[0]


def test_an_observer_that_fails_ends_the_playing_with_1011(caplog):
    def fail(messages, now_ns):
        raise LookupError("a bug of the test's own")

    async def main():
        async with ReplayServer(["a"], on_sent=fail) as server, connect(server.url) as client:
            await client.wait_closed()
            return client.close_code

    assert wsx.run(main()) == 1011
    assert "a bug of the test's own" in caplog.text


def test_a_client_that_leaves_ends_its_playing_alone():
    async def main():
        times = [0.0, 0.0, 60.0]
        async with ReplayServer(list("abc"), times, speed=1) as server, connect(server.url) as stays:
            async with connect(server.url) as leaves:
                await leaves.recv()
            return len(server.connections), [(await stays.recv()).text for _ in range(2)]

    assert wsx.run(main()) == (1, ["a", "b"])


def test_a_server_that_ends_while_it_plays_says_1001():
    async def main():
        async with ReplayServer(["a", "b"], [0, 60], speed=1) as server:
            client = await connect(server.url)
            await client.recv()
        await client.wait_closed()
        return client.close_code

    assert wsx.run(main()) == 1001


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((["a"],), {"speed": 1.0}, "needs the times"),
        ((["a"], [1.0]), {"speed": 0}, "above 0"),
        ((["a"], [1.0]), {"speed": "fast"}, "'full'"),
        ((["a"], [1.0, 2.0]), {}, "2 times for 1 messages"),
        ((["a"], [float("nan")]), {}, "finite"),
        (([b"a", b"\xff"],), {}, "message 2 is not UTF-8"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        ReplayServer(*arguments, **options)


def test_a_number_is_no_message():
    with pytest.raises(TypeError):
        ReplayServer([3])


def test_every_recorded_file_comes_through_byte_for_byte(captures):
    for path in capture_names(captures):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            lines = [line.removesuffix(b"\n") for line in file]
        assert wsx.run(replayed(path)) == (lines, 1000), path.name


def test_recorded_times_are_found_beside_the_file(captures):
    timed = {path.name for path in capture_names(captures) if load_capture(path).seconds}
    assert len(timed) == len(list(captures.glob("*.times.txt")))


def test_one_message_of_bytes_is_not_taken_for_several_messages():
    with pytest.raises(TypeError, match="several of str or bytes"):
        ReplayServer(b"one")
