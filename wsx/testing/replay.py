"""A server that plays recorded traffic, message for message, in the recorded rhythm or as fast as it is taken.

Each client gets the whole of it from the beginning, and CLOSE 1000 at the end.
Not here: reading a capture (capture.py), sockets and upgrades (server.py).
"""

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, TypeAlias

from wsx._frame import encode
from wsx._message import Message
from wsx.testing.capture import Capture, load_capture, make_capture
from wsx.testing.server import LocalServer
from wsx.transport.server_end import ServerEnd

Speed: TypeAlias = float | Literal["full"] | None
OnSent: TypeAlias = Callable[[Sequence[bytes], int], object]

_log = logging.getLogger("wsx.server")
_TEXT = 0x1
_INTERNAL_ERROR = 1011
_BATCH_BYTES = 65536  # what is written at once, at most (or one message)


class ReplayServer(LocalServer):
    """Plays a capture to every client that connects.

    capture: the path of a .jsonl or .jsonl.gz file, or messages. times: when each was received, in seconds: a path
    or numbers; None: the .times.txt file beside the capture. speed: 1.0 as recorded, 10 ten times as fast; None or
    "full": as fast as the client takes it. repeat: how often. wait_for_message: begin once the client has sent
    something, a subscribe request say; it is not answered. on_sent(messages, now_ns): called with what is about to be
    written. Other arguments are those of `LocalServer`. Raises OSError and ValueError as `load_capture`, ValueError
    for a speed without times.
    """

    def __init__(
        self,
        capture: str | Path | Iterable[str | bytes] | Capture,
        times: str | Path | Iterable[float] | None = None,
        *,
        speed: Speed = None,
        repeat: int = 1,
        wait_for_message: bool = False,
        on_sent: OnSent | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.capture = _as_capture(capture, times)
        self._pace = _Pace(self.capture, _checked_speed(speed, self.capture))
        self._repeat = repeat
        self._wait_for_message = wait_for_message
        self._on_sent = on_sent
        self._begin: dict[ServerEnd, asyncio.Event] = {}
        self._players: dict[ServerEnd, asyncio.Task[None]] = {}

    # ---- hooks of LocalServer ---------------------------------------------------------------------------------------

    def opened(self, connection: ServerEnd) -> None:
        begin = self._begin[connection] = asyncio.Event()
        if not self._wait_for_message:
            begin.set()
        play = self._play(connection, begin)
        self._players[connection] = asyncio.get_running_loop().create_task(play)

    def received(self, connection: ServerEnd, message: Message) -> None:
        self._begin[connection].set()

    def closed(self, connection: ServerEnd) -> None:
        del self._begin[connection]
        self._players.pop(connection).cancel()

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _play(self, connection: ServerEnd, begin: asyncio.Event) -> None:
        await begin.wait()
        try:
            for _ in range(self._repeat):
                await self._play_once(connection)
        except ConnectionResetError:
            return  # the client left
        except Exception:
            _log.exception("on_sent of a replay server raised")
            connection.close(_INTERNAL_ERROR)
        connection.close()

    async def _play_once(self, connection: ServerEnd) -> None:
        messages, at = self.capture.messages, 0
        start = time.monotonic()
        while at < len(messages):
            end = self._pace.due(at, time.monotonic() - start)
            if end > at:
                self._send(connection, messages[at:end])
                at = end
                await connection.drain()
                await asyncio.sleep(0)  # a socket that takes everything at once must not hold the loop
            else:
                await asyncio.sleep(self._pace.wait(at, time.monotonic() - start))

    def _send(self, connection: ServerEnd, messages: Sequence[bytes]) -> None:
        frames = b"".join([encode(_TEXT, message) for message in messages])
        if self._on_sent is not None:
            self._on_sent(messages, time.monotonic_ns())
        connection.send_raw(frames)


class _Pace:
    """Which messages are due: by their times, and never more than a batch at once."""

    def __init__(self, capture: Capture, speed: float | None) -> None:
        self._speed = speed
        self._seconds = capture.seconds or ()
        self._ends = list(accumulate(len(message) for message in capture.messages))

    def due(self, at: int, elapsed: float) -> int:
        """Where the batch that begins with message `at` ends, `elapsed` seconds after the beginning; `at`: not yet."""
        before = self._ends[at - 1] if at else 0
        end = max(at + 1, bisect_right(self._ends, before + _BATCH_BYTES))
        if self._speed is None:
            return end
        return min(end, max(at, bisect_right(self._seconds, elapsed * self._speed)))

    def wait(self, at: int, elapsed: float) -> float:
        """Seconds until message `at` is due."""
        assert self._speed is not None
        return max(self._seconds[at] / self._speed - elapsed, 0)


def _as_capture(
    capture: str | Path | Iterable[str | bytes] | Capture, times: str | Path | Iterable[float] | None
) -> Capture:
    if isinstance(capture, Capture):
        return capture if times is None else make_capture(capture.messages, times)
    if isinstance(capture, str | Path):
        return load_capture(capture, times)
    return make_capture(capture, times)


def _checked_speed(speed: float | str | None, capture: Capture) -> float | None:
    if speed is None or speed == "full":
        return None
    if isinstance(speed, str) or not 0 < speed < float("inf"):
        raise ValueError(f"speed must be above 0, or 'full', not {speed!r}")
    if capture.seconds is None:
        raise ValueError(f"speed={speed!r} needs the times of the messages; give them, or take speed='full'")
    return float(speed)
