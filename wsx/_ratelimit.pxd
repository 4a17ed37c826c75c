# Token bucket on integer nanoseconds.

cimport cython
from libc.stdint cimport int64_t, uint64_t


cdef struct Span:                        # an instant or a length of time: ns + fraction / denominator nanoseconds
    int64_t ns
    int64_t fraction                     # 0 <= fraction < denominator


@cython.final
cdef class TokenBucket:
    cdef readonly int64_t burst          # tokens
    cdef readonly double rate            # tokens per second
    cdef readonly int64_t waiters        # acquire() calls that wait now
    cdef readonly uint64_t forced        # force() calls so far
    cdef int64_t _denominator            # of every fraction of a nanosecond here, at most 2**31
    cdef Span _period                    # the time one token takes
    cdef Span _capacity                  # the time `burst` tokens take
    cdef Span _full_at                   # when the bucket is full again (monotonic)
    cdef int64_t _longest_queue          # tokens; what a wait is reckoned for at most
    cdef int64_t _queued                 # tokens; the sum of the waiters' costs
    cdef object _queue                   # OrderedDict of _Waiter to None, the next one to go on first
    cdef object _loop                    # the waiters' event loop; None while nobody waits
    cdef object _timer                   # asyncio.TimerHandle for the first waiter, or None

    # The rule alone: 0 taken, else nanoseconds to wait; blind to waiters. ValueError if cost or now_ns is out of range.
    cpdef int64_t take(self, Py_ssize_t cost, int64_t now_ns) except -1
    cpdef int64_t wait_ns(self, int64_t tokens, int64_t now_ns) except -1
    cpdef double tokens_at(self, int64_t now_ns) except? -1
    # The same at this moment and behind whoever waits, then never 0. ValueError if cost is out of range.
    cdef int64_t take_now(self, int64_t cost) except -1

    cdef int _check(self, int64_t cost) except -1
    cdef Span _full_after(self, int64_t tokens, int64_t now_ns) noexcept
    cdef int64_t _wait_ns(self, Span full_at, int64_t now_ns) noexcept
    cdef int64_t _take(self, int64_t cost, int64_t now_ns) noexcept
    cdef int64_t _delay_ns(self, int64_t cost) noexcept
    cdef _enqueue(self, int64_t cost)
    cdef int _leave(self, waiter) except -1
    cdef bint _somebody_waits(self) except -1
