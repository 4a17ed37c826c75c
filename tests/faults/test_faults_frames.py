"""Group 4, frames and messages: what a server may send after the 101, and what of it is delivered before the end."""

import asyncio
import struct
import tracemalloc

import pytest
from faulty_server import FaultyServer
from leftovers import closes_with, nothing_left
from raw_server import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, connect, frame, until

import wsx
from wsx.errors import (
    Backpressure,
    ConnectionClosed,
    ConnectionLost,
    HeartbeatTimeout,
    InvalidUtf8,
    MessageTooBig,
    ProtocolError,
    WsxError,
)

MIB = 1 << 20


def saying(*pieces, then=lambda peer: peer.until_gone(), drip=False):
    """A server that says this after the 101."""

    def serve(peer):
        peer.upgrade()
        for piece in pieces:
            peer.drip(piece) if drip else peer.send(piece)
        then(peer)

    return FaultyServer(serve)


def failing(*pieces, heard):
    """A server that says this, then notes the client's frames and closes."""

    def listen(peer):
        try:
            while not heard or heard[-1].opcode != CLOSE:
                heard.append(peer.frame())
        except (EOFError, OSError):
            pass

    return saying(*pieces, then=listen)


async def read(client):
    """All messages, and what reading ended with."""
    seen = []
    try:
        async for message in client:
            seen += [message.data]
    except WsxError as error:
        return seen, error
    return seen, None


async def fails(sent, code, kind=ProtocolError, before=(b"good",), **options):
    """The client fails a connection on which this came, and delivers what came before."""
    heard = []
    with failing(frame(TEXT, b"good"), *sent, frame(TEXT, b"never"), heard=heard) as server:
        async with nothing_left():
            client = await connect(server.url, **{"close_timeout": 0.5} | options)
            seen, error = await read(client)
            await client.wait_closed()
        assert type(error) is kind, error
        assert (seen, error.close_code) == (list(before), code)
        assert client.close_code == 1006
    assert [(each.opcode, each.close_code) for each in heard] == [(CLOSE, code)]
    return error


# ---- 4.2 byte by byte, and cut anywhere -----------------------------------------------------------------------------

SESSION = [
    frame(TEXT, "h\u00e9llo \u20ac \U0001f600".encode()),
    frame(PING, b"p"),
    frame(BINARY, b"a", fin=False) + frame(PONG) + frame(CONTINUATION, b"b", fin=False) + frame(CONTINUATION, b"c"),
    frame(TEXT, b"x" * 126),
    frame(TEXT, b""),
]
MESSAGES = ["h\u00e9llo \u20ac \U0001f600".encode(), b"abc", b"x" * 126, b""]


def test_4_2_each_byte_alone_gives_the_same_messages(run):
    async def main():
        with saying(*SESSION, close_frame(1000, b"done"), drip=True) as server:
            async with nothing_left():
                client = await connect(server.url, close_timeout=0.5)
                assert await read(client) == (MESSAGES, None)
                await client.wait_closed()
                assert (client.close_code, client.close_reason) == (1000, "done")

    run(main())


@pytest.mark.parametrize("how", ["end", "reset"])
def test_4_2_a_cut_after_any_byte_is_a_loss_that_keeps_the_whole_messages(run, how):
    wire = b"".join(SESSION)
    whole, ends = [], {}
    for piece, message in zip(SESSION, [MESSAGES[0], None, *MESSAGES[1:]], strict=True):
        whole.append(message)
        ends[sum(map(len, SESSION[: len(whole)]))] = [each for each in whole if each is not None]
        assert piece

    def expected(cut):
        return ends[max((end for end in ends if end <= cut), default=0)] if cut >= min(ends) else []

    def serve(peer):
        peer.upgrade(behind=wire[: cuts[server.count - 1]])
        getattr(peer, how)()
        if how == "end":
            peer.until_gone()

    async def main():
        for cut in cuts:
            client = await connect(server.url)
            seen, error = await read(client)
            await client.wait_closed()
            assert (seen, type(error)) == (expected(cut), ConnectionLost), cut
            assert client.close_code == 1006

    cuts = [*range(60), *range(len(wire) - 6, len(wire) + 1)]
    with FaultyServer(serve) as server:
        run(main())


# ---- 4.3, 4.5, 4.6 what breaks the rules ----------------------------------------------------------------------------

BROKEN = {
    "4.3 a length with the top bit": [bytes([0x82, 127]) + struct.pack(">Q", 1 << 63)],
    "4.3 a length of all bits": [bytes([0x82, 127]) + b"\xff" * 8],
    "4.3 125 in two bytes": [bytes([0x82, 126, 0, 125]) + bytes(125)],
    "4.3 65535 in eight bytes": [bytes([0x82, 127]) + struct.pack(">Q", 65535) + bytes(65535)],
    "4.3 masked": [frame(TEXT, b"a", masked=True)],
    "4.3 a masked PING": [frame(PING, b"a", masked=True)],
    "RSV1": [frame(TEXT, b"a", rsv=4)],
    "RSV2 on a PING": [frame(PING, b"a", rsv=2)],
    "RSV3 on a CLOSE": [bytes([0x98, 2, 3, 0xE8])],
    "RSV1 on a continuation": [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"a", rsv=4)],
    "opcode 3": [frame(3, b"a")],
    "opcode 15": [frame(15, b"a")],
    "a continuation of nothing": [frame(CONTINUATION, b"a")],
    "a continuation of a whole message": [frame(TEXT, b"a")[:0], frame(CONTINUATION, b"a", fin=False)],
    "a message inside a message": [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")],
    "4.6 a PING in parts": [frame(PING, b"a", fin=False)],
    "4.6 a CLOSE in parts": [frame(CLOSE, b"\x03\xe8", fin=False)],
    "4.6 a PING of 126 bytes": [frame(PING, bytes(126))],
    "4.6 a CLOSE of 126 bytes": [close_frame(1000, bytes(124))],
    "4.6 a PONG of 65536 bytes": [frame(PONG, bytes(65536))],
    "4.6 a CLOSE of 1 byte": [frame(CLOSE, b"\x03")],
    **{f"4.6 CLOSE {code}": [close_frame(code)] for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535)},
}  # fmt: skip


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_4_3_and_4_6_what_breaks_the_rules_is_1002(run, sent):
    run(fails(sent, 1002))


INVALID = {
    "a byte": [frame(TEXT, b"a\xff")],
    "a surrogate": [frame(TEXT, b"\xed\xa0\x80")],
    "overlong": [frame(TEXT, b"\xc0\xaf")],
    "overlong in three": [frame(TEXT, b"\xe0\x80\xaf")],
    "above the last character": [frame(TEXT, b"\xf4\x90\x80\x80")],
    "cut at the end": [frame(TEXT, b"abc\xe2\x82")],
    "cut at the end of the last part": [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"\xf0\x9f\x98")],
    "a reason": [close_frame(1000, b"\xff")],
    "a reason that is cut": [close_frame(1000, b"\xe2\x82")],
}
CERTAIN = {  # without FIN: the message goes on, but it is certain already
    "a byte": [frame(TEXT, b"a\xff", fin=False)],
    "a second byte that fits no first": [frame(TEXT, b"\xe2", fin=False), frame(CONTINUATION, b"a", fin=False)],
    "a surrogate across frames": [frame(TEXT, b"\xed", fin=False), frame(CONTINUATION, b"\xa0", fin=False)],
    "overlong across frames": [frame(TEXT, b"\xe0", fin=False), frame(CONTINUATION, b"\x80", fin=False)],
    "too high across frames": [frame(TEXT, b"\xf4", fin=False), frame(CONTINUATION, b"\x90", fin=False)],
    "after an empty frame": [
        frame(TEXT, b"\xf0\x9f", fin=False),
        frame(CONTINUATION, b"", fin=False),
        frame(PING),
        frame(CONTINUATION, b"\xff", fin=False),
    ],
}


@pytest.mark.parametrize("sent", [*INVALID.values(), *CERTAIN.values()], ids=[*INVALID, *[f"{k}..." for k in CERTAIN]])
def test_4_5_what_is_no_utf8_is_1007(run, sent):
    async def main():
        if frame(PING) in sent:
            sent.remove(frame(PING))  # its PONG would be heard before the CLOSE
        await fails(sent, 1007, InvalidUtf8)

    run(main())


@pytest.mark.parametrize("sent", CERTAIN.values(), ids=CERTAIN)
def test_4_5_invalid_text_is_failed_at_the_first_frame_that_makes_it_certain(run, sent):
    """Nothing follows: the server waits for the CLOSE."""
    heard = []

    def listen(peer):
        while not heard or heard[-1].opcode != CLOSE:
            heard.append(peer.frame())

    async def main():
        with saying(*sent, then=listen) as server:
            client = await connect(server.url, close_timeout=0.5)
            await closes_with(InvalidUtf8, client)
        assert heard[-1].close_code == 1007

    run(main())


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_4_6_a_code_that_may_be_sent_is_answered_with_itself(run, code):
    heard = []

    async def main():
        with failing(close_frame(code, "gr\u00fc\u00dfe".encode()), heard=heard) as server:
            client = await connect(server.url, close_timeout=0.5)
            await read(client)
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (code, "gr\u00fc\u00dfe")
        assert [(each.opcode, each.close_code) for each in heard] == [(CLOSE, code)]

    run(main())


# ---- 4.4 too big ----------------------------------------------------------------------------------------------------


def endless(first, piece):
    def serve(peer):
        peer.upgrade()
        peer.send(first)
        for _ in range(1_000_000):
            peer.send(piece)

    return FaultyServer(serve)


TOO_BIG = {
    "announced in one frame": (b"", frame(BINARY, b"", announced=(1 << 62)), "max_message_size"),
    "just above, in one frame": (b"", frame(BINARY, bytes(MIB + 1)), "max_message_size"),
    "in parts": (frame(BINARY, b"", fin=False), frame(CONTINUATION, bytes(1000), fin=False), "max_message_size"),
    "in a million parts": (frame(TEXT, b"", fin=False), frame(CONTINUATION, b"x", fin=False) * 100, "max_fragments"),
    "in a million empty parts": (frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 100, "max_fragments"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "piece", "limit"), TOO_BIG.values(), ids=TOO_BIG)
def test_4_4_a_message_above_a_limit_is_1009_within_bounded_memory(run, first, piece, limit):
    limits = {"max_message_size": MIB, "max_fragments": 5000}

    async def main():
        with endless(first, piece) as server:
            async with nothing_left():
                client = await connect(server.url, close_timeout=0.3, **limits)
                tracemalloc.start()
                try:
                    error = await closes_with(MessageTooBig, client)
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
        assert (error.limit_name, error.limit) == (limit, limits[limit])
        assert peak < 8 * MIB

    run(main())


def test_4_4_a_message_at_the_limits_is_delivered(run):
    parts = [frame(BINARY, bytes(1000), fin=False), *[frame(CONTINUATION, bytes(1000), fin=False)] * 8]
    last = frame(CONTINUATION, bytes(1000))

    async def main():
        with saying(frame(BINARY, bytes(10_000)), *parts, last, close_frame(1000)) as server:
            client = await connect(server.url, max_message_size=10_000, max_fragments=10, close_timeout=0.5)
            assert await read(client) == ([bytes(10_000)] * 2, None)
            await client.wait_closed()

    run(main())


# ---- 4.7 after a CLOSE ----------------------------------------------------------------------------------------------

AFTER = {
    "a message": frame(TEXT, b"never"),
    "a CLOSE": close_frame(1001, b"again"),
    "a PING": frame(PING, b"still there?"),
    "what breaks the rules": frame(3, b"x", rsv=7),
    "a part of a frame": frame(TEXT, b"never")[:3],
    "a flood": frame(BINARY, bytes(MIB)) * 4,
}


@pytest.mark.parametrize("together", [True, False], ids=["same segment", "later"])
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_4_7_what_follows_the_peers_close_is_ignored_and_what_came_before_delivered(run, after, together):
    heard = []
    first = frame(TEXT, b"before") + close_frame(1000, b"bye")

    async def main():
        with failing(*([first + after] if together else [first, after]), heard=heard) as server:
            async with nothing_left():
                client = await connect(server.url, close_timeout=0.5)
                assert await read(client) == ([b"before"], None)
                await client.wait_closed()
                assert (client.close_code, client.close_reason) == (1000, "bye")
        assert [(each.opcode, each.close_code) for each in heard] == [(CLOSE, 1000)]

    run(main())


def test_4_7_what_follows_our_close_is_dropped_until_the_peers(run):
    heard = []

    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"before"))
        heard.append(peer.frame())
        peer.send(frame(TEXT, b"late"), frame(PING, b"late"), close_frame(1000), frame(TEXT, b"too late"))
        heard.extend(peer.frames())

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left():
                client = await connect(server.url, close_timeout=0.5)
                await until(lambda: len(client._session.inbox))
                await client.close()
                assert await read(client) == ([b"before"], None)
                assert client.close_code == 1000
        assert [each.opcode for each in heard] == [CLOSE]

    run(main())


@pytest.mark.parametrize("broken", [frame(3, b"x"), frame(TEXT, b"\xff"), frame(PING, bytes(126))])
def test_4_7_a_broken_answer_to_our_close_ends_it_all_the_same(run, broken):
    def serve(peer):
        peer.upgrade()
        peer.frame()
        peer.send(broken)
        peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left(), asyncio.timeout(5):
                client = await connect(server.url, close_timeout=0.3)
                await client.close()
                assert client.close_code == 1006

    run(main())


# ---- 4.8 floods -----------------------------------------------------------------------------------------------------

FLOODS = {
    "PING": frame(PING, bytes(125)),
    "PONG": frame(PONG, bytes(125)),
    "empty messages": frame(TEXT, b""),
    "empty parts": frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"", fin=False) * 100 + frame(CONTINUATION, b""),
}


async def ticks_within(seconds):
    """How often another task had its turn."""
    ticks, end = 0, asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.001)
        ticks += 1
    return ticks


@pytest.mark.parametrize("callback", [False, True], ids=["inbox", "on_message"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_4_8_a_flood_takes_bounded_memory_and_the_loop_stays_responsive(run, flood, callback):
    """The server never reads: what the client answers piles up there."""

    def serve(peer):
        peer.upgrade()
        while True:
            peer.send(flood * 100)

    async def main():
        with FaultyServer(serve, receive_buffer=4096) as server:
            limits = {"inbox_messages": 1000, "max_pause": 0.2, "close_timeout": 0.2, "write_limit": 65536}
            client = await connect(server.url, on_message=(lambda message: None) if callback else None, **limits)
            ticks = await ticks_within(0.4)
            tracemalloc.start()
            try:
                await ticks_within(0.2)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            await asyncio.wait_for(client.close(), 5)
            assert peak < 4 * MIB
            assert ticks >= 2  # it went on while the flood came

    run(main())


# ---- 4.9 a peer that does not read ----------------------------------------------------------------------------------


def deaf():
    return FaultyServer(lambda peer: (peer.upgrade(), peer.wait()), receive_buffer=4096)


def test_4_9_sending_to_a_deaf_peer_is_bounded_and_the_heartbeat_decides(run):
    async def main():
        with deaf() as server:
            async with nothing_left():
                limits = {"write_limit": 65536, "ping_interval": 0.3, "ping_timeout": 0.2, "close_timeout": 0.2}
                client = await connect(server.url, **limits)
                with pytest.raises(Backpressure):
                    while True:
                        client.send_nowait(bytes(10_000))
                buffered = client.telemetry.snapshot()["write_buffered_bytes_peak"]
                assert buffered <= 65536
                waiting = [asyncio.create_task(client.send(bytes(10_000))) for _ in range(50)]
                error = await closes_with(HeartbeatTimeout, client)
                assert error.ping_timeout == 0.2
                ended = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(each) for each in ended} == {ConnectionClosed}
                assert client.telemetry.snapshot()["write_buffered_bytes_peak"] <= 65536 + 10_014

    run(main())


def test_4_9_closing_a_connection_to_a_deaf_peer_is_bounded(run):
    async def main():
        with deaf() as server:
            async with nothing_left(), asyncio.timeout(5):
                client = await connect(server.url, write_limit=65536, close_timeout=0.3)
                with pytest.raises(Backpressure):
                    while True:
                        client.send_nowait(bytes(10_000))
                await client.close()
                assert client.close_code == 1006

    run(main())


# ---- 4.10 no closing handshake --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sending", [False, True], ids=["silent", "sending on"])
def test_4_10_a_peer_that_never_answers_our_close_is_left_within_close_timeout(run, sending):
    def serve(peer):
        peer.upgrade()
        while not peer.wait(0.001):
            if sending:
                peer.send(frame(TEXT, bytes(1000)), frame(PING))

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left(), asyncio.timeout(5):
                client = await connect(server.url, close_timeout=0.3)
                since = asyncio.get_running_loop().time()
                await client.close()
                assert 0.25 < asyncio.get_running_loop().time() - since < 3
                assert client.close_code == 1006

    run(main())


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "behind data"])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_4_10_a_socket_that_is_closed_without_a_close_is_1006_at_once(run, how, busy):
    """A half-closed socket too: the client does not go on with a peer that will say nothing more."""

    def serve(peer):
        peer.upgrade()
        peer.frame()
        if busy:
            peer.send(frame(TEXT, b"x" * 100))
        getattr(peer, how)()
        if how == "end":
            peer.until_gone()

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left():
                client = await connect(server.url, ping_interval=None)
                await client.send("now")
                seen, error = await asyncio.wait_for(read(client), 5)
                await client.wait_closed()
                assert type(error) is ConnectionLost
                assert len(seen) == busy
                assert client.close_code == 1006

    run(main())


def test_4_10_a_loop_that_was_busy_notices_a_reset_behind_data_at_once(run):
    """Both are there when the loop looks; nothing is written that would find the reset."""

    def serve(peer):
        peer.upgrade()
        peer.frame()
        peer.send(frame(TEXT, b"last"))
        peer.reset()

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left():
                client = await connect(server.url, ping_interval=None)
                await client.send("now")
                for thread in server._threads[1:]:
                    await asyncio.sleep(0)
                    thread.join()  # blocks the loop until the reset is there
                seen, error = await asyncio.wait_for(read(client), 5)
                assert (seen, type(error)) == ([b"last"], ConnectionLost)
                await client.wait_closed()

    run(main())


def test_4_10_a_reset_while_reading_is_paused_is_noticed_when_it_goes_on(run):
    def serve(peer):
        peer.upgrade(behind=frame(TEXT, b"x") * 20)
        peer.wait(0.1)
        peer.reset()

    async def main():
        with FaultyServer(serve) as server:
            async with nothing_left():
                client = await connect(server.url, ping_interval=None, inbox_messages=10, max_pause=5)
                await asyncio.sleep(0.2)
                assert client.state is wsx.State.OPEN
                seen, error = await asyncio.wait_for(read(client), 5)
                assert (len(seen), type(error)) == (20, ConnectionLost)
                await client.wait_closed()

    run(main())
