"""Single calls, timed in a loop: what stands in front of every send. Not here: anything that opens a socket."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

from bench.build import build_mask_keys

TEMPLATE = """
async def measured(count):
    from itertools import repeat
    from time import process_time_ns
    {setup}
    started_ns = process_time_ns()
    for _ in repeat(None, count):
        {statement}
    return (process_time_ns() - started_ns) / count
"""

_BOOK = "from bench.book import INSTRUMENT, SortedBook, round_and_round"
_CHANGE = "change = round_and_round(book).__next__"
IN_C = "wsx-c"  # the same pool of keys, timed in C, where they are used
CALLS: dict[str, dict[str, tuple[str, str]]] = {
    "token-bucket": {
        "loop": ("", "pass"),
        "clock": ("from time import monotonic_ns", "monotonic_ns()"),
        "wsx": ("import wsx; take = wsx.TokenBucket(rate=1e9, burst=10**9).try_acquire", "take()"),
        "wsx-refused": ("import wsx; take = wsx.TokenBucket(rate=1e-6, burst=1).try_acquire; take()", "take()"),
        "aiolimiter": ("import aiolimiter; limiter = aiolimiter.AsyncLimiter(10**9, 1)", "await limiter.acquire()"),
    },
    "book": {
        "loop": (f"{_BOOK}; change = round_and_round().__next__", "change()"),
        "wsx": (f"{_BOOK}; import wsx; book = wsx.OrderBook(INSTRUMENT); {_CHANGE}", "book.apply(change())"),
        "orjson": (f"{_BOOK}; from orjson import loads; change = round_and_round().__next__", "loads(change())"),
        "orjson-sorted": (f"{_BOOK}; book = SortedBook(); {_CHANGE}", "book.apply(change())"),
    },
    "mask-key": {
        "loop": ("", "pass"),
        "wsx": ("from wsx._writer import mask_key", "mask_key()"),
        "os.urandom": ("from os import urandom", "urandom(4)"),
        "secrets": ("from secrets import token_bytes", "token_bytes(4)"),
    },
}
"""Row -> peer -> (what is done once, what is timed). "loop" is the cost of the timing itself; it is not subtracted."""


def nanoseconds_per_call(row: str, peer: str, count: int) -> float:
    """CPU time of one call, loop included, under a running asyncio loop. Raises what the setup raises (ImportError)."""
    if peer == IN_C:
        return float(subprocess.check_output([build_mask_keys(), str(count)], text=True).split()[0])
    setup, statement = CALLS[row][peer]
    names: dict[str, Any] = {}
    exec(TEMPLATE.format(setup=setup or "pass", statement=statement), names)
    measured: Callable[[int], Awaitable[float]] = names["measured"]

    async def warm_and_measure() -> float:
        await measured(count // 10)
        return await measured(count)

    return asyncio.run(warm_and_measure())
