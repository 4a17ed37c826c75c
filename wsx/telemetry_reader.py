"""Reads a client's counters from outside: from its telemetry file, while its process runs or after that has died.

    with TelemetryReader("/dev/shm/desk.telemetry") as reader:
        reader.read().values["messages_received"]

The block describes itself (_telemetry.pxd): what is unknown here, because a newer wsx wrote it, is passed over or read
as it is described. Reading takes nothing from the writer and never makes it wait; words are true each, not together.
Not here: making the file (telemetry_file.py), what each counter means (telemetry_metrics.py).
"""

import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wsx._telemetry import Histogram

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAGIC, _VERSION = b"WSXTELEM", 1
_HEADER = struct.Struct("=8sIIQQQQQQQQ")  # struct Header of _telemetry.pxd
_FIELD = struct.Struct("=48sQQ")  # struct Field
_WORD = 8
_LATENCIES = (3 + 1024) * _WORD  # struct Latencies
_HISTOGRAM = 4
_SIZES = {1: _WORD, 2: _WORD, 3: _WORD, _HISTOGRAM: _LATENCIES}  # bytes of each kind of field
_PERCENTS = 50, 90, 99


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryBlock:
    """What was read at one moment. values: as `client.telemetry.snapshot()` names them.

    pid: of the writer. process_started: when that process started, in the kernel's ticks; 0 where it does not say.
    started_monotonic_ns, started_wall_ns: when the client began. ended_wall_ns: when it was closed, or None.
    """

    values: dict[str, int]
    pid: int
    process_started: int
    started_monotonic_ns: int
    started_wall_ns: int
    ended_wall_ns: int | None

    @property
    def alive(self) -> bool:
        """Does the client live, as far as this machine can tell? Looks its process up, by pid and start, at each call."""
        return self.ended_wall_ns is None and process_lives(self.pid, self.process_started)


class TelemetryReader:
    """A telemetry file, open for reading. Raises OSError where it cannot be opened, ValueError where it is none.

    It stays with the file it has opened: a client that starts anew makes a new one under the same path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        with self._path.open("rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            if self._size < _HEADER.size:
                raise ValueError(f"{self._path}: {_too_short(self._size, _HEADER.size)}")
            self._memory = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        try:
            self.read()
        except ValueError:
            self.close()
            raise

    def read(self) -> TelemetryBlock:
        """The counters as they are now. Raises ValueError where the block is damaged, or the reader closed."""
        try:
            if (left := self._memory.size()) < self._size:  # what is gone must not be touched
                raise ValueError(_too_short(left, self._size))
            return read_block(self._memory)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_block(data: "Buffer") -> TelemetryBlock:
    """The block in these bytes, which may be followed by others. Raises ValueError where they hold none."""
    with memoryview(data) as given, given.cast("B") as block:
        if len(block) < _HEADER.size:
            raise ValueError(_too_short(len(block), _HEADER.size))
        magic, version, entry, size, pid, monotonic_ns, wall_ns, at, count, started, ended = _HEADER.unpack_from(block)
        _check_header(magic, version, entry, size, len(block))
        with block[:size] as whole:
            values = _values(whole, at, entry, count)
    return TelemetryBlock(
        values=values,
        pid=pid,
        process_started=started,
        started_monotonic_ns=monotonic_ns,
        started_wall_ns=wall_ns,
        ended_wall_ns=ended or None,
    )


def process_lives(pid: int, started: int = 0) -> bool:
    """Does this process live? started: as `process_started` gave it; another process of that pid does not count."""
    try:
        with suppress(PermissionError):  # another user's lives too
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return started == 0 or started == process_started(pid)


def process_started(pid: int) -> int | None:
    """When this process started, in the kernel's ticks since boot; None where it is gone or the system has no /proc."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])


# ---- the block ------------------------------------------------------------------------------------------------------


def _too_short(size: int, needed: int) -> str:
    return f"not a whole telemetry block of wsx: {size} bytes, of at least {needed}"


def _check_header(magic: bytes, version: int, entry_bytes: int, size: int, available: int) -> None:
    if magic != _MAGIC:
        raise ValueError(f"not a telemetry block of wsx: it begins with {magic!r}")
    if version != _VERSION:
        raise ValueError(f"telemetry block of version {version}; this wsx reads version {_VERSION}")
    if size > available:
        raise ValueError(_too_short(available, size))
    if entry_bytes < _FIELD.size:
        raise ValueError(f"damaged telemetry block: entries of {entry_bytes} bytes in its table of fields")


def _values(block: memoryview, at: int, entry_bytes: int, count: int) -> dict[str, int]:
    if at + count * entry_bytes > len(block):
        raise ValueError(f"damaged telemetry block: its table of {count} fields reaches beyond its {len(block)} bytes")
    values: dict[str, int] = {}
    for index in range(count):
        name, offset, kind = _FIELD.unpack_from(block, at + index * entry_bytes)
        values |= _field(block, name.rstrip(b"\0").decode("ascii", "replace"), offset, kind)
    return values


def _field(block: memoryview, name: str, offset: int, kind: int) -> dict[str, int]:
    """The values of one field; none where its kind is unknown."""
    size = _SIZES.get(kind)
    if size is None:
        return {}
    if offset + size > len(block):
        raise ValueError(f"damaged telemetry block: {name} lies at {offset}, beyond its {len(block)} bytes")
    if kind == _HISTOGRAM:
        return _latencies(name, block[offset : offset + size])
    return {name: struct.unpack_from("=Q", block, offset)[0]}


def _latencies(name: str, words: memoryview) -> dict[str, int]:
    histogram = Histogram()
    histogram.load(words)
    percentiles = {f"{name}_p{percent}": histogram.percentile(percent) for percent in _PERCENTS}
    return {f"{name}_count": histogram.count, f"{name}_min": histogram.min, **percentiles, f"{name}_max": histogram.max}
