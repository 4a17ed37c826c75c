"""A plain client for the tests of the local exchange: it sends requests, waits for their answers, keeps the rest."""

import asyncio
import contextlib
import functools
import itertools

import orjson

import wsx
from wsx.errors import WsxError
from wsx.testing import DeribitExchange

LOGIN = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"}
SECONDS = 5.0  # before a test that waits in vain fails


class RawClient:
    """received: the bytes of every message. notices: (channel, data) of each notification not yet asked for."""

    def __init__(self, client):
        self.client = client
        self.received = []
        self.notices = []
        self.answers = []
        self._ids = itertools.count(1)

    async def send(self, method, params=None, **head):
        """Send a request; gives its id."""
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": {} if params is None else params}
        await self.client.send(orjson.dumps(request | head).decode())
        return number

    async def call(self, method, params=None, **head):
        """The whole answer to a request."""
        await self.send(method, params, **head)
        return await self.answer()

    async def result(self, method, params=None):
        answer = await self.call(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method, params=None):
        answer = await self.call(method, params)
        assert "result" not in answer, answer
        return answer["error"]

    async def answer(self):
        while not self.answers:
            await self._read()
        return self.answers.pop(0)

    async def notice(self, channel):
        """The data of the next notification on a channel."""
        while True:
            for place, (name, data) in enumerate(self.notices):
                if name == channel:
                    del self.notices[place]
                    return data
            await self._read()

    async def quiet(self):
        """Everything that was sent so far has arrived after this."""
        await self.result("public/get_time")

    async def login(self, **params):
        return await self.result("public/auth", LOGIN | params)

    async def subscribe(self, *channels, method="public/subscribe"):
        return await self.result(method, {"channels": list(channels)})

    async def closed(self):
        """Read to the end; gives the close code and the reason."""
        with contextlib.suppress(WsxError):
            while True:
                await self._read()
        return self.client.close_code, self.client.close_reason

    async def _read(self):
        message = await asyncio.wait_for(self.client.recv(), SECONDS)
        self.received.append(message.data)
        try:
            value = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            value = {"garbled": message.data}
        if value.get("method") == "subscription":
            self.notices.append((value["params"]["channel"], value["params"]["data"]))
        else:
            self.answers.append(value)


@contextlib.asynccontextmanager
async def connected(exchange, **options):
    """A client of an exchange that is running."""
    async with wsx.connect(exchange.url, reconnect=False, ping_interval=None, **options) as client:
        yield RawClient(client)


@contextlib.asynccontextmanager
async def trading(login=False, rate=None, **options):
    """An exchange where nothing happens by itself, and a client of it."""
    async with DeribitExchange(rate=rate, close_timeout=0.5, **options) as exchange, connected(exchange) as client:
        if login:
            await client.login()
        yield exchange, client


def played(scenario):
    """Run a test that is a coroutine function."""

    @functools.wraps(scenario)
    def test(*args, **kwargs):
        wsx.run(scenario(*args, **kwargs))

    return test
