"""Where messages come from that are not an exchange's session: a capture behind a local server, or an endpoint.

Not here: the client (playback.py), exchanges (venue.py).
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import TypeAlias

import orjson

from wsx.cli.tally import Tally
from wsx.testing import ReplayServer, load_capture
from wsx.testing.replay import Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A capture to play, from its beginning to its end. speed: 1 as recorded."""

    path: Path
    speed: Speed = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An endpoint to listen to. channels: to subscribe to. seconds: until it is left."""

    url: str
    channels: tuple[str, ...] = ()
    seconds: float


Plan: TypeAlias = Recording | Live


@dataclass(slots=True, kw_only=True)
class Source:
    """An endpoint that is ready. request: what begins it, or None. limit: seconds after which to leave, or None.

    expected: how many messages there are, where that is known. sent: what the local server has sent so far.
    stamps: (number of messages sent up to there, monotonic ns) of each write, the oldest first.
    """

    title: str
    url: str
    ssl: SSLContext | None = None
    request: str | None = None
    channels: tuple[str, ...] = ()
    limit: float | None = None
    expected: int | None = None
    sent: Tally | None = None
    stamps: deque[tuple[int, int]] = field(default_factory=deque)

    def note_sent(self, messages: Sequence[bytes], now_ns: int) -> None:
        """The local server is about to write these."""
        assert self.sent is not None
        for message in messages:
            self.sent.note(message)
        self.stamps.append((self.sent.messages, now_ns))


@asynccontextmanager
async def open_source(plan: Plan) -> AsyncIterator[Source]:
    """The source that `plan` asks for, for as long as it is needed. Raises OSError, ValueError, ImportError."""
    if isinstance(plan, Live):
        request = _subscription(plan.channels) if plan.channels else None
        title = f"live from {plan.url.partition('?')[0]}"
        yield Source(title=title, url=plan.url, request=request, channels=plan.channels, limit=plan.seconds)
        return
    capture, title = load_capture(plan.path), f"the capture {plan.path.name}"
    source = Source(title=title, url="", request=_subscription(()), expected=len(capture.messages), sent=Tally())
    server = ReplayServer(
        capture, speed=plan.speed, tls=True, wait_for_message=True, on_sent=source.note_sent, close_timeout=0.2
    )
    async with server:
        source.url, source.ssl = server.url, server.ssl_context()
        yield source


def _subscription(channels: Sequence[str]) -> str:
    request = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": list(channels)}}
    return orjson.dumps(request).decode()
