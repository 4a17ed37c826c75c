"""Who may send now, who waits, and who goes first: the buckets of a profile with their lanes.

    method ──▶ profile ──▶ (bucket, cost, lane) ──▶ tokens there and nobody before it? ──▶ send
                                                     └─ no ──▶ waits in its lane, until its deadline at most

Within a bucket a better lane goes first, always; within a lane whoever came first. A waiting request takes its tokens
when it goes on and not before, so one that is cancelled or too late has taken nothing.
The decisions (`_Queue`) are given the time; the event loop is touched only to wait.
Not here: what an exchange allows (rate_profile.py), the bucket's own rule (_ratelimit.pyx).
"""

import asyncio
from itertools import chain
from math import isfinite
from typing import Any

from wsx._ratelimit import TokenBucket
from wsx.clock import Clock, MonotonicClock
from wsx.errors import RateLimited, RateLimitTimeout
from wsx.rate_profile import PROFILES, Budget, Lane, RateProfile
from wsx.telemetry import EVENTS

_NS = 1_000_000_000
_WAITED, _REFUSED = EVENTS["rate_limit.waited"], EVENTS["rate_limit.refused"]
_BACKOFF = EVENTS["rate_limit.backoff"]


class RateLimiter:
    """The budgets that one exchange gives one account, address or connection: share it among those that share them.

    profile: a `RateProfile`, or the name of one of `PROFILES`. max_waiting: requests that may wait in one lane of one
    bucket. clock: tells the time; by default the one that the event loop uses. Raises ValueError for an unknown name.
    A limiter belongs to one thread. It outlives connections: a reconnect refills nothing.
    """

    def __init__(self, profile: RateProfile | str, *, max_waiting: int = 1024, clock: Clock | None = None) -> None:
        self.profile = _profile(profile)
        self._clock = clock or MonotonicClock()
        self._queues = {name: _Queue(budget, max_waiting, self._clock) for name, budget in self.profile.budgets.items()}

    def try_acquire(self, method: str, params: Any = None) -> bool:
        """Take what `method` costs now, or nothing. False also while others wait in its lane or a better one.

        Raises ValueError if a cost function gives more than the bucket can hold.
        """
        queue, cost, lane = self._resolve(method, params)
        taken = queue.take(cost, lane, self._clock.now_ns())
        if not taken:
            self._tell_refused(method, params)
        return taken

    async def acquire(self, method: str, params: Any = None, *, timeout: float | None = None) -> None:
        """Take what `method` costs, waiting for it in its lane.

        timeout: seconds it may wait. Raises RateLimitTimeout after that, and RateLimited at once where the lane is
        full; ValueError as `try_acquire`. A call that did not return has taken nothing, and nothing was sent.
        """
        queue, cost, lane = self._resolve(method, params)
        came_ns = self._clock.now_ns()
        if queue.take(cost, lane, came_ns):
            return
        try:
            async with asyncio.timeout(timeout):
                await queue.wait(cost, lane)
        except TimeoutError:
            self._tell_refused(method, params)
            raise RateLimitTimeout(method, timeout or 0, self.when(method, params)) from None
        except RateLimited:
            self._tell_refused(method, params)
            raise
        self._tell_waited(method, came_ns)

    def force(self, method: str, params: Any = None) -> None:
        """Take what `method` costs whatever is there: for what must not wait, such as a heartbeat's answer.

        The bucket may go into debt, and everybody else waits longer. Raises ValueError as `try_acquire`.
        """
        queue, cost, _ = self._resolve(method, params)
        queue.bucket.force_at(cost, self._clock.now_ns())

    def when(self, method: str, params: Any = None) -> float:
        """Seconds until `method` would pass, behind those who wait before it; 0.0 for now.

        It holds if no one else comes in a better lane and nothing is forced. Raises ValueError as `try_acquire`.
        """
        queue, cost, lane = self._resolve(method, params)
        return queue.wait_ns(cost, lane, self._clock.now_ns()) / _NS

    def backoff(self, retry_after: float = 0.0, *, method: str | None = None) -> None:
        """The exchange said "too many requests": empty the bucket that `method` takes from, or all of them.

        retry_after: seconds before they begin to refill. Those who wait go on waiting, in their order.
        Raises ValueError if it is not 0 or more.
        """
        if not (isfinite(retry_after) and retry_after >= 0):
            raise ValueError(f"retry_after must be 0 seconds or more, got {retry_after!r}")
        now_ns = self._clock.now_ns()
        for bucket in self._queues if method is None else [self.profile.charge(method).bucket]:
            self._queues[bucket].bucket.drain_until(now_ns + round(retry_after * _NS))
            if _BACKOFF.active:
                profile = self.profile.name
                _BACKOFF.emit(at_ns=now_ns, profile=profile, bucket=bucket, retry_after_seconds=retry_after)

    @property
    def utilisation(self) -> dict[str, float]:
        """Bucket -> the part of its burst that is used up: 0 when full, 1 when empty or in debt."""
        now_ns = self._clock.now_ns()
        return {
            name: min(1 - queue.bucket.tokens_at(now_ns) / queue.bucket.burst, 1.0) for name, queue in self._named()
        }

    @property
    def waiting(self) -> dict[str, int]:
        """Bucket -> requests that wait for it."""
        return {name: sum(map(len, queue.lanes)) for name, queue in self._named()}

    def _tell_waited(self, method: str, came_ns: int) -> None:
        if _WAITED.active:
            now_ns = self._clock.now_ns()
            profile, bucket = self.profile.name, self.profile.charge(method).bucket
            _WAITED.emit(at_ns=now_ns, profile=profile, bucket=bucket, method=method, waited_ns=now_ns - came_ns)

    def _tell_refused(self, method: str, params: Any) -> None:
        if _REFUSED.active:
            now_ns, wait = self._clock.now_ns(), self.when(method, params)
            profile, bucket = self.profile.name, self.profile.charge(method).bucket
            _REFUSED.emit(at_ns=now_ns, profile=profile, bucket=bucket, method=method, retry_after_seconds=wait)

    def _named(self) -> "list[tuple[str, _Queue]]":
        return list(self._queues.items())

    def _resolve(self, method: str, params: Any) -> "tuple[_Queue, int, Lane]":
        charge = self.profile.charge(method)
        queue = self._queues[charge.bucket]
        if not callable(charge.cost):
            return queue, charge.cost, charge.lane
        cost, largest = charge.cost(params), queue.budget.largest(charge.lane)
        if not 0 <= cost <= largest:
            raise ValueError(f"{method} may cost 0 to {largest} tokens of bucket {charge.bucket!r}, got {cost}")
        return queue, cost, charge.lane


def _profile(profile: RateProfile | str) -> RateProfile:
    if isinstance(profile, RateProfile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"unknown rate profile {profile!r}; there are {', '.join(sorted(PROFILES))}")
    return PROFILES[profile]


class _Waiting:
    """One request in a lane. turn: done when it is to try and take its tokens."""

    __slots__ = ("cost", "lane", "loop", "turn")

    def __init__(self, cost: int, lane: Lane) -> None:
        self.cost = cost
        self.lane = lane
        self.loop = asyncio.get_running_loop()
        self.turn: asyncio.Future[None] = self.loop.create_future()


class _Queue:
    """One bucket and its lanes. The first of those who wait has the timer, and each wakes the next."""

    def __init__(self, budget: Budget, max_waiting: int, clock: Clock) -> None:
        self.budget = budget
        self.bucket = TokenBucket(budget.rate, budget.burst)
        self.lanes: list[dict[_Waiting, None]] = [{} for _ in Lane]  # in the order of their coming
        self._costs = [0] * len(Lane)  # of those who wait in each lane
        self._max_waiting = max_waiting
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    # ---- decisions: the time is given -------------------------------------------------------------------------------

    def take(self, cost: int, lane: Lane, now_ns: int) -> bool:
        """Take the tokens, unless somebody waits in this lane or a better one."""
        self._forget_closed_loops()
        return not any(self.lanes[: lane + 1]) and self._pay(cost, lane, now_ns)

    def wait_ns(self, cost: int, lane: Lane, now_ns: int) -> int:
        """Nanoseconds until a request that comes now would pass; at least 1 while somebody is before it."""
        self._forget_closed_loops()
        before = self.lanes[: lane + 1]
        tokens = sum(self._costs[: lane + 1]) + cost + self.budget.kept_from(lane)
        return max(self.bucket.wait_ns(tokens, now_ns), int(any(before)))

    def first(self) -> _Waiting | None:
        """Who goes next."""
        return next(chain.from_iterable(self.lanes), None)

    def _pay(self, cost: int, lane: Lane, now_ns: int) -> bool:
        """Take the tokens if that leaves those which are kept from the lane."""
        enough = self.bucket.wait_ns(cost + self.budget.kept_from(lane), now_ns) == 0
        return enough and self.bucket.take(cost, now_ns) == 0

    # ---- waiting ----------------------------------------------------------------------------------------------------

    async def wait(self, cost: int, lane: Lane) -> None:
        """Queue up, and take the tokens as soon as they are there and nobody is before. Raises RateLimited if full."""
        waiting = self._join(cost, lane)
        try:
            await waiting.turn
            while not (waiting is self.first() and self._pay(cost, lane, self._clock.now_ns())):
                waiting.turn = waiting.loop.create_future()
                self._wake_first()
                await waiting.turn
        finally:
            self._leave(waiting)

    def _join(self, cost: int, lane: Lane) -> _Waiting:
        if len(self.lanes[lane]) >= self._max_waiting:
            raise RateLimited(self.wait_ns(cost, lane, self._clock.now_ns()) / _NS)
        waiting = _Waiting(cost, lane)
        self.lanes[lane][waiting] = None
        self._costs[lane] += cost
        if waiting is self.first():
            self._wake_first()
        return waiting

    def _leave(self, waiting: _Waiting) -> None:
        """Go, with or without tokens, and let the next one try."""
        was_first = waiting is self.first()
        self._remove(waiting)
        if was_first:
            self._wake_first()

    def _remove(self, waiting: _Waiting) -> None:
        if waiting in self.lanes[waiting.lane]:  # not if its loop was closed and it was forgotten
            del self.lanes[waiting.lane][waiting]
            self._costs[waiting.lane] -= waiting.cost

    def _wake_first(self) -> None:
        """Let the first one try if its tokens are there, else set the timer for it."""
        self._forget_closed_loops()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        first = self.first()
        if first is None:
            return
        now_ns = self._clock.now_ns()
        wait_ns = self.bucket.wait_ns(first.cost + self.budget.kept_from(first.lane), now_ns)
        if wait_ns:
            self._timer = first.loop.call_later(wait_ns / _NS, self._wake_first)
        elif not first.turn.done():
            first.turn.set_result(None)

    def _forget_closed_loops(self) -> None:
        """Who waited in an event loop that was closed will never come back."""
        first = self.first()
        while first is not None and first.loop.is_closed():
            self._timer = None
            self._remove(first)
            first = self.first()
