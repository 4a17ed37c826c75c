"""A message of the user's that is said again and again while a connection lives: an exchange's own ping.

Not here: wsx's own PING and its deadline (heartbeat.py), a heartbeat that the exchange begins (MessageHandler.answer).
"""

import asyncio
from collections.abc import Callable


class KeepAlive:
    """Calls `say` every `seconds`, the first time after so many, until `stop`. Raises ValueError where not above 0."""

    def __init__(self, say: Callable[[], object], seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        if not seconds > 0:
            raise ValueError(f"what is said again and again needs more than 0 seconds between, got {seconds!r}")
        self._say, self._seconds, self._loop = say, seconds, loop
        self._timer = loop.call_later(seconds, self._on_time)

    def stop(self) -> None:
        """Say it no more."""
        self._timer.cancel()

    def _on_time(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._on_time)
        self._say()
