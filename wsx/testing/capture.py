"""Recorded traffic: one text message a line, and when each was received.

`NAME.jsonl` or `NAME.jsonl.gz` holds the messages, `NAME.times.txt` beside it the unix time of each, in seconds.
Not here: sending them (replay.py).
"""

import gzip
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Capture:
    """messages: the bytes of each line, without its line feed. seconds: when each is due, from the first; or None."""

    messages: tuple[bytes, ...]
    seconds: tuple[float, ...] | None = None

    @property
    def duration(self) -> float:
        """Seconds from the first message to the last; 0 where no times are known."""
        return self.seconds[-1] if self.seconds else 0.0


def load_capture(path: str | Path, times: str | Path | Iterable[float] | None = None) -> Capture:
    """Read a capture. times: a file of them or the times themselves; None: the file beside it, where there is one.

    Raises OSError where a file cannot be read, ValueError where a line is not UTF-8 or the times do not fit.
    """
    path = Path(path)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    beside = path.with_name(path.name.partition(".jsonl")[0] + ".times.txt")
    if times is None and beside.exists():
        times = beside
    return make_capture(data.removesuffix(b"\n").split(b"\n") if data else [], times)


def make_capture(messages: Iterable[str | bytes], times: str | Path | Iterable[float] | None = None) -> Capture:
    """A capture of these messages. times: as for `load_capture`, in seconds, from any beginning. Raises as that."""
    if isinstance(messages, bytes | bytearray | memoryview):
        raise TypeError("messages must be several of str or bytes, and this is one of bytes")
    payloads = tuple(item.encode() if isinstance(item, str) else bytes(memoryview(item)) for item in messages)
    for number, payload in enumerate(payloads, 1):
        _check_text(number, payload)
    if times is None:
        return Capture(payloads)
    if isinstance(times, str | Path):
        times = [float(line) for line in Path(times).read_text("ascii").split()]
    return Capture(payloads, _from_first(tuple(times), len(payloads)))


def _check_text(number: int, payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"message {number} is not UTF-8, and only text messages are replayed: {error}") from None


def _from_first(times: Sequence[float], expected: int) -> tuple[float, ...]:
    """Seconds since the first; a clock that was set back makes nothing wait, and keeps the order."""
    if len(times) != expected:
        raise ValueError(f"{len(times)} times for {expected} messages; each message needs one")
    if not all(map(math.isfinite, times)):
        raise ValueError("a time is not a finite number")
    seconds, latest = [], -math.inf
    for time in times:
        latest = max(latest, time)
        seconds.append(latest - times[0])
    return tuple(seconds)
