"""The part of a client that runs once per message: sending without waiting, and reading in order.

`Lane` holds what the hot path needs as C fields; `Client` (client.py) is its Python half and says who may pass.
Not here: opening, closing, waiting, reconnection, events.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uint8_t
from libc.string cimport memset

from wsx._frame cimport BINARY, TEXT
from wsx._inbox cimport MessageIterator
from wsx._writer cimport fork_generation

from wsx.errors import Backpressure, NotConnected, RateLimited, WrongThread

cdef extern from "_mask.h":
    ctypedef struct wsx_utf8_state:
        uint8_t needed
    int wsx_utf8_feed(wsx_utf8_state* state, const uint8_t* data, size_t size) nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef class Lane:
    """The compiled half of a client. One loop, one thread."""

    def __cinit__(self, *args, **kwargs):
        self._thread = PyThread_get_thread_ident()
        self._fork = fork_generation()

    def __aiter__(self):
        """The client's messages, in order, until it is closed."""
        self._check_caller()
        self._check_reader()
        return MessageIterator(self._inbox)

    def send_nowait(self, data, *, text=None, Py_ssize_t cost=1, str method not None=""):
        """Send a message now, or say why not: it never waits and never drops.

        data: str is sent as text, bytes-like as binary; `text=True` sends bytes (checked to be UTF-8) as text.
        cost: tokens to take from the rate limit; where that is a profile, `method` says what to take. Returns when the
        bytes are with the kernel or in the write buffer.
        Raises RateLimited(retry_after), Backpressure(buffered), NotConnected, ConnectionClosed; TypeError, ValueError.
        """
        self._write(data, text, cost, method)

    def _check_caller(self):
        """Raise where this is not the client's own thread and process."""
        self._check_thread()

    cdef int _check_thread(self) except -1:
        if PyThread_get_thread_ident() != self._thread:
            raise WrongThread("a client")
        if fork_generation() != self._fork:
            raise NotConnected("this process was forked after the client was made; the child opens its own client")
        return 0

    cdef int _write(self, object data, object text, Py_ssize_t cost, str method) except -1:
        """Check, admit and write one message. method: None where its tokens were taken already."""
        cdef Py_buffer view
        cdef const char* payload
        cdef Py_ssize_t size
        self._check_thread()
        if isinstance(data, str):
            payload = PyUnicode_AsUTF8AndSize(data, &size)
            return self._send(BINARY if text is False else TEXT, <const uint8_t*>payload, size, cost, method)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if text:
                _check_utf8(<const uint8_t*>view.buf, view.len)
            return self._send(TEXT if text else BINARY, <const uint8_t*>view.buf, view.len, cost, method)
        finally:
            PyBuffer_Release(&view)

    cdef int _send(self, uint8_t opcode, const uint8_t* payload, Py_ssize_t size, Py_ssize_t cost,
                   str method) except -1:
        cdef FrameWriter writer = self._writer       # taken only now: an object's __buffer__ may have closed the client
        if writer is None:
            self._refuse()
            raise NotConnected("no connection is open; nothing was sent")
        self._admit(writer, size, cost, method)
        return writer.write_frame(opcode, True, payload, size)

    cdef int _admit(self, FrameWriter writer, Py_ssize_t size, Py_ssize_t cost, str method) except -1:
        """Is there room in the write buffer, and are there tokens? Room first: a refusal takes no tokens."""
        cdef Py_ssize_t buffered = writer.buffered_bytes()
        if buffered and buffered + size > self._write_limit:
            self._telemetry.counters.sends_backpressured += method is not None
            raise Backpressure(buffered)
        if method is None:
            return 0
        if self._bucket is not None:
            wait_ns = self._bucket.take_now(cost)
            if wait_ns:
                self._refuse_for(wait_ns / 1e9)
        elif self._limiter is not None and not self._limiter.try_acquire(method):
            self._refuse_for(self._limiter.when(method))
        return 0

    cdef int _refuse_for(self, double seconds) except -1:
        self._telemetry.counters.sends_rate_limited += 1
        raise RateLimited(seconds)

    def _check_message(self, data, text):
        """Raise as `send_nowait` would for what is no message, before tokens are taken for it."""
        cdef Py_buffer view
        cdef Py_ssize_t size
        if isinstance(data, str):
            PyUnicode_AsUTF8AndSize(data, &size)
            return
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if text:
                _check_utf8(<const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def _write_paid(self, data, text):
        """`send_nowait` for a sender that has waited for its tokens."""
        self._write(data, text, 0, None)

    def _refuse(self):
        """Raise why nothing can be sent now; the client knows."""
        raise NotImplementedError

    def _check_reader(self):
        """Raise where messages are not there to be read; the client knows."""
        raise NotImplementedError

    def _attach(self, Inbox inbox not None, limit, Telemetry telemetry not None, Py_ssize_t write_limit):
        """What a client keeps for its whole life. limit: a TokenBucket, a RateLimiter or None."""
        self._inbox, self._telemetry, self._write_limit = inbox, telemetry, write_limit
        if isinstance(limit, TokenBucket):
            self._bucket = limit
        else:
            self._limiter = limit

    def _open_lane(self, FrameWriter writer):
        """Let user traffic flow to this writer; None: to nobody."""
        self._writer = writer


cdef int _check_utf8(const uint8_t* data, size_t size) except -1:
    cdef wsx_utf8_state state
    memset(&state, 0, sizeof(state))
    if not wsx_utf8_feed(&state, data, size) or state.needed:
        raise ValueError("text=True needs valid UTF-8 (RFC 6455 8.1); send other bytes as binary")
    return 0
