# A callback that remembers when its newest message came.

from libc.stdint cimport int64_t

from wsx._message cimport Message


cdef class Watched:
    cdef readonly object callback
    cdef public int64_t last_ns          # monotonic; until something has come, since when it is waited for
    cdef public object sight             # asked by the next message for the gap that it ends; else None
    cdef int _see(self, Message message) except -1
