"""Inboxes that drop rather than let their reader fall behind, and count what they drop.

    DropOldestInbox    where a message has no room, the oldest ones are dropped for it
    ConflatingInbox    a message takes the place of the waiting one of its key; those without a key all stay

Both may drop what has waited for too long, when the reader comes to it. What was dropped since the last message was
read becomes one `Gap`, carried by the next; a gap that a dropped message carried itself is never lost with it.
Not here: ledger and events (drop_record.py), the inbox that drops nothing (_inbox.pyx).
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from wsx._inbox cimport Inbox
from wsx._message cimport Message

from collections import deque

cdef dict _CAUSES = {OVERFLOW: "inbox overflow", CONFLATED: "conflated", TOO_OLD: "too old"}


cdef class DroppingInbox(Inbox):
    """What the inboxes that drop have in common. `drop_by` is called before anything else."""

    def drop_by(self, record not None, int64_t max_age_ns=0):
        """record: hears of what is dropped (DropRecord). max_age_ns: how long a message may wait; 0: without end."""
        self._record = record
        self._max_age_ns = max_age_ns
        self._last_good_ns = self._telemetry.now_ns()

    def flush(self):
        """Put on record what was dropped, before another message is read."""
        if self._missed:
            self._put_on_record((<Message>self._ring[self._head]).received_ns if self._count
                                else self._telemetry.now_ns())

    cdef Message _pop(self):
        """The oldest message that is young enough, with the gap before it; None if there is none."""
        while self._count:
            message = self._first()
            if not self._max_age_ns or not self._too_old(message):
                return self._hand_over(message)
            self._drop(message, TOO_OLD)
        if self.ended:                       # no other message will carry it
            self.flush()
        return None

    cdef Message _first(self):
        """The oldest message, whatever its age; there is one."""
        return Inbox._pop(self)

    cdef bint _too_old(self, Message message) noexcept:
        return <int64_t>self._telemetry.now_ns() - message.received_ns > self._max_age_ns

    cdef int _drop(self, Message message, Cause cause) except -1:
        """Count a message that nobody will read."""
        counters = self._telemetry.counters
        counters.messages_dropped += 1
        counters.messages_conflated += cause == CONFLATED
        counters.messages_too_old += cause == TOO_OLD
        self._missed += 1
        self._causes |= cause
        if message.gap is not None:
            self._carry(message.gap)
        if self._missed == 1:
            self._missed_epoch = message.epoch
            self._record.on_dropping()
        return 0

    cdef int _put_on_record(self, int64_t until_ns) except -1:
        cause = ", ".join([name for bit, name in _CAUSES.items() if self._causes & <unsigned int>bit])
        missed, self._missed, self._causes = self._missed, 0, 0
        until_ns = max(until_ns, self._last_good_ns)
        return self._carry(self._record.on_dropped(cause, missed, self._last_good_ns, until_ns, self._missed_epoch))

    cdef int _carry(self, gap) except -1:
        self._gap = gap if self._gap is None else self._record.join(self._gap, gap)
        return 0

    cdef Message _hand_over(self, Message message):
        """Let the reader have it, with the gap before it."""
        if self._missed:
            self._put_on_record(message.received_ns)
        if self._gap is not None:
            if message.gap is not None:
                self._carry(message.gap)
            message.gap, self._gap = self._gap, None
        self._last_good_ns = max(self._last_good_ns, message.received_ns)
        return message


cdef class DropOldestInbox(DroppingInbox):
    """Never above its limits: the oldest messages make room for the newest, which alone may be larger than `max_bytes`."""

    cdef int _push(self, Message message) except -1:
        while self._count and (self._count >= self.max_messages
                               or self._bytes + <size_t>len(message.data) > self.max_bytes):
            self._drop(self._first(), OVERFLOW)
        return Inbox._push(self, message)

    cdef int _at_limit(self) except -1:
        return 0                             # that is where it works


cdef class ConflatingInbox(DroppingInbox):
    """At most one message of a key waits: the newest, in the place of the oldest, so that no key starves.

    Where messages of different keys, or without one, reach a limit, it is full as any other inbox is.
    """

    def __cinit__(self, *args, **options):
        self._places, self._keys = {}, deque()

    def conflate_by(self, key_of not None):
        """key_of: of a message gives what can be hashed, or None for a message that is never conflated.

        What it raises goes to the owner's `on_key_error(error, message)`, and the message is kept unconflated.
        """
        self._key_of = key_of

    cdef int _push(self, Message message) except -1:
        key, place = self._find(message)
        if place is not None:
            return self._replace(<uint64_t>place - self._gone, message)
        if self._count == self._capacity:
            self._grow()                     # first, because it may fail
        self._keys.append(key)
        if key is not None:
            self._places[key] = self._gone + self._count
        return Inbox._push(self, message)

    cdef tuple _find(self, Message message):
        """Its key, and the number of the message of that key that waits; None for what there is none of."""
        try:
            key = self._key_of(message)
            return key, None if key is None else self._places.get(key)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._owner.on_key_error(error, message)
            return None, None

    cdef int _replace(self, size_t index, Message message) except -1:
        """Put it where an older one of its key waits."""
        cdef PyObject** slot = &self._ring[(self._head + index) & (self._capacity - 1)]
        older = <Message>slot[0]
        Py_INCREF(message)
        slot[0] = <PyObject*>message
        Py_DECREF(older)
        self._bytes += <size_t>len(message.data) - <size_t>len(older.data)
        self._gauge()
        self._drop(older, CONFLATED)
        if not self.full and self._bytes >= self.max_bytes:
            self._at_limit()
        return 0

    cdef Message _first(self):
        # Before the message is gone: its owner may bring others when there is room.
        key = self._keys.popleft()
        if key is not None:
            del self._places[key]
        self._gone += 1
        return Inbox._pop(self)
