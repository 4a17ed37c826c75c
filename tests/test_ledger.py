"""The ledger answers "was I blind then?" like a search through every gap would."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx.events import Gap
from wsx.ledger import Ledger, WallAnchor


def ledger_of(*gaps, **settings):
    """A ledger with these (stream, last good, first good) gaps; None for one that still lasts."""
    ledger = Ledger(**settings)
    for stream, last_good_ns, first_good_ns in gaps:
        ledger.begin(stream, last_good_ns, "reconnect", epoch=1)
        if first_good_ns is not None:
            ledger.end(stream, first_good_ns)
    return ledger


def covers(gap, at_ns, stream):
    ended = gap.first_good_ns is not None and gap.first_good_ns <= at_ns
    return gap.stream in (stream, "") and gap.last_good_ns < at_ns and not ended


class TestRecords:
    def test_a_gap_lasts_from_the_last_good_message_to_the_first(self):
        ledger = Ledger()
        begun = ledger.begin("trades", 100, "reconnect", epoch=3)
        assert begun == Gap(
            stream="trades", last_good_ns=100, first_good_ns=None, cause="reconnect", missed=None, epoch=3
        )
        ended = ledger.end("trades", 250, missed=7)
        assert ended == Gap(stream="trades", last_good_ns=100, first_good_ns=250, cause="reconnect", missed=7, epoch=3)
        assert ledger.gaps() == (ended,)

    def test_a_second_cause_while_it_is_blind_makes_no_second_gap(self):
        ledger = Ledger()
        first = ledger.begin("trades", 100, "stalled", epoch=1)
        assert ledger.begin("trades", 150, "reconnect", epoch=1) is first
        ledger.end("trades", 200)
        assert [(gap.last_good_ns, gap.cause) for gap in ledger.gaps()] == [(100, "stalled")]

    def test_what_was_not_blind_cannot_end(self):
        with pytest.raises(KeyError, match="trades"):
            Ledger().end("trades", 1)

    def test_it_never_ends_before_it_began(self):
        assert ledger_of(("a", 100, 40)).gaps()[0].first_good_ns == 100

    def test_gaps_of_one_stream_are_told_apart(self):
        ledger = ledger_of(("a", 1, 2), ("b", 1, 3), ("a", 5, None))
        assert [gap.last_good_ns for gap in ledger.gaps("a")] == [1, 5]
        assert [gap.stream for gap in ledger.gaps()] == ["a", "b", "a"]

    def test_a_record_that_grows_takes_the_place_of_what_it_was(self):
        ledger = ledger_of(("", 50, 200), ("", 120, 200))
        gap = Gap(stream="", last_good_ns=100, first_good_ns=200, cause="inbox overflow", missed=3, epoch=1)
        longer = dataclasses.replace(gap, first_good_ns=300, missed=5)
        ledger.add(gap)
        ledger.add(longer, instead_of=gap)
        assert [known.missed for known in ledger.gaps()] == [None, None, 5]
        assert (ledger.was_blind(60).missed, ledger.was_blind(250), ledger.was_blind(300)) == (None, longer, None)

    def test_a_record_that_was_forgotten_meanwhile_grows_too(self):
        ledger = ledger_of(("", 50, 90), max_records=1)
        gap = ledger.gaps()[0]
        ledger.begin("", 100, "reconnect", epoch=1)
        ledger.end("", 150)
        longer = dataclasses.replace(gap, first_good_ns=300)
        ledger.add(longer, instead_of=gap)
        assert (ledger.gaps(), ledger.forgotten) == ((longer,), 2)

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.booleans()), max_size=40), st.integers(0, 400))
    def test_records_that_grow_are_found_as_by_a_search(self, steps, at_ns):
        ledger, now_ns, growing = Ledger(), 0, None
        for before, lasts, grows in steps:
            last_good_ns = now_ns + before
            now_ns = last_good_ns + lasts
            gap = Gap(stream="", last_good_ns=last_good_ns, first_good_ns=now_ns, cause="too old", epoch=1)
            if grows and growing is not None:
                gap = dataclasses.replace(growing, first_good_ns=now_ns)
                ledger.add(gap, instead_of=growing)
                growing = gap
            else:
                ledger.add(gap)
                growing = gap if grows else growing
        expected = [gap for gap in ledger.gaps() if covers(gap, at_ns, "")]
        found = ledger.was_blind(at_ns)
        assert found in expected if expected else found is None

    def test_a_ledger_without_room_is_refused(self):
        with pytest.raises(ValueError, match="max_records"):
            Ledger(0)


class TestQuestions:
    def test_the_two_messages_at_its_ends_were_seen(self):
        ledger = ledger_of(("trades", 100, 200))
        assert [ledger.was_blind(at) is not None for at in (99, 100, 101, 199, 200, 201)] == [
            False,
            False,
            True,
            True,
            False,
            False,
        ]

    def test_a_gap_that_lasts_has_no_end(self):
        ledger = ledger_of(("trades", 100, None))
        assert ledger.was_blind(100) is None
        assert ledger.was_blind(10**18).stream == "trades"

    def test_one_stream_is_not_blind_for_another(self):
        ledger = ledger_of(("trades", 100, 200), ("book", 150, None))
        assert ledger.was_blind(120, "book") is None
        assert ledger.was_blind(120, "trades").stream == "trades"
        assert ledger.was_blind(500, "trades") is None
        assert ledger.was_blind(500, "book").stream == "book"

    @pytest.mark.parametrize("end", [200, None])
    def test_every_stream_is_blind_while_its_connection_is(self, end):
        assert ledger_of(("", 100, end)).was_blind(150, "trades").stream == ""

    def test_an_empty_ledger_saw_everything(self):
        assert Ledger().was_blind(1) is None
        assert Ledger().was_blind(1, "trades") is None

    @given(
        st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 60), st.integers(0, 60) | st.none())),
        st.integers(-1, 70),
        st.sampled_from(["a", "b", "c", None]),
        st.integers(1, 8),
    )
    def test_the_answer_is_that_of_a_search_through_all_gaps(self, steps, at_ns, stream, max_records):
        ledger = ledger_of(*steps, max_records=max_records)
        known = ledger.gaps()
        expected = [gap for gap in known if covers(gap, at_ns, gap.stream if stream is None else stream)]
        found = ledger.was_blind(at_ns, stream)
        assert (found in expected) if expected else (found is None)

    @given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.integers(0, 9))))
    def test_the_gaps_that_overlap_on_all_streams_are_found_whatever_ends_first(self, spans):
        ledger = Ledger()
        for number, (stream, start, _) in enumerate(spans):
            ledger.begin(f"{stream}{number}", start, "x", epoch=1)
        for number, (stream, start, length) in reversed(list(enumerate(spans))):
            ledger.end(f"{stream}{number}", start + length)
        for at_ns in range(20):
            blind = any(start < at_ns < start + length for _, start, length in spans)
            assert (ledger.was_blind(at_ns) is not None) == blind


class TestMemory:
    def test_the_oldest_are_forgotten_and_counted(self):
        ledger = ledger_of(*[("a", at, at + 5) for at in range(0, 100, 10)], max_records=3)
        assert (len(ledger.gaps()), ledger.forgotten, ledger.complete_since_ns) == (3, 7, 65)
        assert ledger.was_blind(62) is None
        assert ledger.was_blind(72) is not None

    def test_a_ledger_that_forgot_nothing_is_complete(self):
        assert ledger_of(("a", 1, 2)).complete_since_ns is None

    def test_what_lasts_is_not_forgotten(self):
        ledger = ledger_of(("book", 0, None), *[("a", at, at + 5) for at in range(0, 100, 10)], max_records=1)
        assert ledger.was_blind(62, "book").stream == "book"

    def test_streams_that_come_and_go_leave_nothing(self):
        ledger = ledger_of(*[(f"stream-{at}", at, at + 1) for at in range(1000)], max_records=10)
        assert len(ledger._of_stream) == 10
        assert len(ledger._of_all.gaps) == 10
        assert not ledger._lasting_since


class TestWallClock:
    ANCHOR = WallAnchor(monotonic_ns=5_000, wall_ns=1_700_000_000_000_000_000)

    def test_a_wall_clock_time_is_looked_up_through_an_anchor(self):
        ledger = ledger_of(("trades", 4_000, 6_000))
        at_ns = self.ANCHOR.to_monotonic_ns(1_700_000_000_000_000_500)
        assert at_ns == 5_500
        assert ledger.was_blind(at_ns).stream == "trades"

    @given(st.integers())
    def test_there_and_back_is_the_same_moment(self, wall_ns):
        assert self.ANCHOR.to_wall_ns(self.ANCHOR.to_monotonic_ns(wall_ns)) == wall_ns
