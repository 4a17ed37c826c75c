"""A TCP proxy on loopback that misbehaves on command, by script or by seed.

    async with EchoServer() as server, FaultProxy("127.0.0.1", server.port) as proxy:
        async with wsx.connect(proxy.via(server.url)) as client:
            proxy.delay(0.05, jitter=0.02)                # seconds, both directions, the order kept
            proxy.throttle(1000, direction="to_client")   # bytes a second
            proxy.split()                                 # into single bytes
            proxy.corrupt(0.001)                          # about one byte in a thousand becomes another
            proxy.stall(direction="to_client")            # held back; nothing is lost
            proxy.black_hole(direction="to_server")       # taken, and thrown away
            proxy.heal()                                  # all of the above is over; what was held back flows
            proxy.after(10, "cut", direction="to_client") # once ten bytes have passed; also reset, stall, ...
            proxy.half_close("to_client")                 # the client sees the end, and can still send
            proxy.reset()                                 # RST on both sockets; cut(): both closed
            proxy.refuse()                                # new connections are refused until proxy.accept()

A command is for every connection, and what lasts is for those of the future too; the same command on one of
`proxy.connections` is for that one alone. Bytes pass untouched otherwise, those of TLS included, and so do resets and
half-closes. The proxy and what it connects may share a loop, asyncio's or uvloop's.
Not here: what happens to the bytes of one direction (fault_pipe.py), scripts (fault_script.py).
"""

import asyncio
import contextlib
import math
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

from wsx.testing.fault_pipe import READ_BYTES, Action, Faults, Pipe
from wsx.testing.fault_script import FaultScript

__all__ = ["FaultProxy", "ProxiedConnection"]

Direction: TypeAlias = Literal["to_server", "to_client"]
Where: TypeAlias = Literal["to_server", "to_client", "both"]

_BACKLOG = 4096  # clients that were cut together come back together; the system may hold it lower


# ---- what lasts -----------------------------------------------------------------------------------------------------


class _Commands(ABC):
    """Commands that last, for all connections or for one. direction: "to_server", "to_client" or "both"."""

    def delay(self, seconds: float, jitter: float = 0.0, *, direction: Where = "both") -> None:
        """Bytes arrive so much later, and by chance up to `jitter` seconds more, still in order."""
        _check("seconds", seconds, 0)
        _check("jitter", jitter, 0)
        self._change(direction, delay=seconds, jitter=jitter)

    def throttle(self, bytes_per_second: float, *, direction: Where = "both") -> None:
        """No more than so many bytes a second pass."""
        _check("bytes_per_second", bytes_per_second, 1)
        self._change(direction, bytes_per_second=bytes_per_second)

    def split(self, max_bytes: int = 1, *, direction: Where = "both") -> None:
        """Bytes are written in pieces of at most so many, each in its own turn of the loop."""
        _check("max_bytes", max_bytes, 1)
        self._change(direction, max_bytes=max_bytes)

    def corrupt(self, fraction: float, *, direction: Where = "both") -> None:
        """So many of all bytes, by chance, become others; 1: every one."""
        _check("fraction", fraction, 0)
        self._change(direction, corrupted=min(fraction, 1.0))

    def stall(self, *, direction: Where = "both") -> None:
        """Nothing passes, not even an end, and nothing is lost."""
        self._change(direction, stalled=True)

    def black_hole(self, *, direction: Where = "both") -> None:
        """Everything is taken and thrown away."""
        self._change(direction, swallowed=True)

    def after(self, count: int, action: Action, *, direction: Where = "to_client") -> None:
        """Do `action` as soon as `count` bytes of a connection, and no more, have passed in this direction.

        count: from the connection's beginning; 0: before the first byte. stall, black_hole and half_close are for this
        direction, cut and reset for both.
        """
        _check("count", count, 0)
        if action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, not {action!r}")
        self._change(direction, trip=(count, action))

    def heal(self, *, direction: Where = "both") -> None:
        """Take back all that lasts; what was held back flows."""
        self._change(direction, **{each.name: each.default for each in fields(Faults)})

    @abstractmethod
    def _change(self, direction: Where, **changes: Any) -> None:
        """Change fields of the faults of these directions."""


def _check(name: str, value: float, lowest: float) -> None:
    if not lowest <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least {lowest}, not {value!r}")


def _directions(direction: Where) -> tuple[Direction, ...]:
    both: tuple[Direction, ...] = get_args(Direction)
    if direction == "both":
        return both
    if direction not in both:
        raise ValueError(f"direction must be 'to_server', 'to_client' or 'both', not {direction!r}")
    return (direction,)


# ---- one connection -------------------------------------------------------------------------------------------------


class ProxiedConnection(_Commands):
    """One client's connection through the proxy. It takes the proxy's commands for itself alone."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        faults: Mapping[Direction, Faults],
        seed: str,
    ) -> None:
        self._writers = (client[1], server[1])
        ends: dict[Direction, Any] = {"to_server": (client[0], server[1]), "to_client": (server[0], client[1])}
        self._pipes = {
            direction: Pipe(source, sink, faults[direction], partial(self._act, direction), f"{seed} {direction}")
            for direction, (source, sink) in ends.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def passed(self) -> dict[Direction, int]:
        """Bytes that have passed in each direction, those that were thrown away included."""
        return {direction: pipe.passed for direction, pipe in self._pipes.items()}

    def cut(self) -> None:
        """Close both sockets at once. A side whose bytes were still unread may see a reset, as after any close."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    def reset(self) -> None:
        """Send RST on both sockets."""
        for writer in self._writers:
            if not writer.is_closing():
                _reset_on_close(writer.get_extra_info("socket"))
        self.cut()

    def half_close(self, direction: Where = "to_client") -> None:
        """Whoever reads in this direction sees the end now; the other direction lives on."""
        for each in _directions(direction):
            self._pipes[each].end()

    async def run(self) -> None:
        """Until both directions have ended, or a socket is gone."""
        steps = [step for pipe in self._pipes.values() for step in (pipe.take, pipe.give)]
        self._tasks = [asyncio.ensure_future(self._guarded(step)) for step in steps]
        try:
            await asyncio.wait(self._tasks)
        finally:
            self.cut()
            await asyncio.wait(self._tasks)
            for writer in self._writers:
                await _abort(writer)

    async def _guarded(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A socket that breaks on one side breaks on the other."""
        try:
            await step()
        except OSError:
            self.reset()

    def _change(self, direction: Where, **changes: Any) -> None:
        for each in _directions(direction):
            self._pipes[each].change(**changes)

    def _act(self, direction: Direction, action: Action) -> None:
        command = getattr(self, action)
        command() if action in ("cut", "reset") else command(direction=direction)


def _reset_on_close(sock: socket.socket) -> None:
    """The socket's close will send RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _cancel(tasks: Iterable["asyncio.Task[None]"]) -> None:
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


# ---- the proxy ------------------------------------------------------------------------------------------------------


class FaultProxy(_Commands):
    """A TCP proxy in front of `target_host`:`target_port`, as an async context manager.

    host, port: where it listens; port 0: any free one. script: played from the start. seed: of jitter and damage; the
    same bytes are damaged in the same way for the n-th connection. A client whose target cannot be reached is reset.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        script: FaultScript | None = None,
        seed: int = 0,
    ) -> None:
        self.host = host
        self.port = port  # where it listens, once it does
        self.accepted = 0  # connections, from the beginning
        self._target = (target_host, target_port)
        self._script, self._seed = script, seed
        self._faults: dict[Direction, Faults] = dict.fromkeys(_directions("both"), Faults())
        self._connections: dict[int, ProxiedConnection] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._playing: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None

    @property
    def connections(self) -> tuple[ProxiedConnection, ...]:
        """Those that are open now, the oldest first."""
        return tuple(self._connections.values())

    def via(self, url: str) -> str:
        """`url` with this proxy's address instead of its own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return urlsplit(url)._replace(netloc=f"{host}:{self.port}").geturl()

    def cut(self) -> None:
        """Close every connection at once, on both sides."""
        self._end_each(ProxiedConnection.cut)

    def reset(self) -> None:
        """Send RST on every connection, on both sides."""
        self._end_each(ProxiedConnection.reset)

    def half_close(self, direction: Where = "to_client") -> None:
        """End one direction of every connection."""
        for connection in self.connections:
            connection.half_close(direction)

    def refuse(self) -> None:
        """Stop listening: new connections are refused, those that are open live on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def accept(self) -> None:
        """Listen, on the port that it had. Raises OSError where somebody else has taken that meanwhile."""
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._listener = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._take_clients, self._listener)

    async def __aenter__(self) -> Self:
        self.accept()
        if self._script is not None:
            self._playing = asyncio.ensure_future(self._script.play(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and cut every connection; returns when all sockets are closed. Raises what the script did."""
        script = [] if self._playing is None else [self._playing]
        await _cancel(script)
        self.refuse()
        await _cancel(self._tasks.values())
        for task in script:
            if not task.cancelled():
                task.result()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _change(self, direction: Where, **changes: Any) -> None:
        for each in _directions(direction):
            self._faults[each] = replace(self._faults[each], **changes)
        for connection in self.connections:
            connection._change(direction, **changes)

    def _end_each(self, command: Callable[[ProxiedConnection], None]) -> None:
        for number, task in tuple(self._tasks.items()):
            if number in self._connections:
                command(self._connections[number])
            else:
                task.cancel()  # its target has not answered yet

    def _take_clients(self, listener: socket.socket) -> None:
        # By hand: a loop's own server loses a client that it has accepted when it is closed in that moment.
        with contextlib.suppress(OSError):  # nobody more, or no descriptor for him
            while True:
                client, _ = listener.accept()
                client.setblocking(False)
                self.accepted += 1
                task = asyncio.ensure_future(self._serve(self.accepted, client))
                self._tasks[self.accepted] = task
                task.add_done_callback(partial(self._forget, self.accepted, client))

    def _forget(self, number: int, client: socket.socket, _task: "asyncio.Task[None]") -> None:
        del self._tasks[number]
        self._connections.pop(number, None)
        client.close()

    async def _serve(self, number: int, client: socket.socket) -> None:
        try:
            server = await asyncio.open_connection(*self._target, limit=READ_BYTES)
        except OSError:
            _reset_on_close(client)
            return
        try:
            streams = await asyncio.open_connection(sock=client, limit=READ_BYTES)
            self._connections[number] = ProxiedConnection(streams, server, self._faults, f"{self._seed} {number}")
            await self._connections[number].run()
        finally:
            await _abort(server[1])
