"""A blocking socket that throws away what it reads: the floor that the kernel and the far end set for a flood.

It knows no WebSocket beyond a fixed handshake, and looks at no frame: it counts bytes.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from bench.peers import Phase, Target

READ_BYTES = 256 * 1024
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@asynccontextmanager
async def flood(target: Target) -> AsyncIterator[Phase]:
    """Bytes as they come."""
    parts = urlsplit(target.url)
    with socket.create_connection((parts.hostname, parts.port)) as plain:
        line = target.tls.wrap_socket(plain, server_hostname=parts.hostname) if target.tls else plain
        line.sendall(REQUEST.format(path=f"{parts.path}?{parts.query}", host=parts.netloc).encode())
        while not line.recv(4096).endswith(b"\r\n\r\n"):
            continue
        yield lambda count: _drain(line, count, target.size)
        line.close()


async def _drain(line: socket.socket, count: int, size: int) -> list[int]:
    digits = str(count).encode()
    line.sendall(bytes([0x81, 0x80 | len(digits), 0, 0, 0, 0]) + digits)
    left = count * (size + (2 if size < 126 else 4 if size < 65536 else 10)) + len(b"..end")
    buffer = bytearray(READ_BYTES)
    while left > 0:
        left -= line.recv_into(buffer)
    return []
