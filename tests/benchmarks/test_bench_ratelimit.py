"""What a token costs when it is taken from Python, beside a clock read, an empty call and aiolimiter.

Every round makes 1000 calls in one Python loop, which itself costs a few nanoseconds a call: the table's microseconds
a round are nanoseconds a call. It shows nothing about waiting, where the event loop's timer decides.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import Any

import pytest

from wsx._ratelimit import TokenBucket

pytestmark = pytest.mark.benchmark(group="a token (us a round are ns a call)", warmup=True)

CALLS = 1000


def call_often(function: Callable[[], object]) -> None:
    for _ in repeat(None, CALLS):
        function()


async def await_often(function: Callable[[], Awaitable[object]]) -> None:
    for _ in repeat(None, CALLS):
        await function()


def never_empty() -> TokenBucket:
    return TokenBucket(rate=1e9, burst=10**9)


def test_an_empty_call(benchmark: Any) -> None:
    benchmark(call_often, "".isascii)


def test_a_clock_read(benchmark: Any) -> None:
    benchmark(call_often, time.monotonic_ns)


def test_try_acquire_that_takes(benchmark: Any) -> None:
    bucket = never_empty()
    benchmark(call_often, bucket.try_acquire)
    assert bucket.try_acquire()


def test_try_acquire_that_is_refused(benchmark: Any) -> None:
    bucket = TokenBucket(rate=1e-6, burst=1)
    bucket.drain()
    benchmark(call_often, bucket.try_acquire)
    assert not bucket.try_acquire()


def test_acquire_that_need_not_wait(benchmark: Any) -> None:
    bucket = never_empty()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        benchmark(lambda: loop.run_until_complete(await_often(bucket.acquire)))
    assert bucket.try_acquire()


def test_acquire_of_aiolimiter_that_need_not_wait(benchmark: Any) -> None:
    aiolimiter = pytest.importorskip("aiolimiter")
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        limiter = aiolimiter.AsyncLimiter(max_rate=1e9, time_period=1)
        benchmark(lambda: loop.run_until_complete(await_often(limiter.acquire)))
        assert limiter.has_capacity()
