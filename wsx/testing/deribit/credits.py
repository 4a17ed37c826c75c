"""What requests cost, and whether it can be paid: one pool a kind of request, filled again all the time.

Sans-I/O: the time comes in as an argument. The sockets of one account share its pools.
Not here: what happens to a client that cannot pay (session.py).
"""

from wsx._ratelimit import TokenBucket

_RATE = 10_000  # credits that come back in a second, in each pool
# method -> pool; every other method is in the default one
_POOLS = {
    "public/subscribe": "subscribe",
    "private/subscribe": "subscribe",
    "public/get_instruments": "get_instruments",
}
_COSTS = {"default": (500, 50_000), "subscribe": (3_000, 30_000), "get_instruments": (10_000, 500_000)}  # cost, size


class Credits:
    """The pools of one account, or of one address for clients that have not logged in."""

    def __init__(self) -> None:
        self._buckets = {pool: TokenBucket(_RATE, size) for pool, (_, size) in _COSTS.items()}

    def pay(self, method: str, now_ns: int) -> bool:
        """Take what a request costs; False: there was not enough, and nothing was taken."""
        pool = _POOLS.get(method, "default")
        return self._buckets[pool].take(_COSTS[pool][0], now_ns) == 0
