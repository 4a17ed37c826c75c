"""What a client says through `on_event`: frozen, slotted, safe to keep.

    Event
    ├── Opened            the upgrade succeeded
    ├── Closed            the connection has ended, for whatever reason
    ├── ReadingPaused     the inbox is full: nothing is read from the socket
    ├── ReadingResumed    there is room again
    ├── SlowConsumer      reading was paused for too long (or may not be): the connection is given up
    ├── LoopBlocked       the event loop did not run for a while
    └── CallbackFailed    the user's callback raised; the connection stays up

Times are nanoseconds of the monotonic clock. The error of the same name as an event is in errors.py.
Not here: who emits them, and when.
"""

from dataclasses import dataclass

__all__ = [
    "CallbackFailed",
    "Closed",
    "Event",
    "LoopBlocked",
    "Opened",
    "OpeningTimes",
    "ReadingPaused",
    "ReadingResumed",
    "SlowConsumer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningTimes:
    """How long each stage of an opening took, in nanoseconds; 0 for a stage that was not needed."""

    dns_ns: int = 0
    tcp_ns: int = 0
    tls_ns: int = 0
    upgrade_ns: int = 0

    @property
    def total_ns(self) -> int:
        return self.dns_ns + self.tcp_ns + self.tls_ns + self.upgrade_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """at_ns: when it happened. epoch: in the life of which connection, counted from 1."""

    at_ns: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    """endpoint: the URL without user info and query."""

    endpoint: str
    timings: OpeningTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """code, reason: as in RFC 6455 7.1.5 and 7.1.6 (1006 without a CLOSE). error: None for an orderly end."""

    code: int
    reason: str = ""
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPaused(Event):
    """inbox_messages, inbox_bytes: what waits to be read."""

    inbox_messages: int
    inbox_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingResumed(Event):
    """paused_ns: for how long nothing was read."""

    paused_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowConsumer(Event):
    """inbox_messages, inbox_bytes: what waited to be read. paused_ns: for how long reading had been paused."""

    inbox_messages: int
    inbox_bytes: int
    paused_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocked(Event):
    """lag_ns: how much later than planned the loop ran: the user's code held it, the peer is not to blame."""

    lag_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFailed(Event):
    """error: what the callback raised. message_opcode: of the message it was given; None if it was given none."""

    error: BaseException
    message_opcode: int | None = None
