# What routing needs of a JSON-RPC message, found in its bytes.

cimport cython
from libc.stdint cimport int64_t, uint8_t


cdef enum:                               # what scan_envelope says
    FOUND = 0
    PARSE_ME = 1                         # nothing is claimed: a full parse decides
    REPEATED = 2                         # a key of the envelope is there twice

cdef enum:                               # Fields.id_kind
    NO_ID = 0
    NULL_ID = 1
    NUMBER_ID = 2
    TEXT_ID = 3


cdef struct Span:                        # bytes of the message; of a string: between its quotes
    const uint8_t* start                 # NULL: not there
    Py_ssize_t size


cdef struct Fields:
    int64_t id                           # where id_kind is NUMBER_ID
    uint8_t id_kind
    Span text_id
    Span method
    Span params
    Span channel                         # params.channel
    Span type                            # params.type
    Span data                            # params.data
    Span result
    Span error


@cython.final
cdef class Envelope:
    cdef readonly object id              # int, str or None
    cdef readonly bint has_id            # also where it is null
    cdef readonly str method
    cdef readonly str channel
    cdef readonly str type
    cdef readonly bint has_error
    cdef readonly bint has_result
    cdef readonly object params_span     # (start, end) in bytes, or None; so are the others
    cdef readonly object data_span
    cdef readonly object result_span
    cdef readonly object error_span


cdef int scan_envelope(const uint8_t* data, Py_ssize_t size, Fields* fields) noexcept nogil
cdef bint has_repeated(const uint8_t* data, Py_ssize_t size) except -1
cdef list find_elements(const uint8_t* data, Py_ssize_t size, Py_ssize_t most)
cdef bint equals(const Span* span, const uint8_t* text, Py_ssize_t size) noexcept nogil
