# Ids, what is pending, what has become of the rest.

cimport cython
from libc.stdint cimport int64_t


ctypedef struct Deadline:
    double at                            # seconds
    int64_t request_id


@cython.final
cdef class Pending:
    cdef readonly object request_id      # int
    cdef readonly str method
    cdef readonly object deadline        # seconds, or None
    cdef readonly object waiter
    cdef readonly object together
    cdef readonly bint sent
    cdef public int64_t sent_ns          # monotonic
    cdef public bint whole


@cython.final
cdef class Ended:
    cdef readonly int64_t request_id
    cdef readonly str method
    cdef readonly object outcome


@cython.final
cdef class Correlator:
    cdef public Py_ssize_t most_pending
    cdef readonly dict pending           # id -> Pending
    cdef Deadline* _deadlines            # a heap; those of closed requests are dropped in time
    cdef size_t _count                   # deadlines in it
    cdef size_t _room
    cdef dict _ended                     # id -> Ended, where the outcome is not ok; in the order of ending
    cdef int64_t _newest_id
    cdef int64_t _forgotten              # no outcome of an id beyond this one has been forgotten
    cpdef Pending open(self, str method, object deadline, object waiter, object together=*)
    cpdef bint sent(self, Pending pending) except -1
    cpdef Pending close(self, object request_id, object outcome)
    cpdef Pending answer(self, object request_id, object outcome)
    cdef int64_t _take_first(self) noexcept
    cdef int _drop_closed(self) except -1
    cdef int _grow(self) except -1
