"""The head of an HTTP/1.1 message (RFC 9112 2 to 5): bytes in, start line and fields out, every size capped.

Both ends of the upgrade read with it. It judges each line when the line is complete, so any split of the bytes gives
the same answer. Not here: what the start line and the fields mean (handshake.py, server_handshake.py).
"""

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 16 * 1024
MAX_LINES = 257  # the start line and 256 fields

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 5.5
_BLANK = " \t"  # str.strip() alone would also take bytes such as 0xA0, which are part of a value


class HeadError(ValueError):
    """What came is no HTTP/1.1 head. The text ends a sentence that begins with who sent it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its fields, in order, names in their own case; bytes above ASCII read as Latin-1."""

    start_line: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """The value of every field called `name`, in any case."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def tokens(self, name: str) -> list[str]:
        """The members of the comma-separated lists in those values (RFC 9110 5.6.1), empty ones left out."""
        members = (member.strip(_BLANK) for value in self.values(name) for member in value.split(","))
        return [member for member in members if member]


class HeadReader:
    """Reads one head. `start`: what it must begin with; anything else is named as soon as as many bytes are there.

    `leftover`: what followed the head in the bytes that completed it.
    """

    def __init__(self, start: bytes) -> None:
        self.leftover = b""
        self._start = start
        self._buffer = bytearray()
        self._line_at = 0  # where the unfinished line begins in the buffer
        self._scanned = 0  # no line feed before this
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> Head | None:
        """Take more bytes; the head once it is complete. Raises HeadError."""
        self._buffer += data
        if len(self._buffer) < len(self._start):
            return None
        self._check_start()
        while (line := self._next_line()) is not None:
            if not line:
                self.leftover = bytes(self._buffer[self._line_at :])
                return self._head()
            self._lines.append(_checked_line(line, len(self._lines)))
        return None

    def eof(self) -> str:
        """Nothing more will come: what is missing. Raises HeadError if what came was not HTTP at all."""
        if not self._buffer:
            return "closed the connection without answering"
        self._check_start()
        return "closed the connection in the middle of the headers"

    def _check_start(self) -> None:
        first = bytes(self._buffer[: len(self._start)])
        if not self._start.startswith(first):
            raise HeadError(_name_garbage(first))

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        self._scanned = len(self._buffer) if end < 0 else end + 1
        line_limit = self._line_at + MAX_LINE_BYTES
        if self._scanned > min(line_limit, MAX_HEAD_BYTES):
            what = "a header line" if line_limit <= MAX_HEAD_BYTES else "headers"
            limit = MAX_LINE_BYTES if line_limit <= MAX_HEAD_BYTES else MAX_HEAD_BYTES
            raise HeadError(f"sent {what} of more than {limit} bytes")
        if end < 0:
            return None
        line = bytes(self._buffer[self._line_at : end])
        self._line_at = self._scanned
        return line.removesuffix(b"\r")

    def _head(self) -> Head:
        fields: list[tuple[str, str]] = []
        for line in self._lines[1:]:
            text = line.decode("latin-1")
            if text[0] in _BLANK:  # obsolete line folding, RFC 9112 5.2: a space
                name, value = fields.pop()
                fields.append((name, f"{value} {text.strip(_BLANK)}".strip(_BLANK)))
            else:
                name, _, value = text.partition(":")
                fields.append((name, value.strip(_BLANK)))
        return Head(self._lines[0].decode("latin-1"), tuple(fields))


def _checked_line(line: bytes, number: int) -> bytes:
    """The line itself, if it may be line `number` of a head."""
    if number >= MAX_LINES:
        raise HeadError(f"sent more than {MAX_LINES - 1} header lines")
    if not _TEXT.fullmatch(line):
        raise HeadError("sent a control character in a header line")
    folded = line[:1] in (b" ", b"\t")
    if number == 1 and folded:
        raise HeadError("sent a folded line before any header")
    if number > 0 and not folded and not _NAME.fullmatch(line.partition(b":")[0] if b":" in line else b""):
        raise HeadError("sent a header line without a proper name")
    return line


def _name_garbage(first: bytes) -> str:
    if first[:1] in (b"\x15", b"\x16") and first[1:2] in (b"", b"\x03"):
        return "speaks TLS here, and this side plain text (a wss:// port needs a wss:// URL)"
    if first[3:4] == b"\x04" and first[:1] == b"\x00":
        return "speaks HTTP/2 here, and an upgrade needs HTTP/1.1"
    if first.startswith(b"SSH"):
        return "speaks SSH here, not HTTP: is the port right?"
    return f"does not speak HTTP here: it began with {first!r}"
