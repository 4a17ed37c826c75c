"""Lanes, deadlines and predictions, on a loop whose clock jumps."""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_loop import simulate

from wsx.errors import RateLimited, RateLimitTimeout
from wsx.rate_limiter import RateLimiter
from wsx.rate_profile import PROFILES, Budget, Charge, Lane, RateProfile
from wsx.telemetry import EVENTS, attach, detach
from wsx.testing import SimulatedLoop

NS = 1_000_000_000
METHODS = {lane: lane.name.lower() for lane in Lane}


class StoppedClock:
    def now_ns(self) -> int:
        return 0


def profile(rate: float = 10, burst: int = 5, reserved: int = 0, cost: int = 1) -> RateProfile:
    """One bucket, and a method for each lane; `weigh` costs what its params say."""
    methods = {name: Charge("all", cost, lane) for lane, name in METHODS.items()}
    methods |= {f"weigh_{name}": Charge("all", lambda params: params, lane) for lane, name in METHODS.items()}
    return RateProfile("test", {"all": Budget(rate, burst, reserved)}, Charge("all"), methods)


def simulated(main: Callable[[RateLimiter, SimulatedLoop], Awaitable[None]], made: RateProfile | None = None) -> None:
    """Run `main` with a limiter that starts empty, on a loop that starts at 0."""
    loop = SimulatedLoop()
    limiter = RateLimiter(made or profile(), clock=loop)
    limiter.backoff()

    async def run() -> None:
        await main(limiter, loop)

    simulate(run(), loop)


async def queue_up(limiter: RateLimiter, *methods: str, passed: list[str]) -> list[asyncio.Task[None]]:
    """A task for each method, waiting in this order; who has passed is written down."""

    async def wait(method: str) -> None:
        await limiter.acquire(method)
        passed.append(method)

    tasks = [asyncio.create_task(wait(method)) for method in methods]
    await asyncio.sleep(0)
    return tasks


class TestAtOnce:
    def test_a_burst_passes_and_the_next_one_does_not(self) -> None:
        limiter = RateLimiter(profile(burst=3), clock=StoppedClock())
        assert [limiter.try_acquire("new") for _ in range(4)] == [True, True, True, False]
        assert limiter.when("new") == 0.1

    def test_methods_of_different_buckets_do_not_disturb_each_other(self) -> None:
        limiter = RateLimiter("deribit", clock=StoppedClock())
        assert [limiter.try_acquire("private/buy") for _ in range(21)] == [True] * 20 + [False]
        assert limiter.try_acquire("private/cancel_all")
        assert limiter.try_acquire("public/get_time")
        assert limiter.utilisation["matching"] == 1.0
        assert limiter.utilisation["cancel_all"] == pytest.approx(0.05)
        assert limiter.utilisation["non_matching"] == pytest.approx(0.01)
        assert limiter.utilisation["subscribe"] == 0.0

    def test_a_cost_can_be_reckoned_from_the_params(self) -> None:
        limiter = RateLimiter(profile(burst=5), clock=StoppedClock())
        assert limiter.try_acquire("weigh_new", 3)
        assert not limiter.try_acquire("weigh_new", 3)
        assert limiter.try_acquire("weigh_new", 2)

    @pytest.mark.parametrize("cost", [-1, 4])
    def test_a_reckoned_cost_that_no_bucket_can_pay_is_refused(self, cost: int) -> None:
        limiter = RateLimiter(profile(burst=5, reserved=2), clock=StoppedClock())
        with pytest.raises(ValueError, match=f"weigh_new may cost 0 to 3 tokens of bucket 'all', got {cost}"):
            limiter.try_acquire("weigh_new", cost)
        assert limiter.try_acquire("weigh_cancel", 5)

    def test_no_loop_is_needed_while_nobody_waits(self) -> None:
        limiter = RateLimiter(profile(burst=1))
        with pytest.raises(StopIteration):
            limiter.acquire("new").send(None)
        assert not limiter.try_acquire("new")

    def test_profiles_are_known_by_name(self) -> None:
        assert RateLimiter("deribit-tier-1").profile is PROFILES["deribit-tier-1"]
        with pytest.raises(
            ValueError, match="unknown rate profile 'deribit-tier-9'; there are deribit, deribit-tier-1"
        ):
            RateLimiter("deribit-tier-9")


class TestLanes:
    def test_the_better_lane_goes_first_and_within_a_lane_whoever_came_first(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            passed: list[str] = []
            tasks = await queue_up(limiter, *reversed(METHODS.values()), *METHODS.values(), passed=passed)
            assert limiter.waiting == {"all": 10}
            await asyncio.gather(*tasks)
            assert passed == [name for name in METHODS.values() for _ in range(2)]
            assert loop.now_ns() == pytest.approx(NS, abs=100)
            assert limiter.waiting == {"all": 0}

        simulated(main)

    def test_a_cancel_overtakes_whoever_waits(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            passed: list[str] = []
            first = await queue_up(limiter, "subscribe", "new", "query", passed=passed)
            await asyncio.sleep(0.05)
            late = await queue_up(limiter, "cancel", passed=passed)
            await asyncio.gather(*first, *late)
            assert passed == ["cancel", "new", "query", "subscribe"]

        simulated(main)

    def test_one_who_was_woken_still_lets_a_better_lane_go_first(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            passed: list[str] = []
            tasks = await queue_up(limiter, "new", passed=passed)
            overtaking: list[bool] = []
            loop.call_at(0.1, lambda: overtaking.append(limiter.try_acquire("cancel")))
            await asyncio.gather(*tasks)
            assert overtaking == [True]
            assert loop.now_ns() == pytest.approx(0.2 * NS, abs=100)

        simulated(main)

    def test_try_acquire_does_not_overtake_its_own_lane_or_a_better_one(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            gate = asyncio.create_task(limiter.acquire("weigh_amend", 5))
            await asyncio.sleep(0.3)
            assert not limiter.try_acquire("amend")
            assert not limiter.try_acquire("subscribe")
            assert limiter.try_acquire("cancel")
            await gate
            assert loop.now_ns() == pytest.approx(0.6 * NS, abs=100)

        simulated(main)

    def test_reserved_tokens_are_there_for_cancels_alone(self) -> None:
        limiter = RateLimiter(profile(burst=5, reserved=2), clock=StoppedClock())
        assert [limiter.try_acquire("amend") for _ in range(4)] == [True, True, True, False]
        assert [limiter.try_acquire("cancel") for _ in range(3)] == [True, True, False]
        assert limiter.when("cancel") == 0.1
        assert limiter.when("new") == 0.3

    def test_a_lane_holds_so_many_and_no_more(self) -> None:
        loop = SimulatedLoop()

        async def main() -> None:
            limiter = RateLimiter(profile(), max_waiting=2, clock=loop)
            limiter.backoff()
            passed: list[str] = []
            tasks = await queue_up(limiter, "query", "query", passed=passed)
            with pytest.raises(RateLimited) as refused:
                await limiter.acquire("query")
            assert refused.value.retry_after == pytest.approx(0.3)
            await limiter.acquire("cancel")
            await asyncio.gather(*tasks)

        simulate(main(), loop)


class TestDeadlines:
    def test_a_request_that_waited_too_long_ends_by_name_and_has_taken_nothing(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            with pytest.raises(RateLimitTimeout) as late:
                await limiter.acquire("weigh_new", 3, timeout=0.2)
            assert (late.value.method, late.value.timeout) == ("weigh_new", 0.2)
            assert late.value.retry_after == pytest.approx(0.1)
            assert "nothing was sent" in str(late.value)
            assert isinstance(late.value, TimeoutError) and isinstance(late.value, RateLimited)
            assert [limiter.try_acquire("query") for _ in range(3)] == [True, True, False]
            assert limiter.waiting == {"all": 0}

        simulated(main)

    def test_no_time_at_all_is_a_deadline_too(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            with pytest.raises(RateLimitTimeout, match="deadline of 0 s"):
                await limiter.acquire("new", timeout=0)
            assert loop.now_ns() == 0

        simulated(main)

    def test_whoever_is_behind_goes_on_when_the_one_before_gives_up(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            dear = asyncio.create_task(limiter.acquire("weigh_new", 5, timeout=0.3))
            await asyncio.sleep(0)
            await limiter.acquire("weigh_query", 2)
            assert loop.now_ns() == pytest.approx(0.3 * NS, abs=100)
            assert isinstance(dear.exception(), RateLimitTimeout)

        simulated(main)

    def test_a_cancelled_request_has_taken_nothing_even_after_it_was_woken(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            first = asyncio.create_task(limiter.acquire("new"))
            second = asyncio.create_task(limiter.acquire("new"))
            loop.call_at(0.1, loop.call_soon, first.cancel)
            await second
            assert first.cancelled()
            assert loop.now_ns() == pytest.approx(0.1 * NS, abs=100)

        simulated(main)

    def test_a_request_that_is_cancelled_at_the_very_moment_of_its_turn_is_passed_over(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            first = asyncio.create_task(limiter.acquire("new"))
            second = asyncio.create_task(limiter.acquire("new"))
            loop.call_at(0.1 - 1e-10, first.cancel)  # in the same step of the loop, before the timer
            await second
            assert first.cancelled()
            assert loop.now_ns() == pytest.approx(0.1 * NS, abs=100)

        simulated(main)


class TestPredictions:
    def test_when_reckons_with_those_of_its_lane_and_better_ones(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            tasks = await queue_up(limiter, "new", "new", "subscribe", passed=[])
            assert [round(limiter.when(METHODS[lane]), 6) for lane in Lane] == [0.1, 0.1, 0.3, 0.3, 0.4]
            await asyncio.gather(*tasks)

        simulated(main)

    def test_when_is_not_now_while_somebody_is_before(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            waiting = asyncio.create_task(limiter.acquire("weigh_new", 1))
            loop.call_at(0.5, loop.call_soon, lambda: None)
            await asyncio.sleep(0)
            loop.jump(0.5)  # the loop is held by something else, and the one who waits is not woken in time
            assert 0 < limiter.when("new") < 1e-6
            assert limiter.when("cancel") == 0
            await waiting

        simulated(main)

    @given(
        st.lists(st.tuples(st.sampled_from(Lane), st.integers(0, 7)), max_size=8),
        st.sampled_from(Lane),
        st.integers(0, 7),
        st.floats(0.01, 1000),
        st.integers(0, 3),
    )
    @settings(max_examples=60, deadline=None)
    def test_it_comes_as_predicted(
        self, before: list[tuple[Lane, int]], lane: Lane, cost: int, rate: float, reserved: int
    ) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            others = [asyncio.create_task(limiter.acquire("weigh_" + METHODS[lane], cost)) for lane, cost in before]
            await asyncio.sleep(0)
            predicted_ns = limiter.when("weigh_" + METHODS[lane], cost) * NS
            await limiter.acquire("weigh_" + METHODS[lane], cost)
            assert loop.now_ns() == pytest.approx(predicted_ns, rel=1e-9, abs=1000)
            await asyncio.gather(*others)

        simulated(main, profile(rate, burst=10, reserved=reserved))


class TestTooManyRequests:
    """Rows 7.5 and 7.6 of the faults."""

    def test_a_heartbeats_answer_goes_at_once_while_the_bucket_is_empty_and_others_wait(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            passed: list[str] = []
            tasks = await queue_up(limiter, "cancel", "query", passed=passed)
            limiter.force("query")
            assert (passed, loop.now_ns()) == ([], 0)
            assert limiter.utilisation == {"all": 1.0}
            await asyncio.gather(*tasks)
            assert passed == ["cancel", "query"]
            assert loop.now_ns() == pytest.approx(0.3 * NS, abs=100)

        simulated(main)

    def test_backoff_empties_the_bucket_and_keeps_those_who_wait(self) -> None:
        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            passed: list[str] = []
            await asyncio.sleep(0.3)
            tasks = [asyncio.create_task(limiter.acquire("weigh_new", 4))]
            tasks += await queue_up(limiter, "query", "new", passed=passed)
            limiter.backoff(2.0)
            assert limiter.waiting == {"all": 3}
            await asyncio.gather(*tasks)
            assert passed == ["new", "query"]
            assert loop.now_ns() == pytest.approx((0.3 + 2.0 + 0.6) * NS, abs=100)

        simulated(main)

    def test_only_the_bucket_of_the_method_is_emptied_where_it_is_known(self) -> None:
        limiter = RateLimiter("deribit", clock=StoppedClock())
        limiter.backoff(1.0, method="private/buy")
        assert limiter.when("private/sell") == pytest.approx(1.2)
        assert limiter.when("public/get_time") == 0
        limiter.backoff()
        assert limiter.when("private/sell") == pytest.approx(1.2)
        assert limiter.when("public/get_time") == pytest.approx(0.05)

    @pytest.mark.parametrize("retry_after", [-1, float("nan"), float("inf")])
    def test_a_time_to_wait_that_makes_no_sense_is_refused(self, retry_after: float) -> None:
        limiter = RateLimiter("deribit", clock=StoppedClock())
        with pytest.raises(ValueError, match="retry_after must be 0 seconds or more"):
            limiter.backoff(retry_after)
        assert set(limiter.utilisation.values()) == {0.0}


class TestEvents:
    def test_waiting_being_refused_and_backing_off_are_told(self) -> None:
        told: list[tuple[str, dict[str, object]]] = []
        attach("rate_limit", lambda name, values: told.append((name, dict(values))), "test")

        async def main(limiter: RateLimiter, loop: SimulatedLoop) -> None:
            assert not limiter.try_acquire("new")
            with pytest.raises(RateLimitTimeout):
                await limiter.acquire("weigh_new", 5, timeout=0.25)
            await limiter.acquire("weigh_new", 5)

        try:
            simulated(main, profile(rate=10))
        finally:
            assert detach("test")
        assert [name for name, _ in told] == [
            f"rate_limit.{what}" for what in ("backoff", "refused", "refused", "waited")
        ]
        assert all(set(values) == set(EVENTS[name].fields) for name, values in told)
        backoff, refused, late, waited = (values for _, values in told)
        assert backoff == {"at_ns": 0, "profile": "test", "bucket": "all", "retry_after_seconds": 0.0}
        assert (refused["method"], refused["retry_after_seconds"]) == ("new", 0.1)
        assert (late["at_ns"], late["retry_after_seconds"]) == (0.25 * NS, 0.25)
        assert (waited["waited_ns"], waited["at_ns"]) == (0.25 * NS, 0.5 * NS)

    def test_a_full_lane_is_told_as_a_refusal(self) -> None:
        told: list[object] = []
        attach("rate_limit.refused", lambda name, values: told.append(values["method"]), "test")
        loop = SimulatedLoop()

        async def main() -> None:
            limiter = RateLimiter(profile(), max_waiting=1, clock=loop)
            limiter.backoff()
            (waiting,) = await queue_up(limiter, "query", passed=[])
            with pytest.raises(RateLimited):
                await limiter.acquire("query")
            await waiting

        try:
            simulate(main(), loop)
        finally:
            assert detach("test")
        assert told == ["query"]


class TestLoops:
    def test_one_limiter_serves_one_loop_after_another(self) -> None:
        limiter = RateLimiter(profile(rate=2000))
        limiter.backoff()

        async def main() -> None:
            await asyncio.gather(limiter.acquire("weigh_new", 3), limiter.acquire("cancel"))

        asyncio.run(main())
        asyncio.run(main())
        assert limiter.waiting == {"all": 0}

    def test_those_who_waited_in_a_closed_loop_are_forgotten(self) -> None:
        limiter = RateLimiter(profile(rate=1000))
        limiter.backoff(10)
        loop = asyncio.new_event_loop()
        left_behind = limiter.acquire("cancel")
        waiting = loop.create_task(left_behind)
        loop.run_until_complete(asyncio.sleep(0))
        assert limiter.when("subscribe") > 10
        loop.close()
        limiter.when("subscribe")
        assert limiter.waiting == {"all": 0}
        left_behind.close()
        assert limiter.waiting == {"all": 0}
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left behind on purpose


# ---- what holds whatever happens ------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire", "acquire", "try", "cancel"]),
        st.sampled_from(Lane),
        st.integers(1, 6),  # tokens
        st.one_of(st.none(), st.floats(0, 1)),  # deadline
        st.one_of(st.just(0.0), st.floats(0, 0.5)),  # pause after it
    ),
    min_size=1,
    max_size=25,
)


class Witness:
    """Writes down who came, who passed when, and checks each one who passes against those who wait."""

    def __init__(self, limiter: RateLimiter, loop: SimulatedLoop, rate: Fraction, burst: int, reserved: int) -> None:
        self.limiter, self.loop = limiter, loop
        self.rate, self.burst, self.reserved = rate, burst, reserved
        self.waiting: list[tuple[int, Lane, int]] = []  # deadline in ns, lane, number
        self.leaving: set[int] = set()
        self.passed: list[tuple[int, int, Lane]] = []  # ns, tokens, lane

    async def acquire(self, number: int, lane: Lane, cost: int, timeout: float | None) -> None:
        deadline_ns = 2**60 if timeout is None else self.loop.now_ns() + int(timeout * NS)
        self.waiting.append((deadline_ns, lane, number))
        try:
            await self.limiter.acquire("weigh_" + METHODS[lane], cost, timeout=timeout)
            self.check_order(lane, number)
            self.passed.append((self.loop.now_ns(), cost, lane))
        except RateLimitTimeout:
            assert self.loop.now_ns() >= deadline_ns - 10
        finally:
            self.waiting.remove((deadline_ns, lane, number))

    def try_acquire(self, number: int, lane: Lane, cost: int) -> None:
        if self.limiter.try_acquire("weigh_" + METHODS[lane], cost):
            self.check_order(lane, number)
            self.passed.append((self.loop.now_ns(), cost, lane))

    def check_order(self, lane: Lane, number: int) -> None:
        """Nobody of a better lane, and nobody who came earlier into this one, may still be waiting."""
        now_ns = self.loop.now_ns()
        for deadline_ns, other_lane, other in self.waiting:
            gone = other in self.leaving or deadline_ns <= now_ns + 10
            assert gone or (other_lane, other) >= (lane, number), "somebody was overtaken"

    def check_budget(self) -> None:
        """Every stretch of time has at most the burst and the refill, and only cancels took what is reserved."""
        for first, (start_ns, _, _) in enumerate(self.passed):
            spent = 0
            for at_ns, cost, _ in self.passed[first:]:
                spent += cost
                assert spent <= self.burst + self.rate * (at_ns - start_ns) / NS
        assert all(at_ns <= later_ns for (at_ns, _, _), (later_ns, _, _) in pairwise(self.passed))

    def check_reserve(self) -> None:
        tokens, last_ns = Fraction(self.burst), 0
        for at_ns, cost, lane in self.passed:
            tokens = min(tokens + self.rate * (at_ns - last_ns) / NS, Fraction(self.burst)) - cost
            last_ns = at_ns
            assert tokens >= (0 if lane is Lane.CANCEL else self.reserved)


class TestWhateverHappens:
    @given(STEPS, st.integers(1, 50), st.integers(0, 4))
    @settings(max_examples=150, deadline=None)
    def test_budgets_hold_nobody_is_overtaken_and_the_reserve_is_for_cancels(
        self, steps: list[tuple[str, Lane, int, float | None, float]], rate: int, reserved: int
    ) -> None:
        loop = SimulatedLoop()
        limiter = RateLimiter(profile(rate, burst=10, reserved=reserved), clock=loop)
        witness = Witness(limiter, loop, Fraction(rate), 10, reserved)

        async def main() -> None:
            tasks: dict[int, asyncio.Task[None]] = {}
            cancelled: list[asyncio.Task[None]] = []
            for number, (what, lane, cost, timeout, pause) in enumerate(steps):
                if what == "acquire":
                    tasks[number] = asyncio.create_task(witness.acquire(number, lane, cost, timeout))
                elif what == "try":
                    witness.try_acquire(number, lane, cost)
                elif tasks:
                    victim = min(tasks)
                    witness.leaving.add(victim)
                    cancelled.append(tasks.pop(victim))
                    cancelled[-1].cancel()
                if pause:
                    await asyncio.sleep(pause)
            results = await asyncio.gather(*tasks.values(), return_exceptions=True)
            assert results == [None] * len(tasks)
            await asyncio.gather(*cancelled, return_exceptions=True)  # the last one has not left yet
            assert limiter.waiting == {"all": 0}

        simulate(main(), loop)
        witness.check_budget()
        witness.check_reserve()
