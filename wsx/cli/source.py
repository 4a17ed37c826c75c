"""Where the demo's messages come from: a market or a capture behind a local server, or somebody else's endpoint.

Not here: the client (demo.py).
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

import orjson

from wsx.cli.tally import Tally
from wsx.testing import Capture, Market, ReplayServer, load_capture
from wsx.testing.replay import Speed

_MESSAGES_PER_SECOND = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for. speed: None for the default. seconds: of the market, or until an endpoint is left."""

    capture: Path | None = None
    speed: Speed = None
    url: str | None = None
    channels: tuple[str, ...] = ()
    seconds: float


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
    if plan.url is not None:
        request = _subscription(list(plan.channels)) if plan.channels else None
        title = f"live from {plan.url.partition('?')[0]}"
        yield Source(title=title, url=plan.url, request=request, channels=plan.channels, limit=plan.seconds)
        return
    capture, channels, title = _recorded(plan) if plan.capture else _generated(plan)
    source = Source(title=title, url="", request=_subscription(channels), expected=len(capture.messages), sent=Tally())
    speed = plan.speed or ("full" if plan.capture else 1.0)
    server = ReplayServer(
        capture, speed=speed, tls=True, wait_for_message=True, on_sent=source.note_sent, close_timeout=0.2
    )
    async with server:
        source.url, source.ssl = server.url, server.ssl_context()
        yield source


def _generated(plan: Plan) -> tuple[Capture, list[str], str]:
    market = Market()
    channels = market.channels
    capture = market.capture(plan.seconds, _MESSAGES_PER_SECOND)
    return capture, channels, f"a generated market, {plan.seconds:g} s"


def _recorded(plan: Plan) -> tuple[Capture, list[str], str]:
    assert plan.capture is not None
    return load_capture(plan.capture), [], f"the capture {plan.capture.name}"


def _subscription(channels: list[str]) -> str:
    request = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": channels}}
    return orjson.dumps(request).decode()
