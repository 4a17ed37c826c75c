"""A local exchange and a session of it, for the tests of the Deribit adapter.

Not here: the tests (test_deribit_*.py, faults/test_faults_deribit.py).
"""

import asyncio
from contextlib import asynccontextmanager

import orjson
from rpc_servers import Heard

from wsx.adapters import deribit
from wsx.events import Opened
from wsx.testing import DeribitExchange

CREDENTIALS = deribit.Credentials("demo", "demo-secret")
PERPETUAL = "BTC-PERPETUAL"
RAW = f"book.{PERPETUAL}.raw"


def market(rate=None, **options):
    """A local exchange where nothing happens by itself."""
    return DeribitExchange(rate=rate, close_timeout=0.5, **options)


@asynccontextmanager
async def session(server=None, *, credentials=CREDENTIALS, **options):
    """An exchange, a session of it, and what was told: (server, exchange, events)."""
    events = Heard()
    async with server or market() as running:
        opening = deribit.connect(running.url, credentials=credentials, on_event=events, **options)
        async with opening as exchange:
            yield running, exchange, events


async def until(condition, seconds=4):
    """Wait for something that no event tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


async def reopened(exchange, events, count=2):
    """Until so many connections have been open, and the newest still is."""
    async with asyncio.timeout(10):
        await events.wait(Opened, count)
        await exchange.client.wait_open()


def same_book(server, book, instrument=PERPETUAL):
    """Whether a book shows what the exchange's own book holds, level by level; only a valid one shows anything."""
    listing = server.floor.listings[instrument]
    own = []
    for side in ("bids", "asks"):
        best_first = sorted(listing.book.levels(side).items(), reverse=side == "bids")
        edits = listing.edits([("new", ticks, lots) for ticks, lots in best_first])
        own.append([(float(price), float(amount)) for _, price, amount in edits])
    return book.state == "valid" and [book.bids(), book.asks()] == own


def say(server, channel, data):
    """Have the exchange say something on the newest connection that it never would by itself."""
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    head = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":'
    server.sessions[-1].outlet.send(f"{head}{text}}}}}".encode())


def change(server, channel=RAW, **data):
    """The data of a change that fits the one said last, but for what is given."""
    last = server.change_ids[channel]
    head = {"type": "change", "timestamp": 1, "instrument_name": PERPETUAL, "change_id": last + 1}
    return head | {"prev_change_id": last, "bids": [], "asks": []} | data
