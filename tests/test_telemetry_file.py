"""Counters in a file: where it may be, what becomes of it, and that no reader ever holds its writer up."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap

import pytest
from raw_server import RawServer, connect, run_bounded
from source_lines import ROOT

from wsx._telemetry import SHARED_BYTES
from wsx.telemetry_file import open_telemetry
from wsx.telemetry_reader import TelemetryReader


def read(path):
    with TelemetryReader(path) as reader:
        return reader.read()


def python(program, *arguments, **options):
    """Another process of Python, which says a line when it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment, **pipes)


WRITER = """
    import sys
    from wsx.telemetry_file import open_telemetry
    telemetry = open_telemetry(sys.argv[1])
    telemetry.add("messages_sent", 5)
    print("ready", flush=True)
    sys.stdin.read()
"""

READER = """
    import sys
    from wsx.telemetry_reader import TelemetryReader
    reader = TelemetryReader(sys.argv[1])
    last = reader.read().values["messages_sent"]
    print("ready", flush=True)
    while True:
        now = reader.read().values["messages_sent"]
        assert now >= last
        last = now
"""


class TestPlace:
    def test_a_new_file_is_whole_private_and_alone(self, tmp_path):
        path = tmp_path / "desk"
        telemetry = open_telemetry(path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["desk"]
        assert path.read_bytes() == bytes(telemetry)
        assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (SHARED_BYTES, 0o400)
        assert path.stat().st_blocks * 512 >= SHARED_BYTES  # room on the disk, not a hole

    def test_the_file_of_an_ended_client_is_replaced_and_its_readers_keep_theirs(self, tmp_path):
        path = tmp_path / "desk"
        first = open_telemetry(path)
        first.add("messages_sent", 1)
        with TelemetryReader(path) as reader:
            first.end()
            second = open_telemetry(path)
            second.add("messages_sent", 2)
            assert (reader.read().values["messages_sent"], reader.read().alive) == (1, False)
        assert (read(path).values["messages_sent"], read(path).alive) == (2, True)

    def test_the_file_of_a_process_that_was_killed_is_replaced(self, tmp_path):
        path = tmp_path / "desk"
        with python(WRITER, path) as writer:
            assert writer.stdout.readline() == "ready\n"
            assert read(path).alive
            writer.kill()
        block = read(path)
        assert (block.alive, block.ended_wall_ns, block.values["messages_sent"]) == (False, None, 5)
        open_telemetry(path)
        assert read(path).pid == os.getpid()

    def test_the_file_of_a_living_client_is_left_alone(self, tmp_path):
        path = tmp_path / "desk"
        telemetry = open_telemetry(path)
        with pytest.raises(
            FileExistsError, match=f"a client of process {os.getpid()} writes there; give each"
        ) as caught:
            open_telemetry(path)
        assert caught.value.filename == str(path)
        assert path.read_bytes() == bytes(telemetry)

    @pytest.mark.parametrize("content", [b"", b"somebody's work", b"x" * 100_000])
    def test_a_file_of_something_else_is_left_alone(self, tmp_path, content):
        path = tmp_path / "desk"
        path.write_bytes(content)
        with pytest.raises(FileExistsError, match="there is a file already, which wsx leaves as it is"):
            open_telemetry(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
    def test_no_directory_link_or_pipe_is_replaced(self, tmp_path, make):
        make(tmp_path / "desk")
        with pytest.raises(FileExistsError, match="a directory, a link or the like"):
            open_telemetry(tmp_path / "desk")
        assert [entry.name for entry in tmp_path.iterdir()] == ["desk"]

    def test_a_directory_that_is_not_there_is_named(self, tmp_path):
        path = tmp_path / "no" / "desk"
        with pytest.raises(FileNotFoundError, match="telemetry_path cannot be used: No such file") as caught:
            open_telemetry(path)
        assert caught.value.filename == str(path)

    @pytest.mark.parametrize("room", [0, 4096])
    def test_a_disk_without_room_is_an_error_at_once_and_leaves_nothing(self, tmp_path, room):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
        try:
            with pytest.raises(OSError, match=f"telemetry_path cannot be used: .* {SHARED_BYTES} bytes") as caught:
                open_telemetry(tmp_path / "desk")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert caught.value.filename == str(tmp_path / "desk")
        assert list(tmp_path.iterdir()) == []


class TestClient:
    def test_its_counters_are_in_the_file_and_stay_there_when_it_is_closed(self, tmp_path):
        path = tmp_path / "desk"

        async def main():
            async with RawServer() as server:
                async with connect(server.url, telemetry_path=path, ping_interval=None) as client:
                    peer = await server.peer()
                    client.send_nowait("x")
                    await peer.frame()
                    block = read(path)
                    assert block.values == client.telemetry.snapshot() and block.alive
                    assert block.values["messages_sent"] == 1
                    with pytest.raises(FileExistsError):
                        await connect(server.url, telemetry_path=path)
                    assert read(path).alive
                    answer = asyncio.create_task(peer.answer_close())
                await answer
                return client

        client = run_bounded(main())
        block = read(path)
        assert block.ended_wall_ns is not None and not block.alive
        assert block.values == client.telemetry.snapshot()

    def test_one_that_could_not_open_gives_the_place_up(self, tmp_path):
        path = tmp_path / "desk"

        async def main():
            for _ in range(2):
                with pytest.raises(OSError, match="refused|111") as caught:
                    await connect("ws://127.0.0.1:1/", telemetry_path=path)
                assert not isinstance(caught.value, FileExistsError)

        run_bounded(main())
        assert not read(path).alive


class TestReadersDoNotMatter:
    """faults: a reader attaches, detaches, dies; the writer never waits."""

    def test_a_writer_goes_on_whatever_becomes_of_its_readers(self, tmp_path):
        path = tmp_path / "desk"
        telemetry = open_telemetry(path)
        for end in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
            with python(READER, path) as reader:
                assert reader.stdout.readline() == "ready\n"
                before = telemetry.snapshot()["messages_sent"]
                for _ in range(20_000):
                    telemetry.add("messages_sent")
                reader.send_signal(end)
                for _ in range(20_000):
                    telemetry.add("messages_sent")
                assert reader.poll() in (None, -end)  # no assertion of its own
                assert telemetry.snapshot()["messages_sent"] == before + 40_000
                reader.kill()
        assert read(path).values == telemetry.snapshot()

    def test_a_file_that_is_removed_or_replaced_does_not_hurt_its_writer(self, tmp_path):
        path = tmp_path / "desk"
        telemetry = open_telemetry(path)
        path.unlink()
        telemetry.add("messages_sent")
        other = open_telemetry(path)
        other.add("messages_sent", 7)
        assert telemetry.snapshot()["messages_sent"] == 1
        assert read(path).values["messages_sent"] == 7

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
    def test_nobody_but_root_can_cut_it_short(self, tmp_path):
        open_telemetry(tmp_path / "desk")
        with pytest.raises(PermissionError):
            os.truncate(tmp_path / "desk", 0)
