"""RFC 6455 frames, sans-I/O: bytes in (any split), frames out, and back.

Stateless wire functions first (`parse_header`, `check_frame`, `build_header`, `apply_mask`), then `Decoder`, which
holds the unfinished tail of one byte stream and allocates only what has really arrived.
Each reason to refuse a stream is one `Fault`; `FAULTS` gives its close code and its words.
Not here: what makes a message of frames (_assembler.pyx), who writes them (_writer.pyx).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy

cdef extern from "_mask.h" nogil:
    void wsx_mask(uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key)


cdef enum:
    KEPT_BYTES = 65536                   # a larger buffer is given back after the frame it was for

FAULTS = {
    LENGTH_NOT_MINIMAL: (1002, "payload length not in its shortest form (RFC 6455 5.2)"),
    LENGTH_TOP_BIT: (1002, "64-bit payload length with its top bit set (RFC 6455 5.2)"),
    MASKED_BY_SERVER: (1002, "masked frame from a server (RFC 6455 5.1)"),
    UNMASKED_BY_CLIENT: (1002, "unmasked frame from a client (RFC 6455 5.1)"),
    RESERVED_BITS: (1002, "reserved bits set without an extension (RFC 6455 5.2)"),
    RESERVED_OPCODE: (1002, "reserved opcode (RFC 6455 5.2)"),
    CONTROL_FRAGMENTED: (1002, "fragmented control frame (RFC 6455 5.5)"),
    CONTROL_TOO_LONG: (1002, "control frame over 125 bytes (RFC 6455 5.5)"),
    CONTINUATION_WITHOUT_START: (1002, "continuation frame without a message to continue (RFC 6455 5.4)"),
    MESSAGE_INSIDE_MESSAGE: (1002, "new message inside a fragmented one (RFC 6455 5.4)"),
    TEXT_NOT_UTF8: (1007, "text message is not UTF-8 (RFC 6455 8.1)"),
    MESSAGE_TOO_BIG: (1009, "message exceeds max_message_size"),
    TOO_MANY_FRAGMENTS: (1009, "message exceeds max_fragments"),
    CLOSE_ONE_BYTE: (1002, "close frame with a payload of one byte (RFC 6455 5.5.1)"),
    CLOSE_CODE_ILLEGAL: (1002, "close frame with a code that may not be sent (RFC 6455 7.4)"),
    CLOSE_REASON_NOT_UTF8: (1007, "close frame whose reason is not UTF-8 (RFC 6455 5.5.1)"),
}


cdef int parse_header(const uint8_t* data, size_t size, FrameHeader* out) noexcept nogil:
    """Read one frame header (RFC 6455 5.2) from `data`.

    size: bytes readable at `data`; only the header itself needs to be there.
    Returns 0 and fills `out`; NEED_MORE; or the Fault of a length that is not legal.
    Never reads past `size`, never writes to `data`, keeps no pointer.
    """
    cdef size_t at = 2, i
    if size < 2:
        return NEED_MORE
    out.fin = data[0] >> 7
    out.rsv = (data[0] >> 4) & 7
    out.opcode = data[0] & 0xF
    out.masked = data[1] >> 7
    out.payload_bytes = data[1] & 0x7F
    if out.payload_bytes >= 126:
        at = 4 if out.payload_bytes == 126 else 10
        if size < at:
            return NEED_MORE
        out.payload_bytes = 0
        for i in range(2, at):
            out.payload_bytes = out.payload_bytes << 8 | data[i]
        if out.payload_bytes >> 63:
            return LENGTH_TOP_BIT
        if out.payload_bytes < (126 if at == 4 else 65536):
            return LENGTH_NOT_MINIMAL
    if out.masked:
        if size < at + 4:
            return NEED_MORE
        memcpy(out.key, data + at, 4)
        at += 4
    out.header_bytes = <uint8_t>at
    return 0


cdef size_t build_header(uint8_t* out, uint8_t opcode, bint fin, uint64_t payload_bytes,
                         const uint8_t* key) noexcept nogil:
    """Write a frame header of at most MAX_HEADER_BYTES to `out`; `key`: 4 bytes, or NULL for no mask.

    Returns its length in bytes.
    """
    cdef size_t at = 2, i, width = 0
    out[0] = opcode | (0x80 if fin else 0)
    if payload_bytes < 126:
        out[1] = <uint8_t>payload_bytes
    else:
        width = 2 if payload_bytes < 65536 else 8
        out[1] = 126 if width == 2 else 127
        for i in range(width):
            out[at + i] = <uint8_t>(payload_bytes >> (8 * (width - 1 - i)))
    at += width
    if key != NULL:
        out[1] |= 0x80
        memcpy(out + at, key, 4)
        at += 4
    return at


cdef void apply_mask(uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key) noexcept nogil:
    """XOR `size` bytes with the 4 bytes of `key` in turn (RFC 6455 5.3); `dst` may be `src`."""
    wsx_mask(dst, src, size, key)


cdef class FrameSink:
    """Where a transport puts what it receives. Each method answers 0, or 1 where the sink takes no more."""

    cdef int feed_frame(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                        bint last_in_batch) except -1:
        """One whole frame, unmasked. `payload` is valid only during the call.

        last_in_batch: no further whole frame follows in what was read from the socket at once.
        """
        raise NotImplementedError

    cdef int feed_bytes(self, const uint8_t* data, size_t size) except -1:
        """The next bytes of the stream, split anywhere."""
        raise NotImplementedError

    cdef int feed_failure(self, int close_code, str reason) except -1:
        """The stream was refused below the sink: its connection is to be failed with this code."""
        raise NotImplementedError

    cdef int announce(self, const FrameHeader* header) noexcept:
        """A header arrived whose payload may not have: the Fault to refuse it with, or NO_FAULT."""
        return check_frame(header.opcode, header.fin, header.rsv, header.payload_bytes)


@cython.final
cdef class Decoder:
    """Bytes of one stream in, frames out. The tail that is not a whole frame yet is kept; nothing else is.

    server: this is the server's end, so frames must be masked; otherwise they must not be (RFC 6455 5.1).
    """

    def __cinit__(self, *, bint server=False):
        self._from_client = server

    def __dealloc__(self):
        PyMem_Free(self._buffer)

    def decode(self, data):
        """Feed bytes (any split): the list of frames that they complete.

        Raises ValueError where the stream is refused, then and ever after; the frames before that are in its `frames`.
        """
        cdef Py_buffer view
        cdef _FrameList frames = _FrameList.__new__(_FrameList)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.feed(<const uint8_t*>view.buf, view.len, frames)
        finally:
            PyBuffer_Release(&view)
        if frames.reason is not None:
            error = ValueError(f"{frames.close_code}: {frames.reason}")
            error.frames = frames.frames  # type: ignore
            raise error
        return frames.frames

    cdef int feed(self, const uint8_t* data, size_t size, FrameSink sink) except -1:
        """Feed `size` bytes; each whole frame goes to `sink`. 1 when the sink took no more, else 0."""
        cdef FrameHeader header
        cdef Py_ssize_t taken
        cdef int status
        cdef size_t whole
        if self._fault:
            return self._refuse(sink)
        while size:
            if self._used:
                taken = self._complete(data, size, sink)
                if taken < 0:
                    return 1
                data += taken
                size -= taken
                continue
            status = self._inspect(data, size, &header, sink)
            if status > 0:
                return 1
            whole = header.header_bytes + header.payload_bytes
            if status == NEED_MORE or size < whole:
                return self._store(data, size)
            if self._emit(&header, data, not self._holds_frame(data + whole, size - whole), sink):
                return 1
            data += whole
            size -= whole
        return 0

    cdef int _inspect(self, const uint8_t* data, size_t size, FrameHeader* header, FrameSink sink) except -1:
        """Parse and judge a header: 0, NEED_MORE, or 1 where the sink was told of a fault."""
        cdef int fault = parse_header(data, size, header)
        if fault == NEED_MORE:
            return NEED_MORE
        if fault == NO_FAULT:
            if header.masked and not self._from_client:
                fault = MASKED_BY_SERVER
            elif self._from_client and not header.masked:
                fault = UNMASKED_BY_CLIENT
            else:
                fault = sink.announce(header)
        self._fault = fault
        return self._refuse(sink) if fault else 0

    cdef int _refuse(self, FrameSink sink) except -1:
        close_code, reason = FAULTS[self._fault]
        sink.feed_failure(close_code, reason)
        return 1

    cdef int _emit(self, const FrameHeader* header, const uint8_t* data, bint last, FrameSink sink) except -1:
        """Hand one whole frame at `data` to the sink; a masked one is unmasked in the decoder's own buffer."""
        cdef const uint8_t* payload = data + header.header_bytes
        cdef size_t size = header.payload_bytes
        cdef int status
        if header.masked and size:
            if data != self._buffer:
                self._store(data, header.header_bytes + size)
            payload = self._buffer + header.header_bytes
            apply_mask(<uint8_t*>payload, payload, size, header.key)
        self._used = 0
        status = sink.feed_frame(header.opcode, header.fin, header.rsv, payload, size, last)
        if self._capacity > KEPT_BYTES:
            PyMem_Free(self._buffer)
            self._buffer = NULL
            self._capacity = 0
        return status

    cdef bint _holds_frame(self, const uint8_t* data, size_t size) noexcept:
        """Is there a whole frame at `data`?"""
        cdef FrameHeader header
        return parse_header(data, size, &header) == 0 and size - header.header_bytes >= header.payload_bytes

    cdef Py_ssize_t _complete(self, const uint8_t* data, size_t size, FrameSink sink) except -2:
        """Add to the unfinished frame what it still needs of `data`: the bytes taken, or -1 as feed's 1."""
        cdef FrameHeader header
        cdef int status = self._inspect(self._buffer, self._used, &header, sink)
        cdef size_t missing = 1
        if status > 0:
            return -1
        if status == 0:
            missing = header.header_bytes + header.payload_bytes - self._used
        if missing > size:
            missing = size
        self._store(data, missing)
        status = self._inspect(self._buffer, self._used, &header, sink)
        if status > 0:
            return -1
        if status == 0 and self._used - header.header_bytes == header.payload_bytes:
            if self._emit(&header, self._buffer, not self._holds_frame(data + missing, size - missing), sink):
                return -1
        return missing

    cdef int _store(self, const uint8_t* data, size_t size) except -1:
        """Append bytes that have arrived; the buffer at most doubles, whatever length was announced."""
        cdef size_t capacity = max(self._used + size, 2 * self._used, <size_t>256)
        cdef uint8_t* buffer
        if self._used + size > self._capacity:
            buffer = <uint8_t*>PyMem_Realloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError
            self._buffer = buffer
            self._capacity = capacity
        memcpy(self._buffer + self._used, data, size)
        self._used += size
        return 0


@cython.final
cdef class Frame:
    """One frame as Python sees it: `opcode`, `fin`, `rsv` (RSV1 = 4, RSV2 = 2, RSV3 = 1), `payload`."""

    def __repr__(self):
        return f"Frame(opcode={self.opcode:#x}, fin={self.fin}, rsv={self.rsv}, payload={len(self.payload)} bytes)"


@cython.final
cdef class _FrameList(FrameSink):
    """Collects frames for `Decoder.decode`."""
    cdef list frames
    cdef int close_code
    cdef str reason

    def __cinit__(self):
        self.frames = []

    cdef int feed_frame(self, uint8_t opcode, bint fin, uint8_t rsv, const uint8_t* payload, size_t size,
                        bint last_in_batch) except -1:
        cdef Frame frame = Frame.__new__(Frame)
        frame.opcode, frame.fin, frame.rsv = opcode, fin, rsv
        frame.payload = PyBytes_FromStringAndSize(<const char*>payload, size)
        self.frames.append(frame)
        return 0

    cdef int feed_failure(self, int close_code, str reason) except -1:
        self.close_code = close_code
        self.reason = reason
        return 1


def encode(int opcode, payload, *, bint fin=True, bytes key=None):
    """One frame as bytes (RFC 6455 5.2).

    opcode: 0-15, of which only the defined ones are accepted. payload: bytes-like. fin: last frame of its message.
    key: 4 bytes to mask with (a client's frame), or None (a server's).
    Raises ValueError for an opcode, a key or a control frame that RFC 6455 does not allow.
    """
    cdef Py_buffer view
    if key is not None and len(key) != 4:
        raise ValueError(f"a mask key has 4 bytes, got {len(key)}")
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        fault = check_frame(opcode, fin, 0, view.len) if 0 <= opcode <= 15 else RESERVED_OPCODE
        if fault:
            raise ValueError(f"cannot encode a frame with opcode {opcode:#x}: {FAULTS[fault][1]}")
        return _encode(opcode, fin, &view, key)
    finally:
        PyBuffer_Release(&view)


cdef bytes _encode(uint8_t opcode, bint fin, Py_buffer* view, bytes key):
    cdef uint8_t header[MAX_HEADER_BYTES]
    cdef size_t size
    size = build_header(header, opcode, fin, view.len, <const uint8_t*>key if key is not None else NULL)
    frame = PyBytes_FromStringAndSize(NULL, size + view.len)
    memcpy(PyBytes_AS_STRING(frame), header, size)
    _copy(<uint8_t*>PyBytes_AS_STRING(frame) + size, view, key)
    return frame


cdef void _copy(uint8_t* dst, Py_buffer* view, bytes key) noexcept:
    if key is not None:
        apply_mask(dst, <const uint8_t*>view.buf, view.len, <const uint8_t*>PyBytes_AS_STRING(key))
    else:
        memcpy(dst, view.buf, view.len)


def mask(data, bytes key not None):
    """`data` XOR the 4 bytes of `key` in turn (RFC 6455 5.3), as bytes. Masking twice gives the input back."""
    if len(key) != 4:
        raise ValueError(f"a mask key has 4 bytes, got {len(key)}")
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        out = PyBytes_FromStringAndSize(NULL, view.len)
        _copy(<uint8_t*>PyBytes_AS_STRING(out), &view, key)
        return out
    finally:
        PyBuffer_Release(&view)
