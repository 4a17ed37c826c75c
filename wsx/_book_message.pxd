# What one message says about a book: its fields, and its levels in a scratch that all books share.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from wsx._json_reader cimport Decimal64, JsonText
from wsx._levels cimport MAX_DECIMALS, times_power


cdef enum:                               # sides
    BIDS, ASKS

cdef enum:                               # places in BookFields.ids
    CHANGE_ID, PREV_CHANGE_ID, TIMESTAMP

cdef enum:                               # kinds of message
    UNSAID, SNAPSHOT, CHANGE, OTHER_KIND

cdef enum:                               # actions; BARE: [price, amount] as in whole books; SET: 0 removes, from a caller
    NEW, CHANGED, DELETE, BARE, SET

cdef enum:                               # how reading and judging ended
    FINE, NOT_JSON, TOO_MANY, NO_MEMORY, BAD_FORM
    NOT_ABOUT_IT                         # about another book, or none
    READ_FAULTS


cdef struct Edit:                        # one level as a message gives it, in no scale yet
    Decimal64 price
    Decimal64 amount                     # 0 for a delete
    uint8_t side
    uint8_t action


cdef struct BookFields:                  # what one object says; its edits are those of `edits()` between the two indexes
    uint32_t seen                        # a bit for each known key
    bint faulty                          # a known key came twice, or its value is of another type
    uint8_t kind
    int64_t ids[3]                       # change_id, prev_change_id, timestamp (ms); -1: none
    size_t first_edit
    size_t end_edit
    JsonText instrument                  # size 0: none


cdef struct Reading:                     # one message as it is read
    BookFields top                       # of the outermost object
    BookFields data                      # of params.data
    bint has_data
    uint32_t seen                        # bits for params, data and channel
    JsonText channel                     # params.channel; size 0: none
    bint repeated                        # one of them came twice
    int trouble                          # what reading ends with where it cannot go on


# Read a whole message into `reading`: FINE, or why it cannot be believed.
cdef int read_message(const char* data, size_t size, Reading* reading) noexcept nogil
# Whether what was read is about the book of the instrument of this name and all is there: FINE, BAD_FORM or NOT_ABOUT_IT.
# Settles the kind of a message that does not say it. is_valid: whether the book is.
cdef int judge(const Reading* reading, BookFields* fields, const char* name, size_t size, bint is_valid) noexcept nogil
# For a caller's levels: begin anew, and room for one more; NULL with `trouble` set where there is none.
cdef void begin_edits(BookFields* fields) noexcept nogil
cdef Edit* new_edit(BookFields* fields, int* trouble) noexcept nogil
# The levels of the message read last. Any Python code may read another one.
cdef const Edit* edits() noexcept nogil


cdef inline int32_t fitted(const Decimal64* number, int32_t decimals, int64_t* out) noexcept nogil:
    # In units of 10**-decimals: 0 where that is exact, else how many more decimals the number needs.
    cdef int64_t mantissa = number.mantissa
    cdef int32_t power = number.exponent + decimals
    while power < 0 and mantissa % 10 == 0:
        mantissa //= 10
        power += 1
    out[0] = mantissa
    if power < 0:
        return -power
    if power > MAX_DECIMALS or not times_power(out, power):
        return MAX_DECIMALS + 1
    return 0
