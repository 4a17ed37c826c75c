# An order book in C arrays, kept up from the bytes of the exchange's messages.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t

from wsx._book_message cimport BookFields, Edit
from wsx._json_reader cimport Decimal64
from wsx._levels cimport BookSide, Level


cdef class Levels:
    cdef bytes _data                     # two numbers a level, 8 bytes each
    cdef Py_ssize_t _shape[2]
    cdef Py_ssize_t _strides[2]
    cdef int32_t _decimals[2]            # of the prices, of the amounts, where they are mantissas
    cdef bint _integers                  # int64, else float64

    cdef int64_t* _mantissas(self) noexcept
    cdef int _make_floats(self) except -1


cdef class OrderBook:
    cdef readonly str instrument
    cdef readonly type numbers           # float, int or Decimal: what prices and amounts are shown as
    cdef object _checksum                # computes the book's, or None
    cdef bytes _name                     # the instrument's, as it stands in messages
    cdef BookSide _sides[2]
    cdef int32_t _decimals[2]            # of prices, of amounts: a mantissa counts in 10**-decimals
    cdef int64_t _ids[3]                 # as in BookFields, of what was applied last
    cdef uint8_t _state                  # an index into the states' names
    cdef tuple _stale                    # (cause, reason) while stale
    cdef Edit _blamed                    # the level of the last fault that lies in a level

    # Apply one message: 1 where the book is valid and was changed by it, else 0. MemoryError leaves the book stale.
    cdef int apply_bytes(self, const char* data, size_t size) except -1

    cdef int _follow(self, const BookFields* fields) except -1
    cdef int _load(self, const BookFields* fields) noexcept nogil
    cdef int _append(self, const Edit* edit) noexcept nogil
    cdef int _change(self, const BookFields* fields) noexcept nogil
    cdef int _edit(self, const Edit* edit) noexcept nogil
    cdef int _edit_present(self, const Edit* edit, size_t place, int64_t amount) noexcept nogil
    cdef int _edit_absent(self, const Edit* edit, size_t place, const Level* level) noexcept nogil
    cdef int _scale(self, const Edit* edit, Level* level) noexcept nogil
    cdef int _fit(self, const Decimal64* number, int what, int64_t* out) noexcept nogil
    cdef bint _refine(self, int what, int32_t decimals) noexcept nogil
    cdef bint _crossed(self) noexcept nogil
    cdef int _fail(self, int fault, const BookFields* fields) except -1
    cdef dict _circumstances(self, const BookFields* fields)
    cdef void _drop(self) noexcept nogil
    cdef int _go_stale(self, str cause, str reason) except -1
    cdef bint _given(self, uint8_t kind, object bids, object asks, tuple ids, object checksum) except -1
    cdef int _follow_given(self, uint8_t kind, list rows, list ids) except -1
    cdef bint _agrees(self, object expected) except -1
    cdef Levels _copied(self, int number, size_t most)
    cdef object _shown(self, int64_t mantissa, int32_t decimals)
    cdef tuple _best(self, int side)
    cdef list _shown_levels(self, Levels copied)
    cdef tuple _wanted(self, object amount)
    cdef object _average(self, object paid, object wanted, int32_t decimals)
