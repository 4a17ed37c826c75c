"""What can be typed after `wsx`: options and their checks. Not here: what the commands do (demo.py, playback.py, book.py)."""

import math
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, get_args

import click

from wsx import __version__
from wsx.adapters.deribit.channels import Interval
from wsx.cli.beginning import CannotBegin
from wsx.cli.book import BookPlan, run_book
from wsx.cli.demo import run_demo
from wsx.cli.display import make_display
from wsx.cli.playback import run_playback
from wsx.cli.source import Live, Recording
from wsx.cli.venue import VenueName, open_venue
from wsx.run import run
from wsx.testing.replay import Speed

_SECONDS = 8.0
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
_NOBODY_READS = 141  # 128 + SIGPIPE, likewise
_VENUE = click.option(
    "--venue",
    type=click.Choice(get_args(VenueName)),
    help="local: an exchange on this machine (default). test, prod: Deribit's; a login comes from DERIBIT_CLIENT_ID and "
    "DERIBIT_CLIENT_SECRET.",
)


class _Seconds(click.FloatRange):
    """From a moment to a day. `nan` is neither too small nor too large, and no time all the same."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


_ALL_DAY = _Seconds(0.1, 86_400)


def _speed(text: str) -> Speed:
    if text == "full":
        return "full"
    try:
        speed = float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor 'full'") from None
    if not 0 < speed < float("inf"):
        raise click.BadParameter("must be above 0")
    return speed


def _run(command: Coroutine[Any, Any, int]) -> None:
    """Run a command to its end, and the process with it."""
    try:
        sys.exit(run(command))
    except CannotBegin as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:  # whoever reads has had enough, as `head -1` after a line
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the very end
        sys.exit(_NOBODY_READS)
    except KeyboardInterrupt:  # before there was anything to conclude; click would make 1 of it
        sys.exit(_INTERRUPTED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wsx")
def wsx() -> None:
    """A WebSocket client for trading systems."""


@wsx.command()
@_VENUE
@click.option(
    "--capture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of a venue: play this .jsonl or .jsonl.gz file, one message a line, from a local server.",
)
@click.option(
    "--speed", type=_speed, metavar="FACTOR|full", help="Of the capture: 1 as recorded, 10 ten times as fast, or full."
)
@click.option("--url", help="Instead of a venue: connect to this endpoint.")
@click.option(
    "--subscribe", multiple=True, metavar="CHANNEL", help="With --url: a channel to subscribe to; repeatable."
)
@click.option("--seconds", type=_ALL_DAY, help=f"How long. Default: {_SECONDS:g}; a capture ends by itself.")
def demo(
    venue: VenueName | None,
    capture: Path | None,
    speed: Speed,
    url: str | None,
    subscribe: tuple[str, ...],
    seconds: float | None,
) -> None:
    """Watch a wsx client at work on live market data.

    It logs in at an exchange, follows the books, trades and tickers of several instruments, has its connection cut in
    the middle, comes back by itself, and holds every message and every book level against what the exchange sent.

    Exit code 0: nothing was lost. 1: something was, or there was no connection. 2: the command makes no sense. 130, 143:
    stopped by Ctrl-C or SIGTERM; the summary is printed all the same. 141: nobody reads its output any more.
    """
    _check(capture=capture, url=url, venue=venue)
    if capture is not None and seconds is not None:
        raise click.UsageError("--capture is played to its end: leave out --seconds")
    if url is None and subscribe:
        raise click.UsageError("--subscribe needs --url")
    if capture is None and speed is not None:
        raise click.UsageError("--speed needs --capture")
    display, seconds = make_display(), seconds or _SECONDS
    if capture is not None:
        _run(run_playback(Recording(path=capture, speed=speed or "full"), display))
    elif url is not None:
        _run(run_playback(Live(url=url, channels=subscribe, seconds=seconds), display))
    else:
        _run(run_demo(open_venue(venue or "local"), seconds, display))


def _check(**sources: object) -> None:
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"--{' and --'.join(given)} exclude each other: take one")


@wsx.command()
@click.argument("instrument")
@_VENUE
@click.option(
    "--interval",
    type=click.Choice(["raw", "100ms"]),
    help="raw: every change, which needs a login; 100ms: gathered. Default: raw where there is a login.",
)
@click.option(
    "--depth", type=click.IntRange(1, 100), default=10, show_default=True, help="Levels a side that are shown."
)
@click.option("--seconds", type=_ALL_DAY, help="How long. Default: until Ctrl-C.")
def book(
    instrument: str, venue: VenueName | None, interval: Interval | None, depth: int, seconds: float | None
) -> None:
    """Show the order book of INSTRUMENT live, such as BTC-PERPETUAL.

    Bids and asks beside each other with the amounts up to each level, spread, middle, change id and state; a stale book
    shows no prices. A line a second where the output is no terminal.

    Exit code 0: its time is over, and the book was right. 1: it was not, there is no such book, or no connection. 130,
    143: stopped by Ctrl-C or SIGTERM. 141: nobody reads its output any more.
    """
    plan = BookPlan(instrument=instrument, interval=interval, depth=depth, seconds=seconds)
    _run(run_book(open_venue(venue or "local"), plan, make_display()))
