"""Profiles are data: what they may say, and that Deribit's says what its documentation does."""

from dataclasses import replace

import pytest

from wsx._ratelimit import TokenBucket
from wsx.rate_profile import PROFILES, Budget, Charge, Lane, RateProfile

DERIBIT = PROFILES["deribit"]


def profile(methods: dict[str, Charge], **budgets: Budget) -> RateProfile:
    return RateProfile("test", budgets or {"all": Budget(10, 5)}, Charge("all"), methods)


class TestLookingUp:
    def test_an_unnamed_method_takes_the_default(self) -> None:
        assert profile({"buy": Charge("all", 2)}).charge("sell") == Charge("all", 1, Lane.QUERY)

    def test_a_star_stands_for_every_ending(self) -> None:
        edits = Charge("all", 2, Lane.AMEND)
        assert profile({"edit*": edits}).charge("edit") == edits
        assert profile({"edit*": edits}).charge("edit_by_label") == edits
        assert profile({"edit*": edits}).charge("unedit") != edits

    def test_the_whole_name_counts_before_its_beginning_and_the_longer_beginning_before_the_shorter(self) -> None:
        methods = {"c*": Charge("all", 1), "cancel": Charge("all", 2), "cancel_*": Charge("all", 3)}
        costs = [profile(methods).charge(method).cost for method in ("cancel", "cancel_all", "close")]
        assert costs == [2, 3, 1]


class TestChecks:
    @pytest.mark.parametrize("reserved", [-1, 5, 6])
    def test_a_reserve_leaves_something_for_the_others(self, reserved: int) -> None:
        with pytest.raises(ValueError, match="reserved must be 0 or more and below burst=5"):
            Budget(10, 5, reserved)

    def test_a_budget_is_a_bucket_that_can_be_made(self) -> None:
        with pytest.raises(ValueError, match="rate must be finite and above 0"):
            Budget(0, 5)
        with pytest.raises(ValueError, match="burst must be 1 to"):
            Budget(1, 0)

    def test_a_charge_names_a_bucket_that_is_there(self) -> None:
        with pytest.raises(ValueError, match="buy of profile 'test' names the bucket 'orders', which has no budget"):
            profile({"buy": Charge("orders")})
        with pytest.raises(ValueError, match="default of profile 'test' names the bucket 'all'"):
            profile({}, orders=Budget(1, 1))

    @pytest.mark.parametrize("cost", [-1, 6])
    def test_a_charge_that_no_bucket_can_ever_pay_is_refused(self, cost: int) -> None:
        with pytest.raises(ValueError, match=f"buy of profile 'test' must cost 0 to 5 tokens, not {cost}"):
            profile({"buy": Charge("all", cost)})

    def test_only_a_cancel_can_cost_the_reserve(self) -> None:
        kept = Budget(10, 5, reserved=3)
        assert profile({"cancel": Charge("all", 5, Lane.CANCEL)}, all=kept).charge("cancel").cost == 5
        with pytest.raises(ValueError, match="must cost 0 to 2 tokens, not 3"):
            profile({"buy": Charge("all", 3, Lane.NEW)}, all=kept)

    def test_reserving_gives_another_profile(self) -> None:
        kept = DERIBIT.reserve("matching", 5)
        assert kept.budgets["matching"] == replace(DERIBIT.budgets["matching"], reserved=5)
        assert DERIBIT.budgets["matching"].reserved == 0
        assert kept.charge("private/edit_by_label") == DERIBIT.charge("private/edit_by_label")
        with pytest.raises(KeyError, match="no_such_bucket"):
            DERIBIT.reserve("no_such_bucket", 1)

    def test_a_profile_does_not_change_with_the_dicts_it_was_made_of(self) -> None:
        methods, budgets = {"buy": Charge("all", 2)}, {"all": Budget(10, 5)}
        made = RateProfile("test", budgets, Charge("all"), methods)
        methods.clear()
        budgets.clear()
        assert made.charge("buy").cost == 2
        assert list(made.budgets) == ["all"]
        with pytest.raises(TypeError):
            made.budgets["all"] = Budget(1, 1)  # type: ignore[index]


class TestDeribit:
    """Against the table of articles/rate-limits: cost, pool, requests per second, requests in a burst."""

    @pytest.mark.parametrize(
        ("method", "cost", "pool", "per_second", "burst"),
        [
            ("public/test", 500, 50_000, 20, 100),
            ("public/auth", 500, 50_000, 20, 100),
            ("private/get_positions", 500, 50_000, 20, 100),
            ("public/subscribe", 3_000, 30_000, 10 / 3, 10),
            ("private/subscribe", 3_000, 30_000, 10 / 3, 10),
            ("public/get_instruments", 10_000, 500_000, 1, 50),
            ("private/get_transaction_log", 10_000, 80_000, 1, 8),
            ("private/move_positions", 100_000, 600_000, 6 / 60, 6),
        ],
    )
    def test_credits(self, method: str, cost: int, pool: int, per_second: float, burst: int) -> None:
        charge = DERIBIT.charge(method)
        budget = DERIBIT.budgets[charge.bucket]
        assert (charge.cost, budget.burst, budget.burst // cost) == (cost, pool, burst)
        assert budget.rate / cost == pytest.approx(per_second)

    @pytest.mark.parametrize(
        ("name", "per_second", "burst"),
        [
            ("deribit", 5, 20),
            ("deribit-tier-4", 5, 20),
            ("deribit-tier-3", 10, 30),
            ("deribit-tier-2", 20, 50),
            ("deribit-tier-1", 30, 100),
        ],
    )
    def test_tiers_of_the_matching_engine(self, name: str, per_second: int, burst: int) -> None:
        assert PROFILES[name].name == name
        budget = PROFILES[name].budgets["matching"]
        assert (budget.rate, budget.burst) == (per_second, burst)

    @pytest.mark.parametrize(
        ("method", "bucket", "lane"),
        [
            ("private/buy", "matching", Lane.NEW),
            ("private/sell", "matching", Lane.NEW),
            ("private/close_position", "matching", Lane.NEW),
            ("private/mass_quote", "matching", Lane.NEW),
            ("private/execute_block_trade", "matching", Lane.NEW),
            ("private/edit", "matching", Lane.AMEND),
            ("private/edit_by_label", "matching", Lane.AMEND),
            ("private/cancel", "matching", Lane.CANCEL),
            ("private/cancel_by_label", "matching", Lane.CANCEL),
            ("private/cancel_quotes", "matching", Lane.CANCEL),
            ("private/cancel_all", "cancel_all", Lane.CANCEL),
            ("private/get_order_state_by_label", "non_matching", Lane.QUERY),
            ("public/unsubscribe_all", "non_matching", Lane.SUBSCRIBE),
            ("private/subscribe", "subscribe", Lane.SUBSCRIBE),
        ],
    )
    def test_which_method_takes_from_which_bucket_in_which_lane(self, method: str, bucket: str, lane: Lane) -> None:
        charge = DERIBIT.charge(method)
        assert (charge.bucket, charge.lane) == (bucket, lane)
        assert bucket not in ("matching", "cancel_all") or charge.cost == 1

    def test_a_hundred_queries_pass_at_once_and_then_one_every_fifty_milliseconds(self) -> None:
        budget = DERIBIT.budgets["non_matching"]
        bucket = TokenBucket(budget.rate, budget.burst)
        assert [bucket.take(500, now_ns=0) for _ in range(101)] == [0] * 100 + [50_000_000]
