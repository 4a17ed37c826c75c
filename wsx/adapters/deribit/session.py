"""A session at Deribit: what a user holds. Market data, books that keep themselves right, public requests.

    async with deribit.connect("test") as exchange:
        book = await exchange.book("BTC-PERPETUAL")
        await exchange.subscribe(deribit.ticker("BTC-PERPETUAL"), on_ticker)

Not here: the protocol (protocol.py), the requests' names (requests.py), the books' care (books.py).
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from wsx._book import OrderBook
from wsx._message import Message
from wsx.adapters.deribit import channels
from wsx.adapters.deribit.auth import Credentials
from wsx.adapters.deribit.books import LiveBook
from wsx.adapters.deribit.errors import TOO_MANY_REQUESTS
from wsx.adapters.deribit.protocol import DeribitAdapter
from wsx.adapters.deribit.requests import PublicRequests
from wsx.adapters.deribit.timing import Timing
from wsx.adapters.exchange import Connecting, Exchange
from wsx.config import Config, make_config
from wsx.connection import End
from wsx.correlation import Pending
from wsx.endpoint import parse_url
from wsx.errors import AuthenticationFailed, RpcError, WsxError
from wsx.json_rpc import JsonRpc
from wsx.message_handler import Callback
from wsx.rate_limiter import RateLimiter
from wsx.requester import desk_of
from wsx.route import Route

_VENUES = {"test": "wss://test.deribit.com/ws/api/v2", "prod": "wss://www.deribit.com/ws/api/v2"}
_HOSTS = frozenset(parse_url(url).host for url in _VENUES.values())
_TIMES = re.compile(rb'"usIn":(\d{1,18}),"usOut":(\d{1,18})')
_TAIL = 200  # bytes of an answer's end that hold its times


class Deribit(Exchange, PublicRequests):
    """One session. Made by `connect`. timing: how long the exchange takes, how long the wire."""

    adapter: DeribitAdapter

    def __init__(self, adapter: DeribitAdapter) -> None:
        super().__init__(adapter)
        self.timing = Timing()
        self._limiter: Any = None
        self._books: dict[str, LiveBook] = {}
        self._refresh_timer: asyncio.TimerHandle | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def request(self, method: str, params: dict[str, Any] | None = None, *, timeout: float | None = 30.0) -> Any:
        """Ask for any method, within the rate limit. Raises as `JsonRpc.request`."""
        return await JsonRpc(self.client).request(method, params, timeout=timeout)

    async def book(
        self,
        instrument: str,
        interval: channels.Interval = "100ms",
        *,
        group: str | int | None = None,
        depth: int | None = None,
        timeout: float = 10,
    ) -> OrderBook[float]:
        """The order book of an instrument, kept right from now on; it is valid when this returns.

        interval: "raw" needs a login. group, depth: the best levels only, whole each time. timeout: seconds for the
        first snapshot. Raises SubscriptionRefused, TimeoutError; ValueError for a name that cannot be one.
        """
        channel = channels.book(instrument, interval, group=group, depth=depth)
        live = self._books.get(channel)
        if live is None:
            live = LiveBook(channel, OrderBook(instrument), self.client._session, lambda: self.renew([channel]))
            await self.subscribe(channel, live)
            self._books[channel] = live
        async with asyncio.timeout(timeout):
            await live.wait_valid()
        return live.book

    async def close_book(self, book: OrderBook[Any]) -> None:
        """Keep it no more; it shows no prices from now on. Raises KeyError for a book that is not kept here."""
        channel = next(name for name, live in self._books.items() if live.book is book)
        live = self._books.pop(channel)
        await self.unsubscribe(channel, live)
        live.close()

    # ---- a connection's life ----------------------------------------------------------------------------------------

    async def restore(self, route: Route) -> None:
        """Prepare a new connection (an `on_open` hook)."""
        desk = desk_of(route)
        if desk.router.observer is None:
            desk.router.observer, self._limiter = self._observe, route.session.config.rate_limit
            route.session.epoch_listeners.append(self._on_lost)
        await super().restore(route)
        self._plan_refresh()

    def _on_lost(self, end: End) -> None:
        self._stop_refreshing()
        for live in self._books.values():
            live.on_lost(end)

    def _observe(self, pending: Pending, message: Message, error: RpcError | None) -> None:
        """Each answer: how long it took, and whether the exchange has had enough."""
        times = _TIMES.search(message.data, max(len(message.data) - _TAIL, 0))
        if times is not None:
            total_ns = message.received_ns - pending.sent_ns
            sent_wall_ns = time.time_ns() - (time.monotonic_ns() - pending.sent_ns)
            self.timing.note(sent_wall_ns, total_ns, int(times[1]), int(times[2]))
        if error is not None and error.code == TOO_MANY_REQUESTS and isinstance(self._limiter, RateLimiter):
            self._limiter.backoff(method=pending.method)

    # ---- tokens -----------------------------------------------------------------------------------------------------

    def _plan_refresh(self) -> None:
        """Renew the tokens before they expire."""
        token = self.adapter.token
        self._stop_refreshing()
        if token is not None:
            wait = max(token.refresh_at - time.monotonic(), 0)
            self._refresh_timer = asyncio.get_running_loop().call_later(wait, self._begin_refresh)

    def _begin_refresh(self) -> None:
        self._refresh_timer = None
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh(), name="wsx-refresh")

    async def _refresh(self) -> None:
        """By the refresh token; else by a full login; else a person is needed. A lost connection is not for here."""
        try:
            if not await self.adapter.refresh(self.client):
                await self.adapter.login(self.client)
        except AuthenticationFailed as error:
            connection = self.client._session.connection
            if connection is not None:
                connection.fail(error, 1000)
            return None
        except WsxError:
            return self.client.reconnect() if self.client.state == "open" else None
        self._refreshing = None
        self._plan_refresh()

    def _stop_refreshing(self) -> None:
        if self._refresh_timer is not None:
            self._refresh_timer.cancel()
        if self._refreshing is not None and self._refreshing is not asyncio.current_task():
            self._refreshing.cancel()
        self._refresh_timer = self._refreshing = None


def connect(
    venue: str = "test",
    *,
    credentials: Credentials | bool | None = None,
    trusted_hosts: tuple[str, ...] = (),
    heartbeat_interval: int = 30,
    on_message: Callback | None = None,
    on_event: Callable[[Any], object] | None = None,
    config: Config | None = None,
    **overrides: Any,
) -> Connecting[Deribit]:
    """Open a session: `exchange = await connect()`, or `async with connect() as exchange`.

    venue: "test", "prod", or a URL. credentials: None for those of the environment (DERIBIT_CLIENT_ID and
    DERIBIT_CLIENT_SECRET, which go to Deribit's own hosts alone), False for none. trusted_hosts: other hosts that may
    have the given credentials; this machine always may. heartbeat_interval: seconds, at least 10. The rest: as
    `wsx.connect`; the rate limit is Deribit's unless another is given. Raises TypeError and ValueError here.
    """
    url = _VENUES.get(venue, venue)
    found = _credentials(credentials, url, trusted_hosts)
    settings = make_config(config, overrides)
    if settings.rate_limit is None and "rate_limit" not in overrides:
        settings = make_config(settings, {"rate_limit": "deribit"})
    adapter = DeribitAdapter(url, found, heartbeat_interval)
    return Connecting(Deribit(adapter), url, settings, {"on_message": on_message, "on_event": on_event})


def _credentials(given: Credentials | bool | None, url: str, trusted_hosts: tuple[str, ...]) -> Credentials | None:
    """Those that may go to this URL. Raises ValueError where the given ones may not."""
    endpoint = parse_url(url)
    if given is None:
        return Credentials.from_environment() if endpoint.host in _HOSTS and endpoint.secure else None
    if given is False:
        return None
    if not isinstance(given, Credentials):
        raise TypeError(f"credentials must be Credentials, None or False, not {type(given).__name__}")
    if endpoint.host not in _HOSTS.union(trusted_hosts) and not endpoint.is_loopback:
        raise ValueError(f"{endpoint.host!r} is not a host that may have the credentials; name it in trusted_hosts")
    if not endpoint.secure and not endpoint.is_loopback:
        raise ValueError("ws:// would send the login in clear; use wss:// (ws:// is allowed on this machine)")
    return given
