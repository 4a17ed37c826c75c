"""What a client's inbox dropped, in its ledger and its events: one record an episode, however many messages it cost.

An episode begins with a drop and ends when nothing was dropped for a second or two. Each message that is read after a
drop carries its own exact gap; the ledger joins those of an episode into one record, and the event is told twice at
most: with the first gap, and with the whole record at the end where that has grown.
Not here: dropping and counting (_drops.pyx), blindness for other reasons (session.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from wsx._inbox import Inbox
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx.config import Config
from wsx.events import Gap
from wsx.ledger import Ledger

if TYPE_CHECKING:
    from wsx._drops import ConflatingOwner, DroppingInbox

_LOOK_SECONDS = 1.0  # how often an episode is looked at: what nobody reads is on record after that time too


class DropRecord:
    """One client's record of drops. say: told the gap of an event."""

    def __init__(self, ledger: Ledger, say: Callable[[Gap], object]) -> None:
        self._ledger, self._say = ledger, say
        self._loop = asyncio.get_running_loop()
        self._inbox: DroppingInbox | None = None  # None: nothing drops, or nothing will
        self._timer: asyncio.TimerHandle | None = None
        self._episode: Gap | None = None
        self._said: Gap | None = None  # of it
        self._looked_at: Gap | None = None  # as it was then

    def watch(self, inbox: "DroppingInbox") -> None:
        """Record what this inbox drops."""
        self._inbox = inbox

    def end(self) -> None:
        """The client is closed: nothing is waited for any more. What is dropped later still comes on record."""
        if self._inbox is not None:
            self._inbox.flush()
            self._inbox = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end_episode()

    def on_dropping(self) -> None:
        """The first drop after what is on record."""
        if self._timer is None and self._inbox is not None:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def on_dropped(self, cause: str, missed: int, since_ns: int, until_ns: int, epoch: int) -> Gap:
        """So many messages were dropped between two that are good, or will be. Returns their gap."""
        gap = Gap(stream="", last_good_ns=since_ns, first_good_ns=until_ns, cause=cause, missed=missed, epoch=epoch)
        before, self._episode = self._episode, gap if self._episode is None else self.join(self._episode, gap)
        self._ledger.add(self._episode, instead_of=before)
        if before is None:
            self._tell()
        return gap

    @staticmethod
    def join(first: Gap, second: Gap) -> Gap:
        """Two gaps with nothing worth telling between them as one; `missed` only where both know it."""
        ends = [gap.first_good_ns for gap in (first, second) if gap.first_good_ns is not None]
        return replace(
            first,
            last_good_ns=min(first.last_good_ns, second.last_good_ns),
            first_good_ns=max(ends),
            cause=", ".join(dict.fromkeys([*first.cause.split(", "), *second.cause.split(", ")])),
            missed=None if first.missed is None or second.missed is None else first.missed + second.missed,
        )

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Does the episode go on?"""
        self._timer = None
        assert self._inbox is not None  # end() stops the timer
        self._inbox.flush()
        if self._episode is not self._looked_at:
            self._looked_at = self._episode
            self.on_dropping()
        else:
            self._end_episode()

    def _end_episode(self) -> None:
        self._tell()
        self._episode = self._said = self._looked_at = None

    def _tell(self) -> None:
        if self._episode is not None and self._episode is not self._said:
            self._said = self._episode
            self._say(self._episode)


def make_inbox(
    config: Config, owner: "ConflatingOwner", telemetry: Telemetry, on_message: Callable[[Message], object] | None,
    record: DropRecord,
) -> Inbox:  # fmt: skip
    """The inbox that `config.inbox_policy` asks for."""
    limits = {"max_messages": config.inbox_messages, "max_bytes": config.inbox_bytes}
    if not config.may_drop:
        return Inbox(owner, telemetry, callback=on_message, **limits)
    from wsx._drops import ConflatingInbox, DropOldestInbox  # only those who drop pay for the import

    inbox: ConflatingInbox | DropOldestInbox
    if config.conflate_key is not None:
        inbox = ConflatingInbox(owner, telemetry, callback=on_message, **limits)
        inbox.conflate_by(config.conflate_key)
    else:
        inbox = DropOldestInbox(owner, telemetry, callback=on_message, **limits)
    inbox.drop_by(record, round((config.max_age or 0) * 1e9))
    record.watch(inbox)
    return inbox
