"""Counters in plain memory, read as a stranger would read them, and the histogram of latencies."""

import math
import os
import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsx
from wsx._telemetry import SHARED_BYTES, Histogram, Telemetry

# magic, version, entry bytes, size, pid, start: monotonic, wall, fields: at, count, start of the process, end: wall
HEADER = struct.Struct("=8sIIQQQQQQQQ")
COUNTER, GAUGE, INSTANT = 1, 2, 3
MICROSECOND = 1000
MINUTE = 60 * 1_000_000_000
ROUND_TRIP_KEYS = ("rtt_ns_count", "rtt_ns_min", "rtt_ns_p50", "rtt_ns_p90", "rtt_ns_p99", "rtt_ns_max")

LATENCIES = st.one_of(st.integers(MICROSECOND, MINUTE), st.integers(MICROSECOND, 1000 * MICROSECOND))


def declared_counters() -> list[str]:
    """The fields of the struct, from the source that other extensions compile against."""
    source = (Path(wsx.__file__).parent / "_telemetry.pxd").read_text()
    body = source.partition("cdef struct Counters:")[2].partition("cdef ")[0]
    return re.findall(r"^    uint64_t (\w+)", body, re.MULTILINE)


def fields(block: bytes) -> dict[str, tuple[int, int]]:
    """Name to (offset, kind), by the header alone."""
    _, _, entry_bytes, *_, fields_offset, field_count, _, _ = HEADER.unpack_from(block)
    entries = (fields_offset + index * entry_bytes for index in range(field_count))
    decoded = [struct.unpack_from(f"={entry_bytes - 16}sQQ", block, entry) for entry in entries]
    return {name.rstrip(b"\0").decode(): (offset, kind) for name, offset, kind in decoded}


def decode(block: bytes) -> dict[str, int]:
    """Every counter's value, by the header alone."""
    return {name: struct.unpack_from("=Q", block, offset)[0] for name, (offset, _) in fields(block).items()}


def nearest_rank(latencies: list[int], percent: float) -> int:
    """The percentile by its definition."""
    rank = max(math.ceil(percent * len(latencies) / 100), 1)
    return sorted(latencies)[rank - 1]


class TestCounters:
    def test_a_new_telemetry_has_counted_nothing(self) -> None:
        snapshot = Telemetry().snapshot()
        assert list(snapshot) == [*declared_counters(), *ROUND_TRIP_KEYS]
        assert set(snapshot.values()) == {0}

    def test_every_counter_has_its_own_word(self) -> None:
        telemetry = Telemetry()
        expected = {name: 2**63 + number for number, name in enumerate(declared_counters())}
        for name, value in expected.items():
            telemetry.store(name, value)
        assert decode(bytes(telemetry)) == expected
        assert {name: telemetry.snapshot()[name] for name in expected} == expected

    def test_a_counter_is_raised(self) -> None:
        telemetry = Telemetry()
        telemetry.add("errors_protocol")
        telemetry.add("errors_protocol", 4)
        assert telemetry.snapshot()["errors_protocol"] == 5

    def test_two_telemetries_share_nothing(self) -> None:
        one, other = Telemetry(), Telemetry()
        one.add("messages_sent")
        one.record_rtt(5)
        assert set(other.snapshot().values()) == {0}

    def test_an_unknown_counter_is_refused(self) -> None:
        with pytest.raises(KeyError, match="no_such_counter"):
            Telemetry().add("no_such_counter")
        with pytest.raises(KeyError, match="rtt_ns_p50"):
            Telemetry().store("rtt_ns_p50", 1)

    @pytest.mark.parametrize(("value", "error"), [(-1, OverflowError), (2**64, OverflowError), (1.5, TypeError)])
    def test_a_value_that_is_no_unsigned_word_is_refused(self, value: int, error: type[Exception]) -> None:
        telemetry = Telemetry()
        with pytest.raises(error):
            telemetry.store("messages_sent", value)
        with pytest.raises(error):
            telemetry.add("messages_sent", value)
        assert telemetry.snapshot()["messages_sent"] == 0


class TestMemory:
    def test_the_header_says_what_the_block_is_and_whose(self) -> None:
        before = time.monotonic_ns(), time.time_ns()
        block = bytes(Telemetry())
        after = time.monotonic_ns(), time.time_ns()
        magic, version, entry_bytes, size, pid, monotonic_ns, wall_ns, *table = HEADER.unpack_from(block)
        fields_offset, field_count, process_started, ended_wall_ns = table
        assert (magic, version, size, pid) == (b"WSXTELEM", 1, len(block), os.getpid())
        assert before[0] <= monotonic_ns <= after[0]
        assert before[1] <= wall_ns <= after[1]
        assert (fields_offset, field_count) == (HEADER.size, len(declared_counters()))
        assert (process_started, ended_wall_ns) == (0, 0)
        assert fields_offset + field_count * (entry_bytes + 8) == size

    def test_the_table_names_the_counters_of_the_struct_in_its_order(self) -> None:
        assert list(fields(bytes(Telemetry()))) == declared_counters()

    def test_the_words_are_aligned_and_do_not_overlap(self) -> None:
        block = bytes(Telemetry())
        offsets = [offset for offset, _ in fields(block).values()]
        assert all(offset % 8 == 0 and offset + 8 <= len(block) for offset in offsets)
        assert len(set(offsets)) == len(offsets)

    def test_the_table_tells_what_only_grows_from_what_moves_and_from_instants(self) -> None:
        kinds = {name: kind for name, (_, kind) in fields(bytes(Telemetry())).items()}
        assert {name for name, kind in kinds.items() if kind == INSTANT} == {
            "last_received_ns",
            "last_message_ns",
            "last_sent_ns",
        }
        assert {name for name, kind in kinds.items() if kind == GAUGE} == {
            name
            for name in kinds
            if name.startswith(("opening_", "write_buffered_"))
            or re.fullmatch(r"inbox_(messages|bytes)(_peak)?|last_(rtt|callback)_ns|callback_ns_max", name)
        }
        assert kinds["messages_received"] == kinds["inbox_pauses"] == COUNTER

    def test_a_view_is_read_only_and_shows_the_counters_as_they_move(self) -> None:
        telemetry = Telemetry()
        view = memoryview(telemetry)
        offset, _ = fields(view.tobytes())["bytes_sent"]
        telemetry.add("bytes_sent", 1234)
        assert view.readonly
        assert struct.unpack_from("=Q", view, offset) == (1234,)

    def test_a_view_keeps_the_block_alive(self) -> None:
        telemetry = Telemetry()
        telemetry.add("bytes_sent", 1234)
        view = memoryview(telemetry)
        del telemetry
        assert decode(view.tobytes())["bytes_sent"] == 1234

    def test_the_end_is_told_to_who_reads_the_block(self) -> None:
        telemetry = Telemetry()
        before = time.time_ns()
        telemetry.end()
        assert before <= HEADER.unpack_from(bytes(telemetry))[-1] <= time.time_ns()

    def test_the_histogram_is_not_in_the_block(self) -> None:
        telemetry = Telemetry()
        before = len(bytes(telemetry))
        telemetry.record_rtt(1)
        assert len(bytes(telemetry)) == before


class TestSharedMemory:
    def test_the_block_lies_in_it_and_counts_there(self) -> None:
        memory = bytearray(SHARED_BYTES + 100)
        telemetry = Telemetry(None, memory, 77)
        telemetry.add("bytes_sent", 1234)
        assert decode(bytes(memory))["bytes_sent"] == telemetry.snapshot()["bytes_sent"] == 1234
        assert bytes(telemetry) == memory[:SHARED_BYTES]
        assert HEADER.unpack_from(memory)[-2:] == (77, 0)

    def test_the_histogram_is_in_the_block(self) -> None:
        memory = bytearray(SHARED_BYTES)
        telemetry = Telemetry(None, memory)
        offset, kind = fields(bytes(memory))["rtt_ns"]
        assert (list(fields(bytes(memory))), kind) == ([*declared_counters(), "rtt_ns"], 4)
        for latency_ns in (5, 9, 7):
            telemetry.record_rtt(latency_ns)
        assert struct.unpack_from("=QQQ", memory, offset) == (3, 5, 9)
        counts = struct.unpack_from("=1024Q", memory, offset + 24)
        assert [at for at, count in enumerate(counts) if count] == [5, 7, 9]
        assert telemetry.snapshot()["rtt_ns_p50"] == 7
        assert offset + 8 * (3 + 1024) == SHARED_BYTES

    def test_it_is_held_while_it_is_counted_in(self) -> None:
        memory = bytearray(SHARED_BYTES)
        telemetry = Telemetry(None, memory)
        with pytest.raises(BufferError):
            memory.clear()
        del telemetry
        memory.clear()

    @pytest.mark.parametrize(
        ("memory", "error"),
        [(bytearray(SHARED_BYTES - 1), ValueError), (bytes(SHARED_BYTES), BufferError), ("x", TypeError)],
    )
    def test_too_little_or_none_that_can_be_written_is_refused(self, memory: bytes, error: type[Exception]) -> None:
        with pytest.raises(error):
            Telemetry(None, memory)


class TestRoundTrips:
    def test_one_round_trip_is_every_percentile(self) -> None:
        telemetry = Telemetry()
        telemetry.record_rtt(123_456)
        snapshot = telemetry.snapshot()
        assert [snapshot[key] for key in ROUND_TRIP_KEYS] == [1] + [123_456] * 5
        assert snapshot["last_rtt_ns"] == 123_456

    @given(st.lists(LATENCIES, min_size=1, max_size=200))
    def test_the_snapshot_tells_the_percentiles(self, latencies: list[int]) -> None:
        telemetry = Telemetry()
        for latency_ns in latencies:
            telemetry.record_rtt(latency_ns)
        snapshot = telemetry.snapshot()
        assert snapshot["last_rtt_ns"] == latencies[-1]
        assert snapshot["rtt_ns_count"] == len(latencies)
        assert (snapshot["rtt_ns_min"], snapshot["rtt_ns_max"]) == (min(latencies), max(latencies))
        for percent in (50, 90, 99):
            assert snapshot[f"rtt_ns_p{percent}"] == pytest.approx(nearest_rank(latencies, percent), rel=0.03)


class TestHistogram:
    def test_an_empty_histogram_answers_zero(self) -> None:
        histogram = Histogram()
        assert (histogram.count, histogram.min, histogram.max, histogram.percentile(50)) == (0, 0, 0, 0)

    @given(st.lists(LATENCIES, min_size=1, max_size=200), st.floats(0, 100))
    def test_every_percentile_is_within_three_percent(self, latencies: list[int], percent: float) -> None:
        histogram = Histogram()
        for latency_ns in latencies:
            histogram.record(latency_ns)
        assert histogram.count == len(latencies)
        assert (histogram.min, histogram.max) == (min(latencies), max(latencies))
        assert histogram.percentile(percent) == pytest.approx(nearest_rank(latencies, percent), rel=0.03)
        assert (histogram.percentile(0), histogram.percentile(100)) == (min(latencies), max(latencies))

    @given(st.integers(0, 2**36 - 1))
    def test_every_single_latency_is_within_a_sixty_fourth(self, latency_ns: int) -> None:
        histogram = Histogram()
        for recorded_ns in (0, latency_ns, 2**36):  # the outer two keep the answer from being clipped to an exact one
            histogram.record(recorded_ns)
        assert abs(histogram.percentile(50) - latency_ns) <= latency_ns / 64

    @pytest.mark.parametrize("power", range(37))
    def test_buckets_meet_without_a_gap_at_every_power_of_two(self, power: int) -> None:
        for latency_ns in (2**power - 1, 2**power, 2**power + 1):
            histogram = Histogram()
            for recorded_ns in (0, latency_ns, 2**37):
                histogram.record(recorded_ns)
            assert abs(histogram.percentile(50) - latency_ns) <= latency_ns / 64

    def test_latencies_below_64_ns_are_exact(self) -> None:
        for latency_ns in range(64):
            histogram = Histogram()
            for recorded_ns in (0, latency_ns, 100):
                histogram.record(recorded_ns)
            assert histogram.percentile(50) == latency_ns

    def test_a_latency_above_the_scale_is_counted_and_its_maximum_exact(self) -> None:
        histogram = Histogram()
        for latency_ns in (1, 2**40, 2**64 - 1):
            histogram.record(latency_ns)
        assert (histogram.count, histogram.max, histogram.percentile(100)) == (3, 2**64 - 1, 2**64 - 1)
        assert MINUTE < histogram.percentile(50) <= 2**40

    @given(st.lists(LATENCIES, max_size=50), st.lists(LATENCIES, max_size=50), st.floats(0, 100))
    def test_a_merged_histogram_is_that_of_both(self, ours: list[int], theirs: list[int], percent: float) -> None:
        one, other, both = Histogram(), Histogram(), Histogram()
        for histogram, latencies in ((one, ours), (other, theirs), (both, ours + theirs)):
            for latency_ns in latencies:
                histogram.record(latency_ns)
        one.merge(other)
        assert (one.count, one.min, one.max) == (both.count, both.min, both.max)
        assert one.percentile(percent) == both.percentile(percent)
        assert other.count == len(theirs)

    @pytest.mark.parametrize("percent", [-1, 100.1, math.nan, math.inf])
    def test_a_percentile_outside_the_hundred_is_refused(self, percent: float) -> None:
        with pytest.raises(ValueError, match="percent must be 0 to 100"):
            Histogram().percentile(percent)

    @pytest.mark.parametrize(("latency_ns", "error"), [(-1, OverflowError), (2**64, OverflowError), (0.001, TypeError)])
    def test_what_is_not_whole_nanoseconds_is_refused(self, latency_ns: int, error: type[Exception]) -> None:
        histogram = Histogram()
        with pytest.raises(error):
            histogram.record(latency_ns)
        assert histogram.count == 0

    def test_counts_are_loaded_from_a_block(self) -> None:
        memory = bytearray(SHARED_BYTES)
        telemetry, histogram = Telemetry(None, memory), Histogram()
        telemetry.record_rtt(500)
        histogram.record(3)
        histogram.load(memory[-8 * (3 + 1024) :])
        assert (histogram.count, histogram.min, histogram.max, histogram.percentile(50)) == (1, 500, 500, 500)
        with pytest.raises(ValueError, match="latencies are 8216 bytes, not 8"):
            histogram.load(bytes(8))

    def test_only_a_histogram_can_be_merged(self) -> None:
        with pytest.raises(TypeError):
            Histogram().merge(None)  # type: ignore[arg-type]
