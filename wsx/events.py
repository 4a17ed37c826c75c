"""What a client says through `on_event`: frozen, slotted, safe to keep.

    Event
    ├── Opened            the upgrade succeeded
    ├── Closed            the connection has ended, for whatever reason
    ├── ReadingPaused     the inbox is full: nothing is read from the socket
    ├── ReadingResumed    there is room again
    ├── SlowConsumer      reading was paused for too long (or may not be): the connection is given up
    ├── Reconnecting      another attempt will be made
    ├── Halted            a person is needed: nothing is tried until `client.resume()`
    ├── GaveUp            the client is closed: nothing is tried any more
    ├── GapEvent          something was missed, or may have been
    ├── StaleData         the connection lives, but no data came for `data_timeout`
    ├── Suspended         the machine slept, and has been woken
    ├── LoopBlocked       the event loop did not run for a while
    ├── CallbackFailed    the user's callback raised; the connection stays up
    ├── SubscriptionRestored  it was subscribed again on a new connection
    ├── SubscriptionRefused   the exchange does not take it any more: it will not be restored
    ├── ProtocolError     a message is not what the protocol above WebSocket allows; the connection stays up
    ├── UnexpectedAnswer  an answer that belongs to no request, or answers none
    └── LateAnswer        an answer to a request that had been given up

Times are nanoseconds of the monotonic clock. The error of the same name as an event is in errors.py.
Not here: who emits them, and when; remembering gaps (ledger.py).
"""

from dataclasses import dataclass
from typing import Any

from wsx._message import Message
from wsx.errors import Outcome

__all__ = [
    "CallbackFailed",
    "Closed",
    "Event",
    "Gap",
    "GapEvent",
    "GaveUp",
    "Halted",
    "LateAnswer",
    "LoopBlocked",
    "Opened",
    "OpeningTimes",
    "ProtocolError",
    "ReadingPaused",
    "ReadingResumed",
    "Reconnecting",
    "SlowConsumer",
    "StaleData",
    "SubscriptionRefused",
    "SubscriptionRestored",
    "Suspended",
    "UnexpectedAnswer",
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
class Gap:
    """One time of blindness: what came between two messages that are known to be good is missing, or may be.

    stream: a subscription's name; "" for everything the connection carried. last_good_ns, first_good_ns: when the last
    message before and the first after it arrived; first_good_ns is None while it lasts. cause: in a word or two, such
    as "reconnect" or "inbox overflow". missed: how many messages, None where nobody knows. epoch: in which it began.
    """

    stream: str
    last_good_ns: int
    first_good_ns: int | None
    cause: str
    missed: int | None = None
    epoch: int


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
class Reconnecting(Event):
    """attempt: from 1 since the connection was last stable. delay_seconds: to wait before it. error: what ended the
    connection or the attempt before; None after an orderly close. epoch: of the connection that was lost."""

    attempt: int
    delay_seconds: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted(Event):
    """error: why no further attempt is made."""

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(Event):
    """error: what the client has ended with; it is closed."""

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEvent(Event):
    """gap: what the first message after it carries too, as `message.gap`."""

    gap: Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleData(Event):
    """stream: a subscription's name; "" for the connection. silent_ns: for how long no data came; PONGs are none."""

    stream: str
    silent_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended(Event):
    """suspended_ns: for how long the machine slept."""

    suspended_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocked(Event):
    """lag_ns: how much later than planned the loop ran: the user's code held it, the peer is not to blame."""

    lag_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFailed(Event):
    """error: what the callback raised. message_opcode: of the message it was given; None if it was given none."""

    error: BaseException
    message_opcode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolError(Event):
    """what: what is wrong with it: no JSON, for example. message: it reaches nobody else."""

    what: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class UnexpectedAnswer(Event):
    """request_id: as the answer has it, of any type; None without one. what: why it is nobody's. error: where the answer
    is one; such as what a server says about a request that it could not read. message: it reaches nobody else."""

    request_id: Any
    what: str
    error: BaseException | None = None
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRestored(Event):
    """stream: the channel."""

    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRefused(Event):
    """stream: the channel. The error of the same name is for whoever asks for one; this is said on a reconnect."""

    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer(Event):
    """outcome: the one that the request had ended with before. error: the answer, where it is one; else None."""

    request_id: int
    method: str
    outcome: Outcome
    error: BaseException | None = None
    message: Message
