"""The first bytes of an HTTP/1.1 response's body (RFC 9112 6, 7), for showing why an upgrade was rejected.

Lenient on purpose: a broken body must not hide the status. What cannot be read ends the body.
Not here: anything that needs a whole or a decoded body.
"""

import re

from wsx.transport.http_head import Head

MAX_BODY_BYTES = 4096
_MAX_WIRE_BYTES = 16 * 1024  # of a chunked body, chunk headers and line feeds included
_MAX_CHUNK_LINE = 256
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?")


class BodyReader:
    """Collects a body: to its length, to its last chunk, or to the end of the connection; never above the cap."""

    def __init__(self, status: int, head: Head) -> None:
        self.body = b""
        self._chunked = "chunked" in (coding.lower() for coding in head.tokens("transfer-encoding"))
        self._limit = MAX_BODY_BYTES if self._chunked else _length(status, head)
        self._pending = bytearray()  # chunked: not yet decoded
        self._chunk_left = 0  # bytes of the current chunk still to come
        self._wire_left = _MAX_WIRE_BYTES
        self._ended = self._limit == 0

    def feed(self, data: bytes) -> bool:
        """Take more bytes; True once the body is complete or full."""
        if self._chunked:
            self._pending += data[: self._wire_left]
            self._wire_left -= len(data)
            while not self._ended and self._decode():
                pass
        else:
            self._append(data)
        return self._ended or self._wire_left <= 0

    def _append(self, data: bytes) -> None:
        self.body += data[: self._limit - len(self.body)]
        self._ended = len(self.body) == self._limit

    def _decode(self) -> bool:
        """One step: some bytes of a chunk, or one line. False if more bytes are needed."""
        if self._chunk_left:
            part = bytes(self._pending[: self._chunk_left])
            del self._pending[: len(part)]
            self._chunk_left -= len(part)
            self._append(part)
            return bool(part)
        line, feed, rest = self._pending.partition(b"\n")
        self._ended = len(line) > _MAX_CHUNK_LINE
        if feed:
            self._pending = rest
            self._read_size(bytes(line.strip()))
        return bool(feed)

    def _read_size(self, line: bytes) -> None:
        if not line:  # the end of the chunk before
            return
        size = _CHUNK_SIZE.fullmatch(line)
        self._chunk_left = int(size[1], 16) if size else 0
        self._ended = self._ended or self._chunk_left == 0


def _length(status: int, head: Head) -> int:
    """How many bytes to collect (RFC 9112 6.3); a length that cannot be read counts as none given."""
    if status in (204, 304):
        return 0
    lengths = set(head.tokens("content-length"))
    length = lengths.pop() if len(lengths) == 1 else ""
    return min(int(length), MAX_BODY_BYTES) if re.fullmatch(r"[0-9]{1,18}", length) else MAX_BODY_BYTES
