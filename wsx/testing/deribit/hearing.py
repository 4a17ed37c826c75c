"""What one socket hears: its subscriptions, and each notification on its way to it, right or wrong.

Not here: who else hears a channel (hub.py), which channels exist (channels.py).
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable

from wsx.testing.deribit.answers import copies, wrong_data
from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.hub import Hub
from wsx.testing.deribit.outlet import Outlet
from wsx.testing.deribit.script import Rule, Script, chosen
from wsx.testing.number_text import wire_text

_DIGESTS = 4096  # that are kept, of the newest notifications: the end of a connection may swallow some of those


class Hearing:
    """channels: what it hears, by name. notifications: how many it was sent, by channel.

    number: of its socket. afterwards(rules): what rules do besides changing a message.
    """

    def __init__(
        self, hub: Hub, script: Script, outlet: Outlet, number: int, afterwards: Callable[[list[Rule]], None]
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.notifications: Counter[str] = Counter()
        self._hub, self._script, self._outlet = hub, script, outlet
        self._number = number
        self._afterwards = afterwards
        self._digest = hashlib.blake2b(digest_size=16)
        self._digests: deque[bytes] = deque(maxlen=_DIGESTS)  # after each notification
        self._held: dict[str, list[bytes]] = {}  # by channel, each behind the next one
        self._to_open: list[Channel] = []
        self._labels: dict[str, str] = {}  # by private channel

    @property
    def digest(self) -> str:
        """Of all those notifications, in order."""
        return self._digest.hexdigest()

    def digest_after(self, count: int) -> str | None:
        """Of the first `count` of them; None where that is too long ago, or so many were not sent."""
        back = self.notifications.total() - count
        if back == 0:
            return self.digest
        return self._digests[-1 - back].hex() if 0 < back < len(self._digests) else None

    def subscribe(self, channels: list[Channel], label: str = "") -> None:
        """Hear these too; what they say first waits for `open_new`. label: on what private ones say."""
        for channel in channels:
            held = self.channels.get(channel.name)
            if held is not None and held.owner != channel.owner:
                self.unsubscribe([channel.name])
            if channel.name not in self.channels:
                self.channels[channel.name] = channel
                self._hub.subscribe(self, channel)
                self._to_open.append(channel)
            if channel.private:
                self._labels[channel.name] = label

    def unsubscribe(self, names: list[str]) -> list[str]:
        """Hear these no more; gives those that were heard."""
        heard = [name for name in dict.fromkeys(names) if name in self.channels]
        for name in heard:
            self._hub.unsubscribe(self, self.channels.pop(name))
            self._labels.pop(name, None)
        return heard

    def belong_to(self, owner: str) -> None:
        """The socket is this account's now (its client_id): hear the private channels of others no more."""
        others = [name for name, channel in self.channels.items() if channel.owner not in (None, owner)]
        self.unsubscribe(others)

    def open_new(self, now_ms: int) -> None:
        """Be told what the newly subscribed channels say first."""
        to_open, self._to_open = self._to_open, []
        for channel in to_open:
            self._hub.open(self, channel, now_ms)

    def tell(self, channel: str, payload: bytes, frame: bytes | None) -> None:
        """Be told a notification."""
        if self._outlet.ended:
            return
        if label := self._labels.get(channel):
            payload, frame = _labelled(payload, label), None
        if self._script.watches_channels:
            self._tell_by_script(channel, payload)
        else:
            self._send(channel, payload, frame)

    def _tell_by_script(self, channel: str, payload: bytes) -> None:
        rules = self._script.fired("channel", channel, self._number)
        held = self._held.pop(channel, [])
        said = copies(rules, wrong_data(rules, payload))
        if any(chosen(rules, "swap")):
            self._held[channel], said = said, []
        for message in said + held:
            self._send(channel, message)
        self._afterwards(rules)

    def _send(self, channel: str, payload: bytes, frame: bytes | None = None) -> None:
        self.notifications[channel] += 1
        self._digest.update(payload)
        self._digest.update(b"\n")
        self._digests.append(self._digest.digest())
        self._outlet.send(payload, frame)


def _labelled(payload: bytes, label: str) -> bytes:
    """The same notification for a client that gave its subscription a label."""
    return payload[:-2] + b',"label":' + wire_text(label).encode() + b"}}"
