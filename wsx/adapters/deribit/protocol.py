"""Deribit's protocol, as the five verbs of an `Adapter`: logging in, its heartbeat, its channels.

    new connection ──▶ public/auth ──▶ public/set_heartbeat ──▶ private, then public channels

`test_request` is answered in compiled code, at once, past every queue; so quiet sockets live too.
Not here: what a user holds (session.py), credentials and signatures (auth.py), costs (wsx/rate_profile.py).
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from wsx.adapters.base import Adapter, Limits
from wsx.adapters.deribit.auth import Credentials, Token, login_params, revealed
from wsx.adapters.deribit.channels import is_plain
from wsx.adapters.deribit.errors import INVALID_CREDENTIALS, as_login_error, is_login_lost
from wsx.errors import RpcError
from wsx.json_rpc import JsonRpc
from wsx.message_handler import Line, MessageHandler, session_of
from wsx.route import Route

_log = logging.getLogger("wsx")
_ANSWER = b'{"jsonrpc":"2.0","id":"test_request","method":"public/test","params":{}}'
_MIN_HEARTBEAT = 10  # seconds, the exchange's
_LATEST_MS = 1 << 53  # no exchange's time is beyond it, and a later one could not be written
_SKEW_MS = 1000  # a clock that is this far off may be why a signature was refused


class DeribitAdapter(Adapter):
    """url: where. credentials: None for market data without a login. heartbeat_interval: seconds, at least 10.

    token: of the login, None without one. timeout: seconds for each request that prepares a connection, and for the
    tokens of the rate limit that it waits for. Raises TypeError and ValueError.
    """

    limits = Limits(channels=500, bytes=30_000)  # of 32 kB a frame
    timeout = 10.0

    def __init__(self, url: str, credentials: Credentials | None = None, heartbeat_interval: int = 30) -> None:
        if not isinstance(heartbeat_interval, int):
            raise TypeError(f"heartbeat_interval must be an int, not {type(heartbeat_interval).__name__}")
        if heartbeat_interval < _MIN_HEARTBEAT:
            raise ValueError(f"heartbeat_interval must be at least {_MIN_HEARTBEAT} s, not {heartbeat_interval}")
        self.url = url
        self.credentials = credentials
        self.token: Token | None = None
        self._heartbeat_interval = heartbeat_interval
        self.wait_login: Callable[[], Awaitable[object]] = _at_once  # until a login that was lost is there again
        self._said_missing: list[str] = []  # of the scope
        self._skew_ms = 0  # the exchange's clock less ours, once a signature was refused for it

    # ---- the five verbs ---------------------------------------------------------------------------------------------

    async def authenticate(self, line: Line) -> None:
        """Log in, by the tokens of a session that outlives connections where there are any. Raises
        AuthenticationFailed."""
        if self.credentials is None:
            return
        if self.credentials.session and self._is_alive():
            await self.renew(line)
        else:
            await self.login(line)

    async def heartbeat(self, line: Line) -> None:
        """Have the exchange ask regularly whether we are there, and answer."""
        MessageHandler(line).answer("heartbeat", "test_request", _ANSWER)
        await self.ask(line, "public/set_heartbeat", {"interval": self._heartbeat_interval})

    async def subscribe(self, line: Line, channels: Sequence[str]) -> Collection[str]:
        """Those of the channels that Deribit lists in its answer. Without a login, none that needs one is asked for:
        one such channel would make it refuse them all."""
        allowed = [channel for channel in channels if self.token is not None or not self.is_private(channel)]
        if not allowed:
            return ()
        acknowledged = await self._ask_about(line, "subscribe", allowed)
        if not isinstance(acknowledged, list):
            raise RpcError(0, "the answer is no list of channels", method=f"{self._scope()}/subscribe")
        return [channel for channel in acknowledged if isinstance(channel, str)]

    async def unsubscribe(self, line: Line, channels: Sequence[str]) -> None:
        await self._ask_about(line, "unsubscribe", list(channels))

    def is_private(self, channel: str) -> bool:
        """Raw feeds need a login as well."""
        return channel.startswith("user.") or channel.endswith(".raw")

    def is_name(self, channel: str) -> bool:
        return is_plain(channel)

    # ---- the login --------------------------------------------------------------------------------------------------

    async def login(self, line: Line) -> None:
        """A full login. Raises AuthenticationFailed, or RpcError for what may pass."""
        try:
            result = await self._login_by_the_clock(line)
        except RpcError as error:
            failure = as_login_error(error)
            raise failure from (error.__cause__ if failure is error else error)
        self._use(Token.from_result(result, time.monotonic()), line)

    async def renew(self, line: Line) -> None:
        """New tokens for the old ones; where the exchange does not want to, by a full login. Raises as `login`."""
        assert self.token is not None
        params = {"grant_type": "refresh_token", "refresh_token": self.token.refresh}
        try:
            token = Token.from_result(await self.ask(line, "public/auth", params), time.monotonic())
        except RpcError:
            await self.login(line)
        else:
            self._use(token, line)

    async def ask(self, line: Line, method: str, params: dict[str, Any]) -> Any:
        """A request within the rate limit, over the open client or over the route of a new connection.

        params: those that are a `Secret` are revealed on the wire alone."""
        if isinstance(line, Route):
            async with line.session.outbox.patience(self.timeout, method):
                await line.session.outbox.pay(1, method, params)
        return await JsonRpc(line).request(method, revealed(params), timeout=self.timeout)

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _ask_about(self, line: Line, verb: str, channels: list[str]) -> Any:
        """Where the exchange has lost the login, it has done nothing: once there is another one it is asked again.

        On a new connection there is none but the one that was just refused."""
        try:
            return await self.ask(line, f"{self._scope()}/{verb}", {"channels": channels})
        except RpcError as error:
            if isinstance(line, Route) or self.token is None or not is_login_lost(error):
                raise
        await self.wait_login()
        return await self.ask(line, f"{self._scope()}/{verb}", {"channels": channels})

    def _use(self, token: Token, line: Line) -> None:
        """From now on. Less than was asked for is granted without a word, so it is said here, once."""
        assert self.credentials is not None
        missing = self.credentials.missing_from(token.scope)
        if missing and missing != self._said_missing:
            name, words = session_of(line).name, " ".join(missing)
            _log.warning("%r was not granted %s; the key's scope at Deribit is %s", name, words, token.scope)
        self.token, self._said_missing = token, missing

    async def _login_by_the_clock(self, line: Line) -> Any:
        """A signature is good for 60 s around the exchange's time: where our clock is off, learn how far, once."""
        try:
            return await self._login_once(line)
        except RpcError as error:
            if error.code != INVALID_CREDENTIALS or not await self._clock_was_wrong(line):
                raise
        return await self._login_once(line)

    async def _login_once(self, line: Line) -> Any:
        assert self.credentials is not None
        timestamp_ms = time.time_ns() // 1_000_000 + self._skew_ms
        return await self.ask(line, "public/auth", login_params(self.credentials, timestamp_ms, os.urandom(8).hex()))

    async def _clock_was_wrong(self, line: Line) -> bool:
        assert self.credentials is not None
        if not self.credentials.sign:
            return False
        before = self._skew_ms
        exchange_ms = await self.ask(line, "public/get_time", {})
        if not isinstance(exchange_ms, int) or not 0 < exchange_ms < _LATEST_MS:
            return False
        self._skew_ms = exchange_ms - time.time_ns() // 1_000_000
        return abs(self._skew_ms - before) >= _SKEW_MS

    def _is_alive(self) -> bool:
        return self.token is not None and time.monotonic() < self.token.expires_at

    def _scope(self) -> str:
        return "public" if self.token is None else "private"


async def _at_once() -> None:
    """There is nothing to wait for."""
