"""Inboxes that drop: what stays, in which order, and that each absence is counted and said."""

import asyncio
import gc
import sys
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import TEXT, frame

from wsx._assembler import Assembler
from wsx._drops import ConflatingInbox, DropOldestInbox
from wsx._inbox import MessageIterator
from wsx._telemetry import Telemetry
from wsx.drop_record import DropRecord
from wsx.events import Gap


class Clock:
    """Goes only when it is told to."""

    def __init__(self):
        self.ns = 1000

    def now_ns(self):
        return self.ns


class Line:
    """An inbox that drops, all that was heard of it, and the wire that leads to it."""

    def __init__(self, kind=DropOldestInbox, *, key_of=None, max_age_ns=0, **options):
        self.heard, self.on_record = [], []
        self.clock = Clock()
        self.telemetry = Telemetry(self.clock)
        self.inbox = kind(self, self.telemetry, **options)
        self.inbox.drop_by(self, max_age_ns)
        if key_of is not None:
            self.inbox.conflate_by(key_of)
        self.assembler = Assembler(self.inbox, self, self.telemetry, epoch=7)

    def bring(self, *payloads):
        """Each in a read of its own, a nanosecond after the other."""
        for payload in payloads:
            self.clock.ns += 1
            self.assembler.feed(frame(TEXT, payload))

    def read(self, count):
        """The payloads of so many messages, each with how many its gap says are missing."""
        return [(message.data, message.gap and message.gap.missed) for message in self.messages(count)]

    def messages(self, count):
        async def read():
            reader = MessageIterator(self.inbox)
            return [await anext(reader) for _ in range(count)]

        return asyncio.run(read())

    def counted(self):
        numbers = self.telemetry.snapshot()
        return tuple(numbers[f"messages_{what}"] for what in ("dropped", "conflated", "too_old"))

    def key_of(self, message):
        return message.data

    # what the inbox tells

    def on_dropped(self, cause, missed, since_ns, until_ns, epoch):
        gap = Gap(stream="", last_good_ns=since_ns, first_good_ns=until_ns, cause=cause, missed=missed, epoch=epoch)
        self.on_record.append(gap)
        return gap

    join = staticmethod(DropRecord.join)

    def on_dropping(self):
        self.heard.append("dropping")

    def on_inbox_full(self):
        self.heard.append("full")

    def on_inbox_drained(self):
        self.heard.append("drained")

    def on_key_error(self, error, message):
        self.heard.append((type(error), message.data))

    def on_control(self, opcode, payload):
        """Not what this is about."""

    on_callback_error = on_close = on_failure = on_control


def numbered(count, start=0):
    return [str(number).encode() for number in range(start, start + count)]


def first_letter(message):
    """The key of the tests: the letter in front; a digit has none."""
    letter = message.data[:1]
    return letter if letter.isalpha() else None


class TestDropOldest:
    def test_what_has_room_stays_in_order_and_carries_no_gap(self):
        line = Line(max_messages=10)
        line.bring(*numbered(10))
        assert line.read(10) == [(payload, None) for payload in numbered(10)]
        assert (line.heard, line.on_record, line.counted()) == ([], [], (0, 0, 0))

    def test_the_newest_stay_and_the_first_says_how_many_went(self):
        line = Line(max_messages=10)
        line.bring(*numbered(100))
        assert len(line.inbox) == 10
        assert line.read(10) == [(b"90", 90), *((payload, None) for payload in numbered(9, 91))]
        assert line.counted() == (90, 0, 0)
        assert line.heard == ["dropping"]

    def test_the_gap_reaches_from_the_last_message_read_to_the_next(self):
        line = Line(max_messages=2)
        line.bring(*numbered(2))
        last = line.messages(2)[-1]
        line.bring(*numbered(5, 2))
        first = line.messages(1)[0]
        assert first.gap == Gap(
            stream="",
            last_good_ns=last.received_ns,
            first_good_ns=first.received_ns,
            cause="inbox overflow",
            missed=3,
            epoch=7,
        )
        assert line.on_record == [first.gap]

    def test_before_anything_was_read_it_reaches_back_to_the_beginning(self):
        line = Line(max_messages=1)
        line.bring(b"1", b"2")
        assert line.messages(1)[0].gap.last_good_ns == 1000

    def test_bytes_are_a_limit_too(self):
        line = Line(max_bytes=100)
        line.bring(b"a" * 50, b"b" * 50, b"c" * 60)
        assert (len(line.inbox), line.inbox.waiting_bytes) == (1, 60)
        assert line.read(1) == [(b"c" * 60, 2)]

    def test_a_message_larger_than_all_the_room_is_kept_alone(self):
        line = Line(max_bytes=100)
        line.bring(b"a" * 50, b"b" * 500)
        assert (len(line.inbox), line.inbox.waiting_bytes) == (1, 500)
        line.bring(b"c")
        assert line.read(1) == [(b"c", 2)]

    def test_it_never_is_full_so_nobody_stops_reading_the_socket(self):
        line = Line(max_messages=2)
        line.bring(*numbered(10))
        line.read(2)
        assert not line.inbox.full
        assert line.heard == ["dropping"]

    def test_a_gap_that_a_dropped_message_carried_goes_on_to_the_next(self):
        line = Line(max_messages=1)
        cut = Gap(stream="", last_good_ns=900, first_good_ns=1001, cause="ConnectionLost", epoch=6)
        line.inbox.sight = lambda message: cut
        line.bring(b"1", b"2")
        gap = line.messages(1)[0].gap
        assert (gap.cause, gap.missed) == ("ConnectionLost, inbox overflow", None)
        assert (gap.last_good_ns, gap.first_good_ns, gap.epoch) == (900, 1002, 6)
        assert line.on_record[0].missed == 1

    def test_a_gap_of_the_message_itself_is_joined_with_what_was_dropped_before_it(self):
        line = Line(max_messages=1)
        line.bring(b"1")
        cut = Gap(stream="", last_good_ns=1001, first_good_ns=1002, cause="ConnectionLost", epoch=7)
        line.inbox.sight = lambda message: cut
        line.bring(b"2")
        assert line.messages(1)[0].gap.cause == "inbox overflow, ConnectionLost"

    def test_what_nobody_reads_can_be_put_on_record(self):
        line = Line(max_messages=2)
        line.bring(*numbered(6))
        line.inbox.flush()
        line.inbox.flush()
        assert [gap.missed for gap in line.on_record] == [4]
        assert line.on_record[0].first_good_ns == 1005  # the oldest that waits
        line.bring(*numbered(3, 6))
        assert line.read(2) == [(b"7", 7), (b"8", None)]
        assert [gap.missed for gap in line.on_record] == [4, 3]

    def test_a_callback_that_may_not_run_yet_finds_the_newest(self):
        seen = []
        line = Line(
            callback=lambda message: seen.append((message.data, message.gap and message.gap.missed)), max_messages=2
        )
        line.bring(*numbered(5))
        line.inbox.start()
        line.bring(b"5")
        assert seen == [(b"3", 3), (b"4", None), (b"5", None)]


class TestAge:
    def test_what_has_waited_for_too_long_is_dropped_when_the_reader_comes(self):
        line = Line(max_age_ns=100)
        line.bring(b"1", b"2")
        line.clock.ns += 99
        line.bring(b"3")
        assert (len(line.inbox), line.counted()) == (3, (0, 0, 0))
        assert line.read(1) == [(b"2", 1)]  # exactly as old as it may be
        assert line.messages(1)[0].gap is None
        assert line.counted() == (1, 0, 1)

    def test_a_reader_that_finds_only_old_messages_waits_for_a_young_one(self):
        async def main():
            line = Line(max_age_ns=100)
            line.bring(b"1", b"2")
            line.clock.ns += 1000
            task = asyncio.create_task(anext(aiter(MessageIterator(line.inbox)), None))
            await asyncio.sleep(0)
            assert not task.done() and len(line.inbox) == 0
            line.bring(b"3")
            return await task

        message = asyncio.run(main())
        assert (message.data, message.gap.missed, message.gap.cause) == (b"3", 2, "too old")

    def test_a_callback_is_not_given_old_messages(self):
        seen = []
        line = Line(callback=lambda message: seen.append(message.data), max_age_ns=100)
        line.bring(b"1")
        line.clock.ns += 1000
        line.inbox.start()
        line.bring(b"2")
        assert seen == [b"2"]

    def test_several_causes_are_one_gap(self):
        line = Line(max_messages=2, max_age_ns=100)
        line.bring(*numbered(3))
        line.clock.ns += 1000
        line.bring(b"3")
        gap = line.messages(1)[0].gap
        assert (gap.cause, gap.missed) == ("inbox overflow, too old", 3)

    def test_what_is_too_old_after_the_end_is_still_on_record(self):
        line = Line(max_age_ns=100)
        line.bring(*numbered(3))
        line.inbox.end()
        line.clock.ns += 1000
        with pytest.raises(StopAsyncIteration):
            line.messages(1)
        assert [(gap.cause, gap.missed, gap.first_good_ns) for gap in line.on_record] == [("too old", 3, 2003)]


class TestConflation:
    def line(self, **options):
        return Line(ConflatingInbox, key_of=first_letter, **options)

    def test_the_newest_of_a_key_takes_the_place_of_the_older_one(self):
        line = self.line()
        line.bring(b"a1", b"b1", b"a2", b"c1", b"a3", b"b2")
        assert len(line.inbox) == 3
        assert line.read(3) == [(b"a3", 3), (b"b2", None), (b"c1", None)]
        assert line.counted() == (3, 3, 0)
        assert line.on_record[0].cause == "conflated"

    def test_a_key_that_has_been_read_waits_anew(self):
        line = self.line()
        line.bring(b"a1", b"b1")
        assert line.read(1) == [(b"a1", None)]
        line.bring(b"a2", b"b2", b"a3")
        assert line.read(2) == [(b"b2", 2), (b"a3", None)]

    def test_no_key_means_no_conflation(self):
        line = self.line()
        line.bring(b"1", b"a1", b"1", b"a2", b"1")
        assert line.read(4) == [(b"1", 1), (b"a2", None), (b"1", None), (b"1", None)]

    def test_what_cannot_be_conflated_fills_it_as_any_other_inbox(self):
        line = self.line(max_messages=4)
        line.bring(*numbered(3), b"a1", b"a2")
        assert line.heard == ["full", "dropping"]
        line.bring(b"b1", b"3")
        assert (len(line.inbox), line.inbox.full) == (6, True)
        line.read(4)
        assert line.heard == ["full", "dropping", "drained"]

    def test_a_larger_message_in_the_place_of_a_smaller_one_may_fill_it(self):
        line = self.line(max_bytes=100)
        line.bring(b"a" * 50, b"a" * 99)
        assert line.inbox.waiting_bytes == 99
        line.bring(b"a" * 100, b"a" * 101, b"a")
        assert line.heard == ["dropping", "full"]
        assert (line.inbox.waiting_bytes, line.telemetry.snapshot()["inbox_bytes"]) == (1, 1)

    def test_an_old_message_that_was_renewed_is_young(self):
        line = self.line(max_age_ns=100)
        line.bring(b"a1", b"b1")
        line.clock.ns += 1000
        line.bring(b"a2")
        assert line.read(1) == [(b"a2", 1)]
        line.bring(b"b2")  # in the place of b1
        line.clock.ns += 1000
        line.bring(b"b3", b"a3")
        assert line.read(2) == [(b"b3", 2), (b"a3", None)]

    def test_a_gap_of_the_message_that_went_is_kept(self):
        line = self.line()
        cut = Gap(stream="", last_good_ns=900, first_good_ns=1001, cause="ConnectionLost", epoch=6)
        line.inbox.sight = lambda message: cut
        line.bring(b"a1", b"a2")
        assert line.messages(1)[0].gap.cause == "ConnectionLost, conflated"

    @pytest.mark.parametrize(
        ("key_of", "error"),
        [
            (lambda message: 1 / 0, ZeroDivisionError),
            (lambda message: [], TypeError),
            (lambda message: KeyError(), None),
        ],
    )
    def test_a_function_that_fails_leaves_the_message_unconflated(self, key_of, error):
        line = Line(ConflatingInbox, key_of=key_of)
        line.bring(b"1", b"2")
        assert line.heard == ([(error, b"1"), (error, b"2")] if error else [])
        assert line.read(2) == [(b"1", None), (b"2", None)]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_ends_the_process_passes(self, error):
        def stop(message):
            raise error

        line = Line(ConflatingInbox, key_of=stop)
        with pytest.raises(error):
            line.bring(b"1")
        assert len(line.inbox) == 0

    def test_an_owner_that_brings_more_when_there_is_room_keeps_the_order(self):
        line = self.line(max_messages=4)
        line.bring(b"a1", b"b1", b"c1", b"d1")
        line.on_inbox_drained = lambda: line.bring(b"a2", b"d2")
        assert line.read(4) == [(b"a1", None), (b"b1", 1), (b"c1", None), (b"d2", None)]
        assert line.read(1) == [(b"a2", None)]


class Model:
    """The same in plain Python, message by message."""

    def __init__(self, conflate, max_messages, max_bytes, max_age_ns):
        self.conflate, self.max_messages, self.max_bytes, self.max_age_ns = (
            conflate,
            max_messages,
            max_bytes,
            max_age_ns,
        )
        self.waiting, self.missed, self.dropped = [], 0, 0

    def size(self):
        return sum(len(payload) for payload, _ in self.waiting)

    def drop(self, index):
        self.missed += 1
        self.dropped += 1
        return self.waiting.pop(index)

    def bring(self, payload, now_ns):
        letters = [waiting[:1] for waiting, _ in self.waiting]
        if self.conflate and payload[:1].isalpha() and payload[:1] in letters:
            place = letters.index(payload[:1])
            self.drop(place)
            self.waiting.insert(place, (payload, now_ns))
            return
        while (
            not self.conflate
            and self.waiting
            and (len(self.waiting) >= self.max_messages or self.size() + len(payload) > self.max_bytes)
        ):
            self.drop(0)
        self.waiting.append((payload, now_ns))

    def read(self, now_ns):
        while self.waiting and self.max_age_ns and now_ns - self.waiting[0][1] > self.max_age_ns:
            self.drop(0)
        if not self.waiting:
            return None
        missed, self.missed = self.missed or None, 0
        return self.waiting.pop(0)[0], missed


STEPS = st.one_of(
    st.builds(lambda letter, size: (letter * size).encode(), st.sampled_from("abcd12"), st.integers(1, 30)),  # bring
    st.integers(1, 100),  # let time pass
    st.just("read"),
)


@given(
    st.lists(STEPS, max_size=150),
    st.booleans(),
    st.integers(1, 8),
    st.integers(1, 100),
    st.sampled_from([0, 1, 50, 500]),
)
def test_any_sequence_does_as_the_model(steps, conflate, max_messages, max_bytes, max_age_ns):
    limits = {"max_messages": max_messages, "max_bytes": max_bytes, "max_age_ns": max_age_ns}
    model = Model(conflate, **limits)
    line = Line(ConflatingInbox, key_of=first_letter, **limits) if conflate else Line(**limits)
    reader = MessageIterator(line.inbox)
    for step in steps:
        if isinstance(step, bytes):
            line.bring(step)
            model.bring(step, line.clock.ns)
        elif isinstance(step, int):
            line.clock.ns += step
        else:
            assert take(reader) == model.read(line.clock.ns)
        assert (len(line.inbox), line.inbox.waiting_bytes) == (len(model.waiting), model.size())
        assert line.counted()[0] == model.dropped
        assert conflate or len(line.inbox) <= max_messages
    line.inbox.flush()
    assert sum(gap.missed for gap in line.on_record) == model.dropped


def take(reader):
    """A step by hand: the message and what it says is missing, or None where the reader would wait."""

    async def step():
        try:
            reader.send(None)
        except StopIteration as done:
            return done.value.data, done.value.gap and done.value.gap.missed
        reader.close()
        return None

    return asyncio.run(step())


class TestLife:
    @pytest.mark.parametrize("kind", [DropOldestInbox, ConflatingInbox])
    def test_dropping_leaves_no_memory_behind(self, kind):
        line = Line(kind, key_of=first_letter if kind is ConflatingInbox else None, max_messages=100)
        wire = b"".join(frame(TEXT, letter + b"x" * 20) for letter in (b"a", b"b", b"c")) * 1000
        line.assembler.feed(wire)
        before = sys.getallocatedblocks()
        for _ in range(20):
            line.assembler.feed(wire)
        assert sys.getallocatedblocks() - before < 500
        assert line.counted()[0] > 60_000

    @pytest.mark.parametrize("kind", [DropOldestInbox, ConflatingInbox])
    def test_one_in_a_cycle_is_collected(self, kind):
        line = Line(kind)
        if kind is ConflatingInbox:
            line.inbox.conflate_by(line.key_of)
        line.bring(b"1", b"1")
        gone = weakref.ref(line)
        del line
        gc.collect()
        assert gone() is None


def test_they_need_their_parts():
    line = Line(ConflatingInbox, key_of=first_letter)
    with pytest.raises(TypeError):
        line.inbox.drop_by(None)
    with pytest.raises(TypeError):
        line.inbox.conflate_by(None)
