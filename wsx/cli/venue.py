"""Where a command finds an exchange: one on this machine that lives as long as it is needed, or a real one.

Not here: what is asked there (demo.py, book.py), endpoints that are no exchange (source.py).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wsx.adapters import deribit
from wsx.adapters.deribit.channels import Interval
from wsx.adapters.exchange import Connecting
from wsx.secret import Secret
from wsx.testing import DeribitExchange

VenueName: TypeAlias = Literal["local", "test", "prod"]

TITLES: dict[VenueName, str] = {
    "local": "the local exchange",
    "test": "Deribit's test exchange",
    "prod": "Deribit",
}

_RATE = 1200.0  # things that happen in a second on the local exchange
_SEED = 7
_CLOSE_TIMEOUT = 0.3  # seconds, of either side


class CannotBegin(Exception):
    """There is no connection, or it does not bring what was asked for; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """credentials: None without a login. exchange: the local one, or None."""

    name: VenueName
    credentials: deribit.Credentials | None
    exchange: DeribitExchange | None = None

    @property
    def interval(self) -> Interval:
        """The finest that can be had here."""
        return "raw" if self.credentials is not None else "100ms"

    def connect(self, **options: Any) -> Connecting[deribit.Deribit]:
        """A session that outlives its connections. options: as for `wsx.adapters.deribit.connect`."""
        options |= {"credentials": self.credentials or False, "reconnect": True, "close_timeout": _CLOSE_TIMEOUT}
        if self.exchange is None:
            return deribit.connect(self.name, **options)
        return deribit.connect(self.exchange.url, ssl=self.exchange.ssl_context(), **options)


@asynccontextmanager
async def open_venue(name: VenueName) -> AsyncIterator[Venue]:
    """The venue of that name. Credentials for a real one come from the environment. Raises OSError, ValueError."""
    if name != "local":
        yield Venue(name=name, credentials=deribit.Credentials.from_environment())
        return
    async with DeribitExchange(seed=_SEED, rate=_RATE, tls=True, close_timeout=_CLOSE_TIMEOUT) as exchange:
        yield Venue(name=name, credentials=deribit.Credentials("demo", Secret("demo-secret")), exchange=exchange)
