"""A session with one exchange, over as many connections as it takes.

    async with connect(MyExchange()) as exchange:
        await exchange.subscribe(["book.BTC", "trades.BTC"], on_message)      # SubscriptionRefused names what is not there

On every new connection, before user traffic flows: log in, heartbeat, private channels, public ones (`restore`).
Only acknowledged channels are restored. Whoever asks for a channel that is subscribed already shares it; a refused one
is nobody's: it is named, by the error and by the event `SubscriptionRefused`, and has no callbacks left. One that was
given up to be asked for afresh, and then not answered for, is said to be stale and asked for again (silence.py).
Not here: what one exchange says (base.py), what is subscribed (subscriptions.py), the connection itself (client.py).
"""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from wsx._message import Message
from wsx.adapters.base import Adapter
from wsx.adapters.silence import Silence
from wsx.adapters.subscriptions import Subscriptions, batches
from wsx.client import Client
from wsx.client import connect as connect_client
from wsx.config import Config, make_config
from wsx.errors import SubscriptionRefused
from wsx.events import SubscriptionRefused as SubscriptionRefusedEvent
from wsx.events import SubscriptionRestored
from wsx.message_handler import Callback, Line, MessageHandler, session_of
from wsx.route import Route
from wsx.session import Session, State

_Remove = Callable[[], None]


class Exchange:
    """What a user holds of one exchange. Made by `connect`."""

    client: Client

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.subscriptions = Subscriptions()
        self._routes: dict[str, dict[Callback, _Remove]] = {}  # channel -> its callbacks, and how each is taken away
        self._drains: dict[str, _Remove] = {}  # channel that was given up on this connection -> how that is undone
        self._silence = Silence(self.subscriptions, self._ask_silent)
        self._turn = asyncio.Lock()  # what is asked of the exchange about channels, one after another

    async def subscribe(
        self,
        channels: str | Iterable[str],
        callback: Callback,
        *,
        data_timeout: float | None = None,
        fresh: bool = False,
    ) -> None:
        """Have `callback(message)` called with each message of these channels, from the first one on.

        data_timeout: seconds without data after which one of them is said to be stale (`StaleData`). fresh: what this
        callback does not hear yet is asked for anew, also where others hear it already: then a snapshot comes.
        Raises SubscriptionRefused for those that the exchange did not take, and keeps the others; TypeError and
        ValueError; else as a request does: then those that were acknowledged before are kept (`subscriptions` has
        them), and the same call asks for the rest.
        """
        wanted = _names(channels, self.adapter)
        async with self._turn:
            added = self._listen(wanted, callback, data_timeout)
            try:
                refused = await self._ask_afresh(
                    [name for name in wanted if self._lacks(name, fresh and name in added)]
                )
            except BaseException:
                self._unlisten(callback, [channel for channel in added if channel not in self.subscriptions])
                raise
        if refused:
            raise SubscriptionRefused(refused)

    async def unsubscribe(self, channels: str | Iterable[str], callback: Callback | None = None) -> None:
        """Call it no more; None: nobody. A channel that nobody listens to any more is given up at the exchange.

        Where no connection is open there is nothing to give up: the next one does not ask for it. Raises as a request
        does; the channel is not restored then either, and what still comes of it reaches nobody.
        """
        wanted = _names(channels, self.adapter)
        async with self._turn:
            self._unlisten(callback, wanted)
            unused = [channel for channel in wanted if self._may_come(channel) and channel not in self._routes]
            self.subscriptions.forget(unused)
            if self.client.state is State.OPEN:
                await self._give_up(unused)
                self.subscriptions.answered(unused)

    async def renew(self, channels: str | Iterable[str]) -> None:
        """Unsubscribe and subscribe again those that are subscribed: a fresh snapshot. Raises as `subscribe`."""
        wanted = _names(channels, self.adapter)
        async with self._turn:
            refused = await self._ask_afresh([channel for channel in wanted if channel in self.subscriptions])
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
        async with self._turn:  # whoever had it met the end of the connection before
            self._prepare(MessageHandler(route))
            await self.adapter.authenticate(route)
            await self.adapter.heartbeat(route)
            for channels in self.subscriptions.to_restore(self.adapter.is_private):
                refused = await self._ask(route, channels)
                for channel in channels:
                    if channel not in refused:
                        route.session.tell(SubscriptionRestored, stream=channel)

    def on_refused(self, channels: Collection[str], session: Session) -> None:
        """The exchange does not send these: nobody listens to them any more, and that is said."""
        self._unlisten(None, channels)
        for channel in channels:
            session.tell(SubscriptionRefusedEvent, stream=channel)

    def on_silent(self, channels: Collection[str]) -> None:
        """These are subscribed, and nobody knows whether they come: said already, and being asked for again."""

    def _prepare(self, handler: MessageHandler) -> None:
        """Another format than JSON-RPC has a scanner of its own. Of what was given up nothing comes any more."""
        if type(self.adapter).route is not Adapter.route:
            handler.scan_with(self.adapter.route)
        while self._drains:
            self._drains.popitem()[1]()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _lacks(self, channel: str, fresh: bool) -> bool:
        """Whether the exchange has to be asked for it."""
        return fresh or channel not in self.subscriptions or self.subscriptions.is_unsure(channel)

    def _may_come(self, channel: str) -> bool:
        """Whether the exchange sends it, as far as anybody knows."""
        return channel in self.subscriptions or self.subscriptions.is_unsure(channel)

    async def _ask_afresh(self, channels: list[str]) -> list[str]:
        """Ask for channels over the open connection; what may be subscribed there is given up first: the exchange sends
        no second snapshot of a live channel. Where that ends half-way, those who hear them already are not forgotten."""
        known = [channel for channel in channels if self._may_come(channel)]
        try:
            await self._give_up(known)
            return await self._ask(self.client, channels)
        except BaseException:
            if self.client.state is State.OPEN:  # else the next connection asks for them
                self.on_silent(self._silence.begin(known, self.client))
            raise

    async def _ask_silent(self, channels: list[str]) -> None:
        """Once more, unless that has been done meanwhile."""
        async with self._turn:
            await self._ask_afresh([channel for channel in channels if self.subscriptions.is_unsure(channel)])

    async def _ask(self, line: Line, channels: list[str]) -> list[str]:
        """Ask the exchange for channels, in as many messages as it takes; those that it refused, which is said at once:
        the next message may fail."""
        refused: list[str] = []
        for batch in batches(channels, self.adapter.limits):
            self.subscriptions.ask(batch)
            acknowledged = await self.adapter.subscribe(line, batch)
            if acknowledged is None or isinstance(acknowledged, str):
                raise TypeError(f"subscribe of an Adapter gives the acknowledged channels, not {acknowledged!r}")
            refused += (missing := self.subscriptions.settle(batch, acknowledged))
            self.on_refused(missing, session_of(line))
        return refused

    async def _give_up(self, channels: list[str]) -> None:
        """Have the exchange send them no more."""
        for batch in batches(channels, self.adapter.limits):
            self.subscriptions.ask(batch)
            await self.adapter.unsubscribe(self.client, batch)

    def _listen(self, channels: list[str], callback: Callback, data_timeout: float | None) -> list[str]:
        """Route channels to a callback, all of them or none; those that it did not have."""
        handler = MessageHandler(self.client)
        added: list[str] = []
        try:
            for channel in channels:
                if callback not in self._routes.get(channel, {}):
                    remove = handler.on_channel(channel, callback, data_timeout=data_timeout)
                    self._routes.setdefault(channel, {})[callback] = remove
                    self._drains.pop(channel, _nothing)()
                    added.append(channel)
        except BaseException:
            self._unlisten(callback, added)
            raise
        return added

    def _unlisten(self, callback: Callback | None, channels: Collection[str]) -> None:
        """Take a callback, or all of them, from these channels; what still comes for nobody is not the user's."""
        for channel in channels:
            routes = self._routes.get(channel, {})
            for each in list(routes) if callback is None else [callback] * (callback in routes):
                remove = routes.pop(each)
                if not routes:
                    del self._routes[channel]
                    self._drains[channel] = MessageHandler(self.client).on_channel(channel, _drop)
                remove()


def _names(channels: str | Iterable[str], adapter: Adapter) -> list[str]:
    """Each channel once. Raises TypeError for what is no text, ValueError for what is no name or fits into no message."""
    names = [channels] if isinstance(channels, str) else list(dict.fromkeys(channels))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a channel must be a str, not {type(name).__name__}")
        if not adapter.is_name(name):
            raise ValueError(f"{name!r} cannot be a channel's name; nothing was sent")
    for _ in batches(names, adapter.limits):
        pass
    return names


def _drop(message: Message) -> None:
    """What still comes of a channel that nobody wants."""


def _nothing() -> None:
    """There is nothing to undo."""


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
