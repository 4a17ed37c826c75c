# From a message to its callbacks.

from libc.stdint cimport uint8_t, uint64_t

from cpython.object cimport PyObject

from wsx._correlation cimport Correlator
from wsx._envelope cimport Fields, Span
from wsx._inbox cimport Inbox, Tap
from wsx._message cimport Message


cdef struct Slot:
    uint64_t hash
    const uint8_t* key                   # of a bytes object in Table.handlers; NULL: free
    Py_ssize_t size
    PyObject* handlers                   # a tuple in Table.handlers


cdef class Table:
    cdef readonly dict handlers          # key as bytes -> tuple of callables; owns what the slots point to
    cdef Slot* _slots
    cdef size_t _capacity                # a power of two, at least twice the keys
    cdef PyObject* find(self, const Span* key) noexcept
    cdef int _place(self, bytes key, tuple handlers) except -1
    cdef void _displace(self, bytes key) noexcept
    cdef int _rebuild(self, size_t capacity) except -1


cdef class Router(Tap):
    cdef readonly Inbox inbox
    cdef readonly Table channels
    cdef readonly Table prefixes
    cdef readonly Table methods
    cdef public object unrouted          # takes what nobody else does; None: it flows on
    cdef public object scanner           # bytes -> str, bytes or None: another format; None: JSON-RPC
    cdef public object reader            # message -> is it an answer? for another format; None: nobody asks
    cdef public Correlator correlator    # whose requests get their results here, or None
    cdef public object answers           # take_answer(...): what else an answer may be; None: nobody waits for any
    cdef public object observer          # observer(pending, message, error): after an answer ended a request; or None
    cdef public object listener          # on_malformed(message, what), or None
    cdef readonly bint in_array          # the message at hand is one of several that came in one array
    cdef list _rules                     # (method, params.type, payload) as bytes
    cdef set _quiet_ids                  # of the requests that rules send: their answers interest nobody
    cdef tuple _longest_first            # of (prefix, handlers)
    cdef bint deliver(self, Message message, const Span* channel, const Span* method) except -1
    cdef bint _route(self, Message message, const Fields* fields) except -1
    cdef bint _answer(self, Message message, const Fields* fields) except -1
    cdef bint _give_answer(self, object request_id, object value, int kind, Message message) except -1
    cdef bint _apply_rules(self, const Fields* fields) except -1
    cdef int _write(self, bytes payload) except -1
    cdef PyObject* _callbacks(self, const Span* channel, const Span* method) noexcept
    cdef PyObject* _by_prefix(self, const Span* channel) noexcept
    cdef bint _custom(self, Message message) except -1
    cdef bint _parsed(self, Message message, int said) except -1
    cdef bint _document(self, Message message, dict document) except -1
    cdef bint _batch(self, Message message) except -1
    cdef Py_ssize_t _most_elements(self) noexcept
    cdef bint _malformed(self, Message message, str what) except -1
