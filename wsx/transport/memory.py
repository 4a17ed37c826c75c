"""Two real ends joined without a kernel: for simulation, and for tests that must see every order of events.

Both ends run wsx's own codec and its own upgrade. Bytes go from one end to the other by `loop.call_soon`, in order;
nothing here knows the time, so under a loop with a simulated clock a whole connection is simulated.
Not here: what the client (client.py) and the server (server_end.py) do with their connection.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from wsx._assembler import Assembler
from wsx.errors import ConnectionFailed, ProtocolError, Stage
from wsx.events import OpeningTimes
from wsx.transport._pipe import PipeWriter
from wsx.transport.base import Opening, TransportOwner
from wsx.transport.handshake import Response, ResponseReader, build_request
from wsx.transport.server_end import Door, ServerEnd
from wsx.transport.server_handshake import RequestReader, reject_response

_OnOpen: TypeAlias = Callable[[ServerEnd], object]


class MemoryServer:
    """A server that is reached through its `dial` alone.

    door: whom it lets in, and what it does with their messages. on_open(connection): called inline. capacity: bytes
    that may be on their way, each way, before they count as buffered: what the kernel's buffers are to a socket.
    read_bytes: how many are handed over at once, at most.
    """

    def __init__(
        self, door: Door, on_open: _OnOpen | None = None, *, capacity: int = 65536, read_bytes: int = 65536
    ) -> None:
        self._door = door
        self._on_open = on_open
        self._capacity, self._read_bytes = capacity, read_bytes
        self._ends: list[ServerEnd] = []

    @property
    def connections(self) -> tuple[ServerEnd, ...]:
        """The connections that are open now, the oldest first."""
        self._ends = [end for end in self._ends if end.open]
        return tuple(self._ends)

    async def dial(self, opening: Opening) -> "MemoryTransport":
        """Open one connection (`Dial`, base.py). Reading is paused in what it returns.

        Raises HandshakeRejected where the door stays shut, ConnectionFailed after the deadline.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # opening is never inline, here as elsewhere
        if loop.time() > opening.deadline:
            raise ConnectionFailed(Stage.UPGRADE, f"no answer from {opening.endpoint.origin} before the deadline")
        response, end = self._upgrade(opening)
        there, back = self._new_stream(loop), self._new_stream(loop)
        client = MemoryTransport(back, there, opening.sink, opening.owner, PipeWriter(opening.telemetry), response)
        end.wire = MemoryTransport(there, back, end.assembler, end, PipeWriter(end.telemetry, masked=False))
        self._ends = [*self.connections, end]
        end.wire.resume_reading()
        if self._on_open is not None:
            self._on_open(end)
        return client

    def _new_stream(self, loop: asyncio.AbstractEventLoop) -> "_Stream":
        return _Stream(loop, self._capacity, self._read_bytes)

    def _upgrade(self, opening: Opening) -> tuple[Response, ServerEnd]:
        """The request and its answer, as they would be on the wire."""
        nonce, subprotocols = os.urandom(16), opening.config.subprotocols
        reader = RequestReader()
        try:
            request = reader.feed(build_request(opening.endpoint, opening.headers, subprotocols, nonce=nonce))
            assert request is not None
            answer, end = self._door.answer(request)
        except ProtocolError as error:
            answer, end = reject_response(400, body=f"{error}\n".encode()), None
        response = ResponseReader(nonce, subprotocols).feed(answer)
        assert response is not None  # anything but a 101 raised
        assert end is not None
        return response, end


class MemoryTransport:
    """One end's bytes (`Transport`, base.py; `Wire`, server_end.py)."""

    def __init__(
        self,
        incoming: "_Stream",
        outgoing: "_Stream",
        sink: Assembler,
        owner: TransportOwner,
        writer: PipeWriter,
        response: Response | None = None,
    ) -> None:
        self.times = OpeningTimes()
        self.subprotocol = response.subprotocol if response else None
        self.writer = writer
        self._incoming, self._outgoing = incoming, outgoing
        self._sink, self._owner = sink, owner
        self._discarding = False
        self._gone = False
        incoming.reader, outgoing.owner = self, owner
        writer.attach(outgoing.write, outgoing.buffered)

    def write(self, data: bytes) -> None:
        """Bytes as they are. Raises ConnectionResetError once this end is closed."""
        self._outgoing.write(data)

    def pause_reading(self) -> None:
        if not self._discarding:
            self._incoming.pause()

    def resume_reading(self) -> None:
        self._incoming.resume()

    def discard_input(self) -> None:
        self._discarding = True
        self._incoming.resume()

    def close(self) -> None:
        """This end's half: the other end reads what is on its way, then the end of the stream."""
        self.writer.detach()
        self._outgoing.end()
        self.discard_input()

    def abort(self) -> None:
        """Both halves at once; what is on its way is lost, as after a reset."""
        self.writer.detach()
        for stream in (self._outgoing, self._incoming):
            stream.cut()

    def get_extra_info(self, name: str) -> Any:
        return None

    # ---- what the stream says ---------------------------------------------------------------------------------------

    def taken(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._discarding:
            return
        try:
            self._sink.feed(data)
        except Exception as error:
            self._owner.on_broken(error)

    def ended(self) -> None:
        """The other end has closed: so does this one."""
        if not self._gone:
            self._gone = True
            self.close()
            self._owner.on_disconnected()


class _Stream:
    """Bytes one way. The first `capacity` of those that were not taken yet are on their way, the rest is buffered."""

    reader: MemoryTransport
    owner: TransportOwner  # of the end that writes

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int, read_bytes: int) -> None:
        self._loop = loop
        self._capacity = capacity
        self._read_bytes = read_bytes
        self._waiting = bytearray()
        self._ended = False
        self._paused = True
        self._planned = False

    def buffered(self) -> int:
        return max(len(self._waiting) - self._capacity, 0)

    def write(self, data: bytes) -> None:
        if self._ended:
            raise ConnectionResetError("the connection is closed")
        had_room = not self.buffered()
        self._waiting += data
        self._plan()
        if had_room and self.buffered():
            self.owner.on_writing_paused()

    def end(self) -> None:
        """Nothing more is written."""
        self._ended = True
        self._plan()

    def cut(self) -> None:
        """The end of the stream at once, whether anybody reads or not."""
        self._waiting.clear()
        self._paused = False
        self.end()

    def pause(self) -> None:
        self._paused = not (self._ended and not self._waiting)

    def resume(self) -> None:
        self._paused = False
        self._plan()

    def _plan(self) -> None:
        if not self._planned and not self._paused and (self._waiting or self._ended):
            self._planned = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """One read of the other end."""
        self._planned = False
        if self._paused:
            return
        data = bytes(self._waiting[: self._read_bytes])
        was_buffered = self.buffered()
        del self._waiting[: len(data)]
        if was_buffered and not self.buffered():
            self.owner.on_writing_resumed()
        if data:
            self._plan()
            self.reader.taken(data)
        elif self._ended:
            self.reader.ended()
