"""What an exchange allows, as data: buckets, and which method takes how much from which of them.

`PROFILES` holds those that come with wsx; docs/howto/rate-limits.md says how to write another.
Not here: taking tokens and waiting for them (rate_limiter.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from wsx._ratelimit import TokenBucket


class Lane(IntEnum):
    """Who goes first among those who wait for the same bucket: the lower number."""

    CANCEL = 0
    AMEND = 1
    NEW = 2
    QUERY = 3
    SUBSCRIBE = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """One bucket: it starts full with `burst` tokens and refills with `rate` tokens per second.

    reserved: of the burst, tokens that only `Lane.CANCEL` may take. Raises TypeError or ValueError.
    """

    rate: float
    burst: int
    reserved: int = 0

    def __post_init__(self) -> None:
        TokenBucket(self.rate, self.burst)  # it knows what a rate and a burst may be
        if not 0 <= self.reserved < self.burst:
            raise ValueError(f"reserved must be 0 or more and below burst={self.burst}, got {self.reserved}")

    def largest(self, lane: Lane) -> int:
        """The most tokens that one request of this lane can ever have."""
        return self.burst - self.kept_from(lane)

    def kept_from(self, lane: Lane) -> int:
        """The tokens that a request of this lane must leave in the bucket."""
        return 0 if lane is Lane.CANCEL else self.reserved


@dataclass(frozen=True, slots=True)
class Charge:
    """What a method takes: `cost` tokens out of `bucket`. cost: a number, or a function of the request's params."""

    bucket: str
    cost: int | Callable[[Any], int] = 1
    lane: Lane = Lane.QUERY


@dataclass(frozen=True, slots=True)
class RateProfile:
    """What one exchange allows one account, address or connection.

    budgets: bucket -> `Budget`. methods: method -> `Charge`; a name that ends in "*" stands for all that begin so, and
    the longest that fits counts. default: for every other method. Raises ValueError for a charge that no bucket fits.
    """

    name: str
    budgets: Mapping[str, Budget]
    default: Charge
    methods: Mapping[str, Charge] = field(default_factory=dict)
    _beginnings: tuple[tuple[str, Charge], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for method, charge in {**self.methods, "default": self.default}.items():
            self._check(method, charge)
        patterns = [(name[:-1], charge) for name, charge in self.methods.items() if name.endswith("*")]
        longest_first = tuple(sorted(patterns, key=lambda pattern: len(pattern[0]), reverse=True))
        object.__setattr__(self, "budgets", MappingProxyType(dict(self.budgets)))
        object.__setattr__(self, "methods", MappingProxyType(dict(self.methods)))
        object.__setattr__(self, "_beginnings", longest_first)

    def charge(self, method: str) -> Charge:
        """What `method` takes."""
        exact = self.methods.get(method)
        if exact is not None:
            return exact
        return next((charge for start, charge in self._beginnings if method.startswith(start)), self.default)

    def reserve(self, bucket: str, tokens: int) -> "RateProfile":
        """The same profile with `tokens` of this bucket kept for cancels. Raises KeyError or ValueError."""
        budget = replace(self.budgets[bucket], reserved=tokens)
        return replace(self, budgets={**self.budgets, bucket: budget})

    def _check(self, method: str, charge: Charge) -> None:
        budget = self.budgets.get(charge.bucket)
        if budget is None:
            raise ValueError(
                f"{method} of profile {self.name!r} names the bucket {charge.bucket!r}, which has no budget"
            )
        largest = budget.largest(charge.lane)
        if not callable(charge.cost) and not 0 <= charge.cost <= largest:
            raise ValueError(f"{method} of profile {self.name!r} must cost 0 to {largest} tokens, not {charge.cost}")


# ---- Deribit: articles/rate-limits and the support page "Rate Limits" -----------------------------------------------

_CREDITS_PER_SECOND = 10_000  # what all its buckets of credits refill with

_DERIBIT_CREDITS = {
    "non_matching": Budget(_CREDITS_PER_SECOND, 50_000),
    "subscribe": Budget(_CREDITS_PER_SECOND, 30_000),
    "get_instruments": Budget(_CREDITS_PER_SECOND, 500_000),
    "get_transaction_log": Budget(_CREDITS_PER_SECOND, 80_000),
    "move_positions": Budget(_CREDITS_PER_SECOND, 600_000),
}

_DERIBIT_METHODS = {
    "public/subscribe": Charge("subscribe", 3_000, Lane.SUBSCRIBE),
    "private/subscribe": Charge("subscribe", 3_000, Lane.SUBSCRIBE),
    "public/unsubscribe*": Charge("non_matching", 500, Lane.SUBSCRIBE),
    "private/unsubscribe*": Charge("non_matching", 500, Lane.SUBSCRIBE),
    "public/get_instruments": Charge("get_instruments", 10_000),
    "private/get_transaction_log": Charge("get_transaction_log", 10_000),
    "private/move_positions": Charge("move_positions", 100_000, Lane.NEW),
    "private/cancel_all": Charge("cancel_all", 1, Lane.CANCEL),
    "private/cancel*": Charge("matching", 1, Lane.CANCEL),
    "private/edit*": Charge("matching", 1, Lane.AMEND),
    "private/buy": Charge("matching", 1, Lane.NEW),
    "private/sell": Charge("matching", 1, Lane.NEW),
    "private/close_position": Charge("matching", 1, Lane.NEW),
    "private/mass_quote": Charge("matching", 1, Lane.NEW),
    "private/verify_block_trade": Charge("matching", 1, Lane.NEW),
    "private/execute_block_trade": Charge("matching", 1, Lane.NEW),
}

# Tier (by the volume of seven days) -> requests per second, burst; 4 is where every account begins.
_DERIBIT_TIERS = {1: (30, 100), 2: (20, 50), 3: (10, 30), 4: (5, 20)}


def _deribit(name: str, tier: int) -> RateProfile:
    rate, burst = _DERIBIT_TIERS[tier]
    # That cancel_all has a bucket of its own is documented, its size is not: the tier's is assumed.
    matching = {"matching": Budget(rate, burst), "cancel_all": Budget(rate, burst)}
    return RateProfile(name, {**_DERIBIT_CREDITS, **matching}, Charge("non_matching", 500), _DERIBIT_METHODS)


PROFILES: Mapping[str, RateProfile] = MappingProxyType(
    {
        "deribit": _deribit("deribit", 4),
        **{f"deribit-tier-{tier}": _deribit(f"deribit-tier-{tier}", tier) for tier in _DERIBIT_TIERS},
    }
)
