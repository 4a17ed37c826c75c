"""`wsx book`: as a person runs it, and in this process."""

import io
import re
import signal
import subprocess
import sys

import pytest
from cli_venue import BOOK, venue
from click.testing import CliRunner
from rich.console import Console
from source_lines import ROOT

import wsx
from wsx.cli.beginning import CannotBegin
from wsx.cli.book import BookPlan, run_book
from wsx.cli.commands import wsx as command
from wsx.cli.display import LineDisplay, LiveDisplay

COMMAND = [sys.executable, "-m", "wsx", "book"]


def book(opening, instrument="BTC-PERPETUAL", **plan):
    return run_book(opening, BookPlan(instrument=instrument, **{"seconds": 0.3} | plan), LineDisplay())


class TestProcess:
    def test_ctrl_c_ends_it_with_the_summary(self):
        with subprocess.Popen([*COMMAND, "ETH-PERPETUAL"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
        assert re.search(
            r"ETH-PERPETUAL valid  [\d,.]+ × [\d,.]+ / .* change \d+  [\d,]+ updates/s  handled p50", first
        )
        assert process.returncode == 130
        assert "stopped by Ctrl-C" in rest

    def test_an_instrument_that_is_not_there_is_said_in_one_line(self):
        result = subprocess.run([*COMMAND, "BTC-PERPETUEL"], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 1
        assert "did you mean BTC-PERPETUAL" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.live
    def test_a_book_of_the_test_exchange_is_valid(self):
        arguments = ["BTC-PERPETUAL", "--venue", "test", "--seconds", "5"]
        result = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_typed_reaches_the_book():
    result = CliRunner().invoke(
        command, ["book", "BTC_USDC", "--seconds", "0.4", "--interval", "100ms", "--depth", "3"]
    )
    assert result.exit_code == 0, result.output
    assert "the book of BTC_USDC is valid" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["X", "--depth", "0"],
        ["X", "--interval", "1ms"],
        ["X", "--venue", "moon"],
        ["X", "--seconds", "0"],
        ["X", "--seconds", "nan"],
    ],
)
def test_what_makes_no_sense_is_refused_as_a_usage_error(arguments):
    result = CliRunner().invoke(command, ["book", *arguments])
    assert result.exit_code == 2
    assert "Error: " in result.stderr


class TestBook:
    def test_it_is_valid_when_its_time_is_over(self, run_command):
        code, output = run_command(book(venue(), seconds=1.2))
        assert code == 0, output
        assert "BTC-PERPETUAL valid" in output
        assert "the book of BTC-PERPETUAL is valid, at change " in output

    def test_without_a_login_it_is_gathered(self, run_command):
        code, output = run_command(book(venue(foreign=True)))
        assert code == 0, output

    def test_a_book_that_is_stale_at_the_end_is_a_failure(self, run_command):
        def prepare(exchange):
            exchange.script.add("maintenance", channel=BOOK, nth=10)

        code, output = run_command(book(venue(prepare), seconds=0.8))
        assert code == 1
        assert "the book of BTC-PERPETUAL is stale: the connection was lost" in output
        assert "closed with 1001: down since then" in output

    def test_an_instrument_that_is_not_there_is_named_with_its_neighbours(self, run_command):
        with pytest.raises(CannotBegin, match="no instrument 'btc-perpetuel' .* did you mean BTC-PERPETUAL"):
            run_command(book(venue(), "btc-perpetuel"))
        with pytest.raises(CannotBegin, match="no instrument 'XYZ' .* lists 8, such as BTC-PERPETUAL, ETH-PERPETUAL, "):
            run_command(book(venue(), "XYZ"))

    def test_what_cannot_be_asked_for_is_said_before_anything_is_connected(self, run_command):
        with pytest.raises(CannotBegin, match="must be a name such as 'BTC-PERPETUAL'"):
            run_command(book(venue(), "a b"))
        with pytest.raises(CannotBegin, match="raw needs a login"):
            run_command(book(venue(foreign=True), interval="raw"))

    def test_the_live_picture_is_as_deep_as_was_asked_for(self):
        async def main():
            console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
            await run_book(venue(), BookPlan(instrument="BTC-PERPETUAL", depth=3, seconds=0.8), LiveDisplay(console))
            return console.file.getvalue()

        output = wsx.run(main())
        assert "total" in output
        assert "wsx book: the local exchange" in output
