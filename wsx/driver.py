"""Keeps one client connected: waits, tries again or gives up, as the policy says.

Not here: the policy (reconnection.py), what an error means (error_handler.py), what opening takes (client.py).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Protocol

from wsx.backoff import Backoff
from wsx.config import ErrorJudge
from wsx.connection import End
from wsx.errors import ConnectionClosed
from wsx.reconnection import Attempts, GiveUp, HostBudget, Plan

_BUDGET = HostBudget()  # the process's


class DriverOwner(Protocol):
    """Who is kept connected."""

    async def open_once(self) -> None:
        """Open and restore a connection, or raise."""

    def on_reconnecting(self, plan: Plan, error: BaseException | None) -> None:
        """Another attempt will be made."""

    def on_give_up(self, decision: GiveUp) -> None:
        """None will be made, until a person says so or at all."""


class Driver:
    """One client's reconnection. host: what the next attempt counts against. jitter: gives numbers from 0 up to 1."""

    def __init__(
        self,
        owner: DriverOwner,
        backoff: Backoff,
        handler: ErrorJudge,
        host: Callable[[], str],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._owner = owner
        self._handler = handler
        self._host = host
        self._jitter = jitter
        self._attempts = Attempts(backoff, _BUDGET)
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def opened(self) -> None:
        """A connection is open and restored."""
        self._attempts.opened(time.monotonic_ns())

    def lost(self, end: End) -> None:
        """The open connection has ended."""
        error = end.error or ConnectionClosed(end.code, end.reason)
        verdict = self._handler.judge(end.error) if end.error else self._handler.judge_close(end.code, end.reason)
        now_ns, jitter = time.monotonic_ns(), self._jitter()
        decision = self._attempts.lost(error, verdict, now_ns, jitter=jitter, host=self._host())
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
                verdict, now_ns = self._handler.judge(failure), time.monotonic_ns()
                decision = self._attempts.failed(failure, verdict, now_ns, jitter=self._jitter())
        self._owner.on_give_up(decision)

    async def _wait(self, delay_seconds: float) -> None:
        """Wait, unless somebody says `again`."""
        if delay_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._hurry.wait()
        self._hurry.clear()
