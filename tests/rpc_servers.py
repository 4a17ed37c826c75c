"""A JSON-RPC server for tests, on a real socket: what it answers is said by the test.

Not here: what a client makes of it (test_json_rpc.py, faults/test_faults_rpc.py).
"""

import asyncio
from contextlib import asynccontextmanager

import orjson

import wsx
from wsx.testing import LocalServer


class RpcServer(LocalServer):
    """Answers by `answers`: method -> function(request) that gives the answer's text, an object, or None for silence.

    requests: every message that came, parsed, in order. Any other method is answered with its params.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.requests = []
        self.raw = []
        self.answers = {"silent": lambda request: None, "refuse": refuse}

    def received(self, connection, message):
        self.raw.append(message.data)
        request = orjson.loads(message.data)
        self.requests.append(request)
        answer = self.answers["batch"](request) if isinstance(request, list) else self.answer(request)
        if answer is not None:
            connection.send(answer if isinstance(answer, str | bytes) else orjson.dumps(answer), text=True)

    def answer(self, request):
        known = self.answers.get(request["method"])
        if known is not None:
            return known(request)
        return {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]} if "id" in request else None

    def push(self, text):
        """Send a text to every client."""
        for connection in self.connections:
            connection.send(text, text=True)


def refuse(request):
    error = {"code": 10009, "message": "not_enough_funds", "data": {"reason": "margin"}}
    return {"jsonrpc": "2.0", "id": request["id"], "error": error}


class Heard(list):
    """Events, as `on_event` hears them."""

    def __call__(self, event):
        self.append(event)

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]

    async def wait(self, kind, count=1):
        """Until so many events of a kind have come; they."""
        while len(self.of(kind)) < count:
            await asyncio.sleep(0.001)
        return self.of(kind)


@asynccontextmanager
async def rpc(*, server=None, **options):
    """A server, a client and a JsonRpc: (server, client, rpc, events)."""
    heard = Heard()
    options = {"on_event": heard, "reconnect": False} | options
    async with server or RpcServer() as running, wsx.connect(running.url, **options) as client:
        yield running, client, wsx.JsonRpc(client), heard
