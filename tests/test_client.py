"""What a user holds, row by row of its contract: real sockets, both loops, a server that shares no code with wsx.

Not here: picows' traps (test_picows_traps.py), coming back after a loss (test_session.py).
"""

import asyncio
import collections
import contextlib
import gc
import os
import re
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from raw_server import (
    BINARY,
    CLOSE,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RawServer,
    accept,
    close_frame,
    connect,
    frame,
    opened,
    read_all,
    run_bounded,
    until,
)

import wsx
from wsx import errors, events


class TestConnecting:
    def test_it_is_awaited_or_entered(self, run, tls):
        async def main():
            async with RawServer(**tls[0]) as server:
                awaited = await connect(server.url, **tls[1])
                first = await server.peer()
                closing = asyncio.create_task(awaited.close())
                codes = [(await first.answer_close()).close_code]
                await closing
                async with connect(server.url, **tls[1]) as entered:
                    second = asyncio.create_task((await server.peer()).answer_close())
                codes.append((await second).close_code)
                return codes, awaited.state, entered.state

        assert run(main()) == ([1000, 1000], wsx.State.CLOSED, wsx.State.CLOSED)

    def test_leaving_the_block_with_an_error_closes_too(self, run):
        async def main():
            async with RawServer() as server:
                with pytest.raises(KeyError):
                    async with connect(server.url) as client:
                        answering = asyncio.create_task((await server.peer()).answer_close())
                        raise KeyError
                return (await answering).close_code, client.close_code

        assert run(main()) == (1000, 1000)

    def test_the_server_hears_what_was_configured(self, run):
        async def main():
            def answer(request):
                return accept(request, "Sec-WebSocket-Protocol: b")

            options = {"subprotocols": ["a", "b"], "headers": lambda: {"X-Signed": "7"}, "name": "desk"}
            async with opened({"answer": answer}, **options) as (client, peer):
                assert repr(client) == "<Client 'desk' open>"
                return client.subprotocol, client.epoch, b"X-Signed: 7\r\n" in peer.request, client.config.name

        assert run(main()) == ("b", 1, True, "desk")

    def test_a_url_may_be_asked_for_at_each_attempt(self, run):
        async def main():
            async with RawServer() as server:
                client = await connect(lambda: server.url + "signed", close_timeout=0.05)
                peer = await server.peer()
                await client.close()
                with pytest.raises(ValueError, match="scheme"):
                    await connect(lambda: "http://127.0.0.1/")
                return peer.request.split(b"\r\n")[0], client.name

        assert run(main()) == (b"GET /signed HTTP/1.1", "127.0.0.1")

    def test_a_failed_opening_says_what_was_being_done(self, run):
        async def main():
            async with RawServer(lambda request: b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n") as server:
                with pytest.raises(errors.HandshakeRejected) as caught:
                    await connect(server.url + "?token=s3cret")
                return str(caught.value.context) == f"opening {server.url}, attempt 1, epoch 0", str(caught.value)

        said, text = run(main())
        assert said or "epoch 1" in text
        assert "401 Unauthorized" in text and "s3cret" not in text


class Awaited:
    async def __call__(self, message):
        """A coroutine that nobody would await."""


WRONG = {
    "no str": (TypeError, (8,), {}),
    "no URL": (ValueError, ("127.0.0.1",), {}),
    "another scheme": (ValueError, ("http://127.0.0.1/",), {}),
    "a callback that is none": (TypeError, ("ws://127.0.0.1/",), {"on_message": 1}),
    "a callback that has to be awaited": (TypeError, ("ws://127.0.0.1/",), {"on_message": Awaited()}),
    "an event callback that is none": (TypeError, ("ws://127.0.0.1/",), {"on_event": "x"}),
    "an unknown field": (TypeError, ("ws://127.0.0.1/",), {"ping_intervall": 1}),
    "a wrong type": (TypeError, ("ws://127.0.0.1/",), {"ping_interval": "1"}),
    "a wrong value": (ValueError, ("ws://127.0.0.1/",), {"connect_timeout": 0}),
    "no config": (TypeError, ("ws://127.0.0.1/",), {"config": {}}),
    "TLS settings without TLS": (ValueError, ("ws://127.0.0.1/",), {"server_hostname": "x"}),
    "credentials in clear": (ValueError, ("ws://example.com/",), {"headers": {"Authorization": "x"}}),
    "a header that is not ours to set": (ValueError, ("ws://127.0.0.1/",), {"headers": {"Upgrade": "x"}}),
}


class TestWrongArguments:
    @pytest.mark.parametrize("kind, arguments, options", WRONG.values(), ids=WRONG)
    def test_they_raise_at_the_call_without_any_loop(self, kind, arguments, options):
        with pytest.raises(kind):
            wsx.connect(*arguments, **options)

    @pytest.mark.parametrize("name", ["on_message", "on_event"])
    def test_a_coroutine_function_is_no_callback(self, name):
        async def callback(argument):
            """Never called."""

        with pytest.raises(TypeError, match="called inline"):
            wsx.connect("ws://127.0.0.1/", **{name: callback})

    def test_an_unknown_field_names_the_nearest(self):
        with pytest.raises(TypeError, match="did you mean 'ping_interval'"):
            wsx.connect("ws://127.0.0.1/", ping_intervall=1)


class TestDelivery:
    """It starts after connect() has returned, whatever came with the 101."""

    @pytest.mark.parametrize("count", [3, 3000])
    def test_frames_behind_the_101_reach_the_callback_in_order_and_after_connect(self, run, tls, count):
        async def main():
            seen = []
            behind = b"".join(frame(TEXT, b"%d" % number) for number in range(count)) + close_frame(1000)
            async with RawServer(behind=behind, **tls[0]) as server:
                client = await connect(server.url, on_message=lambda message: seen.append(message.text), **tls[1])
                before = list(seen)
                peer = await server.peer()
                await peer.frame()
                peer.close()
                await client.wait_closed()
                return before, seen == [str(number) for number in range(count)], client.close_code

        assert run(main()) == ([], True, 1000)

    @pytest.mark.parametrize("count", [3, 3000])
    def test_frames_behind_the_101_are_read_in_order(self, run, tls, count):
        async def main():
            behind = b"".join(frame(TEXT, b"%d" % number) for number in range(count)) + close_frame(1000)
            async with opened({"behind": behind} | tls[0], inbox_messages=10, **tls[1]) as (client, _peer):
                return await read_all(client) == [str(number) for number in range(count)], client.close_code

        assert run(main()) == (True, 1000)

    def test_what_came_before_the_servers_end_is_read_also_where_all_came_at_once(self, run, tls):
        async def main():
            behind = frame(TEXT, b"first") + frame(TEXT, b"last") + close_frame(1001, b"bye")
            async with RawServer(behind=behind, on_peer=lambda peer: peer.close(), **tls[0]) as server:
                client = await connect(server.url, **tls[1])
                read = await read_all(client)
                await client.wait_closed()
                return read, client.close_code, client.close_reason

        assert run(main()) == (["first", "last"], 1001, "bye")

    @pytest.mark.parametrize("size", [10, 50, 100, 1000])
    def test_a_paused_line_that_the_server_ends_loses_nothing(self, run, tls, size):
        async def main():
            async with opened(tls[0], inbox_messages=10, **tls[1]) as (client, peer):
                peer.send(*(frame(BINARY, b"%d" % number * size) for number in range(1000)), close_frame(1000))
                peer.close()
                await until(lambda: client._session.inbox.full)
                for _ in range(100):
                    await asyncio.sleep(0)  # the rest comes to lie before the paused line
                return [message.data async for message in client] == [b"%d" % number * size for number in range(1000)]

        assert run(main())

    def test_a_paused_line_goes_on_without_new_bytes(self, run, tls):
        async def main():
            async with opened(tls[0], inbox_messages=10, ping_interval=None, **tls[1]) as (client, peer):
                peer.send(*(frame(BINARY, bytes(100)) for _ in range(2000)))
                await peer.writer.drain()
                return len([await client.recv() for _ in range(2000)])

        assert run(main()) == 2000

    @pytest.mark.parametrize("behind", [close_frame(1011, b"full"), frame(3, b"garbage"), b"\xff" * 100, b"HTTP/1.1"])
    def test_connect_returns_a_client_whatever_follows_the_101(self, run, behind):
        async def main():
            async with RawServer(behind=behind) as server:
                client = await connect(server.url, close_timeout=0.2)
                peer = await server.peer()
                peer.close()
                with pytest.raises(errors.WsxError):
                    await anext(aiter(client))
                await client.close()
                return client.epoch

        assert run(main()) == 1

    def test_a_reset_behind_the_101_is_a_lost_connection(self, run):
        async def main():
            async with RawServer(on_peer=lambda peer: peer.reset()) as server:
                try:
                    client = await connect(server.url)
                except errors.ConnectionFailed:
                    return 1006  # the reset overtook the 101
                with pytest.raises(errors.ConnectionLost):
                    await anext(aiter(client))
                return client.close_code

        assert run(main()) == 1006

    def test_closing_at_once_drops_what_came_behind_the_101(self, run, tls):
        async def main():
            seen = []
            async with RawServer(behind=frame(TEXT, b"unseen") + frame(PING, b"x"), **tls[0]) as server:
                answering = asyncio.create_task(answer_close(server))
                client = await connect(server.url, on_message=seen.append, **tls[1])
                await client.close(4000, "no")
                return seen, (await answering).close_code, client.close_code

        async def answer_close(server):
            return await (await server.peer()).answer_close()

        assert run(main()) == ([], 4000, 4000)


class TestOnMessage:
    def test_it_is_called_inline_once_a_message_and_may_answer(self, run):
        async def main():
            def on_message(message):
                client.send_nowait(message.data, text=message.opcode == TEXT)

            async with opened(on_message=on_message) as (client, peer):
                peer.send(frame(TEXT, b"1"), frame(BINARY, b"2"), frame(TEXT, b""))
                return [((seen := await peer.frame()).opcode, seen.payload) for _ in range(3)]

        assert run(main()) == [(TEXT, b"1"), (BINARY, b"2"), (TEXT, b"")]

    def test_what_it_raises_is_logged_counted_and_said(self, run, caplog):
        async def main():
            seen = []
            async with opened(on_message=lambda message: 1 / 0, on_event=seen.append, name="desk") as (client, peer):
                peer.send(frame(BINARY, b"1"))
                await until(lambda: len(seen) > 1)
                return seen[1], client.state, client.telemetry.snapshot()["errors_application"]

        event, state, count = run(main())
        assert (type(event.error), event.message_opcode, state, count) == (ZeroDivisionError, BINARY, "open", 1)
        assert "on_message of 'desk' raised" in caplog.text and "ZeroDivisionError" in caplog.text

    def test_there_is_no_reader_beside_it(self, run):
        async def main():
            async with opened(on_message=print) as (client, _peer):
                with pytest.raises(RuntimeError, match="on_message"):
                    await client.recv()
                with pytest.raises(RuntimeError, match="on_message"):
                    aiter(client)

        run(main())

    @pytest.mark.parametrize("loop", LOOPS)
    @pytest.mark.parametrize("where", ["on_message", "on_event"])
    @pytest.mark.parametrize("error, status", [("KeyboardInterrupt", 130), ("SystemExit(3)", 3)])
    def test_what_ends_the_process_passes(self, loop, where, error, status):
        program = f"""
            import asyncio, wsx
            from wsx.testing import EchoServer

            async def main():
                def on_event(event):
                    if "{where}" == "on_event":
                        raise {error}

                def on_message(message):
                    raise {error}

                async with EchoServer(close_timeout=0.1) as server:
                    async with wsx.connect(server.url, on_message=on_message, on_event=on_event) as client:
                        await client.send("x")
                        await client.wait_closed()

            try:
                wsx.run(main(), loop="{loop}")
            except KeyboardInterrupt:
                raise SystemExit(130)
        """
        assert run_program(program).returncode == status


def run_program(program, *options, url="", loop=""):
    """A Python program in a process of its own, from indented source."""
    command = [sys.executable, *options, "-c", textwrap.dedent(program), url, loop]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=Path(__file__).parent.parent)


class TestOnEvent:
    def test_a_connection_that_opens_and_closes_says_both_once(self, run):
        async def main():
            seen = []
            async with opened(on_event=seen.append) as (client, peer):
                peer.send(close_frame(1001, b"bye"))
                await peer.frame()
                peer.close()
                await client.wait_closed()
                await client.close()
            return seen

        begin, end = run(main())
        assert (type(begin), begin.epoch, begin.endpoint.startswith("ws://127.0.0.1:")) == (events.Opened, 1, True)
        assert begin.timings.total_ns > 0
        assert (type(end), end.epoch, end.code, end.reason, end.error) == (events.Closed, 1, 1001, "bye", None)
        assert begin.at_ns < end.at_ns

    def test_the_end_of_a_lost_connection_carries_its_error(self, run):
        async def main():
            seen = []
            async with opened(on_event=seen.append) as (client, peer):
                peer.reset()
                with pytest.raises(errors.ConnectionLost) as caught:
                    await anext(aiter(client))
                return seen[1].error is caught.value, seen[1].code, str(caught.value.context)

        same, code, context = run(main())
        assert (same, code) == (True, 1006)
        assert re.fullmatch(r"connected to ws://127\.0\.0\.1:\d+/, epoch 1", context)

    @pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit], ids=lambda e: e.__name__)
    def test_what_it_raises_hurts_nobody_else(self, run, error, caplog):
        async def main():
            def on_event(event):
                raise error

            async with opened(on_event=on_event, name="desk") as (client, peer):
                peer.send(frame(TEXT, b"1"), close_frame(1000))
                await peer.frame()
                peer.close()
                return await read_all(client), client.telemetry.snapshot()["errors_application"]

        assert run(main()) == (["1"], 2)
        assert "on_event of 'desk' raised on Opened" in caplog.text and "raised on Closed" in caplog.text


class TestSending:
    def test_str_is_text_and_bytes_like_is_binary_unless_told_otherwise(self, run, tls):
        async def main():
            async with opened(tls[0], **tls[1]) as (client, peer):
                for send in (client.send, nowait(client)):
                    await send("ü")
                    await send(b"\xff")
                    await send(memoryview(bytearray(b"abc")))
                    await send(b"text", text=True)
                    await send("binary", text=False)
                seen = [await peer.frame() for _ in range(10)]
                assert all(one.key is not None and one.first & 0xF0 == 0x80 for one in seen)
                return [(one.opcode, one.payload) for one in seen]

        once = [(TEXT, "ü".encode()), (BINARY, b"\xff"), (BINARY, b"abc"), (TEXT, b"text"), (BINARY, b"binary")]
        assert run(main()) == once * 2

    def test_what_cannot_be_sent_is_said_and_nothing_is_sent(self, run):
        async def main():
            bucket = wsx.TokenBucket(rate=1, burst=5)
            async with opened(rate_limit=bucket) as (client, _peer):
                for send in (client.send, nowait(client)):
                    for wrong in (1, None, ["x"]):
                        with pytest.raises(TypeError):
                            await send(wrong)
                    with pytest.raises(ValueError, match="cost"):
                        await send("x", cost=6)
                with pytest.raises(ValueError, match="UTF-8"):
                    client.send_nowait(b"\xff", text=True)
                return bucket.try_acquire(5), client.telemetry.snapshot()["frames_sent"]

        assert run(main()) == (True, 0)

    def test_tokens_are_waited_for_or_their_lack_is_said(self, run):
        async def main():
            bucket = wsx.TokenBucket(rate=4, burst=2)
            async with opened(rate_limit=bucket) as (client, peer):
                client.send_nowait("1", cost=2)
                with pytest.raises(errors.RateLimited) as caught:
                    client.send_nowait("refused")
                waiting = asyncio.create_task(client.send("2"))
                await asyncio.sleep(0)
                assert not waiting.done()
                await waiting
                seen = [(await peer.frame()).payload for _ in range(2)]
                return seen, 0 < caught.value.retry_after <= 0.25, client.telemetry.snapshot()["sends_rate_limited"]

        assert run(main()) == ([b"1", b"2"], True, 1)

    def test_a_sender_that_waits_for_room_is_told_of_the_end(self, run):
        async def main():
            async with full_line() as (client, peer):
                waiting = [asyncio.create_task(client.send(bytes(1000))) for _ in range(3)]
                await asyncio.sleep(0)
                peer.reset()
                outcomes = await asyncio.gather(*waiting, return_exceptions=True)
                return [isinstance(error, errors.NotConnected | errors.ConnectionClosed) for error in outcomes]

        assert run(main()) == [True] * 3

    @pytest.mark.parametrize(
        "data, text, kind",
        [(b"\xff", True, ValueError), ("\ud800", None, ValueError), (memoryview(b"abcd")[::2], None, BufferError)],
    )
    def test_what_cannot_be_sent_takes_no_tokens(self, run, data, text, kind):
        async def main():
            async with opened(rate_limit=wsx.TokenBucket(rate=0.001, burst=1)) as (client, _peer):
                with pytest.raises(kind):
                    await client.send(data, text=text)
                client.send_nowait("the only token")

        run(main())

    def test_a_sender_that_waits_for_tokens_is_told_of_the_end(self, run):
        async def main():
            async with opened(rate_limit=wsx.TokenBucket(rate=20, burst=1)) as (client, peer):
                client.send_nowait("1")
                waiting = asyncio.create_task(client.send("2"))
                peer.reset()
                with pytest.raises(errors.ConnectionClosed):
                    await waiting
                return client.telemetry.snapshot()["messages_sent"]

        assert run(main()) == 1

    def test_a_sender_that_is_cancelled_sends_nothing(self, run):
        async def main():
            async with full_line() as (client, peer):
                sent = client.telemetry.snapshot()["messages_sent"]
                cancelled = asyncio.create_task(client.send(bytes(1000)))
                patient = asyncio.create_task(client.send(b"patient"))
                await asyncio.sleep(0)
                cancelled.cancel()
                peer.writer.transport.resume_reading()
                await patient
                last = None
                for _ in range(sent + 1):
                    last = await peer.frame()
                return last.payload, client.telemetry.snapshot()["messages_sent"] - sent

        assert run(main()) == (b"patient", 1)

    def test_a_message_above_the_write_limit_goes_out_over_an_empty_buffer(self, run):
        async def main():
            async with opened(write_limit=10) as (client, peer):
                await client.send(bytes(3_000_000))
                waiting = asyncio.create_task(client.send(bytes(11)))
                sizes = [len((await peer.frame()).payload) for _ in range(2)]
                await waiting
                return sizes

        assert run(main()) == [3_000_000, 11]

    def test_a_socket_that_is_found_broken_while_writing_is_said(self, run):
        async def main():
            loop = asyncio.get_running_loop()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.setblocking(False)
                connecting = asyncio.ensure_future(connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/"))
                peer, _ = await loop.sock_accept(listener)
            await loop.sock_sendall(peer, accept(await loop.sock_recv(peer, 1000)))
            client = await connecting
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()  # a reset that lies in the kernel: the client's loop has not had a turn yet
            for data in ("x", b"x"):
                with pytest.raises(errors.NotConnected):
                    client.send_nowait(data)
            sent = client.telemetry.snapshot()["frames_sent"]
            await client.wait_closed()
            return sent, type(client._session.end.error)

        assert run(main()) == (0, errors.ConnectionLost)


def nowait(client):
    """send_nowait, to be awaited like send."""

    async def send(data, **options):
        client.send_nowait(data, **options)

    return send


@contextlib.asynccontextmanager
async def full_line():
    """A client whose write buffer is full, and a peer that does not read."""
    options = {"write_limit": 20_000, "socket_options": wsx.SocketOptions(send_buffer=4096)}
    async with opened({"receive_buffer": 4096}, **options) as (client, peer):
        peer.stop_reading()
        with contextlib.suppress(errors.Backpressure):
            while True:
                client.send_nowait(bytes(1000))
        yield client, peer


class TestReading:
    def test_recv_and_async_for_give_the_same_messages_in_order(self, run, tls):
        async def main():
            async with opened(tls[0], **tls[1]) as (client, peer):
                peer.send(*(frame(TEXT, b"%d" % number) for number in range(100)), close_frame(1000))
                first = [(await client.recv()).text for _ in range(50)]
                return first + await read_all(client)

        assert run(main()) == [str(number) for number in range(100)]

    @pytest.mark.parametrize("code", [1000, 1001, None])
    def test_an_orderly_end_ends_the_loop_and_raises_in_recv(self, run, code):
        async def main():
            async with opened() as (client, peer):
                peer.send(frame(TEXT, b"last"), close_frame(code, b"bye") if code else frame(CLOSE))
                await peer.frame()
                peer.close()
                read = await read_all(client)
                with pytest.raises(errors.ConnectionClosed) as caught:
                    await client.recv()
                return read, caught.value.code, caught.value.__cause__, client.close_code

        assert run(main()) == (["last"], code or 1005, None, code or 1005)

    def test_an_end_for_a_reason_raises_in_both(self, run):
        async def main():
            async with opened() as (client, peer):
                peer.send(frame(TEXT, b"last"), close_frame(1011, b"sorry"))
                await peer.frame()
                peer.close()
                read = [(await client.recv()).text]
                with pytest.raises(errors.ConnectionClosed, match="1011 .sorry."):
                    await client.recv()
                with pytest.raises(errors.ConnectionClosed, match="1011 .sorry."):
                    await read_all(client)
                await client.wait_closed()
                with pytest.raises(errors.ConnectionClosed, match="1011 .sorry."):
                    client.send_nowait("x")
                return read

        assert run(main()) == ["last"]

    def test_a_loss_is_the_cause_of_what_sending_meets_afterwards(self, run):
        async def main():
            async with opened() as (client, peer):
                peer.reset()
                with pytest.raises(errors.ConnectionLost) as lost:
                    await client.recv()
                with pytest.raises(errors.ConnectionClosed) as caught:
                    await client.send("x")
                return caught.value.code, caught.value.__cause__ is lost.value

        assert run(main()) == (1006, True)

    @pytest.mark.parametrize("traced", [False, True], ids=["", "traced"])
    def test_a_reader_that_is_cancelled_loses_no_message(self, run, traced):
        async def main():
            received = []

            async def read(client):
                async for message in client:
                    received.append(int(message.text))  # noqa: PERF401, each at once: the task is cancelled

            async with opened() as (client, peer):
                for number in range(200):
                    reading = asyncio.create_task(read(client))
                    await asyncio.sleep(0)
                    peer.send(frame(TEXT, b"%d" % number))
                    for _ in range(number % 7):
                        await asyncio.sleep(0)
                    reading.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await reading
                while len(received) < 200:
                    received.append(int((await asyncio.wait_for(client.recv(), 5)).text))
            return received

        if traced and Path(wsx.__file__).with_name("_inbox.c").exists():
            pytest.skip("compiled with line tracing, which knows only the tracer that coverage brings")
        before = sys.gettrace()
        sys.settrace((lambda *_: None) if traced else before)
        try:
            assert run(main()) == list(range(200))
        finally:
            sys.settrace(before)

    def test_a_second_reader_at_the_same_time_is_an_error(self, run):
        async def main():
            async with opened() as (client, peer):
                first = asyncio.create_task(client.recv())
                await asyncio.sleep(0)
                with pytest.raises(RuntimeError, match="one reader"):
                    await client.recv()
                peer.send(frame(TEXT, b"for the first"))
                return (await first).text

        assert run(main()) == "for the first"

    def test_messages_carry_their_time_their_epoch_and_their_kind(self, run):
        async def main():
            async with opened() as (client, peer):
                peer.send(frame(TEXT, b'{"a":1}'), frame(BINARY, b"\x00"))
                one, two = await client.recv(), await client.recv()
                return one.json(), one.opcode, two.opcode, one.epoch, one.gap, 0 < one.received_ns <= two.received_ns

        assert run(main()) == ({"a": 1}, TEXT, BINARY, 1, None, True)


class TestClosing:
    def test_states_codes_and_reason(self, run):
        async def main():
            async with opened() as (client, peer):
                states = [(client.state, client.close_code, client.close_reason)]
                closing = asyncio.create_task(client.close(4001, "done"))
                await until(lambda: client.state is not wsx.State.OPEN)
                states.append((client.state, client.close_code, client.close_reason))
                seen = await peer.answer_close()
                await closing
                states.append((client.state, client.close_code, client.close_reason))
                return states, seen.payload[2:]

        expected = [("open", None, None), ("closing", None, None), ("closed", 4001, "done")]
        assert run(main()) == (expected, b"done")

    def test_it_is_idempotent_alone_and_at_the_same_time(self, run):
        async def main():
            seen = []
            async with opened(on_event=seen.append) as (client, peer):
                closings = asyncio.gather(*(client.close(4000 + number) for number in range(3)), client.wait_closed())
                answer = await peer.answer_close()
                await closings
                await client.close()
                await client.close(1001, "again")
                return answer.close_code, client.close_code, [type(event) for event in seen]

        assert run(main()) == (4000, 4000, [events.Opened, events.Closed])

    def test_it_may_be_asked_for_inside_a_callback(self, run):
        async def main():
            tasks = []
            options = {"on_message": lambda message: tasks.append(asyncio.create_task(client.close()))}
            async with opened(**options) as (client, peer):
                peer.send(frame(TEXT, b"1"), frame(TEXT, b"2"))
                await peer.answer_close()
                await asyncio.gather(*tasks)
                return len(tasks), client.close_code

        assert run(main()) == (2, 1000)

    def test_a_full_inbox_does_not_hold_it_up_and_can_be_read_afterwards(self, run, tls):
        async def main():
            async with opened(tls[0], inbox_messages=5, **tls[1]) as (client, peer):
                peer.send(*(frame(TEXT, b"%d" % number) for number in range(10_000)))
                await until(lambda: client._session.inbox.full)
                arrived = len(client._session.inbox)
                closing = asyncio.create_task(client.close())
                await peer.answer_close()
                await closing
                read = await read_all(client)
                return read == [str(number) for number in range(arrived)], client.close_code

        assert run(main()) == (True, 1000)

    def test_what_arrives_after_it_is_dropped(self, run):
        async def main():
            async with opened() as (client, peer):
                closing = asyncio.create_task(client.close())
                seen = await peer.frame()
                peer.send(frame(TEXT, b"late"), frame(PING, b"late"), frame(CLOSE, seen.payload))
                after = await peer.frame()
                peer.close()
                await closing
                return await read_all(client), after, client.close_code

        assert run(main()) == ([], None, 1000)

    @pytest.mark.parametrize("answers", [False, True], ids=["silent", "keeps the socket"])
    def test_a_peer_that_never_closes_the_socket_is_left_after_close_timeout(self, run, tls, answers):
        async def main():
            async with RawServer(**tls[0]) as server:
                client = await connect(server.url, close_timeout=0.1, **tls[1])
                peer = await server.peer()
                closing = asyncio.create_task(client.close())
                seen = await peer.frame()
                if answers:
                    peer.send(frame(CLOSE, seen.payload))
                await closing
                await peer.gone()
                return client.state, client.close_code

        assert run(main()) == (wsx.State.CLOSED, 1000 if answers else 1006)

    def test_a_peer_that_hangs_up_without_an_answer_is_1006_and_no_error(self, run):
        async def main():
            seen = []
            async with opened(on_event=seen.append) as (client, peer):
                closing = asyncio.create_task(client.close())
                await peer.frame()
                peer.close()
                await closing
                return client.close_code, seen[-1].error, await read_all(client)

        assert run(main()) == (1006, None, [])

    def test_both_sides_may_begin_at_the_same_time(self, run):
        async def main():
            async with opened() as (client, peer):
                closing = asyncio.create_task(client.close(4001))
                peer.send(close_frame(4002))
                sent = [seen.close_code for seen in [await peer.frame(), await peer.frame()] if seen]
                peer.close()
                await closing
                return sent, client.close_code

        assert run(main()) in [([4001], 4002), ([4002], 4002)]

    @pytest.mark.parametrize("code, reason", [("1000", ""), (None, ""), (1000.0, ""), (1000, None), (1000, b"bye")])
    def test_a_code_or_reason_of_another_type_is_refused_and_nothing_happens(self, run, code, reason):
        async def main():
            async with opened() as (client, _peer):
                with pytest.raises(TypeError, match=r"a close (code|reason) must be of type (int|str), not"):
                    await client.close(code, reason)
                return client.state

        assert run(main()) == wsx.State.OPEN

    @pytest.mark.parametrize("reason", ["\xe9" * 62, "\ud800"])
    def test_a_reason_that_fits_into_no_frame_is_refused(self, run, reason):
        async def main():
            async with opened() as (client, _peer):
                with pytest.raises(ValueError, match="a close reason"):
                    await client.close(1000, reason)
                return client.state

        assert run(main()) == wsx.State.OPEN

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, -1, 70_000, 10**30, True])
    def test_a_code_that_may_not_be_sent_is_refused_and_nothing_happens(self, run, code):
        async def main():
            async with opened() as (client, _peer):
                with pytest.raises(ValueError, match="close code"):
                    await client.close(code)
                return client.state, client.telemetry.snapshot()["frames_sent"]

        assert run(main()) == (wsx.State.OPEN, 0)

    def test_waiting_for_it_may_be_cancelled_and_it_still_ends(self, run):
        async def main():
            async with opened(close_timeout=0.1) as (client, _peer):
                waiting, closing = asyncio.create_task(client.wait_closed()), asyncio.create_task(client.close())
                await until(lambda: client.state is wsx.State.CLOSING)
                for task in (waiting, closing):
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                await client.wait_closed()
                return client.state

        assert run(main()) is wsx.State.CLOSED

    def test_it_leaves_no_task_and_no_timer(self, run):
        async def main():
            async with RawServer() as server:
                tasks, timers = asyncio.all_tasks(), live_timers()
                client = await connect(server.url)
                peer = await server.peer()
                await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) == len(tasks)
                closing = asyncio.create_task(client.close())
                await peer.answer_close()
                await closing
                return asyncio.all_tasks() - tasks - {closing}, live_timers() - timers

        def live_timers():
            """What asyncio's own loop has planned; uvloop does not tell."""
            return {timer for timer in getattr(asyncio.get_running_loop(), "_scheduled", []) if not timer.cancelled()}

        assert run(main()) == (set(), set())


class TestPinging:
    def test_the_round_trip_is_in_seconds_and_pings_may_overlap(self, run):
        async def main():
            async with opened(ping_interval=None) as (client, peer):
                pinging = asyncio.gather(client.ping(), client.ping(), client.ping())
                pings = [await peer.frame() for _ in range(3)]
                peer.send(*(frame(PONG, ping.payload) for ping in reversed(pings)))
                times = await pinging
                counted = client.telemetry.snapshot()
                return all(0 < time < 10 for time in times), counted["rtt_ns_count"], counted["pings_sent"]

        assert run(main()) == (True, 3, 3)

    def test_a_pong_that_does_not_come_is_a_timeout(self, run):
        async def main():
            async with opened(ping_interval=None, ping_timeout=0.02, name="desk") as (client, peer):
                with pytest.raises(TimeoutError, match=r"ping_timeout=0\.02 s on 'desk'"):
                    await client.ping()
                late = await peer.frame()
                peer.send(frame(PONG, late.payload), frame(TEXT, b"x"))
                await client.recv()
                return client.state, client.telemetry.snapshot()["pongs_unmatched"]

        assert run(main()) == (wsx.State.OPEN, 1)

    def test_the_end_of_the_connection_is_told(self, run):
        async def main():
            async with opened() as (client, peer):
                pinging = asyncio.create_task(client.ping())
                await peer.frame()
                peer.reset()
                with pytest.raises(errors.NotConnected):
                    await pinging
                with pytest.raises(errors.ConnectionClosed):
                    await client.ping()

        run(main())


class TestThreads:
    def test_another_thread_is_refused_and_shown_the_way(self, run):
        async def main():
            async with opened() as (client, _peer):
                calls = {
                    "send_nowait": lambda: client.send_nowait("x"),
                    "send": lambda: step(client.send("x")),
                    "recv": lambda: step(client.recv()),
                    "aiter": lambda: aiter(client),
                    "ping": lambda: step(client.ping()),
                    "close": lambda: step(client.close()),
                    "wait_closed": lambda: step(client.wait_closed()),
                }
                return {name: await asyncio.to_thread(raised, call) for name, call in calls.items()}, client.state

        seen, state = run(main())
        assert set(seen.values()) == {errors.WrongThread}, seen
        assert state is wsx.State.OPEN

    def test_call_threadsafe_runs_functions_and_coroutines_on_the_clients_loop(self, run):
        async def main():
            async with opened() as (client, peer):

                async def send(data):
                    await client.send(data)
                    return threading.get_ident()

                def ask():
                    return (
                        client.call_threadsafe(client.send_nowait, "1").result(10),
                        client.call_threadsafe(send, "2").result(10),
                        raised(lambda: client.call_threadsafe(int, "x").result(10)),
                    )

                answers = await asyncio.to_thread(ask)
                payloads = [(await peer.frame()).payload for _ in range(2)]
                return answers == (None, threading.get_ident(), ValueError), payloads

        assert run(main()) == (True, [b"1", b"2"])

    def test_call_threadsafe_after_the_loop_has_ended_is_an_error_and_no_more(self, run):
        async def main():
            async with opened() as (client, _peer):
                return client

        client = run(main())
        with pytest.raises(RuntimeError, match="closed"):
            client.call_threadsafe(print, "never")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_forked_child_is_refused_and_the_parent_goes_on(self, loop):
        program = f"""
            import os, warnings, wsx
            from wsx.testing import EchoServer

            async def main():
                async with EchoServer() as server, wsx.connect(server.url) as client:
                    child = os.fork()
                    if not child:
                        try:
                            client.send_nowait("from the child")
                        except wsx.errors.NotConnected as error:
                            os._exit(7 if "forked" in str(error) else 1)
                        os._exit(0)
                    _, status = os.waitpid(child, 0)
                    assert os.waitstatus_to_exitcode(status) == 7
                    await client.send("from the parent")
                    assert (await client.recv()).text == "from the parent"

            wsx.run(main(), loop="{loop}")
        """
        done = run_program(program)
        assert done.returncode == 0, done.stderr


def step(coroutine):
    """A coroutine's first step."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


def raised(call):
    """The type of what a call raises."""
    try:
        call()
    except Exception as error:
        return type(error)
    return None


class TestNeverClosed:
    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_client_that_is_collected_open_warns(self, loop):
        program = f"""
            import gc, sys, wsx

            async def main():
                held.append(await wsx.connect(sys.argv[1], name="forgotten"))

            held = []
            wsx.run(main(), loop="{loop}")
            held.clear()
            gc.collect()
        """

        async def main():
            async with RawServer() as server:
                return await asyncio.to_thread(run_program, program, "-W", "always", url=server.url)

        done = run_bounded(main())
        assert "ResourceWarning: <Client 'forgotten' open> was never closed" in done.stderr

    def test_the_warning_names_the_client_and_what_to_do(self, run):
        async def main():
            async with RawServer() as server:
                client = await connect(server.url, name="forgotten")
                with pytest.warns(ResourceWarning) as warned:
                    client.__del__()  # as the collector would; the client is closed in order below
                peer = await server.peer()
                closing = asyncio.ensure_future(client.close())
                await peer.answer_close()
                await closing
                return warned

        warned = run(main())
        assert any("'forgotten'" in str(each.message) and "client.close()" in str(each.message) for each in warned)

    def test_one_that_could_not_be_opened_does_not(self, run):
        async def main():
            async with RawServer(lambda request: b"") as server:
                with pytest.raises(errors.ConnectionFailed):
                    await connect(server.url)

        run(main())
        gc.collect()  # a warning is an error here


class TestTelemetry:
    def test_what_went_over_the_wire_is_counted(self, run):
        async def main():
            async with opened(ping_interval=None) as (client, peer):
                await client.send("12345")
                client.send_nowait(bytes(300))
                peer.send(frame(TEXT, b"abc"), frame(BINARY, b"a", fin=False), frame(0, bytes(200)), frame(PING, b"p"))
                for _ in range(2):
                    await client.recv()
                for _ in range(3):
                    await peer.frame()
                before = client.telemetry.snapshot()
                closing = asyncio.create_task(client.close())
                await peer.answer_close()
                await closing
                return before, client.telemetry.snapshot()

        before, after = run(main())
        expected = {
            "messages_sent": 2,
            "frames_sent": 3,
            "bytes_sent": (6 + 5) + (8 + 300) + (6 + 1),
            "messages_received": 2,
            "frames_received": 4,
            "bytes_received": (2 + 3) + (2 + 1) + (4 + 200) + (2 + 1),
            "pings_received": 1,
            "pongs_sent": 1,
            "pings_sent": 0,
            "connections_opened": 1,
            "inbox_messages": 0,
            "inbox_bytes": 0,
        }
        assert {name: before[name] for name in expected} == expected
        assert before["inbox_messages_peak"] in (1, 2)
        assert before["last_sent_ns"] > 0 and 0 < before["last_message_ns"] <= before["last_received_ns"]
        assert all(before[f"opening_{stage}_ns"] > 0 for stage in ("dns", "tcp", "upgrade"))
        assert (after["frames_sent"], after["frames_received"], after["messages_sent"]) == (4, 5, 2)

    def test_errors_are_counted_by_their_category(self, run):
        async def main():
            counts = []
            for sent in (frame(TEXT, b"\xff"), b""):
                async with opened() as (client, peer):
                    peer.send(sent)
                    if sent:
                        await peer.frame()
                    peer.close()
                    await client.wait_closed()
                    counted = client.telemetry.snapshot()
                    counts.append((counted["errors_protocol"], counted["errors_connection"]))
            return counts

        assert run(main()) == [(1, 0), (0, 1)]


GROWTH_PROGRAM = """
    import asyncio, gc, sys, tracemalloc, wsx

    async def cycles(count):
        for _ in range(count):
            client = await wsx.connect(sys.argv[1], reconnect=False)
            await client.close()

    async def main():
        await cycles(50)
        tracemalloc.start()
        await cycles(50)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await cycles(2000)
        gc.collect()
        print((tracemalloc.get_traced_memory()[0] - before) / 2000)

    wsx.run(main(), loop=sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("loop", LOOPS)
def test_two_thousand_connections_leave_at_most_64_bytes_each(loop):
    async def main():
        async with RawServer(on_peer=lambda peer: tasks.append(asyncio.create_task(peer.answer_close()))) as server:
            server.all_peers = collections.deque(maxlen=1)
            return await asyncio.to_thread(run_program, GROWTH_PROGRAM, url=server.url, loop=loop)

    tasks = collections.deque(maxlen=100)
    done = wsx.run(main(), loop="asyncio")
    assert float(done.stdout) <= 64, done.stderr
