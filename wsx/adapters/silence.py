"""Channels that were given up to be asked for afresh, and were not taken again: somebody listens, and nothing comes.

    given up ──▶ not taken again: StaleData ──▶ asked for again, ever more slowly ──▶ taken: GapEvent

A new connection asks for them anyway. Not here: giving up and asking (exchange.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from wsx.adapters.subscriptions import Subscriptions
from wsx.client import Client
from wsx.errors import WsxError
from wsx.events import CallbackFailed, Gap, GapEvent, StaleData
from wsx.message_handler import session_of

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 60.0  # seconds between two attempts
_CAUSE = "not subscribed again"
_log = logging.getLogger("wsx")


class Silence:
    """The silent channels of one exchange session. ask: for them, within the turn; it gives up those unsure first."""

    def __init__(self, subscriptions: Subscriptions, ask: Callable[[list[str]], Awaitable[object]]) -> None:
        self._subscriptions, self._ask = subscriptions, ask
        self._since_ns: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, channels: Iterable[str], client: Client) -> list[str]:
        """It is unknown whether these come: see that they do again. Those that were thought to come until now."""
        session, new = session_of(client), []
        for channel in channels:
            if channel not in self._since_ns and self._lasts(channel):
                self._since_ns[channel] = session.now_ns()
                new.append(channel)
                session.tell(StaleData, stream=channel, silent_ns=0)
        if new and (self._task is None or self._task.done()):
            is_first = self._task is None
            self._task = asyncio.get_running_loop().create_task(self._mend(client), name="wsx-silence")
            if is_first:
                client.call_when_closed(self._stop)
        return new

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _mend(self, client: Client) -> None:
        wait = _FIRST_WAIT
        while self._since_ns:
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
            try:
                await self._ask([channel for channel in self._since_ns if self._lasts(channel)])
            except WsxError:
                continue  # it is said already, and told who has asked
            except Exception as error:  # an adapter's own, about an answer that it did not expect: nobody else hears it
                _log.error("asking %r again for silent channels raised", session_of(client).name, exc_info=error)
                session_of(client).tell(CallbackFailed, error=error)
            finally:
                self._end(client)

    def _stop(self) -> None:
        assert self._task is not None
        self._task.cancel()

    def _lasts(self, channel: str) -> bool:
        return channel in self._subscriptions and self._subscriptions.is_unsure(channel)

    def _end(self, client: Client) -> None:
        """Some come again, others nobody wants any more."""
        session = session_of(client)
        for channel in [channel for channel in self._since_ns if not self._lasts(channel)]:
            since_ns, now_ns = self._since_ns.pop(channel), session.now_ns()
            if channel in self._subscriptions:
                gap = Gap(
                    stream=channel, last_good_ns=since_ns, first_good_ns=now_ns, cause=_CAUSE, epoch=session.epoch
                )
                session.ledger.add(gap)
                session.tell(GapEvent, gap=gap)
