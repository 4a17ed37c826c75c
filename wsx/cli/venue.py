"""Where a command finds an exchange: one on this machine that lives as long as it is needed, or a real one.

Not here: what is asked there (demo.py, book.py), endpoints that are no exchange (source.py).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Literal, TypeAlias

from wsx.adapters import deribit
from wsx.adapters.deribit.channels import Interval
from wsx.adapters.exchange import Connecting
from wsx.secret import Secret
from wsx.testing import DeribitExchange

VenueName: TypeAlias = Literal["local", "test", "prod"]
_TITLES = {"test": "Deribit's test exchange", "prod": "Deribit"}
_RATE = 1200.0  # things that happen in a second on the local exchange
_SEED = 7
_CLOSE_TIMEOUT = 0.3  # seconds, of either side


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """title: in words. url: or the name that the adapter has for it. credentials: None without a login.

    exchange: the local one, where it can be asked what it sent.
    """

    title: str
    url: str
    ssl: SSLContext | None = None
    credentials: deribit.Credentials | None = None
    exchange: DeribitExchange | None = None

    @property
    def interval(self) -> Interval:
        """The finest that can be had here."""
        return "raw" if self.credentials is not None else "100ms"

    def connect(self, **options: Any) -> Connecting[deribit.Deribit]:
        """A session that outlives its connections. options: as for `wsx.adapters.deribit.connect`."""
        options |= {"ssl": self.ssl, "reconnect": True, "close_timeout": _CLOSE_TIMEOUT}
        return deribit.connect(self.url, credentials=self.credentials or False, **options)


@asynccontextmanager
async def open_venue(name: VenueName) -> AsyncIterator[Venue]:
    """The venue of that name. Credentials for a real one come from the environment. Raises OSError, ValueError."""
    if name == "local":
        async with DeribitExchange(seed=_SEED, rate=_RATE, tls=True, close_timeout=_CLOSE_TIMEOUT) as exchange:
            yield local_venue(exchange)
    else:
        yield Venue(title=_TITLES[name], url=name, credentials=deribit.Credentials.from_environment())


def local_venue(exchange: DeribitExchange) -> Venue:
    """A local exchange that is running, with TLS."""
    return Venue(
        title="the local exchange",
        url=exchange.url,
        ssl=exchange.ssl_context(),
        credentials=deribit.Credentials("demo", Secret("demo-secret")),
        exchange=exchange,
    )
