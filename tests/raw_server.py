"""A server that knows nothing of wsx: asyncio's streams, the upgrade by hand, bytes as a test wants them.

Frames are taken apart and put together here once more, so that a fault of wsx's own codec cannot hide itself.
Not here: servers for users' tests (wsx/testing).
"""

import asyncio
import base64
import hashlib
import re
import socket
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import wsx

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0
LOOPS = ["asyncio", "uvloop"]
_BOUND = 30  # seconds: more than any wait here; what hangs fails instead


def run_bounded(main, loop="asyncio"):
    """Run a coroutine to its end on the named loop."""
    return wsx.run(asyncio.wait_for(main, _BOUND), loop=loop)


def connect(url, **options):
    """`wsx.connect` for one connection, whatever the default."""
    return wsx.connect(url, **{"reconnect": False} | options)


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=False, announced=None):
    """A server's frame. announced: a length that is not the payload's."""
    size = len(payload) if announced is None else announced
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f"
    length += struct.pack(">Q", size) if length == b"\x7f" else b""
    mask = bytes(4) if masked else b""
    return bytes([fin << 7 | rsv << 4 | opcode, length[0] | masked << 7]) + length[1:] + mask + payload


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


@dataclass(frozen=True)
class ClientFrame:
    """What a client sent. first: the byte with FIN, RSV and opcode. key: None where it was not masked."""

    first: int
    key: bytes | None
    payload: bytes

    @property
    def opcode(self):
        return self.first & 0xF

    @property
    def close_code(self):
        return struct.unpack(">H", self.payload[:2])[0]


def accept(request, *fields, connection="Upgrade"):
    """The 101 that answers a request."""
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)[1]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", f"Connection: {connection}", *fields]
    return "\r\n".join(head).encode() + b"\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"


async def until(condition):
    """Let the loop run until something holds; the bound of the whole run ends what never does."""
    while not condition():
        await asyncio.sleep(0)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.request = b""

    def send(self, *frames):
        """All of it in one write."""
        self.writer.write(b"".join(frames))

    async def frame(self):
        """The client's next frame; None at the end of the stream."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            key = await self.reader.readexactly(4) if second & 0x80 else None
            payload = await self.reader.readexactly(size)
            repeated = ((key or bytes(4)) * (size // 4 + 1))[:size]
            unmasked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
            return ClientFrame(first, key, unmasked.to_bytes(size, "big"))

    async def frames(self):
        """All frames until the client's end."""
        seen = []
        while (frame := await self.frame()) is not None:
            seen.append(frame)
        return seen

    async def gone(self):
        """Until the client's socket is closed; what comes is thrown away."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    async def answer_close(self):
        """Read to the client's CLOSE, answer it, close the socket."""
        while (seen := await self.frame()) is not None and seen.opcode != CLOSE:
            pass
        if seen is not None:
            self.send(frame(CLOSE, seen.payload))
        self.close()
        return seen

    def close(self):
        self.writer.close()

    def reset(self):
        """Away without a word: RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def stop_reading(self):
        """What the client sends piles up in the kernel."""
        self.writer.transport.pause_reading()


class RawServer:
    """`async with RawServer() as server`, then `await wsx.connect(server.url)` and `await server.peer()`.

    answer(request): the bytes that answer an upgrade request; b"" to close without an answer, None to say nothing.
    behind: bytes in the same write as the answer. on_peer(peer): called right after that write.
    receive_buffer: SO_RCVBUF of the accepted sockets.
    """

    def __init__(
        self, answer=accept, *, behind=b"", on_peer=None, ssl=None, host="127.0.0.1", port=0, receive_buffer=None
    ):
        self._answer, self._behind, self._on_peer = answer, behind, on_peer
        self._ssl, self._host, self._port = ssl, host, port
        self._receive_buffer = receive_buffer
        self._tasks = set()
        self._peers = asyncio.Queue()
        self.all_peers = []  # also those that never sent a whole request

    async def __aenter__(self):
        sock = socket.create_server((self._host, self._port), family=_family(self._host), backlog=1024)
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(self._accepted, sock=sock, ssl=self._ssl)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for peer in self.all_peers:
            peer.writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self):
        return f"{'wss' if self._ssl else 'ws'}://{self._host}:{self.port}/"

    async def peer(self):
        """The next connection whose upgrade was answered."""
        return await self._peers.get()

    async def deserted(self):
        """Until no client's socket is open any more."""
        await asyncio.gather(*self._tasks)
        for peer in self.all_peers:
            await peer.gone()

    def _accepted(self, reader, writer):
        peer = Peer(reader, writer)
        self.all_peers.append(peer)
        task = asyncio.get_running_loop().create_task(self._upgrade(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _upgrade(self, peer):
        try:
            peer.request = await peer.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        answer = self._answer(peer.request)
        if answer == b"":
            peer.close()
        elif answer is not None:
            peer.send(answer, self._behind)
        if self._on_peer is not None:
            self._on_peer(peer)
        self._peers.put_nowait(peer)


@asynccontextmanager
async def opened(server_options=None, **options):
    """A client and its server's side. What the test leaves open is cut."""
    async with RawServer(**(server_options or {})) as server:
        client = await connect(server.url, **{"close_timeout": 0.2} | options)
        peer = await server.peer()
        try:
            yield client, peer
        finally:
            peer.close()
            await client.close()


async def read_all(client):
    return [message.text async for message in client]


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET
