"""The part of a requester that runs once per request: asking, and waiting for the answer.

`Asking` holds what the hot path needs as C fields; `Requester` (requester.py) is its Python half and says what happens
to a request that has to wait, is given up or is late.
Not here: ids and outcomes (_correlation.pyx), answers (_router.pyx).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from enum import Enum

from orjson import dumps as _dumps

from wsx._clock cimport monotonic_ns
from wsx._correlation cimport Pending

from wsx.errors import Backpressure, RateLimited, SendTimeout

cdef dict _heads = {}                    # method -> how its requests begin
cdef const char* ID = b',"id":'
cdef const char* PARAMS = b',"params":'
cdef enum:
    MOST_HEADS = 1024
    ID_BYTES = 6
    PARAMS_BYTES = 10
    MOST_DIGITS = 20                     # of 64 bits


cdef class Asking:
    """The compiled half of a requester."""

    def _attach(self, correlator, loop, write, encode):
        """What it keeps for its whole life. write: None where every request has to ask for its tokens first."""
        self.correlator, self._create_future, self._time = correlator, loop.create_future, loop.time
        self._write, self._encode = write, encode

    async def request(self, str method not None, params=None, *, timeout=30.0, deadline=None, bint whole=False):
        """Ask, and give the result. timeout: seconds for all of it. deadline: the same on the loop's clock (`loop.time()`).

        The earlier of the two counts; where it has passed already, nothing is sent. whole: give the `Message` that answers
        instead, for what stands beside its result (Deribit's usIn and usOut) and when it came. Raises an error whose
        `outcome` says what became of the request: `rejected` (RpcError); `not_sent` (NotConnected, ConnectionClosed,
        SendTimeout, TooManyPending); `unknown` (AnswerTimeout, OutcomeUnknown). TypeError and ValueError for wrong
        arguments.
        """
        cdef Pending pending
        waiter = self._create_future()
        pending = self.correlator.open(method, self._until(method, timeout, deadline), waiter)
        pending.whole = whole
        try:
            payload = self._encode(pending.request_id, method, params)
            if not self._write_at_once(payload):
                await self._send_patiently(payload, [(1, method, params)], pending.deadline)
            self._sent(pending)
            return await waiter
        except BaseException:
            self._abandon(pending)
            raise

    cpdef bint _write_at_once(self, object payload) except -1:
        """Write a message. False where it has to wait for tokens or for room."""
        if self._write is None:
            return False
        try:
            self._write(payload, text=True)
        except (RateLimited, Backpressure):
            return False
        return True

    cpdef object _until(self, str method, object timeout, object deadline):
        """When the waiting ends, on the loop's clock; None: never. Raises SendTimeout where that has passed already."""
        if timeout is None and deadline is None:
            return None
        now = self._time()
        if timeout is not None:
            if not timeout > 0:
                raise ValueError(f"timeout must be more than 0 seconds, or None, got {timeout!r}")
            until = now + timeout
            if deadline is None or until < deadline:
                return until
        if not deadline > now:
            if deadline != deadline:
                raise ValueError("deadline must be a time of the loop's clock, or None, got nan")
            raise SendTimeout(0.0, method)
        return float(deadline)

    cpdef object _sent(self, Pending pending):
        """Its bytes have gone."""
        pending.sent_ns = monotonic_ns()
        if self.correlator.sent(pending):
            self._set_timer(pending.deadline)

    async def _send_patiently(self, payload, charges, deadline):
        """Write it once there are tokens and room; the requester knows how."""
        raise NotImplementedError

    def _set_timer(self, deadline):
        """No deadline is earlier than this one; the requester knows what to do then."""
        raise NotImplementedError

    def _abandon(self, pending):
        """Its caller waits no more."""
        raise NotImplementedError


def write_request(request_id, str method not None, params) -> bytes:
    """A JSON-RPC 2.0 request; a notification where `request_id` is None.

    Raises TypeError for params that are neither dict nor list (JSON-RPC 2.0, 4.2) or cannot be written; ValueError for
    a number without a finite value.
    """
    cdef bytes head = _heads.get(method) or _head(method)
    cdef bytes written = _params(params)
    cdef char identity[ID_BYTES + MOST_DIGITS]
    cdef char* end = identity + ID_BYTES + MOST_DIGITS
    cdef char* start = end if request_id is None else _identity(end, request_id)
    message = PyBytes_FromStringAndSize(NULL, len(head) + (end - start) + PARAMS_BYTES + len(written) + 1)
    cdef char* at = _put(PyBytes_AS_STRING(message), PyBytes_AS_STRING(head), len(head))
    at = _put(at, start, end - start)
    at = _put(at, PARAMS, PARAMS_BYTES)
    at = _put(at, PyBytes_AS_STRING(written), len(written))
    at[0] = 125                          # }
    return message


cdef inline char* _put(char* at, const char* text, size_t size) noexcept:
    """Copy a part of a message: where the next one begins."""
    memcpy(at, text, size)
    return at + size


cdef char* _identity(char* end, uint64_t request_id) noexcept:
    """Write the id's member so that it ends at `end`: where it begins."""
    while True:
        end -= 1
        end[0] = 48 + request_id % 10    # 0-9
        request_id //= 10
        if not request_id:
            return <char*>memcpy(end - ID_BYTES, ID, ID_BYTES)


cdef bytes _head(str method):
    if len(_heads) >= MOST_HEADS:
        _heads.clear()
    _heads[method] = head = b'{"jsonrpc":"2.0","method":' + _dumps(method)
    return head


cdef bytes _params(params):
    cdef bytes written
    if params is None:
        return b"{}"
    if not isinstance(params, (dict, list, tuple)):
        raise TypeError(f"params must be a dict, or a list (JSON-RPC 2.0, 4.2), not {type(params).__name__}")
    written = _dumps(params)
    if b"null" in written:
        _check_finite(params)
    return written


cdef int _check_finite(value) except -1:
    """orjson writes what is no number as null."""
    if isinstance(value, float) and not value - value == 0:
        raise ValueError(f"{value} is no JSON number; nothing was sent")
    if isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_finite(inner)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            if name[:1] != "_":          # else orjson does not write it
                _check_finite(getattr(value, name, None))
    elif isinstance(value, Enum):
        _check_finite(value.value)
    return 0
