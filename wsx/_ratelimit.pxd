# Token bucket on integer nanoseconds.

from libc.stdint cimport int64_t


cdef class TokenBucket:
    cdef readonly int64_t burst          # tokens
    cdef readonly double rate            # tokens per second
    cpdef int64_t take(self, int64_t cost, int64_t now_ns) except -1   # 0 taken, else nanoseconds to wait; ValueError if cost > burst
