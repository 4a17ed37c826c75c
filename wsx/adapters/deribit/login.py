"""The login of a session, kept good while a connection is open.

    login ──▶ at 80 % of its life: renewed
          └─▶ lost before that: one new login for all who met it, then `on_regained` of the session

Where that fails, the connection is ended: a person is needed, or another connection.
Not here: how one logs in (protocol.py), the login of a new connection (wsx/adapters/exchange.py).
"""

import asyncio
import time
from collections.abc import Callable

from wsx._message import Message
from wsx.adapters.deribit.errors import is_login_lost
from wsx.adapters.deribit.protocol import DeribitAdapter
from wsx.correlation import Pending
from wsx.errors import AuthenticationFailed, RestoreFailed, RpcError, WsxError
from wsx.message_handler import Line
from wsx.session import Session, State

_LOGIN = "public/auth"
_PAUSE = 0.5  # seconds between two logins for lost ones: a request with a token of its own, a wrong one, looks like one


class LoginKeeper:
    """The care for one session's login. line(): the open client. on_lost(): what needs it is lost; on_regained(): is
    to be asked for again. good_ns: when the exchange last honoured it, monotonic.
    """

    def __init__(
        self, adapter: DeribitAdapter, session: Session, line: Callable[[], Line], on_lost: Callable[[], None],
        on_regained: Callable[[], None],
    ) -> None:  # fmt: skip
        self.good_ns = 0
        self._adapter, self._session, self._line = adapter, session, line
        self._on_lost, self._on_regained = on_lost, on_regained
        self._lost, self._pause_until = False, 0.0
        self._regained = asyncio.Event()  # nobody has to wait for a login
        self._regained.set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        adapter.wait_login = self._regained.wait

    def start(self) -> None:
        """A new connection has logged in: renew the tokens before they expire."""
        if (token := self._adapter.token) is not None:
            self.good_ns = max(self.good_ns, token.issued_ns)
            self._plan(max(token.refresh_at - time.monotonic(), 0))

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._timer = self._task = None
        self._lost = False
        self._regained.set()  # whoever waits finds no connection

    def note(self, pending: Pending, message: Message, error: RpcError | None) -> None:
        """An answer: does the exchange still know the login?"""
        if self._adapter.token is None or self._session.state is not State.OPEN:
            return
        if error is None and pending.method.startswith("private/"):
            self.good_ns = message.received_ns
        elif error is not None and is_login_lost(error) and pending.method != _LOGIN:
            self._lose(pending.sent_ns)

    def end_connection(self, error: WsxError) -> None:
        """It is good for nothing without the login."""
        connection = self._session.connection
        assert connection is not None  # its end would have cancelled whoever asks
        if not isinstance(error, AuthenticationFailed):
            failure = RestoreFailed(f"the login could not be renewed: {error}")
            failure.__cause__ = error
            error = failure
        connection.fail(error, 1000)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _lose(self, sent_ns: int) -> None:
        """sent_ns: what was asked before the newest login went by the one before."""
        assert self._adapter.token is not None
        if self._lost or sent_ns <= self._adapter.token.issued_ns:
            return
        self._lost = True
        self._regained.clear()
        if self._task is None:  # else new tokens are on their way
            now = time.monotonic()
            self._plan(max(self._pause_until - now, 0))
            self._pause_until = max(self._pause_until, now) + _PAUSE
        self._on_lost()

    def _plan(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._renew(), name="wsx-login")

    async def _renew(self) -> None:
        try:
            await self._session.wait_open()  # a token may live shorter than the other hooks take
            await (self._adapter.login if self._lost else self._adapter.renew)(self._line())
        except WsxError as error:
            self.end_connection(error)
            return
        self._task = None
        self.start()
        if self._lost:
            self._lost = False
            self._regained.set()
            self._on_regained()
