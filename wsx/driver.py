"""Keeps one client connected: waits, tries again or gives up, as the policy says.

Not here: the policy (reconnection.py), what an error means (error_handler.py), what opening takes (client.py).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wsx.backoff import Backoff
from wsx.clock import Clock, MonotonicClock
from wsx.config import ErrorJudge
from wsx.connection import End
from wsx.errors import ConnectionClosed, Verdict
from wsx.reconnection import Attempts, GiveUp, HostBudget, Plan


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a client takes from the world outside its sockets; a simulation brings its own.

    jitter: gives numbers from 0 up to, not including, 1. budget: shared by the clients of a process.
    """

    clock: Clock = field(default_factory=MonotonicClock)
    jitter: Callable[[], float] = random.random
    budget: HostBudget = field(default_factory=HostBudget)


REAL = Surroundings()


class DriverOwner(Protocol):
    """Who is kept connected."""

    async def open_once(self) -> None:
        """Open and restore a connection, or raise."""

    def on_reconnecting(self, plan: Plan, error: BaseException | None) -> None:
        """Another attempt will be made."""

    def on_give_up(self, decision: GiveUp) -> None:
        """None will be made, until a person says so or at all."""


class Driver:
    """One client's reconnection. host: what the next attempt counts against."""

    def __init__(
        self,
        owner: DriverOwner,
        backoff: Backoff,
        handler: ErrorJudge,
        host: Callable[[], str],
        surroundings: Surroundings,
    ) -> None:
        self._owner = owner
        self._handler = handler
        self._host = host
        self._clock, self._jitter = surroundings.clock, surroundings.jitter
        self._attempts = Attempts(backoff, surroundings.budget)
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def opened(self) -> None:
        """A connection is open and restored."""
        self._attempts.opened(self._clock.now_ns())

    def lost(self, end: End) -> None:
        """The open connection has ended."""
        error = end.error or ConnectionClosed(end.code, end.reason)
        now_ns, jitter = self._clock.now_ns(), self._jitter()
        decision = self._attempts.lost(error, self._judge(error), now_ns, jitter=jitter, host=self._host())
        if isinstance(decision, GiveUp):
            self._owner.on_give_up(decision)
        else:
            self._begin(decision, error)

    def again(self) -> None:
        """By hand: try now, whatever the policy says, and count afresh."""
        self._attempts.reset()
        if self._task is None or self._task.done():
            self._begin(Plan(0.0, 1, True, "asked for by hand"), None)
        self._hurry.set()

    async def stop(self) -> None:
        """No attempt any more; what is under way leaves nothing behind."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _judge(self, error: BaseException) -> Verdict:
        """A connection that was closed, restored or not yet, is judged by its code."""
        if isinstance(error, ConnectionClosed):
            verdict: Verdict = self._handler.judge_close(error.code, error.reason)
        else:
            verdict = self._handler.judge(error)
        return verdict

    def _begin(self, plan: Plan, error: BaseException | None) -> None:
        self._hurry.clear()
        self._task = asyncio.get_running_loop().create_task(self._recover(plan, error), name="wsx-reconnect")

    async def _recover(self, plan: Plan, error: BaseException | None) -> None:
        decision: Plan | GiveUp = plan
        while isinstance(decision, Plan):
            self._owner.on_reconnecting(decision, error)
            await self._wait(decision.delay_seconds)
            try:
                return await self._owner.open_once()
            except Exception as failure:
                error = failure
            if self._task is None:
                return None  # a hook has closed the client
            decision = self._failed(error)
        self._task = None  # it has nothing left to do: whoever is told may say `again`
        return self._owner.on_give_up(decision)

    def _failed(self, error: BaseException) -> Plan | GiveUp:
        """An attempt has failed."""
        self._hurry.clear()  # whoever said it meanwhile has had this attempt
        return self._attempts.failed(error, self._judge(error), self._clock.now_ns(), jitter=self._jitter())

    async def _wait(self, delay_seconds: float) -> None:
        """Wait, unless somebody says `again`."""
        if delay_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._hurry.wait()
        self._hurry.clear()
