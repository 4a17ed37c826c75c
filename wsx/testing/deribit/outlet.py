"""The way out of one socket: everything that is sent goes through here, in order, several messages a write.

It counts and digests what it sends, so that a test can show that nothing was lost.
Not here: what is sent (session.py, hub.py).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable

from wsx._frame import encode
from wsx.transport.server_end import ServerEnd

SLOW = (4000, "connection_too_slow")
_TEXT = 0x1


class Outlet:
    """slow_limit: bytes that may wait for a client that does not read. messages: how many were sent."""

    def __init__(self, connection: ServerEnd, slow_limit: int) -> None:
        self.messages = 0
        self._connection = connection
        self._slow_limit = slow_limit
        self._loop = asyncio.get_running_loop()
        self._payloads: list[bytes] = []
        self._frames: list[bytes] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._ended = False
        self._abort: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """Is nothing sent any more?"""
        return self._ended

    @property
    def digest(self) -> str:
        """Of all that was sent; `digest_of` the messages that a client received is the same."""
        return self._digest.hexdigest()

    def send(self, payload: bytes, frame: bytes | None = None) -> None:
        """Send a text message when this turn of the loop ends. frame: the same, framed before."""
        if self._ended:
            return
        if not self._frames:
            self._loop.call_soon(self.flush)
        self._payloads.append(payload)
        self._frames.append(frame_of(payload) if frame is None else frame)

    def flush(self) -> None:
        """Send what has gathered, now."""
        payloads, frames = self._payloads, self._frames
        if not frames:
            return
        self._payloads, self._frames = [], []
        with contextlib.suppress(ConnectionResetError):  # the client is gone, and says so by itself
            self._connection.send_raw(b"".join(frames))
            self.messages += len(payloads)
            self._digest.update(_joined(payloads))
            if self._connection.wire.writer.buffered > self._slow_limit:
                self.close(*SLOW)

    def cut(self) -> None:
        """End the connection without a CLOSE, after what was sent."""
        self.flush()
        self.detach()
        self._connection.wire.close()
        self._abort = self._loop.call_later(1.0, self._connection.abort)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, after what was sent."""
        self.flush()
        self.detach()
        self._connection.close(code, reason)

    def detach(self) -> None:
        """Send nothing from now on."""
        self._ended = True
        if self._abort is not None:
            self._abort.cancel()


def frame_of(payload: bytes) -> bytes:
    """A text message as its frame."""
    return encode(_TEXT, payload)


def digest_of(messages: Iterable[bytes]) -> str:
    """The digest of messages, as `Session.digest` has it: BLAKE2b over each of them and a line feed."""
    return hashlib.blake2b(_joined(messages), digest_size=16).hexdigest()


def _joined(messages: Iterable[bytes]) -> bytes:
    return b"".join(part for message in messages for part in (message, b"\n"))
