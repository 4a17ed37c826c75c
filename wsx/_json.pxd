# JSON bytes into Python objects, with no number changed.

from libc.stdint cimport uint8_t


cdef object parse(bytes data)
cdef object parse_bytes(const uint8_t* start, Py_ssize_t size)
