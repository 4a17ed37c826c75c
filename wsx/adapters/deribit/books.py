"""Order books that keep themselves right: applied from the bytes of each message, renewed when something is missing.

    change ──▶ fits ──▶ applied            gap, crossed, malformed ──▶ stale at once ──▶ one fresh snapshot ──▶ valid

A stale book shows no prices. While it is stale the ledger says so, under its channel's name.
Not here: the book itself (_book.pyx), subscribing (wsx/adapters/exchange.py).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from wsx._book import OrderBook
from wsx._message import Message
from wsx.connection import End
from wsx.errors import WsxError
from wsx.events import GapEvent
from wsx.session import Session


class LiveBook:
    """One book and its feed: called with each message of its channel. renew: asks for a fresh snapshot."""

    def __init__(self, channel: str, book: OrderBook[Any], session: Session, renew: Callable[[], Any]) -> None:
        self.channel, self.book = channel, book
        self._session, self._renew = session, renew
        self._valid = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._blind = False

    def __call__(self, message: Message) -> None:
        if self.book.apply(message):
            if self._blind or not self._valid.is_set():
                self._on_valid(message.received_ns)
        elif self.book.state == "stale" and not self._blind:
            self._on_stale(self._session.now_ns())
            self._ask_again()

    async def wait_valid(self) -> None:
        """Wait until it shows prices."""
        await self._valid.wait()

    def on_lost(self, end: End) -> None:
        """The connection is gone, and what it showed with it; the next one brings a snapshot."""
        self.book.mark_stale("the connection was lost", cause="connection lost")
        if not self._blind:
            self._on_stale(self._session.now_ns())

    def close(self) -> None:
        """Nobody looks at it any more."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._blind:
            self._session.ledger.end(self.channel, self._session.now_ns())
        self.book.mark_stale("it was closed", cause="closed")

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _on_valid(self, at_ns: int) -> None:
        if self._blind:
            self._blind = False
            self._session.tell(GapEvent, gap=self._session.ledger.end(self.channel, at_ns))
        self._valid.set()

    def _on_stale(self, at_ns: int) -> None:
        self._blind = True
        self._valid.clear()
        cause = self.book.stale_cause or "stale"
        gap = self._session.ledger.begin(self.channel, at_ns, f"book: {cause}", epoch=self._session.epoch)
        self._session.tell(GapEvent, gap=gap)

    def _ask_again(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._fetch(), name=f"wsx-renew-{self.channel}")

    async def _fetch(self) -> None:
        """Whatever goes wrong here ends with the connection, whose successor brings a snapshot; or it was refused."""
        try:
            await self._renew()
        except WsxError as error:
            self.book.mark_stale(f"no fresh snapshot: {error}", cause="not renewed")
