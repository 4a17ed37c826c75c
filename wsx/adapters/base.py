"""What an exchange's adapter says about its exchange: five verbs. Everything else is done for it (exchange.py).

    class MyExchange(Adapter):
        url = "wss://..."
        async def subscribe(self, line, channels): ...      # the one verb that every exchange needs
        async def unsubscribe(self, line, channels): ...

`line` is where a verb talks to the exchange: the route of a new connection that is being prepared, or the open client.
Both go with `JsonRpc(line)`, or with `line.send(data)` where the protocol is another.
Not here: what is subscribed, restoring it, callbacks (exchange.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wsx.message_handler import Line


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one subscribe message may hold. channels: how many. bytes: of their names as JSON writes them, quotes,
    escapes and commas included."""

    channels: int = 100
    bytes: int = 16_000


class Adapter:
    """One exchange's protocol; subclass it. url: where a connection goes.

    limits: of one subscribe message; more channels than that are asked for in several. Each verb is awaited and may
    raise; what it raises while a connection is prepared ends that attempt as the error says (AuthenticationFailed:
    HALTED). They are called one after another, never two at a time, so each has to end by itself: within a timeout, and
    when the connection does. Requests of `JsonRpc` and `Requester` do.
    """

    url: str = ""
    limits = Limits()

    async def authenticate(self, line: Line) -> None:
        """Log in on a new connection, before anything else. Raise `wsx.errors.AuthenticationFailed` where refused."""

    async def heartbeat(self, line: Line) -> None:
        """Ask a new connection for the exchange's own heartbeat, or begin one."""

    async def subscribe(self, line: Line, channels: Sequence[str]) -> Collection[str]:
        """Ask for the channels: those that the exchange acknowledged. What is missing counts as refused."""
        raise NotImplementedError

    async def unsubscribe(self, line: Line, channels: Sequence[str]) -> None:
        """Give the channels up."""
        raise NotImplementedError

    def route(self, data: bytes) -> str | None:
        """The channel that a message belongs to; called for each message, so it should be quick.

        Overridden only where messages are not JSON-RPC notifications with `params.channel`, which compiled code routes.
        """
        raise NotImplementedError

    def is_private(self, channel: str) -> bool:
        """Whether a channel needs the login: those are restored first."""
        return False

    def is_name(self, channel: str) -> bool:
        """Whether it can be a channel's name: what cannot is refused before anything is sent."""
        return bool(channel) and channel.isprintable()
