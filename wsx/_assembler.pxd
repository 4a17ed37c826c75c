# Frames in, messages and control events out: everything RFC 6455 holds a receiver to.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from wsx._frame cimport Decoder, FrameHeader, FrameSink
from wsx._message cimport Message
from wsx._telemetry cimport Counters, Telemetry

cdef extern from "_mask.h":
    ctypedef struct wsx_utf8_state:
        uint8_t needed


cdef class MessageReceiver:
    # Takes messages as they are completed. Raising is for KeyboardInterrupt, SystemExit and lack of memory.
    cdef int receive(self, Message message) except -1


cdef class Assembler(FrameSink):
    cdef MessageReceiver _receiver
    cdef object _control                 # on_control(opcode, payload), on_close(code, reason), on_failure(code, text)
    cdef Telemetry _telemetry            # keeps _counters alive
    cdef Counters* _counters
    cdef Decoder _decoder                # made when raw bytes come
    cdef bint _server
    cdef readonly size_t max_message_size
    cdef readonly uint32_t max_fragments
    cdef readonly uint32_t epoch
    cdef readonly bint finished          # failed, or CLOSE was received: `control` knows, nothing is taken any more
    cdef uint8_t _state                  # READY, FEEDING or DEAF
    cdef uint8_t _opcode                 # of the fragmented message under way, else 0
    cdef uint32_t _fragments
    cdef uint8_t* _buffer                # its payload so far
    cdef size_t _used
    cdef size_t _capacity
    cdef wsx_utf8_state _utf8
    cdef bint _at_batch_start
    cdef uint64_t _batch_ns
    cdef public uint64_t slowest_ns      # the longest that what one read brought has held the loop, since this was set
    cdef int _not_ready(self) except -1
    cdef inline int _take(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                   bint last) except -1
    cdef inline void _count(self, size_t size, bint last) noexcept
    cdef void _time_batch(self) noexcept
    cdef int _tell(self, Message message) except -1
    cdef inline int _data_frame(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size, bint last) except -1
    cdef int _fragment(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size, bint last) except -1
    cdef inline int _order_fault(self, uint8_t opcode) noexcept
    cdef int _append(self, const uint8_t* payload, size_t size) except -1
    cdef inline int _deliver(self, Message message, bint last) except -1
    cdef int _control_frame(self, uint8_t opcode, const uint8_t* payload, size_t size) except -1
    cdef int _close_frame(self, const uint8_t* payload, size_t size) except -1
    cdef int _fail(self, int fault) except -1
    cdef void _finish(self) noexcept
    cdef void _forget_message(self) noexcept


cpdef bint may_be_sent(int code) noexcept
