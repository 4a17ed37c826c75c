"""The outbox: waits end with their deadline or with their connection, and nothing is sent for them."""

import asyncio

import pytest

from wsx._ratelimit import TokenBucket
from wsx.errors import NotConnected, SendTimeout
from wsx.outbox import Outbox
from wsx.rate_limiter import RateLimiter


def refuse():
    raise NotConnected("gone")


def test_without_a_limit_everything_is_paid():
    assert Outbox(None, refuse).try_pay(1000, "anything")


def test_a_bucket_is_paid_by_cost():
    outbox = Outbox(TokenBucket(rate=0.001, burst=5), refuse)
    assert outbox.try_pay(4, "") and not outbox.try_pay(2, "") and outbox.try_pay(1, "")


def test_a_limiter_is_paid_by_method():
    limiter = RateLimiter("deribit")
    outbox = Outbox(limiter, refuse)
    assert outbox.try_pay(1, "private/buy")
    assert limiter.utilisation["matching"] > 0 and limiter.utilisation["subscribe"] == 0


@pytest.mark.parametrize(
    "limit, unit", [(TokenBucket(rate=200, burst=1), "tokens"), (RateLimiter("deribit-tier-1"), "orders")]
)
def test_paying_waits_for_the_tokens(limit, unit):
    async def main():
        outbox = Outbox(limit, refuse)
        for _ in range(3 if unit == "tokens" else 102):
            await outbox.pay(1, "private/buy")
        return limit.waiters if unit == "tokens" else limit.waiting["matching"]

    assert asyncio.run(main()) == 0


def test_a_wait_ends_with_its_deadline():
    async def main():
        outbox = Outbox(None, refuse)
        with pytest.raises(SendTimeout, match="deadline of 0.01 s; nothing was sent") as late:
            async with outbox.patience(0.01):
                await outbox.wait_room()
        return late.value.timeout, len(outbox)

    assert asyncio.run(main()) == (0.01, 0)


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_wait_ends_as_soon_as_its_connection_does(timeout):
    async def main():
        outbox = Outbox(None, refuse)

        async def wait():
            async with outbox.patience(timeout):
                await outbox.wait_room()

        waits = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting = len(outbox)
        outbox.end()
        outbox.end()
        return waiting, await asyncio.gather(*waits, return_exceptions=True), len(outbox)

    waiting, ends, left = asyncio.run(main())
    assert (waiting, left) == (3, 0) and all(isinstance(end, NotConnected) for end in ends)


def test_a_deadline_that_has_just_passed_does_not_hide_the_end_of_the_connection():
    async def main():
        outbox = Outbox(None, refuse)

        async def wait():
            async with outbox.patience(0.001):
                await outbox.wait_room()

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        (scope,) = outbox._waits
        while not scope.expired():
            await asyncio.sleep(0)
        outbox.end()  # before the waiting task runs again
        with pytest.raises(NotConnected):
            await waiting

    asyncio.run(main())


def test_a_timeout_of_what_is_inside_is_not_the_outboxs():
    async def main():
        with pytest.raises(TimeoutError, match="^inner$") as inner:
            async with Outbox(None, refuse).patience(60):
                raise TimeoutError("inner")
        return type(inner.value)

    assert asyncio.run(main()) is TimeoutError


def test_room_lets_the_waiting_go_on():
    async def main():
        outbox = Outbox(None, refuse)
        async with outbox.patience(10):
            asyncio.get_running_loop().call_soon(outbox.on_room)
            await outbox.wait_room()
        return len(outbox)

    assert asyncio.run(main()) == 0
