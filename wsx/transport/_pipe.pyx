"""A FrameWriter that hands its bytes to a Python callable: the in-memory transport and the local servers write with it.

Not here: where the bytes go (memory.py, wsx/testing/server.py).
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from wsx.errors import NotConnected


@cython.final
cdef class PipeWriter(FrameWriter):
    """Writes each frame with one call of the function that it was attached to."""

    def attach(self, write, buffered):
        """Begin to write. write: takes bytes, all of them, or raises ConnectionError. buffered: how many wait in it."""
        self._write = write
        self._buffered = buffered

    def detach(self):
        """Write nothing more."""
        self._write = None

    cdef int write_bytes(self, const uint8_t* data, size_t size) except -1:
        cdef Py_ssize_t buffered
        try:
            if self._write is None:
                raise ConnectionResetError("the connection is closed")
            self._write(PyBytes_FromStringAndSize(<const char*>data, size))
        except ConnectionResetError as error:
            if self._masked:                     # a client's user hears the same whatever carries the bytes
                raise NotConnected("the connection is closed; nothing was sent") from error
            raise
        buffered = self._buffered()
        self._telemetry.counters.write_buffered_bytes = buffered
        if buffered > <Py_ssize_t>self._telemetry.counters.write_buffered_bytes_peak:
            self._telemetry.counters.write_buffered_bytes_peak = buffered
        return 0

    cdef Py_ssize_t buffered_bytes(self) except -1:
        return self._buffered() if self._write is not None else 0
