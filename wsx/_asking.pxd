# The part of a requester that runs once per request.

from wsx._correlation cimport Correlator, Pending


cdef class Asking:
    cdef readonly Correlator correlator
    cdef object _create_future
    cdef object _time                    # the loop's clock, seconds
    cdef object _write                   # (payload, text=True): now, or an exception; or None
    cdef object _encode                  # (request_id, method, params) -> bytes
    cpdef object _sent(self, Pending pending)
    cpdef bint _write_at_once(self, object payload) except -1
    cpdef object _until(self, str method, object timeout, object deadline)
