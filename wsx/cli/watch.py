"""What the demo's client has seen: counted, measured, kept for whoever looks. Not here: the judgement (demo.py)."""

import time

from wsx._message import Message
from wsx._telemetry import Histogram
from wsx.cli.prices import PriceBoard
from wsx.cli.report import Report, percentiles
from wsx.cli.source import Source
from wsx.cli.tally import Tally


class Watch:
    """One client's eyes. Its `on_message` parses nothing; prices are read from what is kept when a report is made."""

    def __init__(self, source: Source) -> None:
        self.received = Tally()
        self.board = PriceBoard()
        self.round_trip_ns = Histogram()
        self.answer: bytes | None = None  # the first reply
        self.left = False  # the client itself ended it, after the time that was asked for
        self._handled_ns = Histogram()
        self._transit_ns = Histogram()
        self._source = source
        self._started = time.monotonic()
        self._before = (self._started, 0, 0)  # time, messages and bytes of the report before

    def on_message(self, message: Message) -> None:
        """Count, keep, measure."""
        data = message.data
        channel = self.received.note(data)
        self.board.note(channel, data)
        if channel == b"reply" and self.answer is None:
            self.answer = data
        self._measure_transit(message.received_ns)
        self._handled_ns.record(max(time.monotonic_ns() - message.received_ns, 0))

    def report(self) -> Report:
        """This moment."""
        now, (before, messages, size) = time.monotonic(), self._before
        passed = max(now - before, 1e-9)
        self._before = (now, self.received.messages, self.received.bytes)
        return Report(
            title=f"wsx demo: {self._source.title}",
            elapsed=now - self._started,
            messages=self.received.messages,
            bytes=self.received.bytes,
            messages_per_second=(self.received.messages - messages) / passed,
            bytes_per_second=(self.received.bytes - size) / passed,
            expected=self._source.expected,
            by_kind=self.received.by_kind(),
            prices=self.board.prices(),
            latencies=self.latencies(),
        )

    def latencies(self) -> dict[str, str]:
        """Percentiles in words. "handled": from the read of the socket to the end of this object's `on_message`."""
        measured = {"round trip (ping)": self.round_trip_ns, "received → handled": self._handled_ns}
        if self._source.sent is not None:
            measured["sent → received"] = self._transit_ns
        return {name: percentiles(histogram) for name, histogram in measured.items()}

    def _measure_transit(self, received_ns: int) -> None:
        """From the local server's write to the client's read, for the message just counted."""
        stamps = self._source.stamps
        while stamps and stamps[0][0] < self.received.messages:
            stamps.popleft()
        if stamps:
            self._transit_ns.record(max(received_ns - stamps[0][1], 0))
