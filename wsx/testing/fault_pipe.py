"""One direction of a connection through the fault proxy: takes bytes from one socket and gives them to the other, later,
in pieces, fewer or others.

What is held back is bounded; behind that the sender's own socket fills up, as it would against a slow peer.
Not here: listening, commands, both directions together (fault_proxy.py).
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, TypeAlias

Action: TypeAlias = Literal["cut", "reset", "stall", "black_hole", "half_close"]

READ_BYTES = 64 * 1024
_HELD_BYTES = 64 * 1024  # beside what the reader holds
_THROTTLE_TICK = 0.02  # seconds between two pieces of a throttled direction


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with one direction. trip: (bytes, action), to be done once so many have passed."""

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float | None = None
    max_bytes: int | None = None
    corrupted: float = 0.0
    stalled: bool = False
    swallowed: bool = False
    trip: tuple[int, Action] | None = None


class Pipe:
    """One direction. act: called with the action of `Faults.trip`. seed: of jitter and damage.

    passed: bytes that are with the kernel on the other side, or were thrown away.
    """

    def __init__(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        faults: Faults,
        act: Callable[[Action], None],
        seed: str,
    ) -> None:
        self.passed = 0
        self._source, self._sink, self._faults, self._act = source, sink, faults, act
        self._loop = asyncio.get_running_loop()
        self._lateness, self._damage = Random(f"{seed} jitter"), Random(f"{seed} damage")
        self._held: deque[tuple[float, float, bytes]] = deque()  # read at, part of the jitter, bytes; b"": the end
        self._held_bytes = 0
        self._room, self._changed = asyncio.Event(), asyncio.Event()
        self._free_at = 0.0  # when a throttled direction may go on
        self._ended = False
        self._until_damage = self._unharmed()  # bytes that pass before the next that does not
        sink.transport.set_write_buffer_limits(high=0)  # so that drain() waits until the kernel has it all

    def change(self, **changes: Any) -> None:
        """Change fields of the faults; what waits looks again."""
        self._faults = replace(self._faults, **changes)
        if "corrupted" in changes:
            self._until_damage = self._unharmed()
        self._changed.set()

    def end(self) -> None:
        """The reader sees the end now; what is held back, and what still comes, is thrown away."""
        if not self._ended and not self._sink.is_closing():
            with contextlib.suppress(OSError):  # the peer has reset it, and the loop does not know yet
                self._sink.write_eof()
        self._ended = True
        self._changed.set()

    async def take(self) -> None:
        """Read until the end, no further ahead than there is room. Raises OSError where the socket broke."""
        data = b"?"
        while data:
            data = await self._source.read(READ_BYTES)
            self._held.append((self._loop.time(), self._lateness.random(), data))
            self._held_bytes += len(data)
            self._changed.set()
            while self._held_bytes > _HELD_BYTES:
                self._room.clear()
                await self._room.wait()

    async def give(self) -> None:
        """Pass on what was taken when it is due, until the end. Raises OSError where the socket broke."""
        data = b"?"
        while data:
            await self._wait(self._seconds_to_next)
            _, _, data = self._held.popleft()
            await self._pass_on(memoryview(data))
            self._held_bytes -= len(data)
            self._room.set()
        self.end()

    async def _pass_on(self, data: memoryview) -> None:
        while data:
            await self._wait(self._seconds_to_go_on)
            size = self._piece_bytes(len(data))
            piece, data = data[:size], data[size:]
            if not self._ended and not self._faults.swallowed:
                await self._write(piece)
            self.passed += size
            if self._faults.bytes_per_second is not None:
                self._free_at = max(self._loop.time(), self._free_at) + size / self._faults.bytes_per_second

    async def _write(self, piece: memoryview) -> None:
        self._sink.write(self._damaged(piece))
        await self._sink.drain()
        if self._faults.max_bytes is not None:
            # A reader in this loop is called after what is ready now: in the second turn it has read.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _piece_bytes(self, available: int) -> int:
        sizes = [available, self._faults.max_bytes or available]
        if self._faults.bytes_per_second is not None:
            sizes.append(max(1, int(self._faults.bytes_per_second * _THROTTLE_TICK)))
        if self._faults.trip is not None:
            sizes.append(self._faults.trip[0] - self.passed)
        return min(sizes)

    # ---- waiting ----------------------------------------------------------------------------------------------------

    async def _wait(self, seconds: Callable[[], float]) -> None:
        """Until `seconds()` says that there is nothing to wait for; asked again after every change."""
        while (remaining := seconds()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if remaining == math.inf else remaining):
                    await self._changed.wait()

    def _seconds_to_next(self) -> float:
        """Until the oldest that is held back is due."""
        go_on = self._seconds_to_go_on()
        if not self._held:
            return math.inf
        read_at, part, _ = self._held[0]
        due = read_at + self._faults.delay + part * self._faults.jitter
        return 0.0 if self._ended else max(due - self._loop.time(), go_on)

    def _seconds_to_go_on(self) -> float:
        """Until anything may pass."""
        self._trip()
        if self._ended:
            return 0.0
        if self._faults.stalled:
            return math.inf
        return self._free_at - self._loop.time() if self._faults.bytes_per_second is not None else 0.0

    def _trip(self) -> None:
        """Do what was to be done after so many bytes, once."""
        trip = self._faults.trip
        if trip is not None and self.passed >= trip[0]:
            self.change(trip=None)
            self._act(trip[1])

    # ---- damage -----------------------------------------------------------------------------------------------------

    def _damaged(self, piece: memoryview) -> memoryview | bytearray:
        if self._until_damage >= len(piece):
            self._until_damage -= len(piece)
            return piece
        damaged = bytearray(piece)
        while self._until_damage < len(damaged):
            damaged[int(self._until_damage)] ^= 1 + int(self._damage.random() * 255)
            self._until_damage += 1 + self._unharmed()
        self._until_damage -= len(damaged)
        return damaged

    def _unharmed(self) -> float:
        """How many bytes pass before one is damaged, where each is with the same chance."""
        if self._faults.corrupted in (0.0, 1.0):
            return math.inf if self._faults.corrupted == 0.0 else 0.0
        return math.log(1.0 - self._damage.random()) // math.log1p(-self._faults.corrupted)
