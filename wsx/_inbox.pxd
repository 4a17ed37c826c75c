# Where messages wait, and the fast lane of `async for`.

from cpython.object cimport PyObject
from libc.stddef cimport size_t

from wsx._assembler cimport MessageReceiver
from wsx._message cimport Message
from wsx._telemetry cimport Telemetry
from wsx._writer cimport FrameWriter


cdef class Tap:
    # Asked first about each message. True: it was for this tap alone.
    cdef bint take(self, Message message) except -1


cdef class Inbox(MessageReceiver):
    cdef readonly size_t max_messages
    cdef readonly size_t max_bytes
    cdef readonly bint full              # from reaching a limit until both are half free again
    cdef readonly object error           # why it ended, or None
    cdef readonly bint ended
    cdef public Tap tap                  # asked before anybody else; None: nobody is
    cdef public FrameWriter writer       # where a tap answers at once; None while no connection may be written to
    cdef public object divert            # takes each message instead, while hooks run; else None
    cdef public object sight             # asked by the next message for the gap that it ends; else None
    cdef object _interruption            # raised once to the reader, or None
    cdef object _owner                   # on_inbox_full(), on_inbox_drained(), on_callback_error()
    cdef object _callback                # or None: messages wait to be read
    cdef bint _started                   # the callback may be called
    cdef bint _routing                   # so may those of the tap
    cdef Telemetry _telemetry
    cdef object _waiter                  # future of the one reader that waits, until that reader goes on; or None
    cdef bint _woken                     # the waiter has been fulfilled
    cdef PyObject** _ring                # owned references
    cdef size_t _capacity                # a power of two
    cdef size_t _head
    cdef size_t _count
    cdef size_t _bytes
    cdef bint is_flowing(self) noexcept
    cdef int see(self, Message message) except -1
    cdef int call(self, object callback, Message message) except -1
    cdef inline int _call(self, object callback, Message message) except -1
    cdef bint _tapped(self, Message message) except -1
    cdef int _catch_up(self) except -1
    cdef int _callback_failed(self, Message message) except -1
    cdef int _push(self, Message message) except -1
    cdef int _at_limit(self) except -1
    cdef Message _pop(self)
    cdef int _grow(self) except -1
    cdef bint _resize(self, size_t capacity) noexcept
    cdef int _wake(self) except -1
    cdef void _gauge(self) noexcept
    cdef object _wait(self)


cdef class MessageIterator:
    cdef Inbox _inbox
    cdef object _waiting                 # the inbox's waiter while it is ours, or None
    cdef int _step(self, PyObject** result) except -1
    cdef object _wait_or_end(self)
    cdef int _resume(self) except -1
