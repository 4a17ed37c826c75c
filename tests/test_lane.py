"""The part of a client that runs once per message: what may be sent, by whom, and what it takes."""

import asyncio
import os
import threading

import pytest
from streams import BINARY, TEXT, frame

from wsx._assembler import Assembler
from wsx._frame import Decoder
from wsx._inbox import Inbox
from wsx._lane import Lane
from wsx._ratelimit import TokenBucket
from wsx._telemetry import Telemetry
from wsx.errors import Backpressure, NotConnected, RateLimited, WrongThread
from wsx.transport._pipe import PipeWriter

WRITE_LIMIT = 1000


class Half(Lane):
    """A lane over a wire that keeps what is written: `pieces`; `waiting` bytes are said to be in its buffer."""

    def __init__(self, bucket=None):
        self.pieces = []
        self.waiting = 0
        self.telemetry = Telemetry()
        self.inbox = Inbox(self, self.telemetry)
        self._attach(self.inbox, bucket, self.telemetry, WRITE_LIMIT)
        self.open()

    def open(self):
        writer = PipeWriter(self.telemetry)
        writer.attach(self.pieces.append, lambda: self.waiting)
        self._open_lane(writer)

    def close(self):
        self._open_lane(None)

    def sent(self):
        return [(frame.opcode, frame.payload) for frame in Decoder(server=True).decode(b"".join(self.pieces))]

    def _refuse(self):
        raise NotConnected("closed by the test")

    def _check_reader(self):
        pass


class TestSending:
    def test_str_is_text_and_bytes_are_binary(self):
        lane = Half()
        lane.send_nowait("héllo")
        lane.send_nowait(b"\xff")
        lane.send_nowait(bytearray(b"a"))
        lane.send_nowait(memoryview(b"bcd")[1:])
        assert lane.sent() == [(TEXT, "héllo".encode()), (BINARY, b"\xff"), (BINARY, b"a"), (BINARY, b"cd")]

    def test_text_says_what_bytes_and_str_are(self):
        lane = Half()
        lane.send_nowait(b"a", text=True)
        lane.send_nowait(b"b", text=False)
        lane.send_nowait("c", text=True)
        lane.send_nowait("d", text=False)
        assert [opcode for opcode, _ in lane.sent()] == [TEXT, BINARY, TEXT, BINARY]

    @pytest.mark.parametrize("data", [b"\xff", b"\xed\xa0\x80", b"\xe2\x82"])
    def test_bytes_that_are_not_utf_8_are_not_sent_as_text(self, data):
        lane = Half()
        with pytest.raises(ValueError, match="valid UTF-8"):
            lane.send_nowait(data, text=True)
        assert lane.pieces == []

    def test_a_str_that_has_no_utf_8_is_not_sent(self):
        lane = Half()
        with pytest.raises(ValueError, match="surrogates"):
            lane.send_nowait("\ud800")
        assert lane.pieces == []

    @pytest.mark.parametrize("data", [None, 1, ["x"], memoryview(b"abcd")[::2]])
    def test_what_holds_no_bytes_is_refused(self, data):
        lane = Half()
        with pytest.raises((TypeError, BufferError)):
            lane.send_nowait(data)
        assert lane.pieces == []

    @pytest.mark.parametrize("size", [0, 125, 126, 65536, 1 << 20])
    def test_any_length_is_sent(self, size):
        lane = Half()
        lane.send_nowait("x" * size)
        assert lane.sent() == [(TEXT, b"x" * size)]


class TestAdmission:
    def test_a_closed_lane_says_why(self):
        lane = Half()
        lane.close()
        for data in ("x", b"x"):
            with pytest.raises(NotConnected, match="closed by the test"):
                lane.send_nowait(data)
        lane.open()
        lane.send_nowait("y")
        assert lane.sent() == [(TEXT, b"y")]

    def test_a_lane_that_was_never_opened_sends_nothing(self):
        with pytest.raises(NotImplementedError):
            Lane().send_nowait("x")

    def test_a_lane_whose_refusal_says_nothing_still_refuses(self):
        lane = Half()
        lane.close()
        lane._refuse = lambda: None
        with pytest.raises(NotConnected, match="nothing was sent"):
            lane.send_nowait("x")

    def test_what_would_pass_the_write_limit_is_refused(self):
        lane = Half()
        lane.waiting = 900
        lane.send_nowait(b"x" * 100)
        with pytest.raises(Backpressure) as caught:
            lane.send_nowait(b"x" * 101)
        assert caught.value.buffered == 900
        assert lane.telemetry.snapshot()["sends_backpressured"] == 1

    def test_an_empty_buffer_takes_any_message(self):
        lane = Half()
        lane.send_nowait(b"x" * 5000)
        assert lane.sent() == [(BINARY, b"x" * 5000)]

    def test_without_tokens_it_says_how_long(self):
        lane = Half(TokenBucket(rate=0.5, burst=2))
        lane.send_nowait("1")
        lane.send_nowait("2")
        with pytest.raises(RateLimited) as caught:
            lane.send_nowait("3")
        assert 0 < caught.value.retry_after <= 2
        assert lane.telemetry.snapshot()["sends_rate_limited"] == 1
        assert len(lane.sent()) == 2

    def test_a_cost_is_taken_whole(self):
        lane = Half(TokenBucket(rate=1e-3, burst=10))
        lane.send_nowait("1", cost=8)
        with pytest.raises(RateLimited):
            lane.send_nowait("2", cost=3)
        lane.send_nowait("3", cost=2)

    def test_a_cost_above_the_burst_is_a_mistake(self):
        with pytest.raises(ValueError, match="burst"):
            Half(TokenBucket(rate=1, burst=2)).send_nowait("x", cost=3)

    def test_a_full_buffer_takes_no_tokens(self):
        bucket = TokenBucket(rate=1e-3, burst=1)
        lane = Half(bucket)
        lane.waiting = WRITE_LIMIT
        with pytest.raises(Backpressure):
            lane.send_nowait("x")
        lane.waiting = 0
        lane.send_nowait("x")

    def test_what_cannot_be_sent_takes_no_tokens(self):
        lane = Half(TokenBucket(rate=1e-3, burst=1))
        for data in (b"\xff", "\ud800"):
            with pytest.raises(ValueError, match=r"UTF-8|surrogates"):
                lane.send_nowait(data, text=True)
        lane.send_nowait("x")

    def test_what_was_paid_for_is_not_paid_again(self):
        lane = Half(TokenBucket(rate=1e-3, burst=1))
        lane.send_nowait("1")
        lane._write_paid("2", None)
        lane.waiting = WRITE_LIMIT
        with pytest.raises(Backpressure):
            lane._write_paid("3", None)
        assert lane.telemetry.snapshot()["sends_backpressured"] == 0  # its sender waits: nothing was refused


class TestCallers:
    def test_another_thread_is_refused(self):
        lane, errors = Half(), []

        def elsewhere():
            for use in (lambda: lane.send_nowait("x"), lane.__aiter__, lane._check_caller):
                with pytest.raises(WrongThread, match="call_threadsafe") as caught:
                    use()
                errors.append(caught.value)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(errors) == 3
        assert lane.pieces == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_a_forked_child_is_refused(self):
        lane = Half()
        child = os.fork()
        if child == 0:
            os._exit(refusals(lane))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        lane.send_nowait("the parent goes on")


def refusals(lane):
    count = 0
    for use in (lambda: lane.send_nowait("x"), lane.__aiter__):
        try:
            use()
        except NotConnected as error:
            count += "forked" in str(error)
    return count


@pytest.mark.skipif(not hasattr(memoryview(b""), "__buffer__"), reason="before Python 3.12 no class has a __buffer__")
def test_an_object_that_closes_the_lane_while_it_gives_its_bytes_does_no_harm():
    class Closing:
        def __buffer__(self, flags):
            lane.close()
            return memoryview(b"x")

    lane = Half()
    with pytest.raises(NotConnected):
        lane.send_nowait(Closing())
    assert lane.pieces == []


class TestReading:
    def test_the_messages_come_in_order_over_several_loops(self):
        async def main():
            assembler.feed(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3"))
            async for message in lane:
                seen.append(message.text)
                break
            seen.append((await anext(aiter(lane))).text)
            async for message in lane:
                seen.append(message.text)
                break

        seen = []
        lane = Half()
        assembler = Assembler(lane.inbox, lane, lane.telemetry)
        asyncio.run(main())
        assert seen == ["1", "2", "3"]

    def test_a_second_loop_at_the_same_time_is_refused(self):
        async def main():
            lane = Half()
            first = asyncio.create_task(anext(aiter(lane), None))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one reader at a time"):
                await anext(aiter(lane))
            first.cancel()

        asyncio.run(main())


def test_a_lane_keeps_what_it_is_given():
    with pytest.raises(TypeError):
        Half()._attach(None, None, Telemetry(), 1)
    with pytest.raises(TypeError):
        Half()._open_lane("not a writer")
