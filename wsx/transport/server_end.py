"""The server's end of one open WebSocket connection, above whatever carries its bytes: a socket, or memory.

The codec is the client's own, with its roles exchanged. What a server owes a client is done here: PONGs, the closing
handshake, the close code of a broken stream, and no more in its write buffer than one read can ask for.
Not here: the upgrade (server_handshake.py), sockets (wsx/testing/server.py), both ends in memory (memory.py).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from wsx._assembler import Assembler
from wsx._inbox import Inbox
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx._writer import FrameWriter
from wsx.transport.server_handshake import Request, accept_response, reject_response

OnMessage: TypeAlias = Callable[["ServerEnd", Message], object]
Check: TypeAlias = Callable[[Request], int | None]

_log = logging.getLogger("wsx.server")
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_NO_STATUS = 1005  # RFC 6455 7.4.1: never on the wire
_INTERNAL_ERROR = 1011


class Wire(Protocol):
    """What carries the bytes: the part of a `Transport` (base.py) that a server's end needs."""

    @property
    def writer(self) -> FrameWriter:
        """Where frames are written."""

    def write(self, data: bytes) -> None:
        """Write bytes as they are. Raises ConnectionError where the connection is closed."""

    def pause_reading(self) -> None:
        """Take nothing from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take what the client sends."""

    def discard_input(self) -> None:
        """From now on read and throw away."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close now; what is buffered is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Whom a server lets in, and what is done with their messages.

    on_message(connection, message): called inline. check(request): an HTTP status to refuse a client with, or None.
    subprotocols: those that are spoken; a client gets the first of its own list that is among them.
    close_timeout: seconds that a client has to take part in closing.
    """

    on_message: OnMessage | None = None
    check: Check | None = None
    subprotocols: Iterable[str] = ()
    max_message_size: int = 16 << 20
    close_timeout: float = 2

    def __post_init__(self) -> None:
        if isinstance(self.subprotocols, str):
            raise TypeError("subprotocols must be a list of str, not a str")
        object.__setattr__(self, "subprotocols", tuple(self.subprotocols))
        for name in ("max_message_size", "close_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and above 0, not {getattr(self, name)!r}")

    def answer(self, request: Request) -> "tuple[bytes, ServerEnd | None]":
        """The answer to an upgrade request, and the connection where it is a 101."""
        status = self.check(request) if self.check is not None else None
        if status is not None:
            return reject_response(status), None
        end = ServerEnd(request, self)
        return accept_response(request, end.subprotocol), end


class ServerEnd:
    """One connection, as its server holds it. Belongs to the loop that made it.

    request: the client's upgrade request. close_code: the client's own (1005 where it gave none), None before that.
    failure: why the client's stream was refused, as close code and words, or None.
    """

    wire: Wire

    def __init__(self, request: Request, door: Door) -> None:
        self.request = request
        self.subprotocol = next((name for name in request.subprotocols if name in door.subprotocols), None)
        self.close_code: int | None = None
        self.failure: tuple[int, str] | None = None
        self.telemetry = Telemetry()
        self._door = door
        self._close_timer: asyncio.TimerHandle | None = None
        self._close_sent = False
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._room: asyncio.Future[None] | None = None  # while the write buffer is too full
        inbox = Inbox(self, self.telemetry, callback=self._receive)
        inbox.start()
        size = door.max_message_size
        self.assembler = Assembler(inbox, self, self.telemetry, server=True, max_message_size=size)

    # ---- for whoever writes the server ------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """May something still be sent?"""
        return not (self._close_sent or self._gone.done())

    def send(self, data: str | bytes | bytearray | memoryview, *, text: bool | None = None) -> None:
        """Send a message: str as text, bytes-like as binary; `text=True` sends bytes as text.

        Raises ConnectionResetError where the connection is closing or gone.
        """
        payload = data.encode() if isinstance(data, str) else data
        self.send_frame(_TEXT if text or (text is None and isinstance(data, str)) else _BINARY, payload)

    def send_frame(self, opcode: int, payload: bytes | bytearray | memoryview, *, fin: bool = True) -> None:
        """Send one frame, a part of a message or a PING for instance. Raises as `send`; ValueError as RFC 6455 5."""
        self._check_open()
        self.wire.writer.send(opcode, payload, fin=fin)

    def send_raw(self, data: bytes) -> None:
        """Put bytes onto the line as they are: frames encoded before, a part of one, or nonsense. Raises as `send`."""
        self._check_open()
        self.wire.write(data)

    async def drain(self) -> None:
        """Wait while the client does not read. Raises ConnectionResetError where the connection ends first."""
        while self._room is not None and not self._gone.done():
            await asyncio.shield(self._room)
        self._check_open()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; a client that does not take part is cut off after `close_timeout`."""
        if self.open:
            self._send_close(code, reason)
            self.wire.resume_reading()

    def abort(self) -> None:
        """Cut the connection; what is buffered is lost."""
        self.wire.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._gone)

    # ---- what the assembler and the inbox say -----------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        if self._door.on_message is not None and self.open:
            self._door.on_message(self, message)

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        """The server's own code failed: said in the log, and to the client as 1011."""
        if isinstance(error, ConnectionResetError):
            return  # the client left while it was being answered
        _log.error("a server's on_message raised on a message of %d bytes", len(message), exc_info=error)
        self.close(_INTERNAL_ERROR, type(error).__name__)

    def on_inbox_full(self) -> None:
        """Never: each message is handed over at once."""

    on_inbox_drained = on_inbox_full

    def on_control(self, opcode: int, payload: bytes) -> None:
        """PING is answered with the same payload (RFC 6455 5.5.3)."""
        if opcode == _PING and self.open:
            self._send_control(_PONG, payload)

    def on_close(self, code: int, reason: str) -> None:
        """The client's CLOSE: answered with its own code; then this side closes first (RFC 6455 7.1.1)."""
        self.close_code = code
        if not self._close_sent:
            self._send_close(code, "")
        self.wire.close()

    def on_failure(self, close_code: int, text: str) -> None:
        """The client broke the protocol, or a limit (RFC 6455 7.1.7)."""
        self.failure = close_code, text
        if not self._close_sent:
            self._send_close(close_code, text)
        self.wire.discard_input()
        self.wire.close()

    # ---- TransportOwner ---------------------------------------------------------------------------------------------

    def on_disconnected(self) -> None:
        if self._gone.done():
            return
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._gone.set_result(None)
        self._wake()

    def on_writing_paused(self) -> None:
        """The client does not read: nothing is taken from it either, so that answers do not pile up."""
        if self._room is None:
            self._room = self._loop.create_future()
            self.wire.pause_reading()

    def on_writing_resumed(self) -> None:
        self._wake()
        self.wire.resume_reading()

    def on_broken(self, error: Exception) -> None:
        _log.error("a frame could not be taken in", exc_info=error)
        self.wire.abort()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self.open:
            raise ConnectionResetError("the connection is closing or gone; nothing was sent")

    def _send_close(self, code: int, reason: str) -> None:
        self._close_sent = True
        self._close_timer = self._loop.call_later(self._door.close_timeout, self.wire.abort)
        payload = b"" if code == _NO_STATUS else code.to_bytes(2, "big") + reason.encode()[:123]
        self._send_control(_CLOSE, payload)

    def _send_control(self, opcode: int, payload: bytes) -> None:
        """A client that has just left says so by itself, through `on_disconnected`."""
        with contextlib.suppress(ConnectionResetError):
            self.wire.writer.send(opcode, payload)

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)
