"""Was anything lost? What a session saw, held against what the local exchange says it sent; its books against the
exchange's own.

Findings are lines for the summary and faults for the verdict. What a connection's end swallowed is no loss that wsx
could prevent: it is said as a number, and the books were made anew behind it.
Not here: what was seen (market_watch.py), the exit code (demo.py).
"""

from collections.abc import Iterator
from typing import Any

from wsx._book import OrderBook
from wsx.cli.market_watch import MarketWatch
from wsx.cli.tally import Tally
from wsx.testing import DeribitExchange
from wsx.testing.deribit.session import Session

_WHOLE = 10_000  # levels a side: all of them


class Audit:
    """lines: what was found, with its name. faults: what should not be; none where nothing was lost."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.faults: list[str] = []

    def look_at_session(self, watch: MarketWatch) -> None:
        """What any venue is judged by: the connection was cut and came back with everything, each book is valid."""
        outages, books = watch.outages, watch.books
        if not outages.all:
            self.faults.append("the connection was not cut")
        if outages.lasting is not None:
            self.faults.append("the connection did not come back")
        self.faults += [f"not restored: {', '.join(outage.refused)}" for outage in outages.all if outage.refused]
        self.faults += [f"{gap.stream} had a gap: {gap.cause}" for gap in outages.holes]
        stale = [book for book in books if book.state != "valid"]
        self.faults += [f"the book of {book.instrument} is {book.state}: {book.stale_reason}" for book in stale]

    def look_at_exchange(self, watch: MarketWatch, exchange: DeribitExchange) -> None:
        """Message by message: each socket of the exchange is one connection of the client's."""
        last = len(exchange.sessions) - 1
        for session in exchange.sessions:
            seen = watch.received.get(session.number + 1, 0)
            tally = watch.tallies.get(session.number + 1, Tally())
            self.faults += _differences(session, seen, tally, whole=session.number == last)
            digests = "equal" if _is_beginning(tally, session) else "different"
            says = f"{session.messages:,} sent, {seen:,} received, digests {digests}"
            self.lines.append((f"connection {session.number + 1}", says))
        cut = exchange.sessions[:last]
        swallowed = sum(session.messages - watch.received.get(session.number + 1, 0) for session in cut)
        self.lines.append(("in the gap", f"{swallowed:,} messages sent before the cut never arrived"))

    async def look_at_books(self, watch: MarketWatch) -> None:
        """Level by level, once the market stands still."""
        wrong = [book.instrument for book in watch.books if not await self._is_theirs(watch, book)]
        self.faults += [f"the book of {name} is not the exchange's" for name in wrong]
        count = len(watch.books)
        self.lines.append(("books", f"{count - len(wrong)} of {count} equal to the exchange's own, level by level"))

    async def _is_theirs(self, watch: MarketWatch, book: OrderBook[Any]) -> bool:
        theirs = await watch.session.get_order_book(book.instrument, _WHOLE)
        sides = [[tuple(level) for level in theirs[side]] for side in ("bids", "asks")]
        return book.change_id == theirs["change_id"] and [book.bids(), book.asks()] == sides


def _differences(session: Session, seen: int, tally: Tally, *, whole: bool) -> Iterator[str]:
    """What is wrong about one connection. whole: it was not cut, so everything has to be there."""
    name = f"connection {session.number + 1}"
    missing = session.messages - seen  # of any kind
    unheard = session.notifications.total() - tally.messages
    if missing < 0 or unheard < 0:
        yield f"{name}: more was received than was sent"
    elif whole and missing:
        yield f"{name}: {missing:,} messages were lost"
    elif unheard > missing:
        yield f"{name}: {unheard - missing:,} messages came in and never reached their callback"
    elif not _is_beginning(tally, session):
        yield f"{name}: the messages that were received are not those that were sent"


def _is_beginning(tally: Tally, session: Session) -> bool:
    """Were these the first notifications that were sent, byte for byte? The end of a connection takes the last ones."""
    return tally.digest == session.notifications_digest_after(tally.messages)
