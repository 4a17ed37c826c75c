"""Keeps clients alive: starts them in order, restarts each that ends (`one_for_one`), stops them in reverse order.

    async with Supervisor(ChildSpec("ticks", lambda: wsx.connect(url)), ChildSpec("orders", trade)) as supervisor:
        await supervisor.wait_closed()

A client comes back by itself: what a supervisor sees is only its end, `CLOSED`, with an error or without. A child that
needs a person (`HALTED`, or an opening refused for its credentials) is not restarted: it waits for `resume`.
More than `max_restarts` within `within` seconds are too many: all children are stopped, and the error is raised out of
the `async with`. Every task lives in one TaskGroup, so whatever happens none is left behind.
Not here: which ends are restarted, and how many (restart_policy.py); a client's own coming back (session.py).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from wsx._signal import Signal
from wsx.backoff import Backoff
from wsx.connection_registry import ConnectionRegistry
from wsx.driver import REAL, Surroundings
from wsx.error_handler import judge, judge_close
from wsx.errors import ConnectionClosed, Recovery, RestartsExceeded
from wsx.explanation import describe
from wsx.restart_policy import Intensity, Restart
from wsx.telemetry import EVENTS

__all__ = ["Child", "ChildSpec", "ChildState", "ChildStatus", "Supervisor"]

_log = logging.getLogger("wsx")
_BACKOFF = Backoff(cap=5.0)
_RESTARTED = EVENTS["supervisor.restarted"]
_GAVE_UP = EVENTS["supervisor.gave_up"]


@runtime_checkable
class Child(Protocol):
    """What can be supervised: a `Client`, an adapter, another `Supervisor`.

    Its `error`, where it has one, says what ended it; its `resume()`, where it has one, is what a person calls.
    """

    async def wait_closed(self) -> None:
        """Wait until it has ended for good; may raise what ended it."""

    async def close(self) -> None:
        """End it in good order."""


Factory: TypeAlias = Callable[[], AbstractAsyncContextManager[Any] | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a child is started, and when again. Raises TypeError and ValueError for what cannot be.

    name: unique in its supervisor. factory: called for each start, without arguments. It gives an async context manager
    of a `Child` (`lambda: wsx.connect(url)`), which has started once it is entered, or something to await, a coroutine
    function's call say: that is the work itself, or what it returns is a `Child`.
    restart: "permanent", "transient" (only after an error) or "temporary" (never). shutdown: seconds it may take to end
    before it is cancelled once more.
    """

    name: str
    factory: Factory
    restart: Restart | str = field(default=Restart.PERMANENT, kw_only=True)
    shutdown: float = field(default=5.0, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"a child's name must be a str that is not empty, not {self.name!r}")
        if not callable(self.factory):
            raise TypeError(f"the factory of {self.name!r} must be callable, not {type(self.factory).__name__}")
        if self.restart not in list(Restart):
            raise ValueError(f"restart of {self.name!r} must be one of {', '.join(Restart)}, not {self.restart!r}")
        if not 0 < self.shutdown <= 86_400:
            raise ValueError(f"shutdown of {self.name!r} must be above 0 and at most a day, not {self.shutdown!r} s")


class ChildState(StrEnum):
    """Where a child stands with its supervisor."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # to be started again
    HALTED = "halted"  # a person is needed, then `resume(name)`
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """How a child is. restarts: so far. error: what ended it last, or None."""

    name: str
    state: ChildState
    restarts: int
    error: BaseException | None


class Supervisor:
    """`async with Supervisor(*specs) as supervisor`: on entering all have started, on leaving all have ended.

    What the first start of a child raises is raised on entering. name: in events and logs. max_restarts, within: more
    restarts than that in so many seconds, of all children together, end it with RestartsExceeded. backoff: how long a
    restart waits; the more restarts there were within `within`, the longer. registry: each child that has a name and
    health is entered there by its spec's name. Itself a `Child`: supervisors can be nested.
    """

    def __init__(
        self,
        *specs: ChildSpec,
        name: str = "supervisor",
        max_restarts: int = 10,
        within: float = 60.0,
        backoff: Backoff = _BACKOFF,
        registry: ConnectionRegistry[Any] | None = None,
        surroundings: Surroundings = REAL,
    ) -> None:
        self.name = name
        self._specs = specs
        self._intensity, self._backoff = Intensity(max_restarts, within), backoff
        self._registry = registry
        self._clock, self._jitter = surroundings.clock, surroundings.jitter
        self._group = asyncio.TaskGroup()
        self._entries: dict[str, _Entry] = {}  # in the order of their starts

    # ---- what a user asks -------------------------------------------------------------------------------------------

    @property
    def children(self) -> tuple[ChildStatus, ...]:
        """How the children are, in the order of their starts."""
        return tuple(entry.status() for entry in self._entries.values())

    def child(self, name: str) -> Any:
        """The `Child` that runs under this name; None while none does. Raises KeyError for a name that is not known."""
        return self._entries[name].child

    async def start(self, spec: ChildSpec) -> None:
        """Start one more child. Raises what its first start raises, CancelledError if it is stopped meanwhile.

        Raises ValueError for a name in use, RuntimeError outside of the `async with`.
        """
        old = self._entries.get(spec.name)
        if old is not None and not old.task.done():
            raise ValueError(f"a child {spec.name!r} of {self.name!r} is there already; stop it first")
        entry = self._launch(spec)
        try:
            await asyncio.shield(entry.started)
        except BaseException:
            await self._stop(entry)
            self._entries.pop(spec.name, None)
            raise

    async def stop(self, name: str) -> None:
        """End a child, within its `shutdown`, and start it no more. Raises KeyError for a name that is not known."""
        await self._stop(self._entries[name])

    def resume(self, name: str) -> None:
        """Go on with a halted child: a person has looked at the cause. Raises KeyError for a name that is not known."""
        entry = self._entries[name]
        entry.resumed.set()
        if entry.child is not None and hasattr(entry.child, "resume"):
            entry.child.resume()

    async def wait_closed(self) -> None:
        """Wait until every child has ended and none will be started again."""
        while living := [entry.task for entry in self._entries.values() if not entry.task.done()]:
            await asyncio.wait(living)

    async def close(self) -> None:
        """End all children, the newest first, each within its `shutdown`."""
        for entry in reversed(list(self._entries.values())):
            await self._stop(entry)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            for spec in self._specs:
                await self.start(spec)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except BaseException as interruption:  # the group ends what is left, and raises it
            kind, error, trace = type(interruption), interruption, interruption.__traceback__
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            if group.exceptions[0] is not error:
                raise group.exceptions[0] from group.exceptions[0].__cause__

    # ---- one child --------------------------------------------------------------------------------------------------

    def _launch(self, spec: ChildSpec) -> "_Entry":
        entry = _Entry(spec)
        work = self._keep(entry)
        try:
            entry.task = self._group.create_task(work, name=f"wsx-child {spec.name}")
        except RuntimeError:  # the group was not entered, or is being left
            work.close()
            raise RuntimeError(f"{self.name!r} is not running; start children inside its `async with`") from None
        entry.task.add_done_callback(entry.on_done)
        self._entries.pop(spec.name, None)
        self._entries[spec.name] = entry
        return entry

    async def _keep(self, entry: "_Entry") -> None:
        """A child's lives, one after the other, until it is not started again."""
        while True:
            entry.error = error = await self._live(entry)
            if _cancelled() or not entry.has_started(error):
                return
            if error is not None and _needs_a_person(error):
                await self._halt(entry, error)
            elif not Restart(entry.spec.restart).wanted(error):
                return
            elif not self._intensity.allow(f"{entry.spec.name}: {_in_words(error)}", self._clock.now_ns()):
                self._group.create_task(self._give_up(entry, error), name=f"wsx-give-up {self.name}")
                return
            else:
                await self._pause(entry)

    async def _live(self, entry: "_Entry") -> BaseException | None:
        """One life, from its factory to its end; what ended it."""
        entry.state = ChildState.STARTING
        try:
            async with self._begun(entry) as child:
                if child is not None:
                    await _until_closed(child)
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return error  # its own: nobody asked the child to end
        except Exception as error:
            return error
        finally:
            self._ended(entry)
        return None

    @contextlib.asynccontextmanager
    async def _begun(self, entry: "_Entry") -> AsyncIterator[Child | None]:
        """A child that runs; None for work that is done already."""
        made = entry.spec.factory()
        if not isinstance(made, AbstractAsyncContextManager):
            self._runs(entry, None)
            made = _closing(await made)
        async with made as child:
            _check_child(entry.spec.name, child)
            self._runs(entry, child)
            yield child

    def _runs(self, entry: "_Entry", child: Child | None) -> None:
        entry.runs(child)
        if self._registry is not None and hasattr(child, "health"):
            self._registry.add(child, name=entry.spec.name)

    def _ended(self, entry: "_Entry") -> None:
        if self._registry is not None and entry.child is not None:
            self._registry.discard(entry.child)
        entry.child = None

    async def _pause(self, entry: "_Entry") -> None:
        """Before the next life."""
        entry.restarts += 1
        entry.state = ChildState.WAITING
        _log.warning("%r of %r ended and is started again: %s", entry.spec.name, self.name, _in_words(entry.error))
        self._emit(_RESTARTED, entry)
        await asyncio.sleep(self._backoff.delay(self._intensity.recent(self._clock.now_ns()), self._jitter()))

    async def _halt(self, entry: "_Entry", error: BaseException) -> None:
        """Until a person says `resume`; trying again by itself would only make it worse."""
        entry.resumed.clear()
        entry.state = ChildState.HALTED
        _log.error(
            "%r of %r needs a person, then resume(%r): %s",
            entry.spec.name,
            self.name,
            entry.spec.name,
            _in_words(error),
        )
        await entry.resumed.wait()

    async def _give_up(self, entry: "_Entry", error: BaseException | None) -> None:
        """All are stopped; raising is what ends the TaskGroup, and with it the body of the `async with`."""
        intensity = self._intensity
        why = f"more than {intensity.max_restarts} restarts within {intensity.within:g} s"
        _log.error("%r gave up: %s; the last to end: %r: %s", self.name, why, entry.spec.name, _in_words(error))
        self._emit(_GAVE_UP, entry)
        await self.close()
        raise RestartsExceeded(self.name, why, intensity.history) from error

    async def _stop(self, entry: "_Entry") -> None:
        """Cancel it until it ends: a task is never left to itself, and one that hangs on is said in the log."""
        while not entry.task.done():
            entry.task.cancel()
            await asyncio.wait([entry.task], timeout=entry.spec.shutdown)
            if not entry.task.done():
                words = "%r of %r has not ended within shutdown=%g s and is cancelled again"
                _log.warning(words, entry.spec.name, self.name, entry.spec.shutdown)

    def _emit(self, signal: Signal, entry: "_Entry") -> None:
        if signal.active:
            fields = {"supervisor": self.name, "child": entry.spec.name, "restarts": entry.restarts}
            signal.emit(at_ns=self._clock.now_ns(), error=entry.error, **fields)


class _Entry:
    """A child, over its lives."""

    task: "asyncio.Task[None]"

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state = ChildState.STARTING
        self.child: Child | None = None
        self.restarts = 0
        self.error: BaseException | None = None
        self.resumed = asyncio.Event()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def status(self) -> ChildStatus:
        state = ChildState.ENDED if self.task.done() else self.state
        return ChildStatus(self.spec.name, state, self.restarts, self.error)

    def runs(self, child: Child | None) -> None:
        self.child, self.state = child, ChildState.RUNNING
        if not self.started.done():
            self.started.set_result(None)

    def has_started(self, error: BaseException | None) -> bool:
        """Has it ever? If not, whoever waits for its first start is told why."""
        if not self.started.done():
            assert error is not None
            self.started.set_exception(error)
            return False
        return True

    def on_done(self, task: "asyncio.Task[None]") -> None:
        self.started.cancel()  # whoever waits for a first start that was stopped


@contextlib.asynccontextmanager
async def _closing(result: object) -> AsyncIterator[Child | None]:
    """What was awaited: a child, which is closed, or work that is done."""
    if not isinstance(result, Child):
        yield None
        return
    try:
        yield result
    finally:
        await result.close()


async def _until_closed(child: Child) -> None:
    """Until it has ended; raises what ended it."""
    await child.wait_closed()
    error: BaseException | None = getattr(child, "error", None)
    if error is not None:
        raise error


def _check_child(name: str, child: object) -> None:
    if child is not None and not isinstance(child, Child):
        kind = type(child).__name__
        raise TypeError(f"the factory of {name!r} gave a {kind}, which has no wait_closed() and close(): no Child")


def _cancelled() -> bool:
    """Has somebody asked the running task to end?"""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _needs_a_person(error: BaseException) -> bool:
    """Would a client be HALTED by it? Then restarting would only make it worse."""
    verdict = judge_close(error.code) if isinstance(error, ConnectionClosed) else judge(error)
    return verdict.recovery is Recovery.HALT


def _in_words(error: BaseException | None) -> str:
    return "in good order" if error is None else describe(error)
