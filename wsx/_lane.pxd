# The part of a client that runs once per message.

from libc.stdint cimport uint8_t

from wsx._inbox cimport Inbox
from wsx._ratelimit cimport TokenBucket
from wsx._telemetry cimport Telemetry
from wsx._writer cimport FrameWriter


cdef class Lane:
    cdef FrameWriter _writer             # None while no connection is open for user traffic
    cdef Inbox _inbox
    cdef TokenBucket _bucket             # or None: no limit, or the one below
    cdef object _limiter                 # a RateLimiter, which knows what a method costs; or None
    cdef Telemetry _telemetry
    cdef Py_ssize_t _write_limit         # bytes
    cdef unsigned long _thread
    cdef unsigned long _fork             # fork_generation() of the process that made it
    cdef object __weakref__
    cdef int _check_thread(self) except -1
    cdef int _write(self, object data, object text, Py_ssize_t cost, str method) except -1
    cdef int _send(self, uint8_t opcode, const uint8_t* payload, Py_ssize_t size, Py_ssize_t cost,
                   str method) except -1
    cdef int _admit(self, FrameWriter writer, Py_ssize_t size, Py_ssize_t cost, str method) except -1
    cdef int _refuse_for(self, double seconds) except -1
