"""`wsx demo` as a person runs it: as a process, with its output, its exit code and Ctrl-C; and what it is made of."""

import asyncio
import contextlib
import fcntl
import gzip
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from source_lines import ROOT

import wsx
from wsx import Message
from wsx.cli import main
from wsx.cli.commands import wsx as command
from wsx.cli.display import LineDisplay
from wsx.cli.playback import judge, run_playback
from wsx.cli.playback_watch import PlaybackWatch
from wsx.cli.prices import PriceBoard, Prices
from wsx.cli.source import Live, Source
from wsx.cli.tally import Tally, channel_of
from wsx.cli.words import duration, number, price, size
from wsx.testing import EchoServer, LocalServer, ReplayServer, digest_of

connect = partial(wsx.connect, reconnect=False)  # an end is an end here

COMMAND = [sys.executable, "-m", "wsx", "demo"]


def demo(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)


def typed(*arguments):
    """The same in this process."""
    return CliRunner().invoke(command, ["demo", *map(str, arguments)])


async def demo_beside(*arguments):
    """The same, while this loop goes on: exit code and what was printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, cwd=ROOT, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    return process.returncode, (output + errors).decode()


def counted(output):
    """(messages, digest) of what was sent and of what was received."""
    pattern = r"^(?:sent|received): ([\d,]+) messages, digest (\w+)$"
    return [(int(count.replace(",", "")), digest) for count, digest in re.findall(pattern, output, re.MULTILINE)]


SHORT = {"demo": ["demo", "--seconds", "2"], "book": ["book", "BTC-PERPETUAL", "--seconds", "2"]}


@pytest.mark.parametrize("arguments", SHORT.values(), ids=SHORT)
class TestOutput:
    """Wherever the output goes, there is no traceback."""

    def run(self, arguments, **streams):
        command = [sys.executable, "-m", "wsx", *arguments]
        return subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=30, check=False, **streams)

    def test_nobody_reads_after_the_first_line(self, arguments):
        command = [sys.executable, "-m", "wsx", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert " s  " in process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == "" and process.wait(20) == 141

    def test_nobody_reads_from_the_first(self, arguments):
        reading, writing = os.pipe()
        os.close(reading)
        result = self.run(arguments, stdout=writing)
        os.close(writing)
        assert (result.returncode, result.stderr) == (141, "")

    def test_there_is_no_output_at_all(self, arguments):
        line = shlex.join([sys.executable, "-m", "wsx", *arguments])
        result = subprocess.run(
            ["sh", "-c", f"exec {line} >&-"], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")

    def test_the_disk_is_full(self, arguments):
        with Path("/dev/full").open("w") as full:
            result = self.run(arguments, stdout=full)
        assert result.returncode == 1
        assert result.stderr == "Error: the output cannot be written: No space left on device\n"


class TestLocalExchange:
    def test_nothing_is_lost_though_the_connection_is_cut(self):
        started = time.monotonic()
        result = demo("--seconds", 2)
        assert result.returncode == 0, result.stdout + result.stderr
        assert time.monotonic() - started < 20
        sockets = re.findall(
            r"^connection \d: ([\d,]+) sent, ([\d,]+) received, digests (\w+)$", result.stdout, re.MULTILINE
        )
        assert len(sockets) == 2
        for sent, received, digests in sockets:
            assert (sent, digests) == (received, "equal")
            assert int(sent.replace(",", "")) > 200
        assert re.search(
            r"^outage: ConnectionLost: down [\d.]+ .?s, blind [\d.]+ .?s, 12 channels back$",
            result.stdout,
            re.MULTILINE,
        )
        assert "in the gap: 0 messages" in result.stdout
        assert "4 of 4 equal to the exchange's own" in result.stdout
        for measured in ("round trip (ping)", "received → handled", "request: wire", "request: exchange"):
            assert re.search(re.escape(measured) + r": p50 [\d.]+ ", result.stdout)

    @pytest.mark.parametrize(
        ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
    )
    def test_a_signal_ends_it_within_a_second_with_the_summary(self, number, code, name):
        with subprocess.Popen([*COMMAND, "--seconds", "60"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            process.send_signal(number)
            rest, _ = process.communicate(timeout=20)
        assert "messages/s" in first
        assert process.returncode == code
        assert f"stopped by {name}" in rest
        assert "BTC-PERPETUAL: valid" in rest

    def test_on_a_terminal_it_draws_on_a_screen_of_its_own_and_leaves_the_summary(self):
        code, output = on_a_terminal([*COMMAND, "--seconds", "1"])
        assert code == 0, output
        picture, _, summary = output.rpartition("\x1b[?1049l")  # the screen that was there before is back
        assert "\x1b[?1049h" in picture
        assert "BTC_USDC" in picture
        assert "nothing was lost" in summary

    def test_a_venue_that_cannot_be_reached_is_said_in_one_line(self):
        alone = ["unshare", "-rn"]  # a network of its own, with nobody in it
        if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
            pytest.skip("this system gives nobody here a network namespace")
        result = subprocess.run([*alone, *COMMAND, "--venue", "test"], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 1
        assert "ConnectionFailed: could not connect" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.live
    def test_the_test_exchange_is_watched_the_same_way(self):
        result = demo("--venue", "test", "--seconds", 6)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "12 channels back" in result.stdout


def on_a_terminal(command):
    """Run a command on a terminal of 80 columns and 24 lines: its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        output = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody is there any more
            while data := os.read(ours, 65536):
                output += data
    os.close(ours)
    return process.returncode, output.decode()


class TestCaptures:
    def test_every_recorded_file_is_played_message_for_message(self, captures):
        for path in sorted(path for path in captures.iterdir() if ".jsonl" in path.name):
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as file:
                tally = Tally()
                for line in file:
                    tally.note(line.removesuffix(b"\n"))
            result = typed("--capture", path)
            assert result.exit_code == 0, path.name + result.output
            assert counted(result.stdout) == [(tally.messages, tally.digest)] * 2, path.name

    def test_a_speed_follows_the_recorded_times(self, tmp_path):
        path = tmp_path / "day.jsonl"
        path.write_text("1\n2\n3\n")
        path.with_name("day.times.txt").write_text("5.0\n5.5\n7.0\n")
        started = time.monotonic()
        assert typed("--capture", path, "--speed", 2).exit_code == 0
        assert time.monotonic() - started > 1.0

    def test_a_speed_without_times_is_said_to_be_impossible(self, tmp_path):
        (tmp_path / "day.jsonl").write_text("1\n")
        result = typed("--capture", tmp_path / "day.jsonl", "--speed", 2)
        assert result.exit_code == 1
        assert "needs the times" in result.stderr

    def test_what_is_not_utf_8_is_said_with_its_line(self, tmp_path):
        (tmp_path / "bad.jsonl").write_bytes(b"{}\n\xff\n")
        result = typed("--capture", tmp_path / "bad.jsonl")
        assert result.exit_code == 1
        assert "message 2 is not UTF-8" in result.stderr


REPLY = b'{"jsonrpc":"2.0","id":1,"result":["trades.X.100ms"],"testnet":true}'
TRADE = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.X.100ms","data":[{"price":1.5}]}}'


class TestEndpoint:
    @pytest.fixture
    def against(self, run_command):
        """Listen to a server for so long: the exit code and what was printed."""

        def listen(server, *channels, seconds=5.0):
            async def main():
                async with server:
                    return await run_playback(Live(url=server.url, channels=channels, seconds=seconds), LineDisplay())

            return run_command(main())

        return listen

    def test_it_stays_for_as_long_as_it_was_asked_to(self, against):
        server = ReplayServer([REPLY, TRADE, TRADE], wait_for_message=True, times=[0, 0.1, 60], speed=1)
        code, output = against(server, "trades.X.100ms", seconds=0.8)
        assert code == 0, output
        assert "trades 1" in output
        assert "for as long as was asked for" in output

    def test_a_server_that_closes_in_good_order_has_ended_it(self, against):
        code, output = against(ReplayServer([TRADE], times=[0], speed=1))
        assert code == 0, output
        assert "the server closed" in output

    def test_a_channel_that_does_not_exist_is_a_failure(self, against):
        code, output = against(ReplayServer([REPLY], wait_for_message=True), "trades.X.100ms", "book.NO.raw")
        assert code == 1
        assert "not subscribed: book.NO.raw (no such channel)" in output

    def test_a_subscription_that_is_refused_is_a_failure(self, against):
        refusal = b'{"jsonrpc":"2.0","id":1,"error":{"code":13009,"message":"unauthorized"}}'
        code, output = against(ReplayServer([refusal], wait_for_message=True), "book.X.raw")
        assert code == 1
        assert "unauthorized" in output

    def test_a_connection_that_is_cut_is_a_failure(self, against):
        server = LocalServer(on_message=lambda connection, message: connection.abort())
        code, output = against(server, "trades.X.100ms")
        assert code == 1
        assert "ended early: 1006" in output
        assert "not subscribed: trades.X.100ms (no answer)" in output

    def test_ctrl_c_ends_it_with_the_summary(self, against):
        def interrupt(connection, message):
            signal.raise_signal(signal.SIGINT)

        code, output = against(LocalServer(on_message=interrupt), "trades.X.100ms")
        assert code == 130
        assert "received: 0 messages" in output
        assert "stopped by Ctrl-C" in output

    def test_an_endpoint_that_is_not_there_is_said_in_one_line(self):
        async def main():
            async with LocalServer() as server:
                url = server.url
            return await demo_beside("--url", url)

        code, output = asyncio.run(main())
        assert code == 1
        assert "ConnectionFailed" in output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--capture", "setup.py", "--speed", "fast"),
        ("--capture", "setup.py", "--speed", "0"),
        ("--capture", "setup.py", "--speed", "nan"),
        ("--speed", "2"),
        ("--venue", "moon"),
        ("--venue", "test", "--capture", "setup.py"),
        ("--venue", "local", "--url", "ws://127.0.0.1:1/"),
        ("--subscribe", "trades.X.100ms"),
        ("--url", "ws://127.0.0.1:1/", "--speed", "2"),
        ("--capture", "no such file"),
        ("--capture", "setup.py", "--seconds", "2"),
        ("--seconds", "0"),
        ("--seconds", "nan"),
    ],
)
def test_what_makes_no_sense_is_refused_as_a_usage_error(arguments):
    result = typed(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


class TestCommandLine:
    def test_a_demo_of_the_local_exchange_is_typed(self):
        result = typed("--seconds", 0.5)
        assert result.exit_code == 0, result.output
        assert "nothing was lost" in result.stdout

    def test_a_url_that_is_none_is_said(self):
        result = typed("--url", "http://127.0.0.1:1/")
        assert result.exit_code == 1
        assert "ws://" in result.stderr

    def test_a_capture_at_full_speed_is_typed(self, tmp_path):
        (tmp_path / "day.jsonl").write_text("1\n2\n")
        result = typed("--capture", tmp_path / "day.jsonl", "--speed", "full")
        assert result.exit_code == 0
        assert counted(result.stdout)[0][0] == 2

    def test_subscribing_needs_an_endpoint_and_a_capture_ends_by_itself(self):
        assert "--subscribe needs --url" in typed("--subscribe", "x").stderr
        assert "leave out --seconds" in typed("--capture", __file__, "--seconds", 1).stderr

    def test_the_version_is_said(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["wsx", "--version"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert wsx.__version__ in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("module", "ends"),
        [("click", "pip install 'wsx[cli]'"), ("wsx.cli.demo", None)],
    )
    def test_without_its_extra_the_command_names_it_and_other_faults_are_faults(self, monkeypatch, module, ends):
        monkeypatch.delitem(sys.modules, "wsx.cli.commands")
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SystemExit if ends else ImportError, match=re.escape(ends or module)):
            main()

    def test_ctrl_c_while_it_is_loaded_has_its_exit_code(self, monkeypatch):
        class Impatient:
            def find_spec(self, name, path=None, target=None):
                if name == "wsx.cli.commands":
                    signal.raise_signal(signal.SIGINT)

        monkeypatch.delitem(sys.modules, "wsx.cli.commands")
        monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 130


class TestJudgement:
    def judged(self, sent, received, *, expected=None, close=1000):
        source = Source(title="", url="", expected=len(sent) if expected is None else expected, sent=Tally())
        source.note_sent(sent, time.monotonic_ns())
        watch = PlaybackWatch(source)
        for data in received:
            watch.on_message(Message(data))
        return judge(watch, asyncio.run(closed_client(close)))

    def test_all_is_well(self):
        assert self.judged([b"a", b"b"], [b"a", b"b"])[0] == 0

    def test_a_lost_message_is_a_failure(self):
        code, verdict = self.judged([b"a", b"b"], [b"a"])
        assert code == 1
        assert "1 messages were lost" in verdict

    @pytest.mark.parametrize("received", [[b"b", b"a"], [b"a", b"c"], [b"", b"ab"]])
    def test_another_order_content_or_border_is_a_failure(self, received):
        code, verdict = self.judged([b"a", b"b"], received)
        assert code == 1
        assert "not those that were sent" in verdict

    def test_a_server_that_stops_early_is_a_failure(self):
        code, verdict = self.judged([b"a"], [b"a"], expected=2)
        assert code == 1
        assert "1 of 2" in verdict

    def test_another_close_code_is_a_failure(self):
        code, verdict = self.judged([b"a"], [b"a"], close=4000)
        assert code == 1
        assert "ended early: 4000" in verdict


async def closed_client(code):
    """A client whose connection has ended with `code`."""
    async with EchoServer() as server, connect(server.url) as client:
        server.connections[0].close(code)
        await client.wait_closed()
        return client


class TestCounting:
    @pytest.mark.parametrize(
        ("data", "channel"),
        [
            (TRADE, b"trades.X.100ms"),
            (b'{"params": {"channel": "quote.X", "data": {}}, "method": "subscription"}', b"quote.X"),
            (b'{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}', b"heartbeat"),
            (REPLY, b"reply"),
            (b'{"error":{"code":11050}}', b"reply"),
            (b'{"method":"public/test"}', b"other"),
            (b"[1]", b"other"),
            (b"no JSON", b"other"),
            (b'"channel":"cut off', b"other"),
        ],
    )
    def test_the_channel_of_a_message(self, data, channel):
        assert channel_of(data) == channel

    def test_kinds_are_counted(self):
        tally = Tally()
        for data in (TRADE, REPLY, TRADE):
            tally.note(data)
        assert tally.by_kind() == {"trades": 2, "reply": 1}
        assert tally.digest == digest_of([TRADE, REPLY, TRADE])
        assert tally.bytes == 2 * len(TRADE) + len(REPLY)


class TestPrices:
    def board(self, *messages):
        board = PriceBoard()
        for channel, data in messages:
            text = f'{{"params":{{"channel":"{channel}","data":{data}}}}}'.encode()
            board.note(channel.encode(), text)
        return board.prices()

    def test_the_newest_wins_whatever_channel_it_came_on(self):
        assert self.board(
            ("ticker.X.raw", '{"instrument_name":"X","timestamp":1,"last_price":9,"best_bid_price":8,"best_ask_price":10}'),
            ("trades.X.raw", '[{"instrument_name":"X","timestamp":2,"price":11.5},{"instrument_name":"X","timestamp":3,"price":12}]'),
            ("quote.X", '{"instrument_name":"X","timestamp":2,"best_bid_price":11,"best_ask_price":null}'),
        ) == {"X": Prices(last=12, bid=11, ask=10, at_ms=3)}  # fmt: skip

    def test_a_later_ticker_overrules_an_earlier_trade(self):
        prices = self.board(
            ("trades.X.raw", '[{"instrument_name":"X","timestamp":2,"price":11.5}]'),
            ("ticker.X.raw", '{"instrument_name":"X","timestamp":5,"last_price":9,"best_bid_price":0.0,"best_ask_price":0.0}'),
        )  # fmt: skip
        assert prices == {"X": Prices(last=9, at_ms=5)}

    def test_books_say_their_best_prices_whole_or_grouped_and_changes_do_not_hide_them(self):
        prices = self.board(
            ("book.X.raw", '{"type":"snapshot","timestamp":1,"instrument_name":"X","bids":[["new",5.0,1.0]],"asks":[]}'),
            ("book.X.raw", '{"type":"change","timestamp":2,"instrument_name":"X","bids":[["new",1.0,1.0]],"asks":[]}'),
            ("book.Y.none.10.100ms", '{"timestamp":1,"instrument_name":"Y","bids":[[3.5,1]],"asks":[[4,1]]}'),
        )  # fmt: skip
        assert prices == {"X": Prices(bid=5.0, at_ms=1), "Y": Prices(bid=3.5, ask=4, at_ms=1)}

    def test_one_channel_of_many_instruments_keeps_the_last_price_of_each(self):
        prices = self.board(
            ("trades.option.any.raw", '[{"instrument_name":"X","timestamp":1,"price":1}]'),
            ("trades.option.any.raw", '[{"instrument_name":"Y","timestamp":2,"price":2}]'),
        )
        assert {name: found.last for name, found in prices.items()} == {"X": 1, "Y": 2}

    @pytest.mark.parametrize("data", ["null", "[]", "[[]]", '{"timestamp":1}', "broken"])
    def test_what_cannot_be_read_says_nothing(self, data):
        assert self.board(("trades.X.raw", data)) == {}


def test_latencies_and_sizes_in_words():
    assert [duration(nanoseconds) for nanoseconds in (0, 999, 85_234, 1_250_000, 2_000_000_000)] == [
        "0 ns",
        "999 ns",
        "85.2 µs",
        "1.25 ms",
        "2 s",
    ]
    assert [size(count) for count in (0, 999, 12_500_000)] == ["0 B", "999 B", "12.5 MB"]
    assert [price(value) for value in (None, 76912.5)] == ["-", "76,912.5"]
    assert [number(76912.5, exponent) for exponent in (-2, 0, 1)] == ["76,912.50", "76,912", "76,912"]
