"""Order books that keep themselves right: applied from the bytes of each message, renewed when something is missing.

    change ──▶ fits ──▶ applied            gap, crossed, malformed ──▶ stale at once ──▶ one fresh snapshot ──▶ valid

A stale book shows no prices. While it is stale the ledger says so, under its channel's name. Where the fresh snapshot
does not come either, it is asked for again, ever more slowly; after a reconnect it comes by itself.
Not here: the book itself (_book.pyx), subscribing (wsx/adapters/exchange.py).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from wsx._book import OrderBook
from wsx._message import Message
from wsx.errors import NotConnected, WsxError
from wsx.events import GapEvent
from wsx.session import Session

_LONGEST_WAIT = 60.0  # seconds between two requests for a snapshot that does not come


class LiveBook:
    """One book and its feed: called with each message of its channel.

    renew: asks for a fresh snapshot. snapshot_timeout: seconds in which one has to come. claims: those who hold it.
    """

    def __init__(
        self,
        channel: str,
        book: OrderBook[Any],
        session: Session,
        renew: Callable[[], Coroutine[Any, Any, None]],
        snapshot_timeout: float = 5.0,
    ) -> None:
        self.channel, self.book, self.claims = channel, book, 0
        self._session, self._renew, self._snapshot_timeout = session, renew, snapshot_timeout
        self._settled = asyncio.Event()  # valid, or closed
        self._care: asyncio.Task[None] | None = None
        self._blind = self._closed = False
        self._urgent = False  # stale, and nothing has been asked for since

    def __call__(self, message: Message) -> None:
        if self._closed:  # it is being given up, and the exchange does not know yet
            return
        if self.book.apply(message):
            if not self._settled.is_set():
                self._on_valid(message.received_ns)
        elif self.book.state == "stale" and not self._blind:
            self._on_stale()
            self._urgent = True
            self._take_care()

    async def wait_valid(self) -> None:
        """Wait until it shows prices. Raises NotConnected where it was closed meanwhile, and never will."""
        await self._settled.wait()
        if self._closed:
            raise NotConnected(f"the book of {self.channel} was closed before it was valid")

    def on_lost(self, what: str) -> None:
        """What carried it is gone, the connection or the login, and what it showed with it."""
        self._stop_care()
        self._urgent = False
        self.book.mark_stale(f"the {what} was lost", cause=f"{what} lost")
        if not self._blind:
            self._on_stale()

    def on_silent(self) -> None:
        """Its channel may not come any more, though the connection is there; where it was renewed here, it knows better."""
        if self.book.state == "valid" and (self._care is None or self._care.done()):
            self.book.mark_stale("the channel was given up, and not taken again", cause="not subscribed again")
            self._on_stale()
            self._take_care()

    def on_restored(self) -> None:
        """A new connection has its channel: a snapshot is on its way."""
        self._take_care()

    def close(self) -> None:
        """Nobody looks at it any more. Idempotent."""
        self._closed = True
        self._settled.set()
        self._stop_care()
        if self._blind:
            self._blind = False
            self._session.ledger.end(self.channel, self._session.now_ns())
        self.book.mark_stale("it was closed", cause="closed")

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _on_valid(self, at_ns: int) -> None:
        if self._blind:
            self._blind = False
            self._session.tell(GapEvent, gap=self._session.ledger.end(self.channel, at_ns))
        self._settled.set()

    def _on_stale(self) -> None:
        self._blind = True
        self._settled.clear()
        cause, at_ns = f"book: {self.book.stale_cause}", self._session.now_ns()
        gap = self._session.ledger.begin(self.channel, at_ns, cause, epoch=self._session.epoch)
        self._session.tell(GapEvent, gap=gap)

    def _take_care(self) -> None:
        if self._care is None or self._care.done():
            self._care = asyncio.get_running_loop().create_task(self._heal(), name=f"wsx-book-{self.channel}")

    def _stop_care(self) -> None:
        if self._care is not None and self._care is not asyncio.current_task():
            self._care.cancel()
        self._care = None

    async def _heal(self) -> None:
        """Until it is valid: ask for a fresh snapshot, and wait for it. The end of the connection ends this too."""
        wait = self._snapshot_timeout
        while not await self._settles_within(wait):
            wait = self._snapshot_timeout if self._urgent else min(2 * wait, _LONGEST_WAIT)
            self._urgent = False
            try:
                await self._renew()
            except WsxError as error:
                if self._settled.is_set():  # the snapshot came without an answer, or nobody wants it any more
                    return
                self.book.mark_stale(f"no fresh snapshot: {error}", cause="not renewed")

    async def _settles_within(self, seconds: float) -> bool:
        if not self._urgent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._settled.wait()
        return self._settled.is_set()
