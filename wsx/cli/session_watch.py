"""What a session at an exchange has shown: its books, its messages by connection, its outages.

Not here: counting (watch.py), what a command makes of it (market_watch.py, book_watch.py), what was sent (audit.py).
"""

from collections.abc import Coroutine
from typing import Any

from wsx._book import OrderBook
from wsx._message import Message
from wsx.adapters import deribit
from wsx.adapters.deribit.channels import Interval
from wsx.adapters.deribit.timing import Timing
from wsx.cli.book_view import BookView, view
from wsx.cli.follower import ping, repeat
from wsx.cli.outage import Outages
from wsx.cli.watch import Watch
from wsx.cli.words import percentiles, size
from wsx.events import Closed, Event
from wsx.message_handler import MessageHandler


class SessionWatch(Watch):
    """received: messages of any kind by epoch, by the client's own counters. last: the books, as last looked at.

    depth: levels that are looked at. venue, session: from `begin` on.
    """

    session: deribit.Deribit
    venue = ""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.last: list[BookView] = []
        self.outages = Outages()
        self.books: list[OrderBook[Any]] = []
        self.received: dict[int, int] = {}
        self._timing = Timing()  # of no request yet

    @property
    def state(self) -> str:
        """Which connection it is, and where it stands."""
        client = self.session.client
        return f"connection {client.epoch} {client.state}"

    def begin(self, venue: str, session: deribit.Deribit) -> None:
        """This is the session."""
        self.venue = venue
        self.session, self._timing = session, session.timing

    def on_event(self, event: Event) -> None:
        """Note what the client says."""
        self.outages.on_event(event)
        if isinstance(event, Closed):
            self.count(event.epoch)

    def count(self, epoch: int) -> int:
        """How many messages of any kind this connection, the newest, has brought."""
        total = self.session.client.telemetry.snapshot()["messages_received"]
        self.received[epoch] = total - sum(count for each, count in self.received.items() if each != epoch)
        return self.received[epoch]

    def outage(self) -> str:
        """The newest, in words."""
        return self.outages.all[-1].words() if self.outages.all else "none so far"

    async def follow_book(self, instrument: str, interval: Interval) -> None:
        """Keep this book. Raises as `book` of the session does."""
        handler = MessageHandler(self.session.client)
        channel = deribit.book(instrument, interval)
        handler.on_channel(channel, self.note)  # before the book's own, so that its first snapshot is counted
        self.books.append(await self.session.book(instrument, interval))
        handler.on_channel(channel, self.measure)

    async def follow_channels(self, channels: list[str]) -> None:
        """Hear these. Raises as `subscribe` of the session does."""
        await self.session.subscribe(channels, self._on_message)

    def look(self) -> list[BookView]:
        """The books as they are now, with the last prices of their instruments where trades are heard."""
        prices = self.board.prices()
        last = {name: known.last for name, known in prices.items()}
        self.last = [view(book, self.depth, last.get(book.instrument)) for book in self.books]
        return self.last

    def summary(self) -> list[tuple[str, str]]:
        """What was seen, with its names."""
        rate = self.messages / self.elapsed
        volume = f"{self.messages:,} notifications, {size(self.size)}, {self.elapsed:.1f} s, {rate:,.0f}/s"
        lines = [("received", volume), ("by channel", self.kinds())]
        lines += [(book.instrument, f"{book.state}, {book.best()}") for book in self.last]
        return lines + [("outage", outage.words()) for outage in self.outages.all]

    def measuring(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What goes on beside it: round trips of PINGs and of requests."""
        return ping(self.session.client, self.round_trip_ns.record), repeat(self.session.test)

    def latencies(self) -> dict[str, str]:
        timing = self._timing
        split = {"request: wire": percentiles(timing.wire), "request: exchange": percentiles(timing.exchange)}
        return super().latencies() | split

    def _on_message(self, message: Message) -> None:
        self.note(message)
        self.measure(message)
