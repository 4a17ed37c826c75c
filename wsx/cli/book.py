"""`wsx book`: one order book, live. Not here: options (commands.py), how it looks (book_watch.py)."""

import asyncio
import difflib
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

from wsx.adapters import deribit
from wsx.adapters.deribit.channels import Interval
from wsx.cli.beginning import beginning
from wsx.cli.book_watch import BookWatch
from wsx.cli.display import Display
from wsx.cli.follower import follow, show
from wsx.cli.stop import Stop
from wsx.cli.venue import Venue
from wsx.errors import SubscriptionRefused

_GOOD, _WRONG = 0, 1
_SHOWN = 8  # instruments that an error names


@dataclass(frozen=True, slots=True, kw_only=True)
class BookPlan:
    """What was asked for. interval: None for the finest that can be had. depth: levels shown. seconds: None, no end."""

    instrument: str
    interval: Interval | None = None
    depth: int = 10
    seconds: float | None = None


async def run_book(opening: AbstractAsyncContextManager[Venue], plan: BookPlan, display: Display) -> int:
    """Show it until its time is over; the exit code. Raises CannotBegin."""
    watch, verdict = BookWatch(plan.depth), (_GOOD, "")
    with Stop() as stop:
        async with AsyncExitStack() as stack:
            await _begin(stack, opening, plan, watch)
            with display:
                await follow(_wait(plan.seconds), *watch.measuring(), show(display, watch.report))
                verdict = _judge(watch)
    code, words = stop.judge(*verdict)
    display.conclude([*watch.summary(), *watch.latencies().items()], words, good=code == _GOOD)
    return code


async def _begin(
    stack: AsyncExitStack, opening: AbstractAsyncContextManager[Venue], plan: BookPlan, watch: BookWatch
) -> None:
    """Connect, and wait for the book. Raises CannotBegin."""
    with beginning():
        venue = await stack.enter_async_context(opening)
        interval = _interval(plan, venue)
        watch.begin(venue.title, await stack.enter_async_context(venue.connect(on_event=watch.on_event)))
        await _follow(watch, plan.instrument, interval)


def _interval(plan: BookPlan, venue: Venue) -> Interval:
    """Checked before anything is connected, as is the instrument's name. Raises ValueError."""
    interval = plan.interval or venue.interval
    if interval == "raw" and venue.interval != "raw":
        raise ValueError("raw needs a login: set DERIBIT_CLIENT_ID and DERIBIT_CLIENT_SECRET, or take --interval 100ms")
    deribit.book(plan.instrument, interval)
    return interval


async def _follow(watch: BookWatch, instrument: str, interval: Interval) -> None:
    """Raises ValueError, which names what is nearest, for an instrument that the exchange does not have."""
    try:
        await watch.follow_book(instrument, interval)
    except SubscriptionRefused:
        listed = [one["instrument_name"] for one in await watch.session.get_instruments()]
        near = difflib.get_close_matches(instrument.upper(), listed)
        others = f"{len(listed):,}, such as {', '.join(listed[:_SHOWN])}"
        hint = f"did you mean {' or '.join(near)}?" if near else f"it lists {others}"
        raise ValueError(f"there is no instrument {instrument!r} at {watch.venue}; {hint}") from None


async def _wait(seconds: float | None) -> None:
    await asyncio.sleep(seconds) if seconds is not None else await asyncio.Event().wait()


def _judge(watch: BookWatch) -> tuple[int, str]:
    """The exit code, and why."""
    (book,) = watch.look()
    if book.state != "valid":
        return _WRONG, f"the book of {book.instrument} is {book.state}: {book.why}"
    return _GOOD, f"the book of {book.instrument} is valid, at change {book.change_id}"
