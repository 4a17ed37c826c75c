"""An exchange for tests that does not speak JSON-RPC: `{"op": "subscribe", "req_id": 1, "args": [...]}` and topics.

Not here: what a session makes of it (test_exchange.py).
"""

import asyncio
import fnmatch
from contextlib import asynccontextmanager

import orjson
from rpc_servers import Heard

from wsx.adapters.base import Adapter, Limits
from wsx.adapters.exchange import connect
from wsx.correlation import Answer
from wsx.errors import RpcError
from wsx.requester import Requester
from wsx.testing import LocalServer


class TopicServer(LocalServer):
    """refused: a pattern of topics that are missing from an answer. requests: (op, args), in the order of coming.

    held: answers wait for `release`. heard: connection -> its topics.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.requests, self.refused, self.heard = [], "", {}
        self.held, self.failing, self.silent = None, {}, set()

    def opened(self, connection):
        self.heard[connection] = {}

    def received(self, connection, message):
        request = orjson.loads(message.data)
        op, args = request["op"], request["args"]
        self.requests.append((op, args))
        granted = [topic for topic in args if not fnmatch.fnmatchcase(topic, self.refused)]
        answer = {"req_id": request["req_id"], "success": op not in self.failing, "data": granted}
        if op in self.failing:
            answer |= {"code": self.failing[op], "msg": "not now"}
        elif op == "subscribe":
            self.heard[connection] |= dict.fromkeys(granted)
        elif op == "unsubscribe":
            self.heard[connection] = {topic: None for topic in self.heard[connection] if topic not in args}
        if op in self.silent:
            return
        if self.held is not None:
            self.held.append(lambda: connection.send(orjson.dumps(answer), text=True))
        else:
            connection.send(orjson.dumps(answer), text=True)

    def release(self):
        held, self.held = self.held, None
        for send in held:
            send()

    def push(self, topic, data=1, *, unasked=False):
        for connection in self.connections:
            if unasked or topic in self.heard[connection]:
                connection.send(orjson.dumps({"topic": topic, "data": data}), text=True)

    def cut(self):
        for connection in self.connections:
            connection.wire.abort()

    async def asked(self, op, count=1):
        """Until this was asked for so many times."""
        while sum(name == op for name, _ in self.requests) < count:
            await asyncio.sleep(0.001)

    def topics(self):
        """What the newest connection hears."""
        return list(self.heard[list(self.heard)[-1]])


class ReqId:
    """The exchange's way of answering (`Strategy`)."""

    def encode(self, request_id, method, params):
        return orjson.dumps({"op": method, "req_id": request_id, "args": params or []})

    def read(self, message):
        document = message.json()
        if "req_id" not in document:
            return None
        if document["success"]:
            return Answer(document["req_id"], document["data"])
        return Answer(document["req_id"], error=RpcError(document["code"], document["msg"]))


class TopicAdapter(Adapter):
    limits = Limits(channels=3, bytes=60)
    timeout = 5.0

    def __init__(self, url, *, login=False, beats=False):
        self.url, self.login, self.beats = url, login, beats

    async def authenticate(self, line):
        if self.login:
            await self.ask(line, "login", [])

    async def heartbeat(self, line):
        if self.beats:
            await self.ask(line, "beat", [])

    async def subscribe(self, line, channels):
        return await self.ask(line, "subscribe", list(channels))

    async def unsubscribe(self, line, channels):
        await self.ask(line, "unsubscribe", list(channels))

    async def ask(self, line, op, args):
        return await Requester(line, ReqId()).request(op, args, timeout=self.timeout)

    def route(self, data):
        return orjson.loads(data).get("topic")

    def is_private(self, channel):
        return channel.startswith("my.")


@asynccontextmanager
async def topics(**options):
    """A server, a session and what it was told: (server, exchange, events)."""
    events = Heard()
    login = {name: options.pop(name, False) for name in ("login", "beats")}
    async with TopicServer() as server:
        opening = connect(TopicAdapter(server.url, **login), on_event=events, **options)
        async with opening as exchange:
            yield server, exchange, events


async def until(condition, seconds=5):
    """Wait for something that no event tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
