"""Who hears what: the channels that somebody has subscribed to, and their subscribers.

A notification is written once and the same bytes go to everybody. A channel that nobody hears costs nothing. A private
channel is one for each account, all of one name.
What happens comes from the floor; sockets only subscribe.
Not here: what a channel says (feeds.py), sockets (session.py).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.feeds import Feed, make_feed
from wsx.testing.deribit.floor import Floor, Happening, Notice
from wsx.testing.deribit.outlet import frame_of
from wsx.testing.deribit.wire import notification_text

_Key: TypeAlias = tuple[str, str | None]  # a channel's name and its owner


class Subscriber(Protocol):
    """Somebody who hears channels."""

    def tell(self, channel: str, payload: bytes, frame: bytes) -> None:
        """Be told a notification: as text, and framed."""


@dataclass(slots=True, eq=False)
class _Line:
    """One channel that somebody hears."""

    channel: Channel
    feed: Feed
    subscribers: dict[Subscriber, None] = field(default_factory=dict)


class Hub:
    """notifications: how many were sent by channel, to each subscriber one. change_ids: the last one said, by channel."""

    def __init__(self, floor: Floor) -> None:
        self.notifications: Counter[str] = Counter()
        self.change_ids: dict[str, int] = {}
        self._floor = floor
        self._lines: dict[_Key, _Line] = {}
        self._by_instrument: dict[str, list[_Line]] = {name: [] for name in floor.listings}
        floor.listen(self._spread)

    def subscribe(self, subscriber: Subscriber, channel: Channel) -> None:
        """From now on it hears the channel."""
        line = self._lines.get(_key(channel)) or self._start(channel)
        line.subscribers[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, channel: Channel) -> None:
        """It hears the channel no more."""
        line = self._lines[_key(channel)]
        del line.subscribers[subscriber]
        if not line.subscribers:
            del self._lines[_key(channel)]
            for instrument in line.channel.instruments:
                self._by_instrument[instrument].remove(line)

    def open(self, subscriber: Subscriber, channel: Channel, now_ms: int) -> None:
        """Tell a new subscriber what it needs to know first."""
        data = self._lines[_key(channel)].feed.opening(now_ms)
        if data is not None:
            self._say(channel.name, data, [subscriber])

    def end_interval(self, interval: str, now_ms: int) -> None:
        """The time of an interval is over: its channels say what has gathered."""
        for line in list(self._lines.values()):
            if line.channel.interval == interval:
                self._speak(line, now_ms)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _spread(self, happening: Happening, now_ms: int) -> None:
        """Something happened: the raw channels say it at once, and notices are passed on."""
        if happening.listing is not None:
            for line in self._by_instrument[happening.listing.instrument.name]:
                line.feed.note(happening)
                if line.channel.interval == "raw":
                    self._speak(line, now_ms)
        for notice in happening.notices:
            self._pass_on(notice)

    def _pass_on(self, notice: Notice) -> None:
        line = self._lines.get((notice.channel, notice.owner))
        if line is not None:
            self._say(notice.channel, notice.data, line.subscribers)

    def _start(self, channel: Channel) -> _Line:
        line = self._lines[_key(channel)] = _Line(channel, make_feed(channel, self._floor))
        for instrument in channel.instruments:
            self._by_instrument[instrument].append(line)
        return line

    def _speak(self, line: _Line, now_ms: int) -> None:
        data = line.feed.take(now_ms)
        if data is not None:
            self._say(line.channel.name, data, line.subscribers)

    def _say(self, name: str, data: Any, subscribers: Iterable[Subscriber]) -> None:
        if isinstance(data, dict) and "change_id" in data:
            self.change_ids[name] = data["change_id"]
        payload = notification_text(name, data)
        frame = frame_of(payload)
        for subscriber in list(subscribers):
            self.notifications[name] += 1
            subscriber.tell(name, payload, frame)


def _key(channel: Channel) -> _Key:
    return channel.name, channel.owner
