"""Where messages wait: order, bounds, one reader, the end."""

import asyncio
import gc
import sys
import tracemalloc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import TEXT, frame

from wsx._assembler import Assembler
from wsx._inbox import Inbox, MessageIterator
from wsx._message import Message
from wsx._telemetry import Telemetry


class Line:
    """An inbox, what its owner heard, and the wire that leads to it."""

    def __init__(self, **options):
        self.heard = []
        self.telemetry = Telemetry()
        self.inbox = Inbox(self, self.telemetry, **options)
        self.assembler = Assembler(self.inbox, self, self.telemetry)

    def bring(self, *payloads):
        self.assembler.feed(b"".join(frame(TEXT, payload) for payload in payloads))

    def on_inbox_full(self):
        self.heard.append("full")

    def on_inbox_drained(self):
        self.heard.append("drained")

    def on_callback_error(self, error, message):
        self.heard.append((type(error), message.data))

    def on_control(self, opcode, payload):
        """Not what this is about."""

    on_close = on_failure = on_control


def numbered(count, start=0):
    return [str(number).encode() for number in range(start, start + count)]


async def read(inbox, count):
    reader = MessageIterator(inbox)
    return [(await anext(reader)).data for _ in range(count)]


class TestCallback:
    def test_it_is_called_inline_and_in_order(self):
        seen = []
        line = Line(callback=lambda message: seen.append(message.data))
        line.inbox.start()
        line.bring(*numbered(3))
        assert seen == numbered(3)
        assert (len(line.inbox), line.inbox.has_callback) == (0, True)

    def test_messages_wait_until_it_may_run(self):
        seen = []
        line = Line(callback=lambda message: seen.append(message.data))
        line.bring(*numbered(100))
        assert (seen, len(line.inbox)) == ([], 100)
        line.inbox.start()
        assert (seen, len(line.inbox)) == (numbered(100), 0)

    def test_what_comes_while_it_catches_up_comes_after(self):
        seen = []

        def take(message):
            seen.append(message.data)
            if message.data == b"0":
                line.bring(b"late")

        line = Line(callback=take)
        line.bring(*numbered(3))
        line.inbox.start()
        assert seen == [*numbered(3), b"late"]

    @pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit, StopIteration])
    def test_what_it_raises_goes_to_the_owner_and_the_next_message_comes(self, error):
        def fail(message):
            raise error

        line = Line(callback=fail)
        line.bring(b"1")
        line.inbox.start()
        line.bring(b"2", b"3")
        assert line.heard == [(error, b"1"), (error, b"2"), (error, b"3")]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_ends_the_process_passes(self, error):
        def stop(message):
            raise error

        line = Line(callback=stop)
        line.inbox.start()
        with pytest.raises(error):
            line.bring(b"1")
        assert line.heard == []

    def test_it_may_end_the_inbox(self):
        seen = []

        def take(message):
            seen.append(message.data)
            line.inbox.end()

        line = Line(callback=take)
        line.inbox.start()
        line.bring(*numbered(3))
        assert seen == numbered(1)


class TestReading:
    def test_what_waits_is_read_in_order(self):
        line = Line()
        line.bring(*numbered(1000))
        assert asyncio.run(read(line.inbox, 1000)) == numbered(1000)

    @given(st.lists(st.integers(1, 90), max_size=40), st.randoms(use_true_random=False))
    def test_any_sequence_of_bringing_and_reading_keeps_the_order(self, steps, random):
        line, brought, got = Line(), 0, []
        runner = asyncio.Runner()
        with runner:
            for step in steps:
                if random.random() < 0.6:
                    line.bring(*numbered(step, brought))
                    brought += step
                else:
                    got += runner.run(read(line.inbox, min(step, len(line.inbox))))
            got += runner.run(read(line.inbox, len(line.inbox)))
        assert got == numbered(brought)
        assert line.inbox.waiting_bytes == 0

    def test_a_reader_waits_for_what_comes(self):
        async def main():
            line = Line()
            task = asyncio.create_task(read(line.inbox, 3))
            await asyncio.sleep(0)
            line.bring(b"1", b"2")
            await asyncio.sleep(0)
            assert not task.done()
            line.bring(b"3")
            return await task

        assert asyncio.run(main()) == [b"1", b"2", b"3"]

    def test_async_for_reads_to_the_end(self):
        async def main():
            line = Line()
            asyncio.get_running_loop().call_soon(line.bring, *numbered(5))
            asyncio.get_running_loop().call_soon(line.inbox.end)
            return [message.data async for message in MessageIterator(line.inbox)]

        assert asyncio.run(main()) == numbered(5)

    def test_a_step_that_need_not_wait_does_not_yield_to_the_loop(self):
        async def main():
            line, ran = Line(), []
            line.bring(*numbered(100))
            asyncio.get_running_loop().call_soon(ran.append, True)
            await read(line.inbox, 100)
            return list(ran)

        assert asyncio.run(main()) == []

    def test_a_reader_under_trace_reads_the_same(self):
        line = Line()
        line.bring(*numbered(3))
        before = sys.gettrace()
        sys.settrace(lambda *_: lambda *_: None)
        try:
            assert asyncio.run(read(line.inbox, 3)) == numbered(3)
        finally:
            sys.settrace(before)

    def test_a_step_by_hand_ends_with_the_message(self):
        line = Line()
        line.bring(b"1", b"2", b"3")
        reader = MessageIterator(line.inbox)
        kept = []
        for step in (lambda: next(reader), lambda: reader.send(None), lambda: next(reader)):
            with pytest.raises(StopIteration) as caught:
                step()
            kept.append(caught.value)
        assert [stop.value.data for stop in kept] == [b"1", b"2", b"3"]

    def test_reading_needs_a_running_loop(self):
        with pytest.raises(RuntimeError, match="no running event loop"):
            next(MessageIterator(Line().inbox))


class TestOneReader:
    def test_a_second_one_is_refused_while_the_first_waits(self):
        async def main():
            line = Line()
            first = asyncio.create_task(read(line.inbox, 1))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one reader at a time"):
                await read(line.inbox, 1)
            line.bring(b"1")
            assert await first == [b"1"]
            line.bring(b"2")
            return await read(line.inbox, 1)

        assert asyncio.run(main()) == [b"2"]

    def test_a_second_one_cannot_take_what_the_first_was_woken_for(self):
        async def main():
            line = Line()
            first = asyncio.create_task(read(line.inbox, 1))
            await asyncio.sleep(0)
            line.bring(b"1")
            with pytest.raises(RuntimeError, match="one reader at a time"):
                await read(line.inbox, 1)
            return await first

        assert asyncio.run(main()) == [b"1"]

    def test_two_tasks_cannot_share_an_iterator(self):
        async def main():
            line = Line()
            reader = MessageIterator(line.inbox)
            first = asyncio.create_task(anext(aiter(reader), None))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one reader at a time"):
                await anext(reader)
            line.bring(b"1")
            return (await first).data

        assert asyncio.run(main()) == b"1"

    def test_a_cancelled_one_makes_room_and_loses_nothing(self):
        async def main():
            line = Line()
            for number in numbered(3):
                task = asyncio.create_task(read(line.inbox, 1))
                await asyncio.sleep(0)
                line.bring(number)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await read(line.inbox, 1) == [number]

        asyncio.run(main())

    def test_one_that_timed_out_makes_room(self):
        async def main():
            line = Line()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read(line.inbox, 1), 0.001)
            line.bring(b"1")
            return await read(line.inbox, 1)

        assert asyncio.run(main()) == [b"1"]

    def test_one_whose_coroutine_was_dropped_makes_room(self):
        async def main():
            line = Line()
            waiting = read(line.inbox, 1)
            waiting.send(None)
            waiting.close()
            line.bring(b"1")
            return await read(line.inbox, 1)

        assert asyncio.run(main()) == [b"1"]

    def test_closing_a_reader_that_does_not_wait_leaves_the_other_alone(self):
        async def main():
            line = Line()
            first = asyncio.create_task(read(line.inbox, 1))
            await asyncio.sleep(0)
            MessageIterator(line.inbox).close()
            with pytest.raises(RuntimeError, match="one reader at a time"):
                await read(line.inbox, 1)
            line.bring(b"1")
            return await first

        assert asyncio.run(main()) == [b"1"]

    def test_a_reader_that_is_thrown_into_raises_that(self):
        reader = MessageIterator(Line().inbox)
        with pytest.raises(KeyError):
            reader.throw(KeyError("x"))
        with pytest.raises(KeyError):
            reader.throw(KeyError, KeyError("x"))


class TestTheEnd:
    def test_what_waits_is_read_before_it(self):
        line = Line()
        line.bring(b"1", b"2")
        line.inbox.end()

        async def main():
            return [message.data async for message in MessageIterator(line.inbox)]

        assert asyncio.run(main()) == [b"1", b"2"]

    def test_it_wakes_the_reader(self):
        async def main():
            line = Line()
            task = asyncio.create_task(read(line.inbox, 1))
            await asyncio.sleep(0)
            line.inbox.end(ConnectionError("why"))
            with pytest.raises(ConnectionError, match="why"):
                await task

        asyncio.run(main())

    def test_it_happens_once(self):
        line, error = Line(), ValueError("first")
        line.inbox.end(error)
        line.inbox.end(ValueError("second"))
        line.bring(b"late")
        assert (line.inbox.ended, line.inbox.error, len(line.inbox)) == (True, error, 0)

    def test_reading_after_it_again_and_again_keeps_no_traceback(self):
        line, error = Line(), ValueError("the end")
        line.inbox.end(error)

        async def main():
            for _ in range(100):
                with pytest.raises(ValueError, match="the end"):
                    await anext(MessageIterator(line.inbox))

        asyncio.run(main())
        depth, trace = 0, error.__traceback__
        while trace is not None:
            depth, trace = depth + 1, trace.tb_next
        assert depth < 10


class TestDetours:
    def test_messages_are_diverted_while_hooks_run(self):
        seen = []
        line = Line(callback=lambda message: seen.append(message.data))
        line.inbox.start()
        held = []
        line.inbox.divert = held.append
        line.bring(b"1", b"2")
        line.inbox.divert = None
        line.bring(b"3")
        assert ([message.data for message in held], seen) == ([b"1", b"2"], [b"3"])
        for message in held:
            line.inbox.deliver(message)
        assert seen == [b"3", b"1", b"2"]

    def test_only_the_first_message_after_a_gap_carries_it(self):
        line = Line()
        line.inbox.sight = lambda message: ("gap before", message.data)
        line.bring(b"1", b"2")

        async def main():
            reader = MessageIterator(line.inbox)
            return [(await anext(reader)).gap, (await anext(reader)).gap]

        assert asyncio.run(main()) == [("gap before", b"1"), None]

    def test_an_interruption_is_raised_once_after_what_waits(self):
        async def main():
            line = Line()
            line.bring(b"1")
            line.inbox.interrupt(ConnectionError("cut"))
            assert await read(line.inbox, 1) == [b"1"]
            with pytest.raises(ConnectionError, match="cut"):
                await read(line.inbox, 1)
            line.bring(b"2")
            return await read(line.inbox, 1)

        assert asyncio.run(main()) == [b"2"]

    def test_an_interruption_wakes_the_reader(self):
        async def main():
            line = Line()
            task = asyncio.create_task(read(line.inbox, 1))
            await asyncio.sleep(0)
            line.inbox.interrupt(ConnectionError("cut"))
            with pytest.raises(ConnectionError, match="cut"):
                await task

        asyncio.run(main())


class TestBounds:
    def test_too_many_messages_are_said_once_until_half_of_them_are_gone(self):
        line = Line(max_messages=10)
        line.bring(*numbered(9))
        assert (line.heard, line.inbox.full) == ([], False)
        line.bring(*numbered(5))
        assert (line.heard, line.inbox.full, len(line.inbox)) == (["full"], True, 14)
        asyncio.run(read(line.inbox, 8))
        assert line.inbox.full
        asyncio.run(read(line.inbox, 1))
        assert (line.heard, line.inbox.full) == (["full", "drained"], False)

    def test_too_many_bytes_are_said_too(self):
        line = Line(max_bytes=100)
        line.bring(b"x" * 50, b"x" * 49)
        assert line.heard == []
        line.bring(b"x")
        assert (line.heard, line.inbox.waiting_bytes) == (["full"], 100)
        asyncio.run(read(line.inbox, 1))
        assert line.heard == ["full", "drained"]

    def test_the_depths_are_told_to_telemetry(self):
        line = Line()
        line.bring(b"abc", b"de")
        asyncio.run(read(line.inbox, 1))
        counted = line.telemetry.snapshot()
        assert (counted["inbox_messages"], counted["inbox_bytes"]) == (1, 2)
        assert (counted["inbox_messages_peak"], counted["inbox_bytes_peak"]) == (2, 5)

    def test_an_owner_that_brings_more_when_there_is_room_keeps_the_order(self):
        line = Line(max_messages=4)
        line.bring(*numbered(4))
        line.on_inbox_drained = lambda: line.bring(b"4")
        assert asyncio.run(read(line.inbox, 5)) == numbered(5)

    def test_a_burst_leaves_no_memory_behind(self):
        line = Line()
        asyncio.run(self.burst(line))
        before = sys.getallocatedblocks()
        for _ in range(5):
            asyncio.run(self.burst(line))
        assert sys.getallocatedblocks() - before < 500

    async def burst(self, line):
        wire = frame(TEXT, b"x" * 20) * 1000
        for _ in range(20):
            line.assembler.feed(wire)
        async for _ in MessageIterator(line.inbox):
            if not len(line.inbox):
                break


class TestLife:
    def test_an_inbox_lets_go_of_what_waits_in_it(self):
        tracemalloc.start()
        line = Line()
        line.bring(*[b"x" * 10_000] * 60)
        asyncio.run(read(line.inbox, 50))
        line.bring(*[b"y" * 10_000] * 60)  # over the end of the ring and on from its beginning
        held = tracemalloc.get_traced_memory()[0]
        del line
        gc.collect()
        freed = held - tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert freed > 690_000

    def test_an_inbox_in_a_cycle_is_collected(self):
        line = Line()
        line.bring(b"1")
        line.reader = MessageIterator(line.inbox)
        gone = weakref.ref(line)
        del line
        gc.collect()
        assert gone() is None

    def test_the_last_message_is_not_kept_while_the_next_is_awaited(self):
        async def swallow(inbox):
            async for _ in MessageIterator(inbox):
                del _

        async def main():
            line = Line()
            task = asyncio.create_task(swallow(line.inbox))
            await asyncio.sleep(0)
            tracemalloc.start()
            line.assembler.feed(frame(TEXT, b"x" * 1_000_000))
            await asyncio.sleep(0)
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            task.cancel()
            return held

        assert asyncio.run(main()) < 500_000


def test_an_inbox_needs_its_parts():
    with pytest.raises(TypeError):
        Inbox(Line(), None)
    with pytest.raises(OverflowError):
        Line(max_messages=-1)
    with pytest.raises(TypeError):
        MessageIterator(None)
    with pytest.raises(TypeError):
        MessageIterator(Message(b""))
