# One received message. It owns its bytes.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef class Message:
    cdef bytes data                      # read-only to Python, as `gap`: see _message.pyx
    cdef object gap                      # a blind record before this message, or None
    cdef readonly int64_t received_ns    # monotonic; when its read from the socket was handed over
    cdef readonly uint32_t epoch         # which connection of its client brought it, from 1
    cdef readonly uint8_t opcode         # TEXT or BINARY
    cdef readonly bint last_in_batch     # nothing more was read from the socket at that time


cdef Message new_message(uint8_t opcode, const uint8_t* data, size_t size)
cdef Message new_text(const uint8_t* data, size_t size)
