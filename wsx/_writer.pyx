"""Frames out: encoded, masked, counted, and handed to the transport below as bytes.

A transport subclasses `FrameWriter` and implements `write_bytes` and `buffered_bytes`; everything that concerns frames
is here once. Mask keys come from a process-wide pool that the kernel fills and a forked child drops.
Not here: how much may be buffered, and who waits (_lane.pyx, client.py).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy

from wsx._frame cimport CLOSE, MAX_HEADER_BYTES, PING, PONG, apply_mask, build_header, check_frame
from wsx._signal cimport message_sent
from wsx._telemetry cimport Counters

cdef extern from "_keys.h":
    void wsx_pool_watch_forks()
    int wsx_next_key(uint8_t* key)
    unsigned long wsx_forks

cdef enum:
    STACK_BYTES = 4096                   # a longer frame is encoded in memory of its own

wsx_pool_watch_forks()


cdef unsigned long fork_generation() noexcept:
    """How many forks lie between this process and the one that imported wsx."""
    return wsx_forks


def mask_key() -> bytes:
    """Four unpredictable bytes to mask one frame with (RFC 6455 5.3, 10.3). Raises OSError without entropy."""
    cdef uint8_t key[4]
    if wsx_next_key(key):
        raise OSError("the operating system gave no entropy for mask keys")
    return PyBytes_FromStringAndSize(<const char*>key, 4)


cdef class FrameWriter:
    """Encodes frames and hands the bytes down.

    telemetry: where what was sent is counted. masked: the client's end (RFC 6455 5.1).
    """

    def __cinit__(self, Telemetry telemetry not None, *, bint masked=True):
        self._telemetry = telemetry
        self._masked = masked

    def send(self, int opcode, payload, *, bint fin=True):
        """Write one frame; `payload` is bytes-like. ValueError where RFC 6455 does not allow such a frame."""
        cdef Py_buffer view
        PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= opcode <= 15 or check_frame(opcode, fin, 0, view.len):
                raise ValueError(f"no frame with opcode {opcode:#x}, fin={fin} and {view.len} bytes may be sent")
            self.write_frame(opcode, fin, <const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    @property
    def buffered(self):
        """Bytes that wait in the transport because the kernel does not take them yet."""
        return self.buffered_bytes()

    cdef int write_frame(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size) except -1:
        """Encode one frame and write it whole. The caller has checked opcode, size and state."""
        cdef uint8_t on_stack[STACK_BYTES]   # a frame of its own: writing may come back here before it returns
        cdef uint8_t* frame = on_stack
        cdef Py_ssize_t written
        if size > STACK_BYTES - MAX_HEADER_BYTES:
            frame = <uint8_t*>PyMem_Malloc(size + MAX_HEADER_BYTES)
            if frame == NULL:
                raise MemoryError
        try:
            written = self._encode(frame, opcode, fin, payload, size)
            self.write_bytes(frame, written)
        finally:
            if frame != on_stack:
                PyMem_Free(frame)
        self._count(opcode, fin, written)
        return self._tell(opcode, fin, size) if cython.unlikely(message_sent.active) else 0

    cdef int _tell(self, uint8_t opcode, bint fin, size_t payload_bytes) except -1:
        cdef Telemetry telemetry = self._telemetry
        if telemetry.client is not None and fin and opcode < CLOSE:
            message_sent.emit(at_ns=telemetry.counters.last_sent_ns, client=telemetry.client, epoch=telemetry.epoch,
                              opcode=opcode, bytes=payload_bytes)
        return 0

    cdef Py_ssize_t _encode(self, uint8_t* frame, uint8_t opcode, bint fin, const uint8_t* payload,
                            size_t size) except -1:
        """Put header and payload into `frame`: the length of both in bytes."""
        cdef uint8_t key[4]
        cdef size_t header
        if self._masked and wsx_next_key(key):
            raise OSError("the operating system gave no entropy for mask keys")
        header = build_header(frame, opcode, fin, size, key if self._masked else NULL)
        if self._masked:
            apply_mask(frame + header, payload, size, key)
        else:
            memcpy(frame + header, payload, size)
        return header + size

    cdef int write_bytes(self, const uint8_t* data, size_t size) except -1:
        """Give bytes to the kernel, or to the transport's buffer: all of them or an exception. Keeps no pointer.

        Raises NotConnected where there is no connection any more: then nothing was sent.
        """
        raise NotImplementedError

    cdef Py_ssize_t buffered_bytes(self) except -1:
        """Bytes that the kernel does not take yet."""
        raise NotImplementedError

    cdef void _count(self, uint8_t opcode, bint fin, size_t size) noexcept:
        cdef Counters* counters = self._telemetry.counters
        counters.frames_sent += 1
        counters.bytes_sent += size
        if opcode == PING:
            counters.pings_sent += 1
        elif opcode == PONG:
            counters.pongs_sent += 1
        elif opcode != CLOSE and fin:
            counters.messages_sent += 1
        counters.last_sent_ns = self._telemetry.now_ns()
