"""The exchange's heartbeat on one socket, and what happens to clients that do not answer.

Every interval a `test_request`, with a `heartbeat` beside it where no notification was sent; if the last one is still
unanswered then, the connection is closed with 4000.
Not here: the request that answers it (basic_methods.py), closing (outlet.py).
"""

import asyncio
from collections.abc import Callable

from wsx.testing.deribit.outlet import Outlet

_HEARTBEAT = b'{"params":{"type":"heartbeat"},"method":"heartbeat","jsonrpc":"2.0"}'
_TEST_REQUEST = b'{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}'


class Heartbeat:
    """interval: seconds, from now on. told: how many notifications the socket has been sent."""

    def __init__(self, outlet: Outlet, interval: float, told: Callable[[], int]) -> None:
        self._outlet = outlet
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._unanswered = False
        self._told = told
        self._told_before = told()
        self._timer = self._loop.call_later(interval, self._beat)

    def answered(self) -> None:
        """The client has sent `public/test`."""
        self._unanswered = False

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        if self._unanswered:
            self._outlet.close(4000, "heartbeat close")
            return
        if self._told() == self._told_before:
            self._outlet.send(_HEARTBEAT)
        self._outlet.send(_TEST_REQUEST)
        self._unanswered = True
        self._told_before = self._told()
        self._timer = self._loop.call_later(self._interval, self._beat)
