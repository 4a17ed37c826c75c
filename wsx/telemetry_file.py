"""A client's counters in a file that other processes read while they count: `Config.telemetry_path`.

The file is mapped into memory, and counting is what it was: a store to memory. It is written under another name, whole,
before it appears under its own, and stays when the client is closed: its header then says so. Where the path holds the
file of a client that has ended, the new one takes its place; anything else that is there is left alone.

The room on the disk is taken before the first store, because a store without room ends the process (SIGBUS). So does a
store after somebody has cut the file short: nobody but root can open it for writing. A file system in memory (/dev/shm)
is the best place: on a disk the system may hold a store back while it writes the page out.
Not here: the block itself (_telemetry.pyx), reading it (telemetry_reader.py).
"""

import errno
import mmap
import os
import stat
import tempfile
from pathlib import Path

from wsx._telemetry import SHARED_BYTES, Telemetry
from wsx.clock import Clock
from wsx.telemetry_reader import TelemetryReader, process_started

_READ_ONLY = 0o400  # for the user alone; this process has it open already


def open_telemetry(path: str | os.PathLike[str], clock: Clock | None = None) -> Telemetry:
    """A Telemetry whose block is a new file at `path`. clock: as for Telemetry.

    Raises FileExistsError where a living client writes there, or something is there that is no telemetry file; OSError
    with the path where the file cannot be made, the disk being full for example.
    """
    target = Path(path)
    _check_place(target)
    try:
        return _make(target, clock)
    except OSError as error:
        text = f"telemetry_path cannot be used: {error.strerror} (for {SHARED_BYTES} bytes); nothing was opened"
        raise OSError(error.errno, text, str(target)) from error


def _make(target: Path, clock: Clock | None) -> Telemetry:
    """The file appears under its name when it is whole."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        telemetry = _map(descriptor, clock)
        os.fchmod(descriptor, _READ_ONLY)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink()
        raise
    finally:
        os.close(descriptor)
    return telemetry


def _check_place(target: Path) -> None:
    """May a file be put there? Raises FileExistsError."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise _taken(target, "there is a directory, a link or the like, and a telemetry file replaces none of them")
    try:
        with TelemetryReader(target) as reader:
            block = reader.read()
    except ValueError as error:
        raise _taken(target, "there is a file already, which wsx leaves as it is") from error
    if block.alive:
        raise _taken(target, f"a client of process {block.pid} writes there; give each client a path of its own")


def _map(descriptor: int, clock: Clock | None) -> Telemetry:
    if os.write(descriptor, bytes(SHARED_BYTES)) < SHARED_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    memory = mmap.mmap(descriptor, SHARED_BYTES)
    return Telemetry(clock, memory, process_started(os.getpid()) or 0)


def _taken(target: Path, why: str) -> OSError:
    return FileExistsError(errno.EEXIST, f"telemetry_path cannot be used: {why}", str(target))
