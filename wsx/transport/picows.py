"""The default transport: HTTP/1.1 over TCP or TLS, opened under wsx's own rules, then run by picows.

Resolving, connecting (happy eyeballs), TLS and the upgrade share one deadline, and each failure names its stage.
wsx sends the request and judges the answer itself; picows is handed an open connection with a canonical 101 and from
then on reads and writes, while wsx's own decoder splits what came. What picows does not promise is settled here and in
_listener.pyx.
Not here: liveness, closing handshakes, anything about messages (connection.py).
"""

import asyncio
import os
import ssl
import time
from typing import Any

import aiofastnet
from aiohappyeyeballs import start_connection
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from wsx.endpoint import Endpoint
from wsx.errors import ConnectionFailed, Stage
from wsx.events import OpeningTimes
from wsx.transport._listener import Listener, PicowsWriter, Reader
from wsx.transport.base import Opening, TransportOwner
from wsx.transport.error_watch import with_error_watch
from wsx.transport.handshake import Response, ResponseReader, build_request, sec_websocket_accept
from wsx.transport.resolver import AddrInfo, resolve
from wsx.transport.socket_options import apply_options
from wsx.transport.tls import default_context, describe_failure

_HAPPY_EYEBALLS_DELAY = 0.25  # seconds before the next address is tried beside the last (RFC 8305 5)
_FRONT_BUFFER_BYTES = 4096


async def dial(opening: Opening) -> "PicowsTransport":
    """Open one connection. Reading is paused in what it returns.

    Raises ConnectionFailed with its stage, HandshakeRejected, InvalidHandshake; cancelled or failed, it leaves no
    socket behind.
    """
    progress = _Progress()
    try:
        async with asyncio.timeout_at(opening.deadline):
            return await _open(opening, progress)
    except TimeoutError as error:
        if progress.reader is not None and progress.reader.status is not None:
            progress.reader.eof()  # rejected, but the body never ended: say so rather than time out
        limit = f"connect_timeout={opening.config.connect_timeout:g} s"
        raise ConnectionFailed(progress.stage, f"no answer from {opening.endpoint.origin} within {limit}") from error


async def _open(opening: Opening, progress: "_Progress") -> "PicowsTransport":
    tls = _tls_options(opening)  # before there is a socket to lose
    sock = await _connect(opening, progress)
    progress.enter(_stage_after_tcp(opening.endpoint))
    front = await _start_front(opening, sock, progress.stage, tls)
    progress.reader = front.reader
    try:
        progress.enter(Stage.UPGRADE)
        response = await front.upgrade()
        progress.end()
        return PicowsTransport(opening, front, response, progress.times)
    except BaseException:
        front.transport.abort()
        raise


# ---- opening, stage by stage ----------------------------------------------------------------------------------------


class _Progress:
    """Which stage an opening is in, and how long each took. reader: of the answer, once one is waited for."""

    reader: ResponseReader | None = None

    def __init__(self) -> None:
        self.stage = Stage.DNS
        self._since_ns = time.monotonic_ns()
        self._taken: dict[str, int] = {}

    def enter(self, stage: Stage) -> None:
        if stage is not self.stage:
            self.end()
            self.stage = stage

    def end(self) -> None:
        now_ns = time.monotonic_ns()
        self._taken[f"{self.stage}_ns"] = now_ns - self._since_ns
        self._since_ns = now_ns

    @property
    def times(self) -> OpeningTimes:
        return OpeningTimes(**self._taken)


async def _connect(opening: Opening, progress: _Progress) -> Any:
    """A connected socket, over whichever address answers first."""
    endpoint = opening.endpoint
    remote, local = await _look_up(opening)
    progress.enter(Stage.TCP)
    try:
        sock = await start_connection(remote, local_addr_infos=local, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY)
    except ConnectionResetError as error:  # TCP was through: what refuses a connection says ECONNREFUSED
        what = f"{endpoint.origin} reset the connection as soon as it was there"
        raise ConnectionFailed(_stage_after_tcp(endpoint), what) from error
    except (OSError, RuntimeError) as error:
        raise ConnectionFailed(Stage.TCP, f"cannot connect to {endpoint.origin}: {_in_words(error)}") from error
    apply_options(sock, opening.config.socket_options)
    return sock


async def _look_up(opening: Opening) -> tuple[list[AddrInfo], list[AddrInfo] | None]:
    """The addresses to connect to, and those to connect from."""
    endpoint, source = opening.endpoint, opening.config.source_address
    try:
        remote = await resolve(endpoint.host, endpoint.port)
        return remote, await resolve(*source, local=True) if isinstance(source, tuple) else None
    except OSError as error:
        raise ConnectionFailed(Stage.DNS, f"cannot resolve {endpoint.host!r}: {error.strerror or error}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; nothing listens on that port"
    number = getattr(error, "errno", None)  # the loop's own text says which call failed, not why
    return os.strerror(number) if number else str(error) or type(error).__name__


def _stage_after_tcp(endpoint: Endpoint) -> Stage:
    return Stage.TLS if endpoint.secure else Stage.UPGRADE


def _tls_options(opening: Opening) -> dict[str, Any]:
    """What create_connection() needs for TLS; nothing where the endpoint does not ask for it."""
    endpoint, config = opening.endpoint, opening.config
    if not endpoint.secure:
        return {}
    try:
        context = config.ssl or default_context()
    except OSError as error:
        raise ConnectionFailed(Stage.TLS, f"cannot read the system's roots: {_in_words(error)}") from error
    return {
        "ssl": context,
        "server_hostname": config.server_hostname or endpoint.host,
        "ssl_handshake_timeout": config.connect_timeout + 1,  # a net under the deadline that dial() holds
        "ssl_shutdown_timeout": config.close_timeout,
    }


async def _start_front(opening: Opening, sock: Any, stage: Stage, tls: dict[str, Any]) -> "_Front":
    """The socket under the loop, with TLS where the endpoint asks for it."""
    front = _Front(opening)
    try:
        loop = with_error_watch(asyncio.get_running_loop())
        await aiofastnet.create_connection(loop, lambda: front, sock=sock, **tls)
    except (OSError, ValueError) as error:
        sock.close()  # where no transport could be made, for a reset say, nobody else owns it
        if isinstance(error, OSError):  # of TLS too
            raise ConnectionFailed(stage, describe_failure(error)) from error
        raise
    return front


class _Front(asyncio.BufferedProtocol):
    """Holds the connection until its owner reads: sends the request, judges the answer, keeps what came behind it."""

    transport: Any
    lost = False  # TLS may end while reading is paused; what it brought before that is read first

    def __init__(self, opening: Opening) -> None:
        nonce = os.urandom(16)
        config = opening.config
        self._request = build_request(opening.endpoint, opening.headers, config.subprotocols, nonce=nonce)
        self.reader = ResponseReader(nonce, config.subprotocols, now=time.time())
        self._buffer = bytearray(_FRONT_BUFFER_BYTES)
        self._answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.leftover = b""

    async def upgrade(self) -> Response:
        """Send the request and wait for a valid 101; what came behind it is in `leftover`."""
        self.transport.write(self._request)
        return await self._answer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._answer.done():
            self.leftover += data  # TLS may hand over what it had decrypted before the pause
            return
        self._settle(lambda: self.reader.feed(data))

    def eof_received(self) -> bool:
        if not self._answer.done():
            self._settle(self.reader.eof)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self._answer.done():
            self._settle(lambda: self._end(error))

    def _end(self, error: Exception | None) -> None:
        """In TLS 1.3 a server refuses this client's certificate only after the handshake."""
        if isinstance(error, ssl.SSLError) and self.reader.status is None:
            raise ConnectionFailed(Stage.TLS, describe_failure(error)) from error
        self.reader.eof()

    def _settle(self, step: Any) -> None:
        try:
            response = step()
        except Exception as error:
            self._answer.set_exception(error)
            self._answer.exception()  # seen: an opening that was cancelled asks for it no more
            return
        if response is not None:
            self.transport.pause_reading()
            self.leftover = response.leftover
            self._answer.set_result(response)


# ---- open -----------------------------------------------------------------------------------------------------------


class PicowsTransport:
    """An upgraded connection, run by picows (`Transport` in base.py)."""

    def __init__(self, opening: Opening, front: _Front, response: Response, times: OpeningTimes) -> None:
        self.times = times
        self.subprotocol = response.subprotocol
        self.writer = PicowsWriter(opening.telemetry)
        self._owner = opening.owner
        self._underlying = front.transport
        self._front: _Front | None = front
        self._paused = True
        self._protocol = _hand_over(opening, self._underlying)
        self.writer.attach(self._protocol.transport, self._underlying)
        self._underlying.set_write_buffer_limits(high=0)  # every buffered byte is known, so that senders can wait
        apply_options(self._underlying.get_extra_info("socket"), opening.config.socket_options)

    def pause_reading(self) -> None:
        if not self._paused and not self._underlying.is_closing():
            self._paused = True
            self._underlying.pause_reading()

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self._front is not None:
            self._take_over(self._front)
        if not self._paused:
            self._resume_underlying()

    def _take_over(self, front: _Front) -> None:
        """From now on picows reads, first what came behind the 101."""
        self._front = None
        if not front.lost:
            self._underlying.set_protocol(self._protocol)
        _feed(self._protocol, front.leftover)
        if front.lost:
            self._protocol.connection_lost(None)

    def discard_input(self) -> None:
        self._front = None
        if not self._underlying.is_closing():
            self._underlying.set_protocol(_Discard(self._owner))
            self._paused = False
            self._resume_underlying()

    def _resume_underlying(self) -> None:
        if not self._underlying.is_closing():
            # aiofastnet looks at the socket first: without new bytes there, what it had read before the pause and not
            # decrypted yet would wait, and at the end of the stream it would be lost.
            if (read_again := getattr(self._underlying, "_retry_ssl_read", None)) is not None:
                asyncio.get_running_loop().call_soon(read_again)
            self._underlying.resume_reading()

    def close(self) -> None:
        self.writer.detach()
        self._underlying.close()

    def abort(self) -> None:
        self.writer.detach()
        self._underlying.abort()

    def get_extra_info(self, name: str) -> Any:
        return self._underlying.get_extra_info(name)


class _Discard(asyncio.BufferedProtocol):
    """Reads and throws away until the end of the stream."""

    _buffer = bytearray(65536)  # shared: nobody reads it

    def __init__(self, owner: TransportOwner) -> None:
        self._owner = owner

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.on_disconnected()


class _Quiet:
    """The transport as picows sees it: its request is not sent, and closing is left to wsx."""

    def __init__(self, underlying: Any) -> None:
        self.get_write_buffer_size = underlying.get_write_buffer_size
        self.get_extra_info = underlying.get_extra_info

    def write(self, data: bytes) -> None:
        """picows' own upgrade request: wsx has sent its own."""

    def close(self) -> None:
        """A timer of picows' after its parser failed: wsx closes in its own time."""

    abort = close


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol: it reads, and wsx's decoder splits.

    picows looks one frame ahead, tells a fault before the message in front of it, and makes an object of each frame. Its
    own buffer would grow in a flood beyond what the processor's caches hold.
    """

    owner: TransportOwner
    reader: Reader

    def get_buffer(self, size_hint: int) -> memoryview:
        return self.reader.buffer

    def buffer_updated(self, size: int) -> None:
        self.reader.take(size)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, OSError):
            self.owner.on_broken(error)  # the read itself failed: there was no memory, say
        super().connection_lost(error)


class _NoLog:
    """picows' logger: its texts can hold credentials, and go nowhere."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, logging's name
        return False

    def info(self, *args: Any) -> None:
        """Nowhere."""


def _hand_over(opening: Opening, underlying: Any) -> Any:
    """Put picows on top of an upgraded connection: it asks, in vain, and gets the canonical answer."""
    protocol = _Protocol(
        opening.endpoint.host_header, "/", True, lambda: Listener(opening.owner), _NoLog(), False, None,
        False, None, None, 1, False, 0, None, 0,
    )  # fmt: skip
    protocol.connection_made(_Quiet(underlying))
    key = protocol.transport.request.headers["Sec-WebSocket-Key"]
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    answer = f"{head}Sec-WebSocket-Accept: {sec_websocket_accept(key)}\r\n\r\n".encode()
    WSProtocol.get_buffer(protocol, -1)[: len(answer)] = answer
    WSProtocol.buffer_updated(protocol, len(answer))
    protocol.owner, protocol.reader = opening.owner, Reader(opening.sink, opening.owner)
    return protocol


def _feed(protocol: Any, data: bytes) -> None:
    """Give bytes to a BufferedProtocol as a transport would."""
    while data:
        buffer = protocol.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        data = data[size:]
        protocol.buffer_updated(size)
