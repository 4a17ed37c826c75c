"""A WebSocket server on a real loopback socket, for tests: what every server of `wsx.testing` is made of.

It runs on the loop of the test, asyncio's or uvloop's, and speaks wsx's own codec. Bad upgrade requests are answered
with 400, broken streams with their close code; a client that never finishes its request is cut off.
Not here: what one connection does once it is open (wsx/transport/server_end.py), what a particular server answers.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias

from wsx._message import Message
from wsx.errors import ProtocolError
from wsx.testing.certificates import Authority
from wsx.transport._pipe import PipeWriter
from wsx.transport.server_end import Check, Door, OnMessage, ServerEnd
from wsx.transport.server_handshake import RequestReader, reject_response

_OnOpen: TypeAlias = Callable[[ServerEnd], object]

_READ_BUFFER_BYTES = 65536
_WRITE_BUFFER_BYTES = 256 * 1024  # above this the client counts as not reading
_UPGRADE_TIMEOUT = 10.0  # seconds from the TCP connection to a whole upgrade request
_GOING_AWAY = 1001


class LocalServer:
    """A server on loopback: `async with LocalServer(on_message=...) as server: connect(server.url)`.

    host, port: where it listens; port 0: any free one. tls: `wss://` with a certificate of its own authority.
    subprotocols: those it speaks; a client gets the first of its own list that is among them.
    on_open(connection), on_message(connection, message): called inline. check(request): an HTTP status to refuse a
    client with, or None. close_timeout: seconds that a client has to take part in closing.
    Raises TypeError and ValueError for what none of these can be; entering it raises OSError where it cannot listen.
    A server with a state of its own overrides `opened`, `received` and `closed` instead.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = False,
        subprotocols: Iterable[str] = (),
        on_open: _OnOpen | None = None,
        on_message: OnMessage | None = None,
        check: Check | None = None,
        max_message_size: int = 16 << 20,
        close_timeout: float = 2,
    ) -> None:
        self.host = host
        self.door = Door(
            on_message=self.received,
            check=check,
            subprotocols=subprotocols,
            max_message_size=max_message_size,
            close_timeout=close_timeout,
        )
        self._port = port
        self._authority = Authority() if tls else None
        self._on_open, self._on_message = on_open, on_message
        self._server: asyncio.Server | None = None
        self._wires: dict[_SocketWire, None] = {}  # in the order of their arrival

    # ---- for the test -----------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens. Raises RuntimeError before it does."""
        if self._server is None:
            raise RuntimeError("the server is not running; enter it with `async with`")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self._authority else 'ws'}://{host}:{self.port}/"

    def ssl_context(self) -> ssl.SSLContext:
        """For clients: trusts this server's authority alone. Raises RuntimeError for a server without TLS."""
        if self._authority is None:
            raise RuntimeError("this server has no TLS; make it with tls=True")
        return self._authority.client_context()

    @property
    def connections(self) -> tuple[ServerEnd, ...]:
        """The connections that are open now, the oldest first."""
        return tuple(wire.end for wire in self._wires if wire.end is not None and wire.end.open)

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError(f"the server is running already, at {self.url}; make another one")
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self._authority is not None:
            tls = {"ssl": self._authority.server_context(self.host)}
            tls |= {"ssl_handshake_timeout": _UPGRADE_TIMEOUT, "ssl_shutdown_timeout": self.door.close_timeout}
        self._server = await loop.create_server(lambda: _SocketWire(self), self.host, self._port, **tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and tell every client 1001; returns when all are gone, within twice `close_timeout`."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for wire in tuple(self._wires):
            wire.shut_down()
        await asyncio.gather(*(wire.gone for wire in self._wires))
        with contextlib.suppress(TimeoutError):  # a TLS handshake that never ends
            await asyncio.wait_for(server.wait_closed(), self.door.close_timeout)

    def opened(self, connection: ServerEnd) -> None:
        """A client was let in."""
        if self._on_open is not None:
            self._on_open(connection)

    def received(self, connection: ServerEnd, message: Message) -> None:
        """A client sent a message."""
        if self._on_message is not None:
            self._on_message(connection, message)

    def closed(self, connection: ServerEnd) -> None:
        """A connection is gone."""


class _SocketWire(asyncio.BufferedProtocol):
    """One accepted socket: its upgrade, then the `Wire` under a `ServerEnd`."""

    def __init__(self, server: LocalServer) -> None:
        self._loop = asyncio.get_running_loop()
        self.end: ServerEnd | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._server = server
        self._reader = RequestReader()
        self._buffer = memoryview(bytearray(_READ_BUFFER_BYTES))
        self._discarding = False
        self._ended = False  # this side has closed
        self._transport: Any = None
        self._deadline: asyncio.TimerHandle | None = None  # until the upgrade is through

    # ---- asyncio's protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server._wires[self] = None
        self._deadline = self._loop.call_later(_UPGRADE_TIMEOUT, self.abort)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if self._server._server is None:
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._discarding:
            return
        if self.end is None:
            self._upgrade(bytes(self._buffer[:nbytes]))
        else:
            self.end.assembler.feed(self._buffer[:nbytes])

    def pause_writing(self) -> None:
        if self.end is not None:
            self.end.on_writing_paused()

    def resume_writing(self) -> None:
        if self.end is not None:
            self.end.on_writing_resumed()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_waiting()
        self._server._wires.pop(self, None)
        if self.end is not None:
            self.writer.detach()
            self.end.on_disconnected()
            self._server.closed(self.end)
        self.gone.set_result(None)

    # ---- Wire -------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._ended or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._transport.is_closing() and not self._discarding:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def discard_input(self) -> None:
        self._discarding = True
        self.resume_reading()

    def close(self) -> None:
        """Over plain TCP only this side's half: unread bytes would turn a whole close into a reset."""
        self._discarding = True
        if self._ended or self._transport.is_closing():
            return
        self._ended = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """The server ends: in good order where there is a connection."""
        if self.end is not None and self.end.open:
            self.end.close(_GOING_AWAY, "the server ends")
        elif self.end is None:
            self.abort()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _upgrade(self, data: bytes) -> None:
        try:
            request = self._reader.feed(data)
        except ProtocolError as error:
            self._transport.write(reject_response(400, body=f"{error}\n".encode()))
            self.close()
            return
        if request is None:
            return
        answer, end = self._server.door.answer(request)
        self._transport.write(answer)
        if end is None:
            self.close()
        else:
            self._open(end, request.leftover)

    def _open(self, end: ServerEnd, leftover: bytes) -> None:
        self._stop_waiting()
        self.writer = PipeWriter(end.telemetry, masked=False)
        self.writer.attach(self.write, self._transport.get_write_buffer_size)
        end.wire = self
        self.end = end
        self._server.opened(end)
        if leftover:
            end.assembler.feed(leftover)
