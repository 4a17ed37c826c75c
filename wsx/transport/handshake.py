"""The client's half of the upgrade (RFC 6455 4.1), without I/O: request bytes out, the answer checked.

The caller brings 16 random bytes and the time, moves the bytes, and holds the deadline.
Not here: the server's half (server_handshake.py), HTTP itself (http_head.py, http_body.py).
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Never

from wsx.endpoint import Endpoint
from wsx.errors import ConnectionFailed, HandshakeRejected, InvalidHandshake, Stage
from wsx.headers import HeaderPairs, checked_headers, is_token
from wsx.secret import Secret
from wsx.transport.http_body import BodyReader
from wsx.transport.http_head import Head, HeadError, HeadReader

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_STATUS_LINE = re.compile(r"HTTP/([0-9]\.[0-9]) ([1-9][0-9]{2})( .*)?")
_MAX_INTERIM = 8  # responses such as 100 and 103 before the real one


@dataclass(frozen=True, slots=True)
class Response:
    """A valid 101. headers: all fields, in order. leftover: the bytes after it, the first frames perhaps."""

    headers: tuple[tuple[str, str], ...]
    subprotocol: str | None
    leftover: bytes


def build_request(
    endpoint: Endpoint, headers: HeaderPairs = (), subprotocols: Iterable[str] = (), *, nonce: bytes
) -> bytes:
    """The upgrade request. `nonce`: 16 random bytes, new for every attempt (RFC 6455 4.1, point 7).

    The user's fields follow the required ones, order and case kept; a Host among them takes the place of ours.
    Raises TypeError or ValueError for what must not go onto the wire.
    """
    fields = checked_headers(headers)
    host = next((_reveal(value) for name, value in fields if name.lower() == "host"), endpoint.host_header)
    lines = [f"GET {endpoint.resource} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {_key(nonce)}", "Sec-WebSocket-Version: 13"]
    if offered := ", ".join(_checked_subprotocols(subprotocols)):
        lines.append(f"Sec-WebSocket-Protocol: {offered}")
    if not all(line.isascii() and line.replace("\t", "").isprintable() for line in lines):
        raise ValueError("the endpoint holds a character that must not go onto the wire; build it with parse_url")
    # Secrets are revealed last, when nothing can raise any more: no traceback shows them.
    lines += [f"{name}: {_reveal(value)}" for name, value in fields if name.lower() != "host"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class ResponseReader:
    """Reads the answer to one upgrade request; any split of its bytes gives the same result.

    nonce, subprotocols: those of the request. now: seconds since 1970, for a Retry-After that names a date.
    status: set as soon as a rejection's headers are read; a caller at its deadline then calls `eof()`
    and has the rejection with the part of the body that came.
    """

    def __init__(self, nonce: bytes, subprotocols: Iterable[str] = (), *, now: float | None = None) -> None:
        self._accept = sec_websocket_accept(_key(nonce))
        self._offered = tuple(subprotocols)
        self._now = now
        self._head_reader = HeadReader(b"HTTP/")
        self._interim = 0
        self._rejected: _Rejected | None = None

    @property
    def status(self) -> int | None:
        return None if self._rejected is None else self._rejected.status

    def feed(self, data: bytes) -> Response | None:
        """Take more bytes; the response once it is complete. To be called no more after it returned or raised.

        Raises InvalidHandshake, or HandshakeRejected when the body of another answer is complete (or 4096 bytes long).
        """
        while self._rejected is None:
            head = self._read_head(data)
            if head is None:
                return None
            data = self._head_reader.leftover
            status = self._read_status(head.start_line)
            if status == 101:
                return Response(head.fields, self._check_upgrade(head), data)
            self._note_other(status, head)
        if self._rejected.body_reader.feed(data):
            raise self._rejected.error(self._now)
        return None

    def eof(self) -> Never:
        """Nothing more will come. Raises what `feed` would have, or ConnectionFailed at the upgrade."""
        if self._rejected is not None:
            raise self._rejected.error(self._now)
        try:
            missing = self._head_reader.eof()
        except HeadError as error:
            raise InvalidHandshake(f"the server {error}") from None
        raise ConnectionFailed(Stage.UPGRADE, f"the server {missing}")

    def _read_head(self, data: bytes) -> Head | None:
        try:
            return self._head_reader.feed(data)
        except HeadError as error:
            raise InvalidHandshake(f"the server {error}") from None

    def _read_status(self, line: str) -> int:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise InvalidHandshake(f"the server sent a status line that cannot be read: {line[:80]!r}")
        version, status = match[1], int(match[2])
        # A rejection in HTTP/1.0 is still a rejection; RFC 6455 4.1 asks for 1.1 to upgrade.
        if not version.startswith("1.") or (version == "1.0" and status == 101):
            raise InvalidHandshake(f"the server answered in HTTP/{version}, and an upgrade needs HTTP/1.1")
        return status

    def _note_other(self, status: int, head: Head) -> None:
        if status >= 200:
            self._rejected = _Rejected(status, head, BodyReader(status, head))
            return
        self._head_reader = HeadReader(b"HTTP/")
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise InvalidHandshake(f"the server sent more than {_MAX_INTERIM} interim responses (1xx)")

    def _check_upgrade(self, head: Head) -> str | None:
        """The numbered points are those of RFC 6455 4.1, "the client MUST validate the server's response"."""
        if [value.lower() for value in head.values("upgrade")] != ["websocket"]:  # 2
            raise InvalidHandshake("the server's 101 does not upgrade to websocket (header Upgrade)")
        if "upgrade" not in [token.lower() for token in head.tokens("connection")]:  # 3
            raise InvalidHandshake("the server's 101 does not say Connection: Upgrade")
        if head.values("sec-websocket-accept") != [self._accept]:  # 4
            raise InvalidHandshake("the server's Sec-WebSocket-Accept is missing, repeated or does not match the key")
        if head.tokens("sec-websocket-extensions"):  # 5
            raise InvalidHandshake("the server switched on an extension, and none was offered")
        chosen = head.values("sec-websocket-protocol")  # 6
        if len(chosen) > 1 or not set(chosen) <= set(self._offered):
            raise InvalidHandshake("the server chose a subprotocol that was not offered")
        return chosen[0] if chosen else None


@dataclass(frozen=True, slots=True)
class _Rejected:
    """An answer that is no 101, while its body is being read."""

    status: int
    head: Head
    body_reader: BodyReader

    def error(self, now: float | None) -> HandshakeRejected:
        return HandshakeRejected(self.status, self.head.fields, self.body_reader.body, now=now)


def sec_websocket_accept(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 4.2.2, point 5.4)."""
    digest = hashlib.sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def _key(nonce: bytes) -> str:
    if len(nonce) != 16:
        raise ValueError(f"nonce must be 16 random bytes, not {len(nonce)}")
    return base64.b64encode(nonce).decode("ascii")


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _checked_subprotocols(subprotocols: Iterable[str]) -> Iterable[str]:
    for item in subprotocols:
        if not is_token(item):
            raise ValueError(f"subprotocol {item!r} is no HTTP token")
        yield item
