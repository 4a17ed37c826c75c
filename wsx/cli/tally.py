"""What went by on one side of a connection: counts by channel, and a digest over every byte in order.

Nothing is parsed that can be found without. Not here: prices (prices.py).
"""

import hashlib
from collections import Counter

import orjson

_CHANNEL = b'"channel":"'


class Tally:
    """Two tallies with the same digest have seen the same messages in the same order. by_channel: how many on each."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.by_channel: Counter[bytes] = Counter()
        self._digest = hashlib.blake2b(digest_size=16)

    def note(self, data: bytes) -> bytes:
        """Count one message; the channel that it came on."""
        channel = channel_of(data)
        self.messages += 1
        self.bytes += len(data)
        self.by_channel[channel] += 1
        self._digest.update(data)
        self._digest.update(b"\n")
        return channel

    @property
    def digest(self) -> str:
        """Of every message so far: what `wsx.testing.digest_of` gives for them."""
        return self._digest.hexdigest()

    def by_kind(self) -> dict[str, int]:
        """Messages by the first word of their channel, the most frequent first."""
        kinds: Counter[str] = Counter()
        for channel, count in self.by_channel.items():
            kinds[channel.decode(errors="replace").partition(".")[0]] += count
        return dict(kinds.most_common())


def channel_of(data: bytes) -> bytes:
    """The channel of a notification; "reply", "heartbeat" or "other" for what is none."""
    start = data.find(_CHANNEL) + len(_CHANNEL)
    if start >= len(_CHANNEL):
        end = data.find(b'"', start)
        if end > 0:
            return data[start:end]
    return _channel_by_parsing(data)


def _channel_by_parsing(data: bytes) -> bytes:
    try:
        message = orjson.loads(data)
    except ValueError:
        return b"other"
    if not isinstance(message, dict):
        return b"other"
    params = message.get("params")
    if isinstance(params, dict) and "channel" in params:
        return str(params["channel"]).encode()
    if message.get("method") == "heartbeat":
        return b"heartbeat"
    return b"reply" if "result" in message or "error" in message else b"other"
