"""A session at Deribit: what a user holds. Market data, books that keep themselves right, public requests.

    async with deribit.connect("test") as exchange:
        book = await exchange.book("BTC-PERPETUAL")
        await exchange.subscribe(deribit.ticker("BTC-PERPETUAL"), on_ticker)

Not here: the protocol (protocol.py), the requests' names (requests.py), the books' care (books.py), the login's (login.py).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from typing import Any, Literal

from wsx._book import OrderBook
from wsx._message import Message
from wsx._ratelimit import TokenBucket
from wsx.adapters.deribit import channels
from wsx.adapters.deribit.auth import Credentials
from wsx.adapters.deribit.books import LiveBook
from wsx.adapters.deribit.errors import TOO_MANY_REQUESTS
from wsx.adapters.deribit.login import LoginKeeper
from wsx.adapters.deribit.protocol import DeribitAdapter
from wsx.adapters.deribit.requests import PublicRequests
from wsx.adapters.deribit.timing import Split, Timing, times_of
from wsx.adapters.exchange import Connecting, Exchange
from wsx.config import Config, make_config
from wsx.connection import End
from wsx.correlation import Pending
from wsx.endpoint import parse_host, parse_url
from wsx.errors import RpcError, WsxError
from wsx.events import Gap, GapEvent
from wsx.json_rpc import JsonRpc
from wsx.message_handler import Callback, MessageHandler
from wsx.rate_limiter import RateLimiter
from wsx.requester import desk_of
from wsx.route import Route
from wsx.session import Session
from wsx.telemetry import EVENTS

_VENUES = {"test": "wss://test.deribit.com/ws/api/v2", "prod": "wss://www.deribit.com/ws/api/v2"}
_HOSTS = frozenset(parse_url(url).host for url in _VENUES.values())
_ANSWERED = EVENTS["request.answered"]


class Deribit(Exchange, PublicRequests):
    """One session. Made by `connect`.

    timing: how long the exchange takes, how long the wire. snapshot_timeout: seconds in which a book's snapshot has to
    come before it is asked for again.
    """

    adapter: DeribitAdapter
    snapshot_timeout = 5.0
    _session: Session
    _login: LoginKeeper

    def __init__(self, adapter: DeribitAdapter) -> None:
        super().__init__(adapter)
        self.timing = Timing()
        self._books: dict[str, LiveBook] = {}
        self._to_regain: list[str] = []  # subscribed when the login was lost
        self._lost_since_ns = 0
        self._regaining: asyncio.Task[None] | None = None

    async def request(self, method: str, params: dict[str, Any] | None = None, *, timeout: float | None = 30.0) -> Any:
        """Ask for any method, within the rate limit. Raises as `JsonRpc.request`."""
        return await JsonRpc(self.client).request(method, params, timeout=timeout)

    # ---- books ------------------------------------------------------------------------------------------------------

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

        Whoever asks for it again gets the same one. interval: "raw" needs a login. group, depth: the best levels only,
        whole each time. timeout: seconds until it is valid. Raises SubscriptionRefused, TimeoutError, or as a request
        does; ValueError for a name that cannot be one.
        """
        live = self._live(instrument, channels.book(instrument, interval, group=group, depth=depth))
        live.claims += 1
        try:
            async with asyncio.timeout(timeout):
                await self.subscribe(live.channel, live, fresh=True)
                await live.wait_valid()
        except BaseException as error:
            with contextlib.suppress(WsxError):
                await self._release(live)
            if type(error) is TimeoutError:
                raise TimeoutError(f"no snapshot of {live.channel} within {timeout:g} s; it was given up") from error
            raise
        return live.book

    async def close_book(self, book: OrderBook[Any]) -> None:
        """Keep it no more, once everybody who asked for it has said so; it shows no prices then.

        Raises KeyError for a book that is not kept here, else as `unsubscribe`.
        """
        for live in self._books.values():
            if live.book is book:
                return await self._release(live)
        raise KeyError(f"a book of {book.instrument!r} that is not kept here")

    def _live(self, instrument: str, channel: str) -> LiveBook:
        if channel not in self._books:
            book, timeout = OrderBook(instrument), self.snapshot_timeout
            self._books[channel] = LiveBook(channel, book, self._session, lambda: self.renew(channel), timeout)
        return self._books[channel]

    async def _release(self, live: LiveBook) -> None:
        live.claims -= 1
        if not live.claims:
            live.close()
            if self._books.get(live.channel) is live:
                del self._books[live.channel]
            await self.unsubscribe(live.channel, live)

    # ---- a connection's life ----------------------------------------------------------------------------------------

    async def restore(self, route: Route) -> None:
        """Prepare a new connection (an `on_open` hook)."""
        if "_session" not in self.__dict__:
            self._begin(route)
        await super().restore(route)
        self._login.start()
        for live in self._books.values():
            live.on_restored()

    def on_silent(self, channels: Collection[str]) -> None:
        """Their books show no prices until they come again."""
        for channel in channels:
            if channel in self._books:
                self._books[channel].on_silent()

    def _unlisten(self, callback: Callback | None, channels: Collection[str]) -> None:
        """A channel that was refused, or given up for everybody, has no book either."""
        super()._unlisten(callback, channels)
        for channel in channels if callback is None else ():
            if channel in self._books:
                self._books.pop(channel).close()

    def _begin(self, route: Route) -> None:
        """Once, at the first connection."""
        self._session = route.session
        told = self._on_login_lost, self._on_login_regained
        self._login = LoginKeeper(self.adapter, self._session, lambda: self.client, *told)
        desk_of(route).router.observer = self._observe
        MessageHandler(route).on_method("heartbeat", self._on_heartbeat)
        self._session.epoch_listeners.append(self._on_lost)
        self._session.closed.add_done_callback(self._on_closed)

    def _on_lost(self, end: End) -> None:
        self._login.stop()
        self._stop_regaining()
        for live in self._books.values():
            live.on_lost("connection")

    def _on_closed(self, closed: object) -> None:
        while self._books:
            self._books.popitem()[1].close()

    def _on_heartbeat(self, message: Message) -> None:
        """Answered already, in compiled code; the answer is a request like any other, and has its price."""
        limit = self._session.config.rate_limit
        if isinstance(limit, RateLimiter) and b"test_request" in message.data:
            limit.force("public/test")

    def _observe(self, pending: Pending, message: Message, error: RpcError | None) -> None:
        """Each answer: how long it took, whether the login is good, and whether the exchange has had enough."""
        self._login.note(pending, message, error)
        times = times_of(message.data)
        if times is not None:
            total_ns = message.received_ns - pending.sent_ns
            sent_wall_ns = time.time_ns() - (time.monotonic_ns() - pending.sent_ns)
            split = self.timing.note(sent_wall_ns, total_ns, *times)
            self._tell_split(pending, message, split)
        if error is not None and error.code == TOO_MANY_REQUESTS:
            self._back_off(pending.method)

    def _tell_split(self, pending: Pending, message: Message, split: Split) -> None:
        if _ANSWERED.active:
            _ANSWERED.emit(
                at_ns=message.received_ns, client=self._session.name, epoch=message.epoch, method=pending.method,
                wire_ns=split.wire_ns, exchange_ns=split.exchange_ns, offset_ns=split.offset_ns,
            )  # fmt: skip

    def _back_off(self, method: str) -> None:
        """What was thought to be left of the budget is not there."""
        limit = self._session.config.rate_limit
        if isinstance(limit, RateLimiter):
            limit.backoff(method=method)
        elif isinstance(limit, TokenBucket):
            limit.drain()

    # ---- the login --------------------------------------------------------------------------------------------------

    def _on_login_lost(self) -> None:
        """Whether the exchange still sends what needs it, nobody knows."""
        self._lost_since_ns = self._login.good_ns
        self._to_regain = [channel for channel in self.subscriptions if self.adapter.is_private(channel)]
        for channel in self._to_regain:
            if channel in self._books:
                self._books[channel].on_lost("login")

    def _on_login_regained(self) -> None:
        if self._regaining is None or self._regaining.done():  # else it goes on by itself
            self._regaining = asyncio.get_running_loop().create_task(self._regain(), name="wsx-regain")

    async def _regain(self) -> None:
        """Ask again for what needs the login; books for a snapshot. What has been missed meanwhile is said."""
        while self._to_regain:
            since_ns, (wanted, self._to_regain) = self._lost_since_ns, (self._to_regain, [])
            try:
                async with self._turn:
                    channels = [channel for channel in wanted if channel in self.subscriptions]
                    await self._ask(self.client, [channel for channel in channels if channel not in self._books])
                    await self._ask_afresh([channel for channel in channels if channel in self._books])
            except WsxError as error:
                return self._login.end_connection(error)
            self._tell_regained(channels, since_ns)

    def _tell_regained(self, channels: list[str], since_ns: int) -> None:
        for channel in channels:
            if channel in self._books:
                self._books[channel].on_restored()
            elif channel in self.subscriptions:
                self._tell_missed(channel, since_ns)

    def _tell_missed(self, channel: str, since_ns: int) -> None:
        now_ns, epoch = self._session.now_ns(), self._session.epoch
        gap = Gap(stream=channel, last_good_ns=since_ns, first_good_ns=now_ns, cause="login lost", epoch=epoch)
        self._session.ledger.add(gap)
        self._session.tell(GapEvent, gap=gap)

    def _stop_regaining(self) -> None:
        if self._regaining is not None:
            self._regaining.cancel()
            self._regaining = None


def connect(
    venue: str = "test",
    *,
    credentials: Credentials | Literal[False] | None = None,
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
    if isinstance(trusted_hosts, str):
        raise TypeError("trusted_hosts must be several hosts, not one str; write (host,)")
    for host in trusted_hosts:
        if not isinstance(host, str):
            raise TypeError(f"a trusted host must be a str, not {type(host).__name__}")
    url = _url(venue)
    found = _credentials(credentials, url, trusted_hosts)
    settings = make_config(config, overrides)
    if settings.rate_limit is None and "rate_limit" not in overrides:
        settings = make_config(settings, {"rate_limit": "deribit"})
    adapter = DeribitAdapter(url, found, heartbeat_interval)
    return Connecting(Deribit(adapter), url, settings, {"on_message": on_message, "on_event": on_event})


def _url(venue: str) -> str:
    if not isinstance(venue, str):
        raise TypeError(f"venue must be a str, not {type(venue).__name__}")
    if venue in _VENUES:
        return _VENUES[venue]
    if "://" not in venue:
        raise ValueError(f"venue must be {' or '.join(map(repr, _VENUES))}, or a URL, not {venue!r}")
    return venue


def _credentials(
    given: Credentials | Literal[False] | None, url: str, trusted_hosts: tuple[str, ...]
) -> Credentials | None:
    """Those that may go to this URL. Raises ValueError where the given ones may not."""
    endpoint = parse_url(url)
    if given is None:
        return Credentials.from_environment() if endpoint.host in _HOSTS and endpoint.secure else None
    if given is False:
        return None
    if not isinstance(given, Credentials):
        raise TypeError(f"credentials must be Credentials, None or False, not {type(given).__name__}")
    if endpoint.host not in _HOSTS.union(map(parse_host, trusted_hosts)) and not endpoint.is_loopback:
        raise ValueError(f"{endpoint.host!r} is not a host that may have the credentials; name it in trusted_hosts")
    if not endpoint.secure and not endpoint.is_loopback:
        raise ValueError("ws:// would send the login in clear; use wss:// (ws:// is allowed on this machine)")
    return given
