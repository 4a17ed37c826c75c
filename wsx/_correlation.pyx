"""Which answer belongs to which request: ids, what is pending, what has become of the rest. No I/O and no clock.

    open ──▶ sent ──▶ close(id, outcome) ──▶ remembered for a while, so that a late answer is known as one

Times are seconds on whatever clock the caller reads; ids are integers from 1, each used once. Compiled because every
request and every answer passes here.
Not here: futures, timers, sending (requester.py), how a protocol writes and knows them (correlation.py).
"""

cimport cython

from heapq import heapify as _heapify
from heapq import heappop as _heappop
from heapq import heappush as _heappush

from wsx.errors import Outcome, TooManyPending

cdef enum:
    REMEMBERED = 4096                    # as many requests back an outcome is kept, for the sake of late answers
    SLACK = 64                           # deadlines of closed requests that are kept, beyond as many as are pending

cdef object _NOT_SENT = Outcome.NOT_SENT
cdef object _UNKNOWN = Outcome.UNKNOWN


@cython.final
cdef class Pending:
    """One request without an outcome yet. waiter: what the caller waits with. deadline: None for none.

    together: what the requests of one message share, or None. sent: its bytes may have left. whole: its caller wants
    the message that answers it, not the result alone.
    """


@cython.final
@cython.freelist(64)
@cython.no_gc
cdef class Ended:
    """What became of a request."""


@cython.final
cdef class Correlator:
    """The requests of one client, over all its connections. most_pending: more are refused."""

    def __cinit__(self, Py_ssize_t most_pending=10_000):
        self.most_pending = most_pending
        self.pending, self.deadlines, self._ended = {}, [], [None] * REMEMBERED

    def __len__(self):
        """How many are pending."""
        return len(self.pending)

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
        planned = (pending.deadline, pending.request_id)
        _heappush(self.deadlines, planned)
        if len(self.deadlines) > 2 * len(self.pending) + SLACK:
            self.deadlines = [entry for entry in self.deadlines if entry[1] in self.pending]
            _heapify(self.deadlines)
        return self.deadlines[0] is planned

    cpdef Pending close(self, object request_id, object outcome):
        """End a request with its one outcome; None where none of that id is pending."""
        cdef Pending pending = self.pending.pop(request_id, None)
        if pending is not None:
            if outcome is not _NOT_SENT: # else nobody can answer it
                self._ended[<int64_t>request_id % REMEMBERED] = _ended(request_id, pending.method, outcome)
        return pending

    def ended(self, request_id):
        """What became of the request of this id, while that is remembered. An id of another type is another id."""
        cdef Ended ended
        if type(request_id) is not int or not 1 <= request_id <= self._newest_id:
            return None
        ended = self._ended[<int64_t>request_id % REMEMBERED]
        return ended if ended is not None and ended.request_id == request_id else None

    def due(self, double now):
        """Close the requests whose deadline has passed: their outcome is unknown."""
        due = []
        while self.deadlines and self.deadlines[0][0] <= now:
            pending = self.close(_heappop(self.deadlines)[1], _UNKNOWN)
            if pending is not None:
                due.append(pending)
        return due

    def next_deadline(self):
        """When `due` will have something; None: never, as things are."""
        while self.deadlines and self.deadlines[0][1] not in self.pending:
            _heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None

    def end_sent(self):
        """The connection is gone: close every request that was sent over it, as unknown."""
        cdef Pending pending
        sent = [pending for pending in self.pending.values() if pending.sent]
        for pending in sent:
            self.close(pending.request_id, _UNKNOWN)
        return sent

    def alone(self):
        """The requests that are pending, where all of them went in one message; else nothing."""
        cdef Pending pending
        sent = [pending for pending in self.pending.values() if pending.sent]
        shared = {id(pending.together) for pending in sent}
        return sent if len(shared) == 1 and (<Pending>sent[0]).together is not None else []


cdef Ended _ended(int64_t request_id, str method, object outcome):
    cdef Ended ended = Ended.__new__(Ended)
    ended.request_id, ended.method, ended.outcome = request_id, method, outcome
    return ended
