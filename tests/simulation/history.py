"""What happened in one simulated run, in the order in which it happened: plain records, and nothing that judges them.

A text that a server sends is "connection:number:..." with a checksum, so that what was corrupted on its way is known.
Not here: making it happen (world.py), what must be true of it (promises.py).
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

import wsx
from wsx.events import Event, Gap


@dataclass(frozen=True)
class Record:
    at_ns: int


@dataclass(frozen=True)
class Dialled(Record):
    """An attempt reached the network. connection: the server's number of it, None where it failed."""

    epoch: int
    connection: int | None = None


@dataclass(frozen=True)
class Restoring(Record):
    """The hook of a new connection has ended; these subscriptions are acknowledged and will be restored."""

    epoch: int
    subscriptions: tuple[str, ...]


@dataclass(frozen=True)
class ServerGot(Record):
    """text: None where its checksum was wrong."""

    connection: int
    text: str | None


@dataclass(frozen=True)
class UserGot(Record):
    """A message was delivered. connection: None where its checksum was wrong. number: None for an answer to a hook."""

    epoch: int
    connection: int | None
    number: int | None
    gap: Gap | None = None
    received_ns: int = 0


@dataclass(frozen=True)
class SendBegan(Record):
    text: str


@dataclass(frozen=True)
class SendEnded(Record):
    """outcome: "sent", "cancelled", or the name of the error that was raised. epoch: of the client at that moment."""

    text: str
    outcome: str
    epoch: int


@dataclass(frozen=True)
class Told(Record):
    """The client said so."""

    event: Event


@dataclass(frozen=True)
class Asked(Record):
    """The user called close, reconnect or resume, and the call was taken."""

    what: str


@dataclass(frozen=True)
class Answered(Record):
    """close() returned, after so many nanoseconds."""

    what: str
    took_ns: int


@dataclass(frozen=True)
class Fault(Record):
    """kind: what was done. connection: to which, None for none in particular. direction: the one that suffers."""

    kind: str
    connection: int | None = None
    direction: str = ""


@dataclass(frozen=True)
class Healed(Record):
    connection: int


@dataclass(frozen=True)
class Blocked(Record):
    """The loop did not run for so long; the machine may have slept."""

    for_ns: int


@dataclass(frozen=True)
class GaveUp(Record):
    """The client closed by itself; error: the name of why."""

    error: str


@dataclass(frozen=True)
class Depths(Record):
    """What waited at this moment: name -> (depth, limit)."""

    queues: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Over(Record):
    """The end of the run: what is still there that should not be. gaps: what the client's ledger knows."""

    state: str
    leftovers: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass
class Settings:
    """What the promises depend on. read_messages: the most messages that one read of the line can bring."""

    config: wsx.Config
    backoff: wsx.Backoff
    read_messages: int = 0


@dataclass
class History:
    settings: Settings
    records: list[Record] = field(default_factory=list)

    def of(self, *kinds: type) -> list[Any]:
        return [record for record in self.records if isinstance(record, kinds)]

    def told(self, *kinds: type) -> list[Any]:
        """The client's events of these kinds, with the times at which they were told."""
        return [record.event for record in self.records if isinstance(record, Told) and isinstance(record.event, kinds)]


def sealed(text: str) -> str:
    return f"{text}|{zlib.crc32(text.encode()):08x}"


def unsealed(data: bytes) -> str | None:
    """The text; None where it is not what was sent."""
    body, _, check = data.rpartition(b"|")
    return body.decode() if check == b"%08x" % zlib.crc32(body) else None
