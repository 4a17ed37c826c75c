"""JSON-RPC 2.0 over a client: requests, batches, notifications both ways.

    rpc = JsonRpc(client)                      # or of the route of an on_open hook: the same ids, the same pending requests
    result = await rpc.request("public/get_time", timeout=2)
    rpc.on("subscription", on_subscription)    # callback(message); by channel: message_handler.py

Only an answer's result or error is parsed; whole numbers are exact. `params` is always written, `{}` where none is given.
Not here: outcomes and deadlines (requester.py), which answer is whose (correlation.py), the answer's envelope (_router.pyx).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from wsx._asking import write_request
from wsx.correlation import Pending
from wsx.errors import Outcome, WsxError
from wsx.message_handler import Callback, Line, MessageHandler
from wsx.outbox import Charge
from wsx.requester import Requester

Call: TypeAlias = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one member of a batch: its `result` where the outcome is ok, else its `error`."""

    outcome: Outcome
    result: Any = None
    error: WsxError | None = None


class JsonRpc(Requester):
    """JSON-RPC 2.0 for a client. line: the client, or the `Route` that an `on_open` hook of it was given.

    Answers are taken out of the client's messages. What answers nothing is an event: `UnexpectedAnswer`, `LateAnswer`,
    or `ProtocolError` where it is no JSON-RPC. All of a client's share one table of pending requests, which the session
    ends with each connection. most_pending: how many may wait at once; None: as it is (10,000 at first).
    """

    def __init__(self, line: Line, *, most_pending: int | None = None) -> None:
        self._begin(line, JsonRpc, write_request, most_pending)  # the router finds JSON-RPC's answers by itself
        self._handler = MessageHandler(line)

    async def batch(
        self, calls: Sequence[Call], *, timeout: float | None = 30.0, deadline: float | None = None
    ) -> list[Settled]:
        """Ask for several `(method, params)` in one message; what became of each, in the order of asking.

        timeout, deadline: as for `request`. Where nothing could be sent, that is raised as `request` does; under a limit
        by method, tokens that members have taken by then are not given back. Raises ValueError for an empty batch (JSON-RPC 2.0, 6).
        """
        if not calls:
            raise ValueError("a batch needs at least one call (JSON-RPC 2.0, 6); nothing was sent")
        until = self._until("the batch", timeout, deadline)
        members: list[Pending] = []
        try:
            payloads = [self._open(members, method, params, until) for method, params in calls]
            await self._send_together(b"[" + b",".join(payloads) + b"]", members, self._charges(calls))
            await asyncio.wait([pending.waiter for pending in members])
        except BaseException:
            for pending in members:
                self._desk.abandon(pending)
                pending.waiter.cancel()
            raise
        return [_settled(pending.waiter) for pending in members]

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification, which nobody answers. Raises as `client.send_nowait`, or as `Route.send` on a route."""
        charge = {"method": method} if self._by_method else {}
        self._write_now(write_request(None, method, params), text=True, **charge)

    def on(self, method: str, callback: Callback) -> Callable[[], None]:
        """Call it with each message of the other side that has this method. What it returns takes it away again."""
        return self._handler.on_method(method, callback)

    async def _send_together(self, payload: bytes, members: list[Pending], charges: list[Charge]) -> None:
        if not self._write_at_once(payload):
            await self._send_patiently(payload, charges, members[0].deadline)
        for pending in members:
            self._sent(pending)

    def _charges(self, calls: Sequence[Call]) -> list[Charge]:
        """A batch is one message; where a method has its own price, each member pays it."""
        return [(1, method, params) for method, params in calls] if self._by_method else [(1, "the batch", None)]

    def _open(self, members: list[Pending], method: str, params: Any, until: float | None) -> bytes:
        waiter = self._desk.loop.create_future()
        pending = self._desk.correlator.open(method, until, waiter, together=members)
        members.append(pending)
        return write_request(pending.request_id, method, params)


def _settled(waiter: "asyncio.Future[Any]") -> Settled:
    error = waiter.exception()
    if error is None:
        return Settled(Outcome.OK, result=waiter.result())
    assert isinstance(error, WsxError) and error.outcome is not None
    return Settled(error.outcome, error=error)
