# Frames out: encoded, masked, counted, and handed to the transport below as bytes.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from wsx._telemetry cimport Telemetry


cdef class FrameWriter:
    cdef Telemetry _telemetry
    cdef bint _masked                    # the client's end
    cdef int write_frame(self, uint8_t opcode, bint fin, const uint8_t* payload, size_t size) except -1
    cdef int write_bytes(self, const uint8_t* data, size_t size) except -1
    cdef Py_ssize_t buffered_bytes(self) except -1
    cdef Py_ssize_t _encode(self, uint8_t* frame, uint8_t opcode, bint fin, const uint8_t* payload,
                            size_t size) except -1
    cdef void _count(self, uint8_t opcode, bint fin, size_t size) noexcept
    cdef int _tell(self, uint8_t opcode, bint fin, size_t payload_bytes) except -1


cdef unsigned long fork_generation() noexcept
