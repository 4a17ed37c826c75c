"""Token bucket on integer nanoseconds.

One instant is the whole state: when the bucket is full again. Taking tokens moves it away, time comes nearer to it.
The time a token takes is an exact fraction of nanoseconds: no float is in the rule and nothing drifts.
`take` is the rule alone, without a clock, and so is everything that is given `now_ns`; the rest reads the monotonic
clock and keeps those who wait in order.

A waiter takes its tokens when it goes on and not before, so that cancelling it, even after it was woken, has
nothing to give back. Nobody overtakes a waiter, except by `force`.
Not here: which request costs how much (rate_limiter.py).
"""

cimport cython
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t

from wsx._clock cimport monotonic_ns

from asyncio import get_running_loop
from collections import OrderedDict
from math import gcd
from operator import index

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef extern from *:
    """
    /* With these bounds every sum below stays under 2**63. */
    #define WSX_LATEST_NOW_NS ((int64_t)1 << 61)    /* 73 years after boot */
    #define WSX_LATEST_FULL_NS ((int64_t)1 << 62)
    #define WSX_LONGEST_REFILL_NS ((int64_t)1 << 60) /* 36 years */
    #define WSX_LARGEST_BURST ((int64_t)1 << 40)
    #define WSX_LARGEST_DENOMINATOR ((int64_t)1 << 31)
    """
    const int64_t LATEST_NOW_NS "WSX_LATEST_NOW_NS"
    const int64_t LATEST_FULL_NS "WSX_LATEST_FULL_NS"
    const int64_t LONGEST_REFILL_NS "WSX_LONGEST_REFILL_NS"
    const int64_t LARGEST_BURST "WSX_LARGEST_BURST"
    const int64_t LARGEST_DENOMINATOR "WSX_LARGEST_DENOMINATOR"


cdef tuple _simplest_fraction(double number):
    """(numerator, denominator) of the first convergent that is the same float: 7/10 for 0.7, 1/3 for 1 / 3."""
    numerator, denominator = number.as_integer_ratio()
    before, last = (0, 1), (1, 0)
    while True:
        whole, rest = divmod(numerator, denominator)
        before, last = last, (whole * last[0] + before[0], whole * last[1] + before[1])
        if last[0] / last[1] == number:
            return last
        numerator, denominator = denominator, rest


cdef tuple _period_ns(double rate):
    """The time a token takes as (numerator, denominator), exact if the denominator is at most 2**31.

    Else rounded up by less than 2**-31 ns: the bucket may be that much slower than asked for, never faster.
    """
    tokens, seconds = _simplest_fraction(rate)
    nanoseconds = seconds * 1_000_000_000
    common = gcd(nanoseconds, tokens)
    if tokens // common <= LARGEST_DENOMINATOR:
        return nanoseconds // common, tokens // common
    return -(-nanoseconds * LARGEST_DENOMINATOR // tokens), LARGEST_DENOMINATOR


cdef double _checked_rate(object rate) except -1:
    """`rate` in tokens per second. Raises TypeError or ValueError."""
    cdef double tokens_per_second
    try:
        tokens_per_second = rate
    except OverflowError:
        tokens_per_second = float("inf")
    if not isfinite(tokens_per_second) or tokens_per_second <= 0:
        raise ValueError(f"rate must be finite and above 0 tokens per second, got {rate!r}")
    return tokens_per_second


cdef int64_t _checked_burst(object burst) except -1:
    """`burst` in tokens. Raises TypeError or ValueError."""
    if not 1 <= index(burst) <= LARGEST_BURST:
        raise ValueError(f"burst must be 1 to 2**40 tokens, got {burst}")
    return burst


cdef inline int64_t _tokens(object cost) except? -1:
    """`cost` as a C integer. Raises TypeError for a float, ValueError for more than any bucket holds."""
    cdef int overflow = 0
    cdef int64_t tokens = PyLong_AsLongLongAndOverflow(cost, &overflow)
    if overflow:
        raise ValueError(f"no bucket can hold the tokens of cost={cost}")
    return tokens


cdef inline Span _times(Span period, int64_t tokens, int64_t denominator) noexcept:
    """`tokens` periods. The fractions' product is taken in two parts, each of which fits."""
    cdef Span span
    cdef int64_t rest = tokens % denominator * period.fraction
    span.ns = tokens * period.ns + tokens // denominator * period.fraction + rest // denominator
    span.fraction = rest % denominator
    return span


cdef inline Span _sum(Span one, Span other, int64_t denominator) noexcept:
    cdef Span span
    span.ns = one.ns + other.ns
    span.fraction = one.fraction + other.fraction
    if span.fraction >= denominator:
        span.ns += 1
        span.fraction -= denominator
    return span


cdef inline double _float_ns(Span span, int64_t denominator) noexcept:
    return span.ns + span.fraction / <double>denominator


cdef inline int _check_instant(int64_t now_ns) except -1:
    if not 0 <= now_ns <= LATEST_NOW_NS:
        raise ValueError(f"now_ns must be 0 to 2**61, got {now_ns}")
    return 0


@cython.final
cdef class _Waiter:
    """One acquire() in the queue."""

    cdef int64_t cost                    # tokens
    cdef object turn                     # asyncio.Future: done when this waiter is to try and take its tokens


@cython.final
cdef class TokenBucket:
    """A budget of `burst` tokens that refills with `rate` tokens per second and starts full.

    In every stretch of t seconds at most `burst + rate * t` tokens are taken, those of `force` apart.
    rate: finite and above 0. Taken is the simplest fraction that is this float: 0.7 means 7/10, 1 / 3 a third.
    burst: tokens, 1 to 2**40; refilling them must take at most 36 years.
    Raises TypeError or ValueError. A bucket belongs to one thread and outlives event loops: it touches the running
    loop only while somebody waits in `acquire`.
    """

    def __cinit__(self, rate, burst) -> None:
        self.rate = _checked_rate(rate)
        self.burst = _checked_burst(burst)
        numerator, denominator = _period_ns(self.rate)
        refill = self.burst * numerator
        if refill > LONGEST_REFILL_NS * denominator:
            raise ValueError(f"burst={burst} tokens at rate={rate} per second take more than 36 years to refill")
        self._denominator = denominator
        self._period.ns, self._period.fraction = divmod(numerator, denominator)
        self._capacity.ns, self._capacity.fraction = divmod(refill, denominator)
        self._longest_queue = min(LONGEST_REFILL_NS * denominator // numerator, LONGEST_REFILL_NS)
        self._queue = OrderedDict()

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self.rate!r}, burst={self.burst})"

    # ---- the rule: no clock, no waiters ----

    cpdef int64_t take(self, Py_ssize_t cost, int64_t now_ns) except -1:
        """Take `cost` tokens at `now_ns` (monotonic): 0 if taken, else nanoseconds to wait.

        The rule alone: it reads no clock and does not look at waiters.
        Raises ValueError if `cost` is not 0 to `burst`, or `now_ns` not 0 to 2**61.
        """
        self._check(cost)
        _check_instant(now_ns)
        return self._take(cost, now_ns)

    cpdef int64_t wait_ns(self, int64_t tokens, int64_t now_ns) except -1:
        """Nanoseconds from `now_ns` (monotonic) until `tokens` are there; takes nothing and is blind to waiters.

        tokens: 0 or more. More than `burst` is what a queue takes one after the other, reckoned for 36 years at most.
        Raises ValueError if `tokens` is below 0, or `now_ns` not 0 to 2**61.
        """
        if tokens < 0:
            raise ValueError(f"tokens must be 0 or more, got {tokens}")
        _check_instant(now_ns)
        return self._wait_ns(self._full_after(min(tokens, self._longest_queue), now_ns), now_ns)

    def force_at(self, int64_t cost, int64_t now_ns) -> None:
        """Take `cost` tokens at `now_ns` (monotonic), whatever is there; see `force`. Raises ValueError as `take`."""
        self._check(cost)
        _check_instant(now_ns)
        self._full_at = self._full_after(cost, now_ns)
        self._full_at.ns = min(self._full_at.ns, LATEST_FULL_NS)
        self.forced += 1

    def drain_until(self, int64_t until_ns) -> None:
        """Let the bucket be empty until `until_ns` (monotonic), and refill from then on. A debt stays as it is.

        Raises ValueError if `until_ns` is not 0 to 2**61.
        """
        cdef Span empty = self._capacity
        _check_instant(until_ns)
        empty.ns += until_ns
        if (self._full_at.ns, self._full_at.fraction) < (empty.ns, empty.fraction):
            self._full_at = empty

    cpdef double tokens_at(self, int64_t now_ns) except? -1:
        """Tokens there at `now_ns` (monotonic); below 0 in debt. Raises ValueError if it is not 0 to 2**61."""
        cdef Span missing = self._full_at
        _check_instant(now_ns)
        missing.ns -= now_ns
        if missing.ns < 0:
            return self.burst
        return self.burst - _float_ns(missing, self._denominator) / _float_ns(self._period, self._denominator)

    cdef inline int _check(self, int64_t cost) except -1:
        if not 0 <= cost <= self.burst:
            raise ValueError(f"cost must be 0 to {self.burst} tokens (the burst), got {cost}")
        return 0

    cdef inline Span _full_after(self, int64_t tokens, int64_t now_ns) noexcept:
        """When the bucket will be full again if `tokens` leave it at `now_ns`."""
        cdef Span start = self._full_at
        if start.ns < now_ns:            # it has been full since
            start.ns, start.fraction = now_ns, 0
        if tokens == 1:
            return _sum(start, self._period, self._denominator)
        return _sum(start, _times(self._period, tokens, self._denominator), self._denominator)

    cdef inline int64_t _wait_ns(self, Span full_at, int64_t now_ns) noexcept:
        """How long until `full_at` is no further away than a whole burst, rounded up; 0 if it is not."""
        cdef int64_t wait_ns = full_at.ns - now_ns - self._capacity.ns + (full_at.fraction > self._capacity.fraction)
        return wait_ns if wait_ns > 0 else 0

    cdef inline int64_t _take(self, int64_t cost, int64_t now_ns) noexcept:
        cdef Span full_at = self._full_after(cost, now_ns)
        cdef int64_t wait_ns = self._wait_ns(full_at, now_ns)
        if wait_ns == 0:
            self._full_at = full_at
        return wait_ns

    # ---- now ----

    cdef int64_t take_now(self, int64_t cost) except -1:
        self._check(cost)
        if self.waiters and self._somebody_waits():
            return self._delay_ns(cost)
        return self._take(cost, monotonic_ns())

    cdef int64_t _delay_ns(self, int64_t cost) noexcept:
        """Nanoseconds until `cost` tokens can be had behind all waiters; at least 1 while somebody waits."""
        cdef int64_t now_ns = monotonic_ns()
        cdef int64_t tokens = min(self._queued + cost, self._longest_queue)
        return max(self._wait_ns(self._full_after(tokens, now_ns), now_ns), <int64_t>(self.waiters > 0))

    def try_acquire(self, cost=1) -> bool:
        """Take `cost` tokens now, or nothing. False also while somebody waits in `acquire`: nobody is overtaken.

        Raises ValueError if `cost` is not 0 to `burst`.
        """
        return self.take_now(_tokens(cost)) == 0

    def force(self, cost=1) -> None:
        """Take `cost` tokens at once, whatever is there: for what must not wait, such as a heartbeat's answer.

        The bucket may go into debt, and everybody else waits longer. Counted in `forced`.
        Raises ValueError if `cost` is not 0 to `burst`.
        """
        self.force_at(_tokens(cost), monotonic_ns())

    def drain(self) -> None:
        """Empty the bucket: for when the exchange says "too many requests". A debt stays as it is."""
        self.drain_until(monotonic_ns())

    def delay(self, cost=1) -> float:
        """Seconds until `try_acquire(cost)` would succeed if nobody else came; those who wait are reckoned in.

        Raises ValueError if `cost` is not 0 to `burst`.
        """
        cdef int64_t tokens = _tokens(cost)
        self._check(tokens)
        self._somebody_waits()
        return self._delay_ns(tokens) / 1e9

    @property
    def tokens(self) -> float:
        """Tokens there now; below 0 in debt."""
        return self.tokens_at(monotonic_ns())

    @property
    def utilisation(self) -> float:
        """The part of the burst that is used up: 0 when full, 1 when empty or in debt."""
        return min(1 - self.tokens / self.burst, 1.0)

    # ---- those who wait: the first one holds the timer, each wakes the next ----

    async def acquire(self, cost=1) -> None:
        """Take `cost` tokens, waiting for them behind everybody who came before.

        Raises ValueError if `cost` is not 0 to `burst`, RuntimeError if others wait in another event loop.
        A cancelled call has taken nothing.
        """
        cdef int64_t tokens = _tokens(cost)
        if self.take_now(tokens) == 0:
            return
        cdef _Waiter waiter = self._enqueue(tokens)
        try:
            while True:
                await waiter.turn
                if self._take(tokens, monotonic_ns()) == 0:
                    return
                waiter.turn = self._loop.create_future()
                self._wake_first()
        finally:
            self._leave(waiter)

    cdef _enqueue(self, int64_t cost):
        loop = get_running_loop()
        if self.waiters and self._loop is not loop:
            raise RuntimeError("others wait for this TokenBucket in another event loop")
        cdef _Waiter waiter = _Waiter()
        waiter.cost, waiter.turn = cost, loop.create_future()
        self._loop = loop
        self._queue[waiter] = None
        self._queued += cost
        self.waiters += 1
        if self.waiters == 1:
            self._wake_first()
        return waiter

    cdef int _leave(self, waiter) except -1:
        if waiter not in self._queue:    # its loop was closed and it was forgotten
            return 0
        cdef bint was_first = waiter is next(iter(self._queue))
        del self._queue[waiter]
        self._queued -= (<_Waiter>waiter).cost
        self.waiters -= 1
        if was_first:
            self._wake_first()
        return 0

    def _wake_first(self) -> None:
        """Let the first waiter go on if its tokens are there, else set the one timer for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._somebody_waits():
            self._loop = None
            return
        cdef _Waiter first = next(iter(self._queue))
        cdef int64_t now_ns = monotonic_ns()
        cdef int64_t wait_ns = self._wait_ns(self._full_after(first.cost, now_ns), now_ns)
        if wait_ns:
            self._timer = self._loop.call_later(wait_ns / 1e9, self._wake_first)
        elif not first.turn.done():
            first.turn.set_result(None)

    cdef bint _somebody_waits(self) except -1:
        """Whether anybody is in the queue, having forgotten those whose event loop was closed under them."""
        if self.waiters and self._loop.is_closed():
            self._queue.clear()
            self._queued = self.waiters = 0
            self._loop = self._timer = None
        return self.waiters > 0
