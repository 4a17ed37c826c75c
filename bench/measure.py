"""What one run of one client is measured with.

CPU time comes from two places: the kernel's sum of nanoseconds (`cpu_ns`, exact), and its split into user and system
(`user_ns`, `system_ns`), which most Linux kernels estimate from 100 to 1000 ticks a second: a single run's split is
good to a few percent at best, and the median over rounds is what counts.
Not here: statistics over runs (report.py).
"""

import ctypes
import gc
import os
import resource
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path


class Window:
    """Time used by this process from construction to `per_unit`. Garbage is collected before it opens."""

    def __init__(self) -> None:
        gc.collect()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu_ns = time.process_time_ns()
        self._wall_ns = time.perf_counter_ns()

    def per_unit(self, count: int) -> dict[str, float]:
        """user_ns, system_ns, cpu_ns and wall_ns for each of `count` messages or round trips."""
        wall_ns = time.perf_counter_ns() - self._wall_ns
        cpu_ns = time.process_time_ns() - self._cpu_ns
        usage = resource.getrusage(resource.RUSAGE_SELF)
        totals = {
            "user_ns": (usage.ru_utime - self._usage.ru_utime) * 1e9,
            "system_ns": (usage.ru_stime - self._usage.ru_stime) * 1e9,
            "cpu_ns": float(cpu_ns),
            "wall_ns": float(wall_ns),
        }
        return {name: total / count for name, total in totals.items()}


def percentiles(marks_ns: Sequence[int]) -> dict[str, float]:
    """p50_us, p99_us and p999_us of the times between successive marks; nothing for fewer than two marks."""
    times_ns = sorted(after - before for before, after in pairwise(marks_ns))
    if not times_ns:
        return {}
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
    return {name: times_ns[min(int(len(times_ns) * share), len(times_ns) - 1)] / 1e3 for name, share in shares.items()}


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (Linux; FileNotFoundError elsewhere), after a collection."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Descriptors this process holds now (Linux; FileNotFoundError elsewhere)."""
    return len(list(Path("/proc/self/fd").iterdir()))


MALLINFO2_FIELDS = (  # mallinfo(3)
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2_FIELDS]


def heap_bytes() -> int | None:
    """Bytes handed out by malloc now, after a collection; None where glibc's mallinfo2 is missing.

    Python's own objects are in it only when the process runs with PYTHONMALLOC=malloc.
    """
    gc.collect()
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)
