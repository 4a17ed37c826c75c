"""The token bucket: its rule with plain numbers, its queue on real event loops."""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from fractions import Fraction
from typing import Any, TypeVarTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx._ratelimit import TokenBucket

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

MS = 1_000_000
SECOND = 1_000_000_000
YEAR = 365 * 86400 * SECOND

Main = Callable[[], Coroutine[Any, Any, None]]
Arguments = TypeVarTuple("Arguments")

EXACT_RATES = st.builds(Fraction, st.integers(1, 10**6), st.integers(1, 10**4))
STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 10), st.integers(0, SECOND), st.integers(0, 10**6 * SECOND)), st.integers(0, 100)
    ),
    max_size=60,
)


class ExactBucket:
    """A token bucket as the textbook has it, in rational numbers."""

    def __init__(self, rate: Fraction, burst: int) -> None:
        self.rate, self.burst = rate / SECOND, burst
        self.tokens, self.at_ns = Fraction(burst), 0

    def take(self, cost: int, now_ns: int) -> int:
        self.tokens = min(self.tokens + self.rate * (now_ns - self.at_ns), Fraction(self.burst))
        self.at_ns = now_ns
        if cost > self.tokens:
            return math.ceil((cost - self.tokens) / self.rate)
        self.tokens -= cost
        return 0


class TestRule:
    def test_a_new_bucket_is_full(self) -> None:
        bucket = TokenBucket(rate=10, burst=2)
        assert bucket.take(2, now_ns=0) == 0
        assert (bucket.rate, bucket.burst) == (10.0, 2)
        assert repr(bucket) == "TokenBucket(rate=10.0, burst=2)"

    def test_an_empty_bucket_says_how_long_to_wait(self) -> None:
        bucket = TokenBucket(rate=10, burst=2)
        assert bucket.take(2, now_ns=0) == 0
        assert bucket.take(1, now_ns=40 * MS) == 60 * MS
        assert bucket.take(2, now_ns=40 * MS) == 160 * MS
        assert bucket.take(1, now_ns=100 * MS - 1) == 1
        assert bucket.take(1, now_ns=100 * MS) == 0

    def test_a_refusal_takes_nothing(self) -> None:
        bucket = TokenBucket(rate=10, burst=2)
        bucket.take(1, now_ns=0)
        assert bucket.take(2, now_ns=0) == 100 * MS
        assert bucket.take(1, now_ns=0) == 0

    def test_a_bucket_never_holds_more_than_its_burst(self) -> None:
        bucket = TokenBucket(rate=1000, burst=3)
        assert bucket.take(3, now_ns=YEAR) == 0
        assert bucket.take(1, now_ns=YEAR) == MS

    def test_a_cost_of_nothing_passes_through_an_empty_bucket(self) -> None:
        bucket = TokenBucket(rate=1, burst=1)
        bucket.take(1, now_ns=0)
        assert bucket.take(0, now_ns=0) == 0

    def test_time_that_goes_back_refills_nothing(self) -> None:
        bucket = TokenBucket(rate=10, burst=1)
        assert bucket.take(1, now_ns=SECOND) == 0
        assert bucket.take(1, now_ns=0) == SECOND + 100 * MS

    @pytest.mark.parametrize(
        "rate", [Fraction(3), Fraction(7, 10), Fraction(1, 3), Fraction(7, 60), Fraction(10**9, 7)]
    )
    def test_token_after_token_no_nanosecond_is_lost(self, rate: Fraction) -> None:
        bucket = TokenBucket(float(rate), burst=2)
        bucket.take(2, now_ns=0)
        now_ns = 0
        for token in range(1, 5000):
            now_ns += bucket.take(1, now_ns)
            assert bucket.take(1, now_ns) == 0
            assert now_ns == math.ceil(token * SECOND / rate)

    @pytest.mark.parametrize(
        ("rate", "tokens_a_year"),
        [(3, 3 * 31_536_000), (0.7, 22_075_200), (1 / 3, 10_512_000), (123.45675, 3_893_332_068)],
    )
    def test_year_after_year_no_nanosecond_is_lost(self, rate: float, tokens_a_year: int) -> None:
        bucket = TokenBucket(rate, burst=2 * tokens_a_year)
        bucket.take(2 * tokens_a_year, now_ns=0)
        now_ns = 0
        for year in range(1, 70):
            now_ns += bucket.take(tokens_a_year, now_ns)
            assert bucket.take(tokens_a_year, now_ns) == 0
            assert now_ns == year * YEAR

    @given(EXACT_RATES, st.integers(1, 100), STEPS)
    def test_it_agrees_with_rational_numbers_to_the_nanosecond(
        self, rate: Fraction, burst: int, steps: list[tuple[int, int]]
    ) -> None:
        bucket, exact, now_ns = TokenBucket(float(rate), burst), ExactBucket(rate, burst), 0
        for advance_ns, cost in steps:
            now_ns += advance_ns
            assert bucket.take(min(cost, burst), now_ns) == exact.take(min(cost, burst), now_ns)

    @given(st.floats(1e-6, 1e15), st.integers(1, 10**9), STEPS)
    def test_no_stretch_of_time_has_more_than_burst_and_refill(
        self, rate: float, burst: int, steps: list[tuple[int, int]]
    ) -> None:
        refill = Fraction(rate) * (1 + Fraction(1, 2**52)) / SECOND  # the fraction meant is the same float
        if burst / rate > 30 * 365 * 86400:
            burst = 1
        bucket, now_ns, taken = TokenBucket(rate, burst), 0, []
        for advance_ns, percent in steps:
            now_ns += advance_ns
            cost = burst * percent // 100
            if bucket.take(cost, now_ns) == 0:
                taken.append((now_ns, cost))
        for first, (start_ns, _) in enumerate(taken):
            spent = 0
            for end_ns, cost in taken[first:]:
                spent += cost
                assert spent <= burst + refill * (end_ns - start_ns)

    @given(st.floats(1e-6, 1e15), st.integers(1, 1000), st.data())
    def test_the_wait_it_names_is_long_enough_and_not_a_nanosecond_longer(
        self, rate: float, burst: int, data: st.DataObject
    ) -> None:
        bucket = TokenBucket(rate, burst)
        bucket.take(burst, now_ns=0)
        cost = data.draw(st.integers(1, burst))
        wait_ns = bucket.take(cost, now_ns=0)
        assert bucket.take(cost, now_ns=wait_ns - 1) == 1
        assert bucket.take(cost, now_ns=wait_ns) == 0


class TestWithoutTaking:
    def test_the_wait_for_a_queue_may_exceed_the_burst(self) -> None:
        bucket = TokenBucket(rate=10, burst=2)
        assert bucket.wait_ns(2, now_ns=0) == 0
        assert bucket.wait_ns(7, now_ns=0) == 500 * MS
        assert bucket.take(2, now_ns=0) == 0
        assert bucket.wait_ns(7, now_ns=100 * MS) == 600 * MS

    def test_looking_takes_nothing(self) -> None:
        bucket = TokenBucket(rate=10, burst=2)
        bucket.wait_ns(100, now_ns=0)
        assert bucket.take(2, now_ns=0) == 0

    def test_the_wait_is_bounded_however_many_tokens_are_asked_for(self) -> None:
        bucket = TokenBucket(1e-9, burst=1)
        assert bucket.wait_ns(2**63 - 1, now_ns=2**61) <= 2**60

    def test_a_debt_at_a_given_instant(self) -> None:
        bucket = TokenBucket(rate=10, burst=4)
        bucket.force_at(4, now_ns=SECOND)
        bucket.force_at(4, now_ns=SECOND)
        assert (bucket.forced, bucket.tokens_at(SECOND)) == (2, -4.0)
        assert bucket.tokens_at(SECOND + 400 * MS) == 0.0
        assert bucket.wait_ns(1, SECOND) == 500 * MS
        assert bucket.tokens_at(100 * SECOND) == 4.0

    def test_a_drained_bucket_stays_empty_until_the_instant_and_refills_from_then_on(self) -> None:
        bucket = TokenBucket(rate=10, burst=4)
        bucket.drain_until(SECOND)
        assert bucket.take(1, now_ns=SECOND) == 100 * MS
        assert bucket.take(1, now_ns=0) == SECOND + 100 * MS
        assert bucket.tokens_at(SECOND + 300 * MS) == 3.0

    def test_an_earlier_instant_shortens_no_drain(self) -> None:
        bucket = TokenBucket(rate=10, burst=4)
        bucket.drain_until(SECOND)
        bucket.drain_until(0)
        assert bucket.take(1, now_ns=0) == SECOND + 100 * MS

    @pytest.mark.parametrize("instant", [-1, 2**61 + 1])
    def test_instants_and_costs_are_checked(self, instant: int) -> None:
        bucket = TokenBucket(1, 4)
        for ask in (
            lambda: bucket.wait_ns(1, instant),
            lambda: bucket.force_at(1, instant),
            lambda: bucket.drain_until(instant),
            lambda: bucket.tokens_at(instant),
        ):
            with pytest.raises(ValueError, match="now_ns must be 0 to"):
                ask()
        with pytest.raises(ValueError, match="cost must be 0 to 4"):
            bucket.force_at(5, 0)
        with pytest.raises(ValueError, match="tokens must be 0 or more, got -1"):
            bucket.wait_ns(-1, 0)
        assert (bucket.forced, bucket.tokens_at(0)) == (0, 4.0)


class TestLimits:
    @pytest.mark.parametrize("rate", [0, -1, -0.5, math.inf, math.nan, 10**400])
    def test_a_rate_must_be_finite_and_above_zero(self, rate: float) -> None:
        with pytest.raises(ValueError, match="rate must be finite and above 0"):
            TokenBucket(rate, 1)

    @pytest.mark.parametrize("burst", [0, -1, 2**40 + 1, 2**70])
    def test_a_burst_must_hold_at_least_one_token(self, burst: int) -> None:
        with pytest.raises(ValueError, match=r"burst must be 1 to 2\*\*40 tokens, got "):
            TokenBucket(1e9, burst)

    @pytest.mark.parametrize(("rate", "burst"), [(1e-9, 2), (5e-324, 1), (1, 2**40)])
    def test_a_bucket_that_refills_for_a_lifetime_is_refused(self, rate: float, burst: int) -> None:
        with pytest.raises(ValueError, match="more than 36 years"):
            TokenBucket(rate, burst)

    @pytest.mark.parametrize(("rate", "burst"), [("1", 1), (None, 1), (1, 1.0), (1, "1")])
    def test_other_types_are_refused(self, rate: Any, burst: Any) -> None:
        with pytest.raises(TypeError):
            TokenBucket(rate, burst)

    @pytest.mark.parametrize("cost", [-1, 6, -(2**70), 2**70])
    @pytest.mark.parametrize("method", ["try_acquire", "force", "delay"])
    def test_a_cost_above_the_burst_or_below_zero_is_refused(self, method: str, cost: int) -> None:
        bucket = TokenBucket(1, 5)
        with pytest.raises(ValueError, match="cost"):
            getattr(bucket, method)(cost)
        assert (bucket.tokens, bucket.forced) == (5, 0)

    @pytest.mark.parametrize("cost", [-1, 6])
    def test_the_rule_and_the_queue_refuse_the_same_costs(self, cost: int) -> None:
        bucket = TokenBucket(1, 5)
        with pytest.raises(ValueError, match=r"cost must be 0 to 5 tokens \(the burst\), got "):
            bucket.take(cost, now_ns=0)
        with pytest.raises(ValueError, match=r"cost must be 0 to 5 tokens \(the burst\), got "):
            asyncio.run(bucket.acquire(cost))

    @pytest.mark.parametrize("method", ["try_acquire", "force", "delay"])
    def test_half_a_token_cannot_be_taken(self, method: str) -> None:
        with pytest.raises(TypeError):
            getattr(TokenBucket(1, 5), method)(0.5)

    @pytest.mark.parametrize("now_ns", [-1, 2**61 + 1])
    def test_an_instant_no_clock_can_show_is_refused(self, now_ns: int) -> None:
        with pytest.raises(ValueError, match="now_ns must be 0 to"):
            TokenBucket(1, 1).take(1, now_ns)

    @given(st.sampled_from([1e-9, 1e-6, 1.0, 1e9, 1e300]), st.lists(st.integers(0, 2**61), max_size=20))
    def test_the_sums_hold_at_both_ends_of_time(self, rate: float, instants: list[int]) -> None:
        bucket = TokenBucket(rate, burst=1)
        for now_ns in instants:
            wait_ns = bucket.take(1, now_ns)
            assert 0 <= wait_ns <= 2**62
            assert wait_ns == 0 or now_ns + wait_ns > 2**61 or bucket.take(1, now_ns + wait_ns) == 0

    def test_a_debt_is_bounded_by_the_range_of_the_clock(self) -> None:
        bucket = TokenBucket(1e-9, burst=1)
        for _ in range(10):
            bucket.force()
        assert bucket.delay() <= 2**62 / SECOND
        assert not bucket.try_acquire()


class TestNow:
    def test_a_burst_passes_and_the_next_one_does_not(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=3)
        assert [bucket.try_acquire() for _ in range(4)] == [True, True, True, False]
        assert 999 < bucket.delay() <= 1000
        assert 1999 < bucket.delay(2) <= 2000

    def test_a_weighted_cost_takes_as_many_tokens(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=10)
        assert bucket.try_acquire(7)
        assert not bucket.try_acquire(4)
        assert bucket.try_acquire(3)

    def test_tokens_and_utilisation_tell_how_much_is_used(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=4)
        assert (bucket.tokens, bucket.utilisation, bucket.delay(4)) == (4.0, 0.0, 0.0)
        bucket.try_acquire(3)
        assert bucket.tokens == pytest.approx(1, abs=0.01)
        assert bucket.utilisation == pytest.approx(0.75, abs=0.01)

    def test_force_always_passes_and_leaves_a_debt(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=4)
        for _ in range(3):
            bucket.force(3)
        assert bucket.forced == 3
        assert bucket.tokens == pytest.approx(-5, abs=0.01)
        assert bucket.utilisation == 1.0
        assert bucket.delay() == pytest.approx(6000, abs=1)

    def test_drain_empties_a_full_bucket(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=4)
        bucket.drain()
        assert bucket.tokens == pytest.approx(0, abs=0.01)
        assert not bucket.try_acquire()

    def test_drain_forgives_no_debt(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=4)
        bucket.force(4)
        bucket.force(4)
        bucket.drain()
        assert bucket.tokens == pytest.approx(-4, abs=0.01)

    def test_it_counts_on_the_clock_of_python(self) -> None:
        bucket = TokenBucket(rate=1, burst=2)
        before_ns = time.monotonic_ns()
        bucket.force(2)
        after_ns = time.monotonic_ns()
        assert before_ns + SECOND <= after_ns + bucket.take(1, after_ns) <= after_ns + SECOND


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Run a test's coroutine function on each kind of event loop."""

    def run_on_a_new_loop(main: Main) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run_on_a_new_loop


def empty_bucket(rate: float, burst: int) -> TokenBucket:
    bucket = TokenBucket(rate, burst)
    bucket.drain()
    return bucket


async def queue_up(bucket: TokenBucket, *costs: int) -> list[asyncio.Task[None]]:
    """Tasks that wait in the bucket's queue, in this order."""
    waiters_before = bucket.waiters
    tasks = [asyncio.create_task(bucket.acquire(cost)) for cost in costs]
    await asyncio.sleep(0)
    assert bucket.waiters == waiters_before + len(costs)
    return tasks


async def queue_up_behind_a_gate(
    bucket: TokenBucket, *costs: int
) -> tuple[asyncio.Task[None], list[asyncio.Task[None]]]:
    """A first waiter that wants what takes days to refill, and tasks behind it; to cancel the first opens the gate."""
    gate, *tasks = await queue_up(bucket, 10**9, *costs)
    return gate, tasks


def wait_without_the_loop(bucket: TokenBucket, tokens: int) -> None:
    """Until so many tokens are there, while the event loop stands still."""
    while bucket.tokens < tokens:
        pass


class Ledger:
    """What must be in a bucket that started empty and never fills up: what flowed in less what was taken."""

    def __init__(self, rate: float) -> None:
        self.bucket = TokenBucket(rate, burst=10**9)
        self.drained_after_ns = time.monotonic_ns()
        self.bucket.drain()
        self.drained_before_ns = time.monotonic_ns()

    def check(self, taken: int) -> None:
        earliest_ns = time.monotonic_ns()
        tokens = self.bucket.tokens
        latest_ns = time.monotonic_ns()
        least = self.bucket.rate * (earliest_ns - self.drained_before_ns) / SECOND
        most = self.bucket.rate * (latest_ns - self.drained_after_ns) / SECOND
        assert least - 1e-6 <= tokens + taken <= most + 1e-6


class TestQueue:
    def test_acquire_returns_at_once_while_there_are_tokens(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = TokenBucket(rate=0.001, burst=3)
            await bucket.acquire()
            await bucket.acquire(2)
            assert not bucket.try_acquire()

        run(main)

    def test_acquire_waits_until_the_tokens_are_there(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=200, burst=5)
            start_ns = time.monotonic_ns()
            wait_seconds = bucket.delay(2)
            await bucket.acquire(2)
            assert time.monotonic_ns() - start_ns >= wait_seconds * SECOND - 1
            assert bucket.waiters == 0

        run(main)

    def test_waiters_go_first_come_first_served_whatever_they_cost(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=2000, burst=10**9)
            served: list[int] = []

            async def acquire(number: int, cost: int) -> None:
                await bucket.acquire(cost)
                served.append(number)

            gate, _ = await queue_up_behind_a_gate(bucket)
            tasks = [asyncio.create_task(acquire(number, cost)) for number, cost in enumerate((9, 1, 10, 0, 3, 1))]
            await asyncio.sleep(0)
            bucket.drain()
            gate.cancel()
            await asyncio.gather(*tasks)
            assert served == [0, 1, 2, 3, 4, 5]

        run(main)

    def test_many_waiters_together_stay_within_the_rate(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = TokenBucket(rate=10_000, burst=10)
            start_ns = time.monotonic_ns()
            await asyncio.gather(*(bucket.acquire() for _ in range(200)))
            assert 10 + 10_000 * (time.monotonic_ns() - start_ns) / SECOND >= 200

        run(main)

    def test_a_late_try_acquire_does_not_overtake(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=2000, burst=10**9)
            gate, _ = await queue_up_behind_a_gate(bucket)
            wait_without_the_loop(bucket, tokens=5)
            assert not bucket.try_acquire(5)
            assert not bucket.try_acquire(0)
            gate.cancel()
            await asyncio.wait([gate])
            assert bucket.try_acquire(5)

        run(main)

    def test_a_late_acquire_does_not_overtake(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=2000, burst=10**9)
            gate, _ = await queue_up_behind_a_gate(bucket)
            wait_without_the_loop(bucket, tokens=5)
            (late,) = await queue_up(bucket, 5)
            gate.cancel()
            await late

        run(main)

    def test_delay_reckons_with_everybody_who_waits(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=0.01, burst=20)
            tasks = await queue_up(bucket, 5, 20)
            assert bucket.delay(1) == pytest.approx(2600, abs=10)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            assert bucket.delay(1) == pytest.approx(2100, abs=10)
            tasks[1].cancel()

        run(main)

    def test_delay_is_bounded_however_many_wait(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=1e-9, burst=1)
            tasks = await queue_up(bucket, *[1] * 12)
            assert 1e9 - 10 < bucket.delay() < 2e9 + 2**60 / SECOND
            for task in tasks:
                task.cancel()

        run(main)

    def test_force_overtakes_those_who_wait_and_they_wait_longer(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            ledger = Ledger(rate=1000)
            gate, (task,) = await queue_up_behind_a_gate(ledger.bucket, 2)
            ledger.bucket.force(10)
            ledger.check(taken=10)
            gate.cancel()
            await task
            ledger.check(taken=12)
            assert ledger.bucket.tokens >= 0

        run(main)

    def test_drain_holds_back_a_waiter_whose_turn_has_come(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=2000, burst=10**9)
            gate, (task,) = await queue_up_behind_a_gate(bucket, 2)
            wait_without_the_loop(bucket, tokens=2)
            drained_ns = []

            def drain() -> None:
                drained_ns.append(time.monotonic_ns())
                bucket.drain()

            gate.cancel()  # in the loop's next turn: the gate leaves and wakes the task, then
            asyncio.get_running_loop().call_soon(drain)  # before the task can go on
            await task
            assert time.monotonic_ns() - drained_ns[0] >= MS

        run(main)


class TestCancellation:
    def test_a_cancelled_waiter_has_taken_nothing(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            ledger = Ledger(rate=1000)
            gate, tasks = await queue_up_behind_a_gate(ledger.bucket, 1000, 3)
            tasks[0].cancel()
            gate.cancel()
            await tasks[1]
            assert tasks[0].cancelled()
            assert ledger.bucket.waiters == 0
            ledger.check(taken=3)

        run(main)

    def test_a_timeout_leaves_the_queue(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=0.001, burst=1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await bucket.acquire()
            assert bucket.waiters == 0

        run(main)

    def test_the_others_keep_their_order(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=2000, burst=10**9)
            served: list[int] = []

            async def acquire(number: int) -> None:
                await bucket.acquire(5)
                served.append(number)

            gate, _ = await queue_up_behind_a_gate(bucket)
            tasks = [asyncio.create_task(acquire(number)) for number in range(6)]
            await asyncio.sleep(0)
            for cancelled in (tasks[3], tasks[0], tasks[5], gate):
                cancelled.cancel()
            await asyncio.wait(tasks)
            assert served == [1, 2, 4]

        run(main)

    def test_cancelling_the_first_lets_a_cheaper_second_go_on_now(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=100, burst=10**9)
            dear, cheap = await queue_up(bucket, 10**9, 1)
            dear.cancel()
            await asyncio.wait_for(cheap, 30)

        run(main)

    def test_a_cancel_that_comes_with_the_turn_gives_the_turn_to_the_next(self, run: Callable[[Main], None]) -> None:
        async def main() -> None:
            ledger = Ledger(rate=1000)
            gate, (first, second) = await queue_up_behind_a_gate(ledger.bucket, 2, 1)
            wait_without_the_loop(ledger.bucket, tokens=3)
            gate.cancel()  # in the loop's next turn: the gate leaves and wakes the first, then
            asyncio.get_running_loop().call_soon(first.cancel)  # before the first can go on
            await second
            assert first.cancelled()
            assert ledger.bucket.waiters == 0
            ledger.check(taken=1)

        run(main)

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), min_size=1, max_size=30))
    @settings(max_examples=30, deadline=None)
    def test_whoever_is_cancelled_whenever_every_token_is_counted_once(self, plan: list[tuple[int, int]]) -> None:
        async def acquire_with_patience(bucket: TokenBucket, cost: int, turns: int) -> bool:
            task = asyncio.create_task(bucket.acquire(cost))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            return not task.cancelled()

        async def main() -> None:
            ledger = Ledger(rate=200_000)
            served = await asyncio.gather(*(acquire_with_patience(ledger.bucket, cost, turns) for cost, turns in plan))
            ledger.check(taken=sum(cost for (cost, _), passed in zip(plan, served, strict=True) if passed))
            assert ledger.bucket.waiters == 0

        asyncio.run(main())


class TimerLoop(asyncio.SelectorEventLoop):
    """An event loop that remembers its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers.append(super().call_at(when, callback, *args, context=context))
        return self.timers[-1]

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled() and timer.when() > self.time() for timer in self.timers)


class TestLoops:
    def test_any_number_of_waiters_share_one_timer_and_leave_none(self) -> None:
        async def main() -> None:
            bucket = empty_bucket(rate=0.001, burst=10)
            tasks = await queue_up(bucket, 1, 2, 3, 4)
            assert loop.pending == 1
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            assert loop.pending == 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert loop.pending == 0

        loop = TimerLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    def test_no_loop_is_needed_while_nobody_waits(self) -> None:
        bucket = TokenBucket(rate=0.001, burst=1)
        with pytest.raises(StopIteration):
            bucket.acquire().send(None)
        assert not bucket.try_acquire()

    def test_one_bucket_serves_one_loop_after_another(self, run: Callable[[Main], None]) -> None:
        bucket = empty_bucket(rate=2000, burst=10)

        async def main() -> None:
            await asyncio.gather(bucket.acquire(3), bucket.acquire(2))

        run(main)
        run(main)
        assert bucket.waiters == 0

    def test_waiters_of_a_closed_loop_are_forgotten(self, run: Callable[[Main], None]) -> None:
        bucket = empty_bucket(rate=1000, burst=10**9)
        loop = asyncio.new_event_loop()
        left_behind = bucket.acquire(10**9)
        waiting = loop.create_task(left_behind)
        loop.run_until_complete(asyncio.sleep(0))
        assert bucket.waiters == 1
        loop.close()
        wait_without_the_loop(bucket, tokens=5)
        assert bucket.try_acquire(5)
        assert bucket.waiters == 0

        async def main() -> None:
            await bucket.acquire(1)
            (task,) = await queue_up(bucket, 10**9)
            left_behind.close()
            assert bucket.waiters == 1
            task.cancel()

        run(main)
        assert not waiting.done()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left behind on purpose

    def test_a_second_loop_cannot_wait_while_the_first_one_does(self) -> None:
        bucket = empty_bucket(rate=0.001, burst=1)
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        waiting = first.create_task(bucket.acquire())
        first.run_until_complete(asyncio.sleep(0))
        with pytest.raises(RuntimeError, match="in another event loop"):
            second.run_until_complete(bucket.acquire())
        waiting.cancel()
        first.run_until_complete(asyncio.wait([waiting]))
        assert bucket.waiters == 0
        first.close()
        second.close()
