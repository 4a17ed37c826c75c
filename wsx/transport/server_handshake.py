"""The server's half of the upgrade (RFC 6455 4.2), without I/O: for the local servers of `wsx.testing`.

Not here: the client's half (handshake.py), what a server does with a request it does not like.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from wsx.errors import ProtocolError
from wsx.transport.handshake import sec_websocket_accept
from wsx.transport.http_head import Head, HeadError, HeadReader

_REQUEST_LINE = re.compile(r"GET ([\x21-\x7e]+) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Request:
    """A valid upgrade request. leftover: bytes after it, which a client should not have sent yet."""

    resource: str
    headers: tuple[tuple[str, str], ...]
    key: str
    subprotocols: tuple[str, ...]
    leftover: bytes


class RequestReader:
    """Reads one upgrade request; any split of its bytes gives the same result."""

    def __init__(self) -> None:
        self._head_reader = HeadReader(b"GET ")

    def feed(self, data: bytes) -> Request | None:
        """Take more bytes; the request once it is complete. Raises ProtocolError: answer with `reject_response(400)`."""
        try:
            head = self._head_reader.feed(data)
        except HeadError as error:
            raise ProtocolError(1002, f"the client {error}") from None
        return None if head is None else _request(head, self._head_reader.leftover)


def accept_response(request: Request, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The 101 that accepts `request`. Raises ValueError for a line break in a field (a server under test may
    otherwise send what it likes)."""
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    fields.append(("Sec-WebSocket-Accept", sec_websocket_accept(request.key)))
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    return _response(HTTPStatus.SWITCHING_PROTOCOLS, [*fields, *headers])


def reject_response(status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Any other answer, with its body; the connection is to be closed after it. Raises as `accept_response`."""
    fields = [("Content-Length", str(len(body))), ("Connection", "close")]
    return _response(status, [*fields, *headers]) + body


def _response(status: int, fields: Iterable[tuple[str, str]]) -> bytes:
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    lines = [f"HTTP/1.1 {int(status)} {phrase}", *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _request(head: Head, leftover: bytes) -> Request:
    """The numbered points are those of RFC 6455 4.2.1."""
    line = _REQUEST_LINE.fullmatch(head.start_line)
    keys = head.values("sec-websocket-key")
    _require(line is not None, "a request line other than GET ... HTTP/1.1")  # 1
    _require(len(head.values("host")) == 1, "no Host, or more than one")  # 2
    _require("websocket" in _lower(head, "upgrade"), "no Upgrade: websocket")  # 3
    _require("upgrade" in _lower(head, "connection"), "no Connection: Upgrade")  # 4
    _require(len(keys) == 1 and _is_key(keys[0]), "no proper Sec-WebSocket-Key")  # 5
    _require(head.values("sec-websocket-version") == ["13"], "no Sec-WebSocket-Version: 13")  # 6
    resource = head.start_line.split(" ")[1]
    return Request(resource, head.fields, keys[0], tuple(head.tokens("sec-websocket-protocol")), leftover)


def _require(met: bool, otherwise: str) -> None:
    if not met:
        raise ProtocolError(1002, f"the client sent {otherwise}")


def _lower(head: Head, name: str) -> list[str]:
    return [token.lower() for token in head.tokens(name)]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:  # not base64, or not even ASCII
        return False
