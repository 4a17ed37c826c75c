"""What can be typed after `wsx`: options and their checks. Not here: what the commands do (demo.py)."""

import sys
from pathlib import Path

import click

from wsx import __version__
from wsx.cli.demo import INTERRUPTED, CannotBegin, run_demo
from wsx.cli.display import make_display
from wsx.cli.source import Plan
from wsx.run import run
from wsx.testing.replay import Speed

_SECONDS = 8.0


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wsx")
def wsx() -> None:
    """A WebSocket client for trading systems."""


@wsx.command()
@click.option(
    "--capture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play this .jsonl or .jsonl.gz file, one message a line, instead of a generated market.",
)
@click.option(
    "--speed",
    type=_speed,
    metavar="FACTOR|full",
    help="1 as recorded, 10 ten times as fast. Default: full for a capture, 1 for the market.",
)
@click.option("--url", help="Connect to this endpoint instead of a local server.")
@click.option(
    "--subscribe", multiple=True, metavar="CHANNEL", help="With --url: a channel to subscribe to; repeatable."
)
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), help=f"How long. Default: {_SECONDS:g}; a capture ends.")
def demo(
    capture: Path | None, speed: Speed, url: str | None, subscribe: tuple[str, ...], seconds: float | None
) -> None:
    """Watch a wsx client at work on live market data.

    A local wss:// server sends it over a real socket; every message is counted on both sides. Exit code 0: nothing was
    lost; 1: something was, or the connection failed; 130: stopped by Ctrl-C.
    """
    if capture is not None and (url is not None or seconds is not None):
        raise click.UsageError("--capture is played to its end from a local server: leave out --url and --seconds")
    if url is None and subscribe:
        raise click.UsageError("--subscribe needs --url")
    if url is not None and speed is not None:
        raise click.UsageError("--speed is the local server's: leave it out with --url")
    plan = Plan(capture=capture, speed=speed, url=url, channels=subscribe, seconds=seconds or _SECONDS)
    try:
        sys.exit(run(run_demo(plan, make_display())))
    except CannotBegin as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:  # before there was anything to conclude; click would make 1 of it
        sys.exit(INTERRUPTED)
