"""A venue for the tests of commands: a local exchange, prepared, in this process."""

import contextlib

from wsx.cli.venue import Venue, local_venue
from wsx.testing import DeribitExchange

BOOK = "book.BTC-PERPETUAL.raw"


@contextlib.asynccontextmanager
async def venue(prepare=lambda exchange: None, *, foreign=False):
    """A local exchange, prepared. foreign: one that cannot be asked what it sent, and where there is no login."""
    async with DeribitExchange(seed=3, rate=400, tls=True, close_timeout=0.3) as exchange:
        prepare(exchange)
        here = local_venue(exchange)
        yield Venue(title="an exchange", url=here.url, ssl=here.ssl) if foreign else here
