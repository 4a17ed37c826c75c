"""What is subscribed at an exchange: asked for, acknowledged or refused. Pure: what is to be sent is returned.

    ask ──▶ unsure ──▶ acknowledged       restored on every new connection
                   └─▶ refused            named, and never restored

Where no answer came, it stays unsure what the exchange sends on this connection: whoever asks again has to give the
channel up first. A new connection begins with nothing.
Not here: sending (exchange.py), how an exchange is asked (base.py).
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from orjson import dumps

from wsx.adapters.base import Limits


class Subscriptions:
    """The channels of one exchange session, in the order in which they were first acknowledged."""

    def __init__(self) -> None:
        self._acknowledged: dict[str, None] = {}
        self._unsure: set[str] = set()

    def __contains__(self, channel: str) -> bool:
        return channel in self._acknowledged

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._acknowledged))

    def __len__(self) -> int:
        return len(self._acknowledged)

    def is_unsure(self, channel: str) -> bool:
        """Whether the exchange was asked about it on this connection and has not answered."""
        return channel in self._unsure

    def ask(self, channels: Iterable[str]) -> None:
        """The exchange is asked for them, or to give them up."""
        self._unsure.update(channels)

    def settle(self, asked: Collection[str], acknowledged: Collection[str]) -> list[str]:
        """Keep what was acknowledged of what was asked for; what was refused, in the order of asking."""
        granted, refused = set(acknowledged), []
        self.answered(asked)
        for channel in asked:
            if channel in granted:
                self._acknowledged[channel] = None
            else:
                self._acknowledged.pop(channel, None)
                refused.append(channel)
        return refused

    def answered(self, channels: Iterable[str]) -> None:
        """The exchange has answered: it is known what it sends of them."""
        self._unsure.difference_update(channels)

    def forget(self, channels: Iterable[str]) -> None:
        """They are not wanted any more."""
        for channel in channels:
            self._acknowledged.pop(channel, None)

    def to_restore(self, is_private: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        """A connection is new: what it has to be asked for, the private channels, then the public ones."""
        self._unsure.clear()
        private = [channel for channel in self if is_private(channel)]
        public = [channel for channel in self if not is_private(channel)]
        return private, public


def batches(channels: Iterable[str], limits: Limits) -> Iterator[list[str]]:
    """Split channels into messages that an exchange takes. Raises ValueError for a name that is too long for any."""
    batch: list[str] = []
    size = 0
    for channel in channels:
        length = len(dumps(channel)) + 1
        if length > limits.bytes:
            raise ValueError(f"a channel's name may have {limits.bytes - 3} bytes, this one has {length - 3}")
        if batch and (len(batch) == limits.channels or size + length > limits.bytes):
            yield batch
            batch, size = [], 0
        batch.append(channel)
        size += length
    if batch:
        yield batch
