"""What a client has seen: counted by connection, measured, kept for whoever looks.

Nothing is parsed as it comes in; prices are read from what is kept when somebody asks for them.
Not here: the judgement (audit.py, playback.py), words and pictures (report.py).
"""

import time
from collections import Counter
from typing import Any

from wsx._message import Message
from wsx._telemetry import Histogram
from wsx.cli.prices import PriceBoard
from wsx.cli.tally import Tally
from wsx.cli.words import percentiles


class Watch:
    """One client's eyes. tallies: by epoch, from 1. round_trip_ns: of PINGs. handled_ns: from the read of the socket."""

    def __init__(self) -> None:
        self.tallies: dict[int, Tally] = {}
        self.board = PriceBoard()
        self.round_trip_ns, self.handled_ns = Histogram(), Histogram()
        self._started = time.monotonic()
        self._before = (self._started, 0, 0)  # time, messages and bytes when rates were asked for before

    @property
    def messages(self) -> int:
        """How many came, over all connections."""
        return sum(tally.messages for tally in self.tallies.values())

    @property
    def size(self) -> int:
        """How many bytes they had."""
        return sum(tally.bytes for tally in self.tallies.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def note(self, message: Message) -> bytes:
        """Count and keep; the channel that it came on."""
        tally = self.tallies.get(message.epoch) or self.tallies.setdefault(message.epoch, Tally())
        channel = tally.note(message.data)
        self.board.note(channel, message.data)
        return channel

    @property
    def state(self) -> str:
        """Of the connection, in words."""
        return ""

    def measure(self, message: Message) -> None:
        """It is handled now."""
        self.handled_ns.record(max(time.monotonic_ns() - message.received_ns, 0))

    def kinds(self) -> str:
        """Messages by the first word of their channel, the most frequent first, in words."""
        kinds: Counter[str] = Counter()
        for tally in self.tallies.values():
            kinds.update(tally.by_kind())
        return ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()) or "nothing"

    def latencies(self) -> dict[str, str]:
        """Percentiles in words. "received → handled": to the end of the last callback."""
        measured = {"round trip (ping)": self.round_trip_ns, "received → handled": self.handled_ns}
        return {name: percentiles(histogram) for name, histogram in measured.items()}

    def moment(self) -> dict[str, Any]:
        """What every report says of now; rates are since the call before."""
        (before, messages, size), elapsed = self._before, self.elapsed
        now = self._started + elapsed
        self._before = (now, self.messages, self.size)
        passed = max(now - before, 1e-9)
        rates = {"messages_per_second": (self.messages - messages) / passed}
        rates |= {"bytes_per_second": (self.size - size) / passed}
        counts = {"elapsed": elapsed, "messages": self.messages, "bytes": self.size, "kinds": self.kinds()}
        return counts | rates | {"state": self.state, "latencies": self.latencies()}
