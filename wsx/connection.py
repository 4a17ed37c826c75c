"""One transport's life: one epoch of a client. It opens, lives, and closes once; it never reconnects.

What the peer's frames ask for is done here (PONG, the closing handshake, failing a connection), and the end of the
connection is decided here: `end` says how it came about.
Not here: liveness (heartbeat.py), what outlives a connection (client.py).
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from wsx._assembler import Assembler, MessageReceiver
from wsx._telemetry import Telemetry
from wsx.clock import Clock
from wsx.config import Config
from wsx.data_watch import DataWatch
from wsx.endpoint import Endpoint
from wsx.errors import ConnectionLost, DataTimeout, InvalidUtf8, MessageTooBig, ProtocolError, WsxError
from wsx.evidence import Measured, ask_socket, phrases
from wsx.headers import CheckedHeaders
from wsx.heartbeat import Heartbeat
from wsx.keep_alive import KeepAlive
from wsx.transport.base import Dial, Opening, Transport

_PING, _PONG, _CLOSE = 0x9, 0xA, 0x8
_NO_STATUS, _ABNORMAL = 1005, 1006  # RFC 6455 7.4.1: never on the wire


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended. code, reason: RFC 6455 7.1.5, 7.1.6. error: None where both sides agreed.

    evidence: what was measured when it went wrong, in words.
    """

    code: int
    reason: str = ""
    error: WsxError | None = None
    evidence: tuple[str, ...] = ()


class ConnectionOwner(Protocol):
    """Who holds a connection; called on the loop's thread."""

    def on_closing(self) -> None:
        """Nothing may be sent any more; the connection's end will follow."""

    def on_ended(self, end: End) -> None:
        """The socket is gone."""

    def on_loop_blocked(self, lag_ns: int) -> None:
        """The loop did not run for a while; the peer is not to blame."""

    def on_pong(self, rtt_ns: int) -> None:
        """The PONG to a PING came."""

    def on_stale(self, silent_ns: int) -> None:
        """No message came for `data_timeout`; the connection ends."""

    def on_writable(self) -> None:
        """The write buffer is empty again."""


class Connection:
    """One WebSocket connection; `open_connection` gives it its transport."""

    transport: Transport
    _close_timer: asyncio.TimerHandle | None = None
    _close_sent = False
    _outcome: End | None = None  # known before the socket is gone
    _pending_pong: bytes | None = None  # the newest PING that could not be answered for lack of room

    def __init__(
        self,
        config: Config,
        telemetry: Telemetry,
        owner: ConnectionOwner,
        receiver: MessageReceiver,
        epoch: int,
        clock: Clock,
    ) -> None:
        self._config = config
        self._owner = owner
        self._telemetry, self._clock = telemetry, clock
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[End] = self._loop.create_future()
        self._keep_alives: list[KeepAlive] = []
        self._data_watch = DataWatch(config.data_timeout, telemetry, self._loop, clock, self._on_stale)
        self.heartbeat = Heartbeat(self, owner, config, telemetry, self._loop, clock)
        self.assembler = Assembler(
            receiver, self, telemetry, epoch=epoch,
            max_message_size=config.max_message_size, max_fragments=config.max_fragments,
        )  # fmt: skip

    # ---- for the owner ----------------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Nothing may be sent any more."""
        return self._outcome is not None or self._close_sent or self.end.done()

    @property
    def outcome(self) -> End | None:
        """How it ends, once that is known."""
        return self.end.result() if self.end.done() else self._outcome

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the whole of it takes at most `close_timeout`."""
        if not self.closing:
            self._send_close(code, reason)
            self._bound_closing()
            self._owner.on_closing()
            self._stop_watching()
            self.transport.resume_reading()

    def fail(self, error: WsxError, code: int) -> None:
        """Fail the connection (RFC 6455 7.1.7): CLOSE with this code, then read and discard until the end."""
        if self._outcome is None and not self.end.done():
            self._settle(End(_ABNORMAL, "", error, self._evidence()))
            self._send_close(code, "")

    def abort(self, error: WsxError) -> None:
        """End now, without a closing handshake: the peer is not there to take part in one."""
        if not self.end.done():
            if not self.closing:
                self._owner.on_closing()
            self._outcome = self._outcome or End(_ABNORMAL, "", error, self._evidence())
            self.transport.abort()
            self.on_disconnected()

    def repeat(self, opcode: int, payload: bytes, seconds: float) -> None:
        """Write a message every `seconds` until the connection closes. Raises ValueError."""
        keep_alive = KeepAlive(lambda: self.write(opcode, payload), seconds, self._loop)
        if self.closing:
            keep_alive.stop()
        else:
            self._keep_alives.append(keep_alive)

    def drop(self) -> None:
        """End now, without a word to anybody: its restoring has failed, and that error is told instead."""
        self.abort(ConnectionLost("it could not be restored"))

    def pause_reading(self) -> None:
        """Stop taking data; the heartbeat rests, because a PONG could not be seen."""
        self.transport.pause_reading()
        self.heartbeat.pause()
        self._data_watch.stop()

    def resume_reading(self) -> None:
        if not self.closing:
            self.heartbeat.start()
            self._data_watch.start()
            self.transport.resume_reading()

    # ---- ControlHandler: what the assembler says --------------------------------------------------------------------

    def on_control(self, opcode: int, payload: bytes) -> None:
        """PING is answered at once, or with the newest payload once there is room; PONG goes to the heartbeat."""
        if opcode == _PONG:
            if self.heartbeat.on_pong(payload):
                self.assembler.slowest_ns = 0  # whoever was slow before it is to blame for nothing
        elif self.closing:
            pass  # RFC 6455 5.5.1: nothing follows our CLOSE
        elif self.transport.writer.buffered:
            self._pending_pong = payload
        else:
            self.write(_PONG, payload)

    def on_close(self, code: int, reason: str) -> None:
        """The peer's CLOSE: answered with its own code; then the server closes the socket (RFC 6455 7.1.1)."""
        self._settle(End(code, reason))
        self._send_close(code, "")

    def on_failure(self, close_code: int, text: str) -> None:
        """The peer broke the protocol, or a limit."""
        self.fail(_protocol_error(close_code, text, self._config), close_code)

    # ---- TransportOwner ---------------------------------------------------------------------------------------------

    def on_disconnected(self) -> None:
        if self.end.done():
            return
        self._stop_watching()
        if self._close_timer is not None:
            self._close_timer.cancel()
        if not self.closing:
            self._owner.on_closing()
        self.transport.close()
        how = "the socket was closed without a closing handshake"
        lost = End(_ABNORMAL) if self._close_sent else End(_ABNORMAL, "", ConnectionLost(how), self._evidence())
        end = self._outcome or lost
        self.end.set_result(end)
        self._owner.on_ended(end)
        del self.transport, self.assembler, self.heartbeat  # they refer to this connection: nothing waits for the GC

    def on_writing_paused(self) -> None:
        """Senders look at the buffer themselves."""

    def on_writing_resumed(self) -> None:
        payload, self._pending_pong = self._pending_pong, None
        if payload is not None and not self.closing:
            self.write(_PONG, payload)
        self._owner.on_writable()

    def on_broken(self, error: Exception) -> None:
        failure = ConnectionLost(f"a frame could not be taken in: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self.fail(failure, 1011)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def write(self, opcode: int, payload: bytes) -> None:
        """Write a frame past every queue; a socket that is already gone says so by itself, through `on_disconnected`."""
        try:
            self.transport.writer.send(opcode, payload)
        except ConnectionError:
            return

    def _send_close(self, code: int, reason: str) -> None:
        if not self._close_sent:
            self._close_sent = True
            payload = b"" if code == _NO_STATUS else code.to_bytes(2, "big") + reason.encode()
            self.write(_CLOSE, payload)

    def _settle(self, outcome: End) -> None:
        """The outcome is known: nothing more is read; the socket may take `close_timeout` to go."""
        was_closing = self.closing
        self._outcome = outcome
        self._stop_watching()
        self._bound_closing()
        if not was_closing:
            self._owner.on_closing()
        self.transport.discard_input()

    def _evidence(self) -> tuple[str, ...]:
        """Who was slow, as far as this process and the kernel can tell."""
        last_ns = self._telemetry.snapshot()["last_received_ns"]
        measured = Measured(
            lag_ns=self.heartbeat.lag_ns,
            callback_ns=self.assembler.slowest_ns,
            silent_ns=self._clock.now_ns() - last_ns if last_ns else 0,
            socket=ask_socket(self.transport.get_extra_info("socket")),
        )
        return phrases(measured)

    def _stop_watching(self) -> None:
        while self._keep_alives:  # they refer to this connection
            self._keep_alives.pop().stop()
        self.heartbeat.stop()
        self._data_watch.stop()

    def _on_stale(self, silent_ns: int) -> None:
        self._owner.on_stale(silent_ns)
        assert self._config.data_timeout is not None
        self.abort(DataTimeout(self._config.data_timeout))

    def _bound_closing(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(self._config.close_timeout, self._give_up)

    def _give_up(self) -> None:
        self.transport.abort()
        self.on_disconnected()


async def open_connection(
    connection: Connection,
    dial: Dial,
    endpoint: Endpoint,
    headers: CheckedHeaders,
    config: Config,
    telemetry: Telemetry,
) -> None:
    """Open the transport of a new connection under one deadline over everything. Raises as `dial` does."""
    deadline = asyncio.get_running_loop().time() + config.connect_timeout
    opening = Opening(endpoint, headers, config, connection.assembler, connection, telemetry, deadline)
    connection.transport = await dial(opening)


def _protocol_error(close_code: int, text: str, config: Config) -> ProtocolError:
    """The error of a refused stream, by the close code that it is failed with."""
    if close_code == 1007:
        return InvalidUtf8(text)
    if close_code == 1009:
        name = "max_fragments" if "max_fragments" in text else "max_message_size"
        limit: int = getattr(config, name)
        return MessageTooBig(limit + 1, limit, name)
    return ProtocolError(close_code, text)
