"""Feeds bytes to a real assembler and writes down what comes out, as the vectors spell it.

An event is a tuple: ("text", bytes), ("binary", bytes), ("ping", bytes), ("pong", bytes), ("close", code, reason as
bytes), ("fail", code, words). `vectors()` reads tests/vectors/*.json, where `61*126` is the byte 61, 126 times.
Not here: what is right (the vectors and the tests).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsx._assembler import Assembler
from wsx._frame import encode
from wsx._message import Message
from wsx._telemetry import Telemetry

VECTORS = Path(__file__).parent / "vectors"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"\x37\xfa\x21\x3d"

Event = tuple[Any, ...]


class Endpoint:
    """One end of a connection: its assembler, and `events`, all that came out of it in order."""

    def __init__(self, *, server: bool = False, **limits: int) -> None:
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.telemetry = Telemetry()
        self.assembler = Assembler(self._on_message, self, self.telemetry, server=server, **limits)  # type: ignore[arg-type]

    def feed(self, wire: bytes, cuts: Iterable[int] = ()) -> "Endpoint":
        """Feed all of `wire`, cut at these places."""
        edges = [0, *cuts, len(wire)]
        for start, end in zip(edges, edges[1:], strict=False):
            self.assembler.feed(wire[start:end])
        return self

    def _on_message(self, message: Message) -> None:
        self.messages.append(message)
        self.events.append(("text" if message.opcode == TEXT else "binary", message.data))

    def on_control(self, opcode: int, payload: bytes) -> None:
        self.events.append(("ping" if opcode == PING else "pong", payload))

    def on_close(self, code: int, reason: str) -> None:
        self.events.append(("close", code, reason.encode()))

    def on_failure(self, close_code: int, reason: str) -> None:
        self.events.append(("fail", close_code, reason))


def receive(wire: bytes, cuts: Iterable[int] = (), **options: Any) -> list[Event]:
    """What one end makes of `wire`."""
    return Endpoint(**options).feed(wire, cuts).events


def byte_by_byte(wire: bytes) -> range:
    return range(1, len(wire))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, server: bool = False) -> bytes:
    """A frame as the other end of a client, or with `server` of a server, would send it."""
    return encode(opcode, payload, fin=fin, key=KEY if server else None)


def vectors(name: str) -> list[dict[str, Any]]:
    """The entries of one file of vectors."""
    entries: list[dict[str, Any]] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return entries


def unhex(text: str) -> bytes:
    """`81 05 61*5`: bytes in hex, a byte with a star and a number repeated."""
    parts = (word.partition("*") for word in text.split())
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in parts)


def stream(entry: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The wire bytes of an entry of streams.json, and how the end that receives them is set."""
    options = {name: entry[name] for name in ("max_message_size", "max_fragments") if name in entry}
    return unhex(entry["wire"]), {"server": entry.get("from") == "client", **options}


def expected(entry: dict[str, Any]) -> list[Event]:
    """The events of an entry of streams.json."""
    return [_event(*text.partition(" ")[::2]) for text in entry["expect"]]


def _event(kind: str, rest: str) -> Event:
    if kind not in ("close", "fail"):
        return kind, unhex(rest)
    code, _, words = rest.partition(" ")
    return kind, int(code), unhex(words) if kind == "close" else words


def shortened(events: list[Event], like: list[Event]) -> list[Event]:
    """`events` with the words of a failure cut to what the vector gives of them."""
    pairs = zip(events, [*like, *events[len(like) :]], strict=False)
    return [(*got[:2], got[2][: len(want[2])]) if got[0] == want[0] == "fail" else got for got, want in pairs]
