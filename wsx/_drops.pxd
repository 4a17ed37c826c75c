# Inboxes that drop, and the count of what they dropped.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from wsx._inbox cimport Inbox
from wsx._message cimport Message


cdef enum Cause:                         # bits; their names are CAUSES
    OVERFLOW = 1
    CONFLATED = 2
    TOO_OLD = 4


cdef class DroppingInbox(Inbox):
    cdef object _record                  # on_dropping(), on_dropped(causes, missed, since, until, epoch), join(gap, gap)
    cdef int64_t _max_age_ns             # 0: none
    cdef int64_t _last_good_ns           # the newest arrival that was read; before the first, when this was made
    cdef uint64_t _missed                # dropped, and not yet on record
    cdef unsigned int _causes            # of those
    cdef uint32_t _missed_epoch          # of the first of those
    cdef object _gap                     # on record, and not yet carried by a message; or None
    cdef Message _first(self)
    cdef bint _too_old(self, Message message) noexcept
    cdef int _drop(self, Message message, Cause cause) except -1
    cdef int _put_on_record(self, int64_t until_ns) except -1
    cdef int _carry(self, gap) except -1
    cdef Message _hand_over(self, Message message)


cdef class DropOldestInbox(DroppingInbox):
    pass


cdef class ConflatingInbox(DroppingInbox):
    cdef object _key_of                  # the user's function
    cdef dict _places                    # key -> number of the waiting message, counted from the first ever
    cdef object _keys                    # deque: of each waiting message; None for one that is never conflated
    cdef uint64_t _gone                  # messages that wait no more
    cdef tuple _find(self, Message message)
    cdef int _replace(self, size_t index, Message message) except -1
