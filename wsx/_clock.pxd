# The monotonic clock for C code; the timeline of time.monotonic_ns() (what holds on Windows: see _clock.h).

from libc.stdint cimport uint64_t


cdef extern from "_clock.h" nogil:
    uint64_t _read_monotonic_ns "wsx_monotonic_ns"() noexcept


cdef inline uint64_t monotonic_ns() noexcept nogil:
    return _read_monotonic_ns()
