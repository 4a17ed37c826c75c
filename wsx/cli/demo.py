"""`wsx demo`: a session at an exchange, watched, cut once in the middle, and checked against what was sent.

    connect, log in, subscribe ─▶ first half ─▶ cut ─▶ back by itself ─▶ second half ─▶ the market stops ─▶ audit

Everything runs on one loop, the local exchange and the display included: the latencies are those of a busy process.
Not here: options (commands.py), other endpoints and captures (playback.py), the audit itself (audit.py).
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from wsx.adapters import deribit
from wsx.cli.audit import Audit
from wsx.cli.beginning import beginning
from wsx.cli.display import Display
from wsx.cli.follower import follow, show
from wsx.cli.market_watch import MarketWatch
from wsx.cli.stop import Stop
from wsx.cli.venue import Venue
from wsx.errors import ConnectionLost, WsxError
from wsx.testing import DeribitExchange

INSTRUMENTS = ("BTC-PERPETUAL", "ETH-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC_USDC")
_GOOD, _WRONG = 0, 1
_PATIENCE = 5.0  # seconds for what should take milliseconds: the end of a connection, and the way back


async def run_demo(opening: AbstractAsyncContextManager[Venue], seconds: float, display: Display) -> int:
    """Watch a venue for so long; the exit code. Raises CannotBegin."""
    watch, audit = MarketWatch(), Audit()
    with Stop() as stop:
        async with AsyncExitStack() as stack:
            venue = await _begin(stack, opening, watch)
            with display:
                await follow(_halves(venue, watch, seconds / 2), *watch.measuring(), show(display, watch.report))
                await _audit(audit, venue, watch)
    code, verdict = stop.judge(*judge(audit))
    display.conclude([*watch.summary(), *audit.lines, *watch.latencies().items()], verdict, good=code == _GOOD)
    return code


async def _begin(stack: AsyncExitStack, opening: AbstractAsyncContextManager[Venue], watch: MarketWatch) -> Venue:
    """Connect, log in, subscribe. Raises CannotBegin."""
    with beginning():
        venue = await stack.enter_async_context(opening)
        watch.begin(venue.title, await stack.enter_async_context(venue.connect(on_event=watch.on_event)))
        await watch.follow_instruments(INSTRUMENTS, venue.interval)
    return venue


def judge(audit: Audit) -> tuple[int, str]:
    """The exit code, and why."""
    if audit.faults:
        return _WRONG, "; ".join(audit.faults)
    if not audit.lines:
        return _GOOD, "every book is valid again after the cut; what was sent, only the local exchange can tell"
    return _GOOD, "nothing was lost: every book is right again, and what the cut took is said above"


# ---- while it runs --------------------------------------------------------------------------------------------------


async def _halves(venue: Venue, watch: MarketWatch, seconds: float) -> None:
    await asyncio.sleep(seconds)
    _cut(venue, watch.session)
    await asyncio.sleep(seconds)
    await _until(lambda: bool(watch.outages.all) and all(book.state == "valid" for book in watch.books))


def _cut(venue: Venue, session: deribit.Deribit) -> None:
    """End the connection without a CLOSE: the local exchange does it, behind its next message; else we do."""
    connection = session.client._session.connection
    if venue.exchange is not None:
        venue.exchange.script.add("cut", channel="*")
    elif connection is not None:
        connection.abort(ConnectionLost("the demo cut it"))


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for something that is judged later, so it may fail to come."""
    end = asyncio.get_running_loop().time() + _PATIENCE
    while not condition() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)


# ---- afterwards -----------------------------------------------------------------------------------------------------


async def _audit(audit: Audit, venue: Venue, watch: MarketWatch) -> None:
    audit.look_at_session(watch)
    watch.look()
    if venue.exchange is None:
        return
    try:
        await _settle(venue.exchange, watch)
        audit.look_at_exchange(watch, venue.exchange)
        await audit.look_at_books(watch)
    except (WsxError, TimeoutError) as error:
        audit.faults.append(f"the exchange could not be asked: {type(error).__name__}: {error}")


async def _settle(exchange: DeribitExchange, watch: MarketWatch) -> None:
    """Stop the market, and wait for what is still on its way: an answer comes behind all that was sent before."""
    await exchange.stop_market()
    await watch.session.get_time()
    watch.look()
    epoch = watch.session.client.epoch
    await _until(lambda: watch.count(epoch) >= exchange.sessions[-1].messages)
