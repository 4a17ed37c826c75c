"""Which answer belongs to which request: ids, what is pending, what has become of the rest. No I/O and no clock.

    open ──▶ sent ──▶ answer(id, outcome) ──▶ remembered for a while, so that a late answer is known as one

Times are seconds on whatever clock the caller reads; ids are integers from 1, each used once. Compiled because every
request and every answer passes here.
Not here: futures, timers, sending (requester.py), how a protocol writes and knows them (correlation.py).
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc

from wsx.errors import Outcome, TooManyPending

cdef enum:
    REMEMBERED = 4096                    # outcomes other than ok that are kept, for the sake of late answers
    SLACK = 64                           # deadlines of closed requests that are kept, beyond as many as are pending

cdef object _OK = Outcome.OK
cdef object _NOT_SENT = Outcome.NOT_SENT
cdef object _UNKNOWN = Outcome.UNKNOWN


# ---- deadlines: a binary heap of C structs, since every request with a timeout passes it ------------------------------

cdef inline bint _is_before(const Deadline* one, const Deadline* other) noexcept nogil:
    """By time; at the same time in the order of asking."""
    return one.request_id < other.request_id if one.at == other.at else one.at < other.at


cdef size_t _rise(Deadline* heap, size_t place) noexcept nogil:
    """Let the entry of this place go up to where it belongs: its new place."""
    cdef Deadline entry = heap[place]
    cdef size_t above
    while place:
        above = (place - 1) >> 1
        if not _is_before(&entry, &heap[above]):
            break
        heap[place] = heap[above]
        place = above
    heap[place] = entry
    return place


cdef void _sink(Deadline* heap, size_t size) noexcept nogil:
    """Let the first entry go down to where it belongs."""
    cdef Deadline entry = heap[0]
    cdef size_t place = 0, below = 1
    while below < size:
        if below + 1 < size and _is_before(&heap[below + 1], &heap[below]):
            below += 1
        if not _is_before(&heap[below], &entry):
            break
        heap[place] = heap[below]
        place, below = below, 2 * below + 1
    heap[place] = entry


# ---- requests ----------------------------------------------------------------------------------------------------------


@cython.final
@cython.freelist(64)
cdef class Pending:
    """One request without an outcome yet. waiter: what the caller waits with. deadline: None for none.

    together: the requests of one message, which they share, or None. sent: its bytes may have left. whole: its caller wants
    the message that answers it, not the result alone.
    """


@cython.final
@cython.no_gc
cdef class Ended:
    """What became of a request. method: "" where the outcome is ok."""


@cython.final
cdef class Correlator:
    """The requests of one client, over all its connections. most_pending: more are refused."""

    def __cinit__(self, Py_ssize_t most_pending=10_000):
        self.most_pending = most_pending
        self.pending, self._ended = {}, {}

    def __dealloc__(self):
        PyMem_Free(self._deadlines)

    def __len__(self):
        """How many are pending."""
        return len(self.pending)

    @property
    def deadlines(self):
        """How many deadlines are kept: one for each request that was sent with one, until it has passed or been dropped."""
        return self._count

    cpdef Pending open(self, str method, object deadline, object waiter, object together=None):
        """Begin a request under a new id. Raises TooManyPending."""
        cdef Pending pending
        if len(self.pending) >= self.most_pending:
            raise TooManyPending(self.most_pending)
        self._newest_id += 1
        pending = Pending.__new__(Pending)
        pending.request_id, pending.method, pending.deadline = self._newest_id, method, deadline
        pending.waiter, pending.together = waiter, together
        self.pending[pending.request_id] = pending
        return pending

    cpdef bint sent(self, Pending pending) except -1:
        """Its bytes have gone: from now on its outcome is unknown until an answer comes, and its deadline counts.

        Is its deadline the earliest now? Deadlines of closed requests count, until `next_deadline` has dropped them.
        """
        pending.sent = True
        if pending.deadline is None:
            return False
        if self._count > 2 * <size_t>len(self.pending) + SLACK:
            self._drop_closed()
        if self._count == self._room:
            self._grow()
        self._deadlines[self._count].at = pending.deadline
        self._deadlines[self._count].request_id = pending.request_id
        self._count += 1
        return _rise(self._deadlines, self._count - 1) == 0

    cpdef Pending close(self, object request_id, object outcome):
        """End a request with its one outcome; None where none of that id is pending."""
        cdef Pending pending = self.pending.pop(request_id, None)
        if pending is not None and outcome is not _OK:
            if len(self._ended) == REMEMBERED:
                oldest = next(iter(self._ended))
                del self._ended[oldest]
                self._forgotten = max(self._forgotten, <int64_t>oldest)
            self._ended[request_id] = _ended(request_id, pending.method, outcome)
        return pending

    cpdef Pending answer(self, object request_id, object outcome):
        """End a request by its answer; None where none of that id waits for one: what was not sent has no answer yet."""
        cdef Pending pending = self.pending.get(request_id)
        return self.close(request_id, outcome) if pending is not None and pending.sent else None

    def ended(self, request_id):
        """What became of the request of this id, as far as that is remembered. An id of another type is another id.

        Not of those that were never sent: nobody can have answered them.
        """
        cdef Ended ended
        if type(request_id) is not int or not 1 <= request_id <= self._newest_id or request_id in self.pending:
            return None
        ended = self._ended.get(request_id)
        if ended is not None:
            return ended if ended.outcome is not _NOT_SENT else None
        return _ended(request_id, "", _OK) if request_id > self._forgotten else None

    def due(self, double now):
        """Close the requests whose deadline has passed: their outcome is unknown."""
        due = []
        while self._count and self._deadlines[0].at <= now:
            pending = self.close(self._take_first(), _UNKNOWN)
            if pending is not None:
                due.append(pending)
        return due

    def next_deadline(self):
        """When `due` will have something; None: never, as things are."""
        while self._count and self._deadlines[0].request_id not in self.pending:
            self._take_first()
        return self._deadlines[0].at if self._count else None

    def end_sent(self):
        """The connection is gone: close every request that was sent over it, as unknown."""
        cdef Pending pending
        sent = [pending for pending in self.pending.values() if pending.sent]
        for pending in sent:
            self.close(pending.request_id, _UNKNOWN)
        return sent

    def alone(self):
        """The requests that are pending, where they are all that went in one message, and nothing else; else nothing."""
        cdef Pending pending
        sent = [pending for pending in self.pending.values() if pending.sent]
        shared = {id(pending.together) for pending in sent}
        together = (<Pending>sent[0]).together if len(shared) == 1 else None
        return sent if together is not None and len(together) == len(sent) else []

    cdef int64_t _take_first(self) noexcept:
        """Take the earliest deadline out; there is one. Whose it is."""
        cdef int64_t request_id = self._deadlines[0].request_id
        self._count -= 1
        self._deadlines[0] = self._deadlines[self._count]
        _sink(self._deadlines, self._count)
        return request_id

    cdef int _drop_closed(self) except -1:
        """Keep the deadlines of pending requests only."""
        cdef size_t i, kept = 0
        for i in range(self._count):
            if self._deadlines[i].request_id in self.pending:
                self._deadlines[kept] = self._deadlines[i]
                _rise(self._deadlines, kept)
                kept += 1
        self._count = kept
        return 0

    cdef int _grow(self) except -1:
        """Make room for more deadlines. Raises MemoryError, with everything as it was."""
        cdef size_t room = 2 * self._room + SLACK
        cdef Deadline* deadlines = <Deadline*>PyMem_Realloc(self._deadlines, room * sizeof(Deadline))
        if deadlines == NULL:
            raise MemoryError
        self._deadlines, self._room = deadlines, room
        return 0


cdef Ended _ended(int64_t request_id, str method, object outcome):
    cdef Ended ended = Ended.__new__(Ended)
    ended.request_id, ended.method, ended.outcome = request_id, method, outcome
    return ended
