# One side of an order book as a sorted array (_levels.h), the best level at its end.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t


cdef extern from "_levels.h" nogil:
    const size_t MAX_LEVELS "WSX_MAX_LEVELS"
    const int32_t MAX_DECIMALS "WSX_MAX_DECIMALS"
    const int64_t* POWERS "WSX_POWERS"   # of ten, 0 to MAX_DECIMALS

    ctypedef struct Level "wsx_level":
        int64_t key                      # the price of a bid, the negated price of an ask, in the book's scale
        int64_t amount                   # in the book's scale

    ctypedef struct BookSide "wsx_side":
        Level* levels
        size_t count
        size_t room

    bint times_power "wsx_times_power"(int64_t* number, int32_t decimals) noexcept
    size_t side_find "wsx_side_find"(const BookSide* side, int64_t key) noexcept
    bint side_reserve "wsx_side_reserve"(BookSide* side, size_t count) noexcept
    void side_insert "wsx_side_insert"(BookSide* side, size_t place, int64_t key, int64_t amount) noexcept
    void side_remove "wsx_side_remove"(BookSide* side, size_t place) noexcept
    bint side_sort "wsx_side_sort"(BookSide* side) noexcept
    bint side_rescale_keys "wsx_side_rescale_keys"(BookSide* side, int32_t decimals) noexcept
    bint side_rescale_amounts "wsx_side_rescale_amounts"(BookSide* side, int32_t decimals) noexcept
