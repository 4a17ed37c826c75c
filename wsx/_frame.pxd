# RFC 6455 frames: bytes in, frames out, and back. State of one byte stream: Decoder. State of one message: _assembler.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t


cdef enum Opcode:                        # RFC 6455 5.2
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

cdef enum:
    NEED_MORE = -2                       # parse_header: the header is not all there yet
    MAX_HEADER_BYTES = 14
    MAX_CONTROL_BYTES = 125              # RFC 6455 5.5

cdef enum Fault:                         # why a stream is refused; FAULTS has the close code and the words of each
    NO_FAULT = 0
    LENGTH_NOT_MINIMAL
    LENGTH_TOP_BIT
    MASKED_BY_SERVER
    UNMASKED_BY_CLIENT
    RESERVED_BITS
    RESERVED_OPCODE
    CONTROL_FRAGMENTED
    CONTROL_TOO_LONG
    CONTINUATION_WITHOUT_START
    MESSAGE_INSIDE_MESSAGE
    TEXT_NOT_UTF8
    MESSAGE_TOO_BIG
    TOO_MANY_FRAGMENTS
    CLOSE_ONE_BYTE
    CLOSE_CODE_ILLEGAL
    CLOSE_REASON_NOT_UTF8

cdef struct FrameHeader:
    uint64_t payload_bytes
    uint8_t header_bytes
    uint8_t opcode
    uint8_t fin                          # 0 or 1
    uint8_t rsv                          # RSV1 = 4, RSV2 = 2, RSV3 = 1
    uint8_t masked                       # 0 or 1
    uint8_t key[4]

cdef inline int check_frame(uint8_t opcode, bint fin, uint8_t rsv, uint64_t payload_bytes) noexcept nogil:
    # The Fault of a frame that is illegal whatever came before it, or NO_FAULT. Here, so that it is inlined everywhere.
    if rsv:
        return RESERVED_BITS
    if opcode > PONG or BINARY < opcode < CLOSE:
        return RESERVED_OPCODE
    if opcode >= CLOSE:
        if not fin:
            return CONTROL_FRAGMENTED
        if payload_bytes > MAX_CONTROL_BYTES:
            return CONTROL_TOO_LONG
    return NO_FAULT

cdef int parse_header(const uint8_t* data, size_t size, FrameHeader* out) noexcept nogil
cdef size_t build_header(uint8_t* out, uint8_t opcode, bint fin, uint64_t payload_bytes, const uint8_t* key) noexcept nogil
cdef void apply_mask(uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key) noexcept nogil


cdef class FrameSink:
    # Where a transport puts what it receives: whole frames, or raw bytes. Each answers 0, or 1: it takes no more.
    cdef int feed_frame(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                        bint last_in_batch) except -1
    cdef int feed_bytes(self, const uint8_t* data, size_t size) except -1
    cdef int feed_failure(self, int close_code, str reason) except -1
    cdef int announce(self, const FrameHeader* header) noexcept


cdef class Decoder:
    cdef uint8_t* _buffer                # one unfinished frame, header included
    cdef size_t _used                    # bytes
    cdef size_t _capacity                # bytes
    cdef bint _from_client               # we are the server side: masks required
    cdef int _fault                      # why the stream was refused; nothing is taken after that
    cdef int feed(self, const uint8_t* data, size_t size, FrameSink sink) except -1
    cdef int _refuse(self, FrameSink sink) except -1
    cdef int _inspect(self, const uint8_t* data, size_t size, FrameHeader* header, FrameSink sink) except -1
    cdef int _emit(self, const FrameHeader* header, const uint8_t* data, bint last, FrameSink sink) except -1
    cdef bint _holds_frame(self, const uint8_t* data, size_t size) noexcept
    cdef int _store(self, const uint8_t* data, size_t size) except -1
    cdef Py_ssize_t _complete(self, const uint8_t* data, size_t size, FrameSink sink) except -2


cdef class Frame:
    cdef readonly int opcode
    cdef readonly bint fin
    cdef readonly int rsv
    cdef readonly bytes payload
