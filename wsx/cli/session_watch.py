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
from wsx.cli.follower import ping, repeat
from wsx.cli.outage import Outages
from wsx.cli.watch import Watch
from wsx.cli.words import percentiles
from wsx.events import Closed, Event
from wsx.message_handler import MessageHandler


class SessionWatch(Watch):
    """received: messages of any kind by epoch, by the client's own counters."""

    session: deribit.Deribit  # from `begin` on

    def __init__(self) -> None:
        super().__init__()
        self.outages = Outages()
        self.books: list[OrderBook[Any]] = []
        self.received: dict[int, int] = {}
        self._timing = Timing()  # of no request yet

    @property
    def state(self) -> str:
        """Which connection it is, and where it stands."""
        client = self.session.client
        return f"connection {client.epoch} {client.state}"

    def begin(self, session: deribit.Deribit) -> None:
        """This is the session."""
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
