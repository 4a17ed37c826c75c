"""Who hears what: the channels that somebody has subscribed to, and their subscribers.

A notification is written once and the same bytes go to everybody. A channel that nobody hears costs nothing.
Not here: what a channel says (feeds.py), sockets (session.py).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.feeds import Feed, make_feed
from wsx.testing.deribit.floor import Floor, Happening
from wsx.testing.deribit.outlet import frame_of
from wsx.testing.deribit.wire import notification_text


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
        self._lines: dict[str, _Line] = {}
        self._by_instrument: dict[str, list[_Line]] = {name: [] for name in floor.listings}

    def subscribe(self, subscriber: Subscriber, channel: Channel) -> None:
        """From now on it hears the channel."""
        line = self._lines.get(channel.name) or self._start(channel)
        line.subscribers[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, name: str) -> None:
        """It hears the channel no more."""
        line = self._lines[name]
        del line.subscribers[subscriber]
        if not line.subscribers:
            del self._lines[name]
            for instrument in line.channel.instruments:
                self._by_instrument[instrument].remove(line)

    def open(self, subscriber: Subscriber, name: str, now_ms: int) -> None:
        """Tell a new subscriber what it needs to know first."""
        data = self._lines[name].feed.opening(now_ms)
        if data is not None:
            self._say(name, data, [subscriber])

    def spread(self, happening: Happening, now_ms: int) -> None:
        """Something happened: the raw channels say it at once."""
        for line in self._by_instrument[happening.listing.instrument.name]:
            line.feed.note(happening)
            if line.channel.interval == "raw":
                self._speak(line, now_ms)

    def end_interval(self, interval: str, now_ms: int) -> None:
        """The time of an interval is over: its channels say what has gathered."""
        for line in list(self._lines.values()):
            if line.channel.interval == interval:
                self._speak(line, now_ms)

    def announce(self, name: str, data: Any) -> None:
        """Say something on a channel that says nothing by itself."""
        if name in self._lines:
            self._say(name, data, self._lines[name].subscribers)

    def _start(self, channel: Channel) -> _Line:
        line = self._lines[channel.name] = _Line(channel, make_feed(channel, self._floor))
        for instrument in channel.instruments:
            self._by_instrument[instrument].append(line)
        return line

    def _speak(self, line: _Line, now_ms: int) -> None:
        data = line.feed.take(now_ms)
        if data is not None:
            self._say(line.channel.name, data, line.subscribers)

    def _say(self, name: str, data: Any, subscribers: Any) -> None:
        if isinstance(data, dict) and "change_id" in data:
            self.change_ids[name] = data["change_id"]
        payload = notification_text(name, data)
        frame = frame_of(payload)
        self.notifications[name] += len(subscribers)
        for subscriber in list(subscribers):
            subscriber.tell(name, payload, frame)
