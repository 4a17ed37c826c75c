"""Times without a connection: how long, what came back, and for how long nothing was seen.

    Closed ── down ──▶ Opened        last message ── blind ──▶ first message

Pure: events in, words out. Not here: what the exchange says about it (audit.py).
"""

from dataclasses import dataclass, field

from wsx.cli.words import duration
from wsx.events import (
    Closed,
    Event,
    Gap,
    GapEvent,
    Halted,
    Opened,
    Reconnecting,
    SubscriptionRefused,
    SubscriptionRestored,
)


@dataclass(slots=True, kw_only=True)
class Outage:
    """One of them. restored, refused: channels. up_ns, gap: None while it lasts."""

    down_ns: int
    cause: str
    up_ns: int | None = None
    restored: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    gap: Gap | None = None

    def words(self) -> str:
        """In a sentence."""
        if self.up_ns is None:
            return f"{self.cause}: down since then"
        blind = "until now"
        if self.gap is not None and self.gap.first_good_ns is not None:
            blind = duration(self.gap.first_good_ns - self.gap.last_good_ns)
        down = duration(self.up_ns - self.down_ns)
        return f"{self.cause}: down {down}, blind {blind}, {len(self.restored)} channels back"


def _begun(closed: Closed | None) -> Outage:
    assert closed is not None  # nothing reconnects that was not connected
    cause = type(closed.error).__name__ if closed.error is not None else f"closed with {closed.code}"
    return Outage(down_ns=closed.at_ns, cause=cause)


class Outages:
    """All of a session's. holes: gaps of single channels that no outage explains: their book was renewed."""

    def __init__(self) -> None:
        self.all: list[Outage] = []
        self.holes: list[Gap] = []
        self._closed: Closed | None = None  # an end, or an outage if the client goes on

    @property
    def lasting(self) -> Outage | None:
        """The one that lasts."""
        return self.all[-1] if self.all and self.all[-1].up_ns is None else None

    def on_event(self, event: Event) -> None:
        """Note what a client says."""
        if isinstance(event, Closed):
            self._closed = event
        elif isinstance(event, (Reconnecting, Halted)) and self.lasting is None:
            self.all.append(_begun(self._closed))
        elif isinstance(event, GapEvent):
            self._on_gap(event.gap)
        elif self.lasting is not None:
            self._on_return(self.lasting, event)

    def _on_return(self, outage: Outage, event: Event) -> None:
        if isinstance(event, Opened):
            outage.up_ns = event.at_ns
        elif isinstance(event, SubscriptionRestored):
            outage.restored.append(event.stream)
        elif isinstance(event, SubscriptionRefused):
            outage.refused.append(event.stream)

    def _on_gap(self, gap: Gap) -> None:
        if gap.stream == "" and self.all:
            self.all[-1].gap = gap
        elif gap.first_good_ns is not None and "connection lost" not in gap.cause:
            self.holes.append(gap)
