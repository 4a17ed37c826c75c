# Ids, what is pending, what has become of the rest.

cimport cython
from libc.stdint cimport int64_t


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
    cdef readonly list deadlines         # a heap of (seconds, id); those of closed requests are dropped in time
    cdef list _ended                     # the Ended of each id at its place, id modulo REMEMBERED; or None
    cdef int64_t _newest_id
    cpdef Pending open(self, str method, object deadline, object waiter, object together=*)
    cpdef bint sent(self, Pending pending) except -1
    cpdef Pending close(self, object request_id, object outcome)
