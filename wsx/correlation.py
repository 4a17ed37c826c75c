"""Which answer belongs to which request: ids, what is pending, what has become of the rest. No I/O and no clock.

    open ──▶ pending ──▶ close(id, outcome) ──▶ remembered for a while, so that a late answer is known as one

`Strategy` is what differs between protocols: how a request is written, and how an answer is known. JSON-RPC's is in
json_rpc.py; another protocol brings its own to a `Requester`.
Times are seconds on whatever clock the caller reads; ids are integers from 1, each used once.
Not here: futures, timers, sending (requester.py).
"""

import heapq
from dataclasses import dataclass
from typing import Any, Protocol

from wsx._message import Message
from wsx.errors import Outcome, RpcError, TooManyPending

_REMEMBERED = 4096  # requests whose outcome is kept for the sake of late answers
_SLACK = 64  # deadlines of closed requests that are kept, beyond as many as are pending


class Pending:
    """One request. waiter: what the caller waits with. deadline: None for none. outcome: None while it is pending.

    together: what the requests of one message share, or None. sent: its bytes may have left.
    """

    __slots__ = ("deadline", "method", "outcome", "request_id", "sent", "together", "waiter")

    def __init__(self, request_id: int, method: str, deadline: float | None, waiter: Any, together: object) -> None:
        self.request_id, self.method, self.deadline = request_id, method, deadline
        self.waiter, self.together = waiter, together
        self.outcome: Outcome | None = None
        self.sent = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy found in a message. request_id: as the message has it. error: a refusal; None: `value` is it."""

    request_id: Any
    value: Any = None
    error: RpcError | None = None


class Strategy(Protocol):
    """How one protocol writes requests and knows answers."""

    def encode(self, request_id: int, method: str, params: Any) -> bytes:
        """The message that asks for `method`, as UTF-8. Raises TypeError or ValueError for what cannot be written."""

    def read(self, message: Message) -> Answer | None:
        """The answer that a message is, or None where it is none. Called inline, once for each message."""


class Correlator:
    """The requests of one client, over all its connections. most_pending: more are refused."""

    def __init__(self, most_pending: int = 10_000) -> None:
        self.most_pending = most_pending
        self._pending: dict[int, Pending] = {}
        self._ended: dict[int, Pending] = {}
        self._deadlines: list[tuple[float, int]] = []  # a heap; those of closed requests are dropped in time
        self._newest_id = 0

    def __len__(self) -> int:
        """How many are pending."""
        return len(self._pending)

    def open(self, method: str, deadline: float | None, waiter: Any, together: object = None) -> Pending:
        """Begin a request under a new id. Raises TooManyPending."""
        if len(self._pending) >= self.most_pending:
            raise TooManyPending(self.most_pending)
        self._newest_id = request_id = self._newest_id + 1
        pending = self._pending[request_id] = Pending(request_id, method, deadline, waiter, together)
        return pending

    def sent(self, pending: Pending) -> None:
        """Its bytes have gone: from now on its outcome is unknown until an answer comes, and its deadline counts."""
        pending.sent = True
        if pending.deadline is not None:
            heapq.heappush(self._deadlines, (pending.deadline, pending.request_id))
            if len(self._deadlines) > 2 * len(self._pending) + _SLACK:
                self._deadlines = [entry for entry in self._deadlines if entry[1] in self._pending]
                heapq.heapify(self._deadlines)

    def close(self, request_id: int, outcome: Outcome) -> Pending | None:
        """End a request with its one outcome; None where none of that id is pending."""
        pending = self._pending.pop(request_id, None)
        if pending is not None:
            pending.outcome = outcome
            if outcome is Outcome.NOT_SENT:
                return pending  # nobody can answer it
            ended = self._ended
            ended[request_id] = pending
            if len(ended) > _REMEMBERED:
                del ended[next(iter(ended))]
        return pending

    def ended(self, request_id: Any) -> Pending | None:
        """The request of this id that has its outcome, while that is remembered. An id of another type is another."""
        return self._ended.get(request_id) if type(request_id) is int else None

    def due(self, now: float) -> list[Pending]:
        """Close the requests whose deadline has passed: their outcome is unknown."""
        due = []
        while self._deadlines and self._deadlines[0][0] <= now:
            pending = self.close(heapq.heappop(self._deadlines)[1], Outcome.UNKNOWN)
            if pending is not None:
                due.append(pending)
        return due

    def next_deadline(self) -> float | None:
        """When `due` will have something; None: never, as things are."""
        while self._deadlines and self._deadlines[0][1] not in self._pending:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def end_sent(self) -> list[Pending]:
        """The connection is gone: close every request that was sent over it, as unknown."""
        sent = [pending for pending in self._pending.values() if pending.sent]
        for pending in sent:
            self.close(pending.request_id, Outcome.UNKNOWN)
        return sent

    def alone(self) -> list[Pending]:
        """The requests that are pending, where all of them went in one message; else nothing."""
        pending = [each for each in self._pending.values() if each.sent]
        shared = {id(each.together) for each in pending if each.together is not None}
        return pending if len(shared) == 1 and all(each.together is not None for each in pending) else []
