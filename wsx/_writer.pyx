"""Frames out: encoded, masked, counted, and handed to the transport below as bytes.

A transport subclasses `FrameWriter` and implements `write_bytes` and `buffered_bytes`; everything that concerns frames
is here once. Mask keys come from a process-wide pool that the kernel fills and a forked child drops.
Not here: how much may be buffered, and who waits (_lane.pyx, client.py).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy

from wsx._clock cimport monotonic_ns
from wsx._frame cimport CLOSE, MAX_HEADER_BYTES, PING, PONG, apply_mask, build_header, check_frame
from wsx._telemetry cimport Counters

cdef extern from "_keys.h":
    void wsx_pool_watch_forks()
    int wsx_next_key(uint8_t* key)
    unsigned long wsx_forks

cdef enum:
    KEPT_BYTES = 65536                   # a larger scratch buffer is given back after the frame it was for

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
    """Encodes frames into its own scratch buffer and hands the bytes down.

    telemetry: where what was sent is counted. masked: the client's end (RFC 6455 5.1).
    """

    def __cinit__(self, Telemetry telemetry not None, *, bint masked=True):
        self._telemetry = telemetry
        self._masked = masked

    def __dealloc__(self):
        PyMem_Free(self._scratch)

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
        cdef uint8_t key[4]
        cdef size_t header
        self._reserve(size + MAX_HEADER_BYTES)
        if self._masked and wsx_next_key(key):
            raise OSError("the operating system gave no entropy for mask keys")
        header = build_header(self._scratch, opcode, fin, size, key if self._masked else NULL)
        if self._masked:
            apply_mask(self._scratch + header, payload, size, key)
        else:
            memcpy(self._scratch + header, payload, size)
        self.write_bytes(self._scratch, header + size)
        self._count(opcode, fin, header + size)
        if self._capacity > KEPT_BYTES:
            PyMem_Free(self._scratch)
            self._scratch = NULL
            self._capacity = 0
        return 0

    cdef int write_bytes(self, const uint8_t* data, size_t size) except -1:
        """Give bytes to the kernel, or to the transport's buffer: all of them or an exception. Keeps no pointer."""
        raise NotImplementedError

    cdef Py_ssize_t buffered_bytes(self) except -1:
        """Bytes that the kernel does not take yet."""
        raise NotImplementedError

    cdef int _reserve(self, size_t size) except -1:
        cdef uint8_t* scratch
        if size > self._capacity:
            scratch = <uint8_t*>PyMem_Realloc(self._scratch, max(size, <size_t>1024))
            if scratch == NULL:
                raise MemoryError
            self._scratch = scratch
            self._capacity = max(size, <size_t>1024)
        return 0

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
        counters.last_sent_ns = monotonic_ns()
