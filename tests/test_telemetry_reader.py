"""A block of counters read from outside: whole ones, newer ones, and what is none."""

import contextlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx._telemetry import SHARED_BYTES, Telemetry
from wsx.telemetry_file import open_telemetry
from wsx.telemetry_reader import TelemetryReader, process_lives, process_started, read_block

HEADER = struct.Struct("=8sIIQQQQQQQQ")
FIELD = struct.Struct("=48sQQ")


def counted(telemetry):
    telemetry.add("messages_received", 3)
    telemetry.store("last_received_ns", 2**63)
    telemetry.record_rtt(1000)
    telemetry.record_rtt(3000)
    return telemetry


def shared_block():
    return bytes(counted(Telemetry(None, bytearray(SHARED_BYTES))))


def made_block(entries, words, *, version=1, entry_bytes=FIELD.size, size=None, count=None):
    """A block by hand: entries of (name, offset behind the table, kind)."""
    table_bytes = entry_bytes * len(entries)
    table = b"".join(
        FIELD.pack(name, HEADER.size + table_bytes + offset, kind) + bytes(entry_bytes - FIELD.size)
        for name, offset, kind in entries
    )
    size = HEADER.size + table_bytes + 8 * len(words) if size is None else size
    count = len(entries) if count is None else count
    header = HEADER.pack(b"WSXTELEM", version, entry_bytes, size, os.getpid(), 1, 2, HEADER.size, count, 0, 0)
    return header + table + struct.pack(f"={len(words)}Q", *words)


class TestReading:
    def test_a_shared_block_tells_what_the_snapshot_tells(self):
        telemetry = counted(Telemetry(None, bytearray(SHARED_BYTES)))
        assert read_block(telemetry).values == telemetry.snapshot()
        assert list(read_block(telemetry).values) == list(telemetry.snapshot())

    def test_a_private_block_tells_the_counters_alone(self):
        telemetry = counted(Telemetry())
        expected = {name: value for name, value in telemetry.snapshot().items() if not name.startswith("rtt_ns_")}
        assert read_block(bytes(telemetry)).values == expected

    def test_it_tells_whose_block_it_is_and_since_when(self):
        before = time.monotonic_ns(), time.time_ns()
        telemetry = Telemetry(None, bytearray(SHARED_BYTES), 5)
        block = read_block(telemetry)
        assert (block.pid, block.process_started, block.ended_wall_ns) == (os.getpid(), 5, None)
        assert before[0] <= block.started_monotonic_ns and before[1] <= block.started_wall_ns
        telemetry.end()
        assert read_block(telemetry).ended_wall_ns >= block.started_wall_ns

    def test_bytes_behind_the_block_are_nobodys(self):
        assert read_block(shared_block() + b"more").values == read_block(shared_block()).values

    def test_a_newer_writers_fields_are_read_by_name_or_passed_over(self):
        entries = [(b"messages_received", 0, 1), (b"of_tomorrow", 8, 2), (b"of_a_new_kind", 2**40, 9)]
        block = read_block(made_block(entries, [7, 8]))
        assert block.values == {"messages_received": 7, "of_tomorrow": 8}

    def test_a_newer_writers_longer_entries_are_read(self):
        assert read_block(made_block([(b"a", 0, 1), (b"b", 8, 1)], [7, 8], entry_bytes=80)).values == {"a": 7, "b": 8}


class TestRefusing:
    def test_what_is_foreign(self):
        with pytest.raises(ValueError, match=r"not a telemetry block of wsx: it begins with b'\\x7fELF"):
            read_block(b"\x7fELF" + bytes(200))

    def test_what_is_cut_short(self):
        block = shared_block()
        with pytest.raises(
            ValueError, match=f"not a whole telemetry block of wsx: {len(block) - 1} bytes, of at least"
        ):
            read_block(block[:-1])
        with pytest.raises(ValueError, match="not a whole telemetry block of wsx: 0 bytes, of at least 80"):
            read_block(b"")

    def test_another_version(self):
        with pytest.raises(ValueError, match="telemetry block of version 2; this wsx reads version 1"):
            read_block(made_block([], [], version=2))

    @pytest.mark.parametrize(
        ("block", "words"),
        [
            (made_block([(b"a", 0, 1)], [7], count=3), "its table of 3 fields reaches beyond its 152 bytes"),
            (made_block([(b"a", 8, 1)], [7]), "a lies at 152, beyond its 152 bytes"),
            (made_block([(b"a", 0, 4)], [7]), "a lies at 144, beyond"),
            (made_block([], [], entry_bytes=63), "entries of 63 bytes"),
        ],
    )
    def test_what_points_beyond_its_end(self, block, words):
        with pytest.raises(ValueError, match=f"damaged telemetry block: .*{words}"):
            read_block(block)

    @given(st.data())
    def test_any_damage_is_a_value_error_or_harmless(self, data):
        block = bytearray(shared_block())
        for _ in range(data.draw(st.integers(1, 5))):
            block[data.draw(st.integers(0, 4000))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(ValueError):
            read_block(block[: data.draw(st.integers(0, len(block)))])


class TestFile:
    def test_a_reader_sees_the_counters_as_they_move(self, tmp_path):
        telemetry = counted(open_telemetry(tmp_path / "desk"))
        with TelemetryReader(tmp_path / "desk") as reader:
            assert reader.read().values == telemetry.snapshot()
            telemetry.add("messages_received")
            assert reader.read().values["messages_received"] == 4

    def test_what_is_not_there_or_no_file_cannot_be_read(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            TelemetryReader(tmp_path / "nothing")
        with pytest.raises(IsADirectoryError):
            TelemetryReader(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"x" * 79, b"x" * 1000, shared_block()[:-1]])
    def test_a_file_that_is_no_block_is_refused_by_name(self, tmp_path, content):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path}: not a .*telemetry block"):
            TelemetryReader(path)

    def test_a_file_that_was_cut_short_meanwhile_is_refused_and_not_touched(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(shared_block())
        with TelemetryReader(path) as reader:
            os.truncate(path, 100)
            with pytest.raises(ValueError, match="not a whole telemetry block of wsx: 100 bytes"):
                reader.read()

    def test_a_closed_reader_reads_nothing(self, tmp_path):
        open_telemetry(tmp_path / "desk")
        reader = TelemetryReader(tmp_path / "desk")
        reader.close()
        reader.close()
        with pytest.raises(ValueError, match="closed"):
            reader.read()


class TestProcesses:
    def test_this_one_lives(self):
        assert process_lives(os.getpid())
        assert process_lives(os.getpid(), process_started(os.getpid()) or 0)

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc tells when a process started")
    def test_another_one_of_the_same_number_is_not_it(self):
        assert not process_lives(os.getpid(), process_started(os.getpid()) + 1)

    def test_one_that_ended_does_not_live_and_neither_does_one_that_nobody_has_waited_for(self):
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        started = process_started(process.pid)
        assert process_lives(process.pid, started)
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not yet forgotten
        assert process_started(process.pid) is None and not process_lives(process.pid, started)
        process.wait()
        assert process_started(process.pid) is None and not process_lives(process.pid)

    def test_no_process_has_such_a_number(self):
        assert not process_lives(2**63)
