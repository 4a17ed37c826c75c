"""Frames in, messages and control events out: everything RFC 6455 holds a receiver to.

Two entries, one set of rules: frames that a transport has already split come through `feed_frame`; raw bytes go
through `feed_bytes` and the decoder first. A message in one frame is copied once; fragments gather in a buffer that
grows with what has arrived, never with what was announced. After a failure, a CLOSE or an exception from below nothing
is taken any more: what follows would have a gap before it that nobody was told of.
Not here: what to answer (connection.py), where messages wait (_inbox.pyx).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy, memset

from wsx._frame cimport (
    BINARY, CLOSE, CLOSE_CODE_ILLEGAL, CLOSE_ONE_BYTE, CLOSE_REASON_NOT_UTF8, CONTINUATION,
    CONTINUATION_WITHOUT_START, MESSAGE_INSIDE_MESSAGE, MESSAGE_TOO_BIG, NO_FAULT, PING, PONG, TEXT, TEXT_NOT_UTF8,
    TOO_MANY_FRAGMENTS, check_frame,
)
from wsx._message cimport new_message, new_text
from wsx._signal cimport message_received

from wsx._frame import FAULTS as _FAULTS
cdef extern from "_mask.h" nogil:
    int wsx_utf8_feed(wsx_utf8_state* state, const uint8_t* data, size_t size)

cdef enum:
    NO_STATUS = 1005                     # a CLOSE without a code (RFC 6455 7.1.5)
    KEPT_BYTES = 65536                   # a larger buffer is given back after the message it was for

cdef enum State:
    READY
    FEEDING                              # inside feed_frame
    DEAF                                 # finished, or broken by an exception: nothing is taken any more


cdef class MessageReceiver:
    """Takes messages as they are completed, in the read path."""

    cdef int receive(self, Message message) except -1:
        raise NotImplementedError


@cython.final
cdef class _Callback(MessageReceiver):
    """Hands each message to a Python callable."""
    cdef object _callback

    def __cinit__(self, callback):
        if not callable(callback):
            raise TypeError(f"receiver must be a MessageReceiver or callable, not {type(callback).__name__}")
        self._callback = callback

    cdef int receive(self, Message message) except -1:
        self._callback(message)
        return 0


@cython.final
cdef class Assembler(FrameSink):
    """One connection's stream of frames, assembled.

    receiver: takes the messages: a MessageReceiver, or a callable, whose exceptions come out of `feed`.
    control: its `on_control(opcode, payload)` hears PING and PONG,
    `on_close(code, reason)` the peer's CLOSE (1005 where it gave no code), `on_failure(close_code, reason)` why the
    stream must be failed; each of the last two at most once, and nothing after it.
    max_message_size: bytes; max_fragments: frames of one message; over either the failure is 1009.
    server: this is the server's end of the connection. epoch: put on each message.
    """

    def __cinit__(self, receiver not None, control, Telemetry telemetry not None, *,
                  size_t max_message_size=16 << 20, uint32_t max_fragments=131072, bint server=False,
                  uint32_t epoch=1):
        self._receiver = receiver if isinstance(receiver, MessageReceiver) else _Callback(receiver)
        self._control = control
        self._telemetry = telemetry
        self._counters = telemetry.counters
        self.max_message_size = max_message_size
        self.max_fragments = max_fragments
        self._server = server
        self.epoch = epoch
        self._at_batch_start = True

    def __dealloc__(self):
        PyMem_Free(self._buffer)

    def feed(self, data):
        """Feed bytes of the stream, split anywhere. True where nothing more is taken.

        Raises RuntimeError from inside a callback of its own: the rest of the outer call's bytes comes first.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.feed_bytes(<const uint8_t*>view.buf, view.len)
            return self._state == DEAF
        finally:
            PyBuffer_Release(&view)

    def fail(self, int close_code, str reason not None):
        """Fail the stream for a reason found outside, by the transport's own parser say."""
        self.feed_failure(close_code, reason)

    cdef int feed_bytes(self, const uint8_t* data, size_t size) except -1:
        cdef int status = -1
        if self._state != READY:
            return self._not_ready()
        try:
            if self._decoder is None:
                self._decoder = Decoder(server=self._server)
            status = self._decoder.feed(data, size, self)
        finally:
            if status < 0:               # the rest of `data` is lost
                self._state = DEAF
        return status

    cdef int feed_failure(self, int close_code, str reason) except -1:
        """Fail the stream with a code found below; only the first failure counts."""
        if not self.finished:
            self._finish()
            self._control.on_failure(close_code, reason)
        return 1

    cdef int announce(self, const FrameHeader* header) noexcept:
        """Judge a header before its payload is there, so that an announced size is never waited for in vain."""
        cdef int fault = check_frame(header.opcode, header.fin, header.rsv, header.payload_bytes)
        if fault == NO_FAULT and header.opcode < CLOSE:
            fault = self._order_fault(header.opcode)
            if fault == NO_FAULT and header.payload_bytes > self.max_message_size - self._used:
                fault = MESSAGE_TOO_BIG
        return fault

    cdef int feed_frame(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                        bint last_in_batch) except -1:
        """One whole frame: checked, then assembled or handed to `control`. 1 where nothing more is taken."""
        cdef int status = -1
        if self._state != READY:
            return self._not_ready()
        self._state = FEEDING
        try:
            status = self._take(opcode, fin, rsv, payload, size, last_in_batch)
            if last_in_batch:
                self._time_batch()
        finally:
            if status < 0 or self.finished:
                self._state = DEAF
            else:
                self._state = READY
        return status

    cdef int _not_ready(self) except -1:
        if self._state == FEEDING:
            raise RuntimeError("an assembler was fed from inside one of its own callbacks; feed it after they return")
        return 1

    cdef inline int _take(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                          bint last) except -1:
        cdef int fault = check_frame(opcode, fin, rsv, size)
        self._count(size, last)
        if fault:
            return self._fail(fault)
        if opcode >= CLOSE:
            return self._control_frame(opcode, payload, size)
        return self._data_frame(opcode, fin, payload, size, last)

    cdef inline void _count(self, size_t size, bint last) noexcept:
        """Count a frame and its wire bytes; what one read brought shares one reading of the clock."""
        cdef Counters* counters = self._counters
        if self._at_batch_start:
            self._batch_ns = self._telemetry.now_ns()
            counters.last_received_ns = self._batch_ns
        self._at_batch_start = last
        counters.frames_received += 1
        counters.bytes_received += size + (2 if size < 126 else 4 if size < 65536 else 10) + (4 if self._server else 0)

    cdef void _time_batch(self) noexcept:
        """How long what one read brought has held the loop: once a read, not once a message."""
        cdef Counters* counters = self._counters
        cdef uint64_t took_ns = self._telemetry.now_ns() - self._batch_ns
        counters.last_callback_ns = took_ns
        if took_ns > counters.callback_ns_max:
            counters.callback_ns_max = took_ns
        if took_ns > self.slowest_ns:
            self.slowest_ns = took_ns

    cdef inline int _data_frame(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size, bint last) except -1:
        """A frame of a message: delivered at once where it is a whole one."""
        cdef Message message
        cdef int fault = self._order_fault(opcode)
        if fault:
            return self._fail(fault)
        if size > self.max_message_size - self._used:
            return self._fail(MESSAGE_TOO_BIG)
        if opcode == CONTINUATION or not fin:
            return self._fragment(opcode, fin, payload, size, last)
        message = new_text(payload, size) if opcode == TEXT else new_message(opcode, payload, size)
        if message is None:
            return self._fail(TEXT_NOT_UTF8)
        return self._deliver(message, last)

    cdef inline int _order_fault(self, uint8_t opcode) noexcept:
        """The rule of fragmentation (RFC 6455 5.4): continuations inside a message, and only there."""
        if opcode == CONTINUATION and not self._opcode:
            return CONTINUATION_WITHOUT_START
        if opcode != CONTINUATION and self._opcode:
            return MESSAGE_INSIDE_MESSAGE
        return NO_FAULT

    cdef int _fragment(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size, bint last) except -1:
        """A part of a fragmented message; UTF-8 is checked part by part (RFC 6455 8.1)."""
        cdef int status
        if opcode != CONTINUATION:
            self._opcode = opcode
            memset(&self._utf8, 0, sizeof(self._utf8))
        self._fragments += 1
        if self._fragments > self.max_fragments:
            return self._fail(TOO_MANY_FRAGMENTS)
        if self._opcode == TEXT and (not wsx_utf8_feed(&self._utf8, payload, size) or (fin and self._utf8.needed)):
            return self._fail(TEXT_NOT_UTF8)
        self._append(payload, size)
        if not fin:
            return 0
        status = self._deliver(new_message(self._opcode, self._buffer, self._used), last)
        self._forget_message()
        return status

    cdef int _append(self, const uint8_t* payload, size_t size) except -1:
        cdef size_t capacity = max(self._used + size, min(2 * self._used, self.max_message_size), <size_t>256)
        cdef uint8_t* buffer
        if self._used + size > self._capacity:
            buffer = <uint8_t*>PyMem_Realloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError
            self._buffer = buffer
            self._capacity = capacity
        if size:
            memcpy(self._buffer + self._used, payload, size)
        self._used += size
        return 0

    cdef inline int _deliver(self, Message message, bint last) except -1:
        cdef Counters* counters = self._counters
        message.received_ns = self._batch_ns
        message.epoch = self.epoch
        message.last_in_batch = last
        counters.messages_received += 1
        counters.last_message_ns = self._batch_ns
        if cython.unlikely(message_received.active):
            self._tell(message)
        return self._receiver.receive(message)

    cdef int _tell(self, Message message) except -1:
        if self._telemetry.client is not None:
            message_received.emit(at_ns=self._batch_ns, client=self._telemetry.client, epoch=self.epoch,
                                  opcode=message.opcode, bytes=len(message.data))
        return 0

    cdef int _control_frame(self, uint8_t opcode, const uint8_t* payload, size_t size) except -1:
        """PING, PONG and CLOSE (RFC 6455 5.5), which may come between the parts of a message."""
        cdef Counters* counters = self._counters
        if opcode == CLOSE:
            return self._close_frame(payload, size)
        if opcode == PING:
            counters.pings_received += 1
        else:
            counters.pongs_received += 1
        self._control.on_control(opcode, PyBytes_FromStringAndSize(<const char*>payload, size))
        return 0

    cdef int _close_frame(self, const uint8_t* payload, size_t size) except -1:
        """CLOSE (RFC 6455 5.5.1): a code that may be sent (7.4), then UTF-8."""
        cdef wsx_utf8_state utf8
        cdef int code = NO_STATUS
        if size == 1:
            return self._fail(CLOSE_ONE_BYTE)
        if size:
            code = payload[0] << 8 | payload[1]
            if not may_be_sent(code):
                return self._fail(CLOSE_CODE_ILLEGAL)
            memset(&utf8, 0, sizeof(utf8))
            if not wsx_utf8_feed(&utf8, payload + 2, size - 2) or utf8.needed:
                return self._fail(CLOSE_REASON_NOT_UTF8)
        self._finish()
        self._control.on_close(code, payload[2:size].decode() if size > 2 else "")
        return 1

    cdef int _fail(self, int fault) except -1:
        close_code, reason = _FAULTS[fault]
        return self.feed_failure(close_code, reason)

    cdef void _finish(self) noexcept:
        self.finished = True
        self._state = DEAF
        self._forget_message()

    cdef void _forget_message(self) noexcept:
        """Ready for the next message; a large buffer is given back."""
        self._opcode = 0
        self._fragments = 0
        self._used = 0
        if self._capacity > KEPT_BYTES or self.finished:
            PyMem_Free(self._buffer)
            self._buffer = NULL
            self._capacity = 0


cpdef bint may_be_sent(int code) noexcept:
    """May this close code stand in a CLOSE frame (RFC 6455 7.4; 1012-1014 from the IANA registry)?"""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
