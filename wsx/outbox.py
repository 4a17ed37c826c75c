"""Who waits to send: each with a deadline of its own at most, and none longer than its connection lives.

Nothing is queued: a message that waits is still with its caller. When the connection ends, every wait ends at once,
and nothing of it is sent over the next connection.
Not here: room and tokens themselves (_lane.pyx, _ratelimit.pyx, rate_limiter.py), writing (client.py).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Never, TypeAlias

from wsx._ratelimit import TokenBucket
from wsx.errors import SendTimeout

Charge: TypeAlias = tuple[int, str, Any]  # tokens of a bucket; or the method and its params, for a profile


class Outbox:
    """The waits of one client. limit: a TokenBucket, a RateLimiter or None. refuse: raises why nothing can be sent."""

    def __init__(self, limit: Any, refuse: Callable[[], Never]) -> None:
        self._limit = limit
        self._refuse = refuse
        self._waits: dict[asyncio.Timeout, bool] = {}  # whether the connection of this wait has ended
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waits)

    def try_pay(self, cost: int = 1, method: str = "", params: Any = None) -> bool:
        """Take the tokens of one message now, or nothing."""
        if self._limit is None:
            return True
        by_cost = isinstance(self._limit, TokenBucket)
        taken: bool = self._limit.try_acquire(cost) if by_cost else self._limit.try_acquire(method, params)
        return taken

    async def pay(self, cost: int = 1, method: str = "", params: Any = None) -> None:
        """Take the tokens of one message, waiting for them."""
        if isinstance(self._limit, TokenBucket):
            await self._limit.acquire(cost)
        elif self._limit is not None:
            await self._limit.acquire(method, params)

    @asynccontextmanager
    async def patience(self, timeout: float | None, method: str = "") -> AsyncGenerator[None, None]:
        """A wait: ends with SendTimeout after `timeout` seconds, with the refusal as soon as the connection does."""
        scope = asyncio.timeout(timeout)
        self._waits[scope] = False
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            if self._waits[scope] or timeout is None:
                self._refuse()
            raise SendTimeout(timeout, method) from None
        finally:
            del self._waits[scope]

    async def wait_room(self) -> None:
        """Wait until the write buffer is empty."""
        self._room.clear()
        await self._room.wait()

    def on_room(self) -> None:
        """The write buffer is empty."""
        self._room.set()

    def end(self) -> None:
        """The connection is over: whoever waits is told at once."""
        for scope, ended in self._waits.items():
            if not ended:
                self._waits[scope] = True
                if not scope.expired():
                    scope.reschedule(0)  # a moment that has passed
