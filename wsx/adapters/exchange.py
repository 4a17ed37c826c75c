"""A session with one exchange, over as many connections as it takes.

    async with connect(MyExchange()) as exchange:
        await exchange.subscribe(["book.BTC", "trades.BTC"], on_message)      # SubscriptionRefused names what is not there

On every new connection, before user traffic flows: log in, heartbeat, private channels, public ones (`restore`).
Only acknowledged channels are restored. Whoever asks for a channel that is subscribed already shares it.
Not here: what one exchange says (base.py), what is subscribed (subscriptions.py), the connection itself (client.py).
"""

import asyncio
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from wsx.adapters.base import Adapter
from wsx.adapters.subscriptions import Subscriptions, batches
from wsx.client import Client
from wsx.client import connect as connect_client
from wsx.config import Config, make_config
from wsx.errors import SubscriptionRefused
from wsx.events import SubscriptionRefused as SubscriptionRefusedEvent
from wsx.events import SubscriptionRestored
from wsx.message_handler import Callback, Line, MessageHandler
from wsx.route import Route

_Remove = Callable[[], None]


class Exchange:
    """What a user holds of one exchange. Made by `connect`."""

    client: Client

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.subscriptions = Subscriptions()
        self._routes: dict[str, dict[Callback, _Remove]] = {}  # channel -> its callbacks, and how each is taken away
        self._turn = asyncio.Lock()  # what is asked of the exchange about channels, one after another

    async def subscribe(
        self, channels: Iterable[str], callback: Callback, *, data_timeout: float | None = None
    ) -> None:
        """Have `callback(message)` called with each message of these channels, from the first one on.

        data_timeout: seconds without data after which one of them is said to be stale (`StaleData`). Raises
        SubscriptionRefused for those that the exchange did not take, and keeps the others; else as a request does.
        """
        wanted = [channels] if isinstance(channels, str) else list(dict.fromkeys(channels))
        async with self._turn:
            added = self._listen(wanted, callback, data_timeout)
            missing = [channel for channel in wanted if channel not in self.subscriptions]
            try:
                refused = await self._ask(self.client, missing)
            except BaseException:
                self._unlisten(callback, added)
                raise
            self._unlisten(callback, refused)
        if refused:
            raise SubscriptionRefused(refused)

    async def unsubscribe(self, channels: Iterable[str], callback: Callback | None = None) -> None:
        """Call it no more; None: nobody. A channel that nobody listens to any more is given up at the exchange."""
        wanted = [channels] if isinstance(channels, str) else list(dict.fromkeys(channels))
        async with self._turn:
            self._unlisten(callback, wanted)
            unused = [channel for channel in wanted if channel in self.subscriptions and channel not in self._routes]
            self.subscriptions.forget(unused)
            for batch in batches(unused, self.adapter.limits):
                await self.adapter.unsubscribe(self.client, batch)

    async def renew(self, channels: Iterable[str]) -> None:
        """Unsubscribe and subscribe again: a fresh snapshot. Raises SubscriptionRefused."""
        wanted = [channel for channel in channels if channel in self.subscriptions]
        async with self._turn:
            for batch in batches(wanted, self.adapter.limits):
                await self.adapter.unsubscribe(self.client, batch)
            refused = await self._ask(self.client, wanted)
        if refused:
            raise SubscriptionRefused(refused)

    async def close(self) -> None:
        """Close the connection for good."""
        await self.client.close()

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        await self.client.wait_closed()

    # ---- a new connection -------------------------------------------------------------------------------------------

    async def restore(self, route: Route) -> None:
        """Prepare a new connection (an `on_open` hook): log in, heartbeat, private channels, public ones."""
        self._prepare(MessageHandler(route))
        await self.adapter.authenticate(route)
        await self.adapter.heartbeat(route)
        for channels in self.subscriptions.to_restore(self.adapter.is_private):
            refused = await self._ask(route, channels)
            for channel in channels:
                route.session.tell(
                    SubscriptionRefusedEvent if channel in refused else SubscriptionRestored, stream=channel
                )

    def _prepare(self, handler: MessageHandler) -> None:
        """Another format than JSON-RPC has a scanner of its own."""
        if type(self.adapter).route is not Adapter.route:
            handler.scan_with(self.adapter.route)

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _ask(self, line: Line, channels: list[str]) -> list[str]:
        """Ask the exchange for channels, in as many messages as it takes; those that it refused."""
        refused: list[str] = []
        for batch in batches(channels, self.adapter.limits):
            acknowledged = await self.adapter.subscribe(line, batch)
            refused += self.subscriptions.settle(batch, acknowledged)
        return refused

    def _listen(self, channels: list[str], callback: Callback, data_timeout: float | None) -> list[str]:
        """Route channels to a callback; those that it did not have."""
        handler = MessageHandler(self.client)
        added = [channel for channel in channels if callback not in self._routes.get(channel, {})]
        for channel in added:
            remove = handler.on_channel(channel, callback, data_timeout=data_timeout)
            self._routes.setdefault(channel, {})[callback] = remove
        return added

    def _unlisten(self, callback: Callback | None, channels: list[str]) -> None:
        """Take a callback, or all of them, from these channels."""
        for channel in channels:
            routes = self._routes.get(channel, {})
            for each in list(routes) if callback is None else [callback] * (callback in routes):
                routes.pop(each)()
            if not routes:
                self._routes.pop(channel, None)


_Kind = TypeVar("_Kind", bound=Exchange)


class Connecting(Generic[_Kind]):
    """What `connect` returns: awaited once, or entered once."""

    def __init__(self, exchange: _Kind, url: Any, config: Config, options: dict[str, Any]) -> None:
        self._exchange = exchange
        hooks = [exchange.restore, *config.on_open]
        self._opening = connect_client(url, config=config, on_open=hooks, **options)

    async def _connect(self) -> _Kind:
        self._exchange.client = await self._opening
        return self._exchange

    def __await__(self) -> Generator[Any, None, _Kind]:
        return self._connect().__await__()

    async def __aenter__(self) -> _Kind:
        return await self._connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.close()


def connect(
    adapter: Adapter,
    *,
    url: str | Callable[[], str] | None = None,
    on_message: Callback | None = None,
    on_event: Callable[[Any], object] | None = None,
    config: Config | None = None,
    **overrides: Any,
) -> Connecting[Exchange]:
    """Open a session with an exchange. url: None for the adapter's own. The rest: as `wsx.connect`."""
    options = {"on_message": on_message, "on_event": on_event}
    return Connecting(Exchange(adapter), url or adapter.url, make_config(config, overrides), options)
