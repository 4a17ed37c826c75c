"""The Python face of routing, over real sockets: callbacks, kinds of messages, answers past every queue."""

import asyncio

import pytest
from raw_server import LOOPS, run_bounded
from rpc_servers import Heard, RpcServer, rpc

import wsx
from wsx import Message
from wsx._router import Router
from wsx.events import CallbackFailed, ProtocolError
from wsx.message_handler import Kind, MessageHandler, kind_of

TEST_REQUEST = '{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}'
ANSWER = b'{"jsonrpc":"2.0","id":"beat","method":"public/test","params":{}}'


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


def push(channel, data):
    return f'{{"method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"method":"subscription","params":{}}', Kind.NOTIFICATION),
        ('{"method":"m","id":1}', Kind.REQUEST),
        ('{"id":1,"result":null}', Kind.RESULT),
        ('{"error":{}}', Kind.ERROR),
        ('{"i\\u0064":1,"error":{}}', Kind.ERROR),
        ('{"id":1.5,"method":"m"}', Kind.REQUEST),
        ('{"id":1,"result":1,"error":{}}', Kind.OTHER),
        ('{"id":1,"result":1,"error":null}', Kind.RESULT),
        ('{"id":1.5,"result":null,"error":null}', Kind.RESULT),
        ('{"id":1,"result":null,"error":{}}', Kind.ERROR),
        ('{"id":1.5,"result":null,"error":{}}', Kind.ERROR),
        ('{"method":null,"id":1,"result":5}', Kind.RESULT),
        ('{"id":1,"error":null}', Kind.OTHER),
        ('{"id":1}', Kind.OTHER),
        ("{}", Kind.OTHER),
        ('[{"id":1,"result":1}]', Kind.OTHER),
        ("hello", Kind.OTHER),
    ],
)
def test_the_kind_of_a_message_is_known_by_its_envelope(text, kind):
    assert kind_of(Message(text.encode())) is kind


class TestCallbacks:
    def test_messages_go_by_channel_prefix_and_method_and_the_rest_flows_on(self, run):
        async def main():
            async with rpc() as (server, client, _, _):
                seen, handler = [], MessageHandler(client)
                handler.on_channel("ticker.é", lambda message: seen.append(("ticker", message.data_json())))
                handler.on_prefix("book.", lambda message: seen.append(("book", message.data_json())))
                handler.on_method("subscription", lambda message: seen.append(("other", message.data_json())))
                for number, channel in enumerate(("ticker.é", "book.A", "trades.A")):
                    server.push(push(channel, number))
                server.push('{"method":"m"}')
                assert (await client.recv()).text == '{"method":"m"}'
                assert seen == [("ticker", 0), ("book", 1), ("other", 2)]

        run(main())

    def test_every_handler_of_a_client_speaks_of_the_same_table_and_callbacks_can_be_taken_away(self, run):
        async def main():
            async with rpc() as (server, client, _, _):
                seen = []
                stops = [
                    MessageHandler(client).on_channel("a", lambda message: seen.append(1)),
                    MessageHandler(client).on_channel("a", lambda message: seen.append(2)),
                    MessageHandler(client).on_prefix("b", lambda message: seen.append(3)),
                ]
                for channel in ("a", "b", "end"):
                    server.push(push(channel, 0))
                await client.recv()
                assert seen == [1, 2, 3]
                for stop in stops:
                    stop()
                for channel in ("a", "b"):
                    server.push(push(channel, 0))
                    await client.recv()

        run(main())

    @pytest.mark.parametrize("way", ["on_channel", "on_prefix", "on_method"])
    def test_taking_one_away_twice_takes_away_no_other(self, way):
        async def main():
            async with rpc() as (server, client, _, _):
                seen, add = [], getattr(MessageHandler(client), way)
                key = "subscription" if way == "on_method" else "a"
                stops = [add(key, seen.append) for _ in range(2)]
                for _ in range(2):
                    stops[0]()
                server.push(push("a", 1))
                await until(lambda: seen)
                stops[1]()
                server.push(push("a", 2))
                assert (await client.recv()).data_json() == 2
                assert [message.data_json() for message in seen] == [1]

        run_bounded(main())

    def test_the_unrouted_have_a_callback_where_one_is_given(self, run):
        async def main():
            async with rpc() as (server, client, _, _):
                seen, handler = [], MessageHandler(client)
                handler.on_unrouted(lambda message: seen.append(message.text))
                server.push('{"a":1}')
                await until(lambda: seen)
                handler.on_unrouted(None)
                server.push('{"a":2}')
                assert (await client.recv()).text == '{"a":2}'
                assert seen == ['{"a":1}']

        run(main())

    def test_a_callback_that_raises_is_told_and_the_connection_stays(self, run):
        async def main():
            async with rpc() as (server, client, requests, heard):

                def fail(message):
                    raise ValueError("mine")

                MessageHandler(client).on_channel("a", fail)
                server.push(push("a", 1))
                (event,) = await heard.wait(CallbackFailed)
                assert repr(event.error) == "ValueError('mine')"
                assert client.telemetry.snapshot()["errors_application"] == 1
                assert await requests.request("m") == {}

        run(main())

    def test_callbacks_work_beside_on_message_and_over_a_reconnect(self, run):
        async def main():
            seen = []
            async with rpc(on_message=lambda message: seen.append(message.text), reconnect=True) as (
                server, client, _, heard,
            ):  # fmt: skip
                MessageHandler(client).on_channel("a", lambda message: seen.append((message.epoch, message.gap)))
                server.push(push("a", 1))
                server.push("{}")
                await until(lambda: len(seen) == 2)
                server.connections[0].wire.abort()
                await heard.wait(wsx.events.Opened, 2)
                await client.wait_open()
                server.push(push("a", 2))
                await until(lambda: len(seen) == 3)
                assert seen[:2] == [(1, None), "{}"]
                assert (seen[2][0], seen[2][1].cause) == (2, "ConnectionLost")

        run(main())

    @pytest.mark.parametrize("callback", [5, None, "text"])
    def test_what_cannot_be_called_is_refused(self, callback):
        async def main():
            async with rpc() as (_, client, _, _):
                handler = MessageHandler(client)
                for add in (handler.on_channel, handler.on_prefix, handler.on_method):
                    with pytest.raises(TypeError, match="a callback must be callable"):
                        add("a", callback)

        run_bounded(main())

    def test_a_coroutine_function_is_refused(self):
        async def later(message):
            raise AssertionError

        async def main():
            async with rpc() as (_, client, _, _):
                with pytest.raises(TypeError, match="must not be a coroutine function"):
                    MessageHandler(client).on_unrouted(later)

        run_bounded(main())

    def test_a_router_of_ones_own_is_given_once_and_first(self):
        class Own(Router):
            """Python cannot override what is compiled: this one routes as its base."""

        async def main():
            async with RpcServer() as server, wsx.connect(server.url) as client:
                seen, handler = [], MessageHandler(client, router=Own)
                handler.on_channel("a", lambda message: seen.append(message.data_json()))
                MessageHandler(client, router=Own)
                wsx.JsonRpc(client)
                server.push(push("a", 1))
                await until(lambda: seen)
                with pytest.raises(ValueError, match="taken by a Own already; give it Other first"):
                    MessageHandler(client, router=type("Other", (Router,), {}))

        run_bounded(main())

    def test_another_format_has_its_own_scanner(self, run):
        async def main():
            async with rpc() as (server, client, _, heard):
                seen, handler = [], MessageHandler(client)
                handler.scan_with(lambda data: data.partition(b"|")[0])
                handler.on_channel("a", lambda message: seen.append(message.text))
                server.push("a|1")
                server.push("b|2")
                assert (await client.recv()).text == "b|2"
                assert seen == ["a|1"]
                handler.scan_with(None)
                server.push("a|1")
                await heard.wait(ProtocolError)

        run(main())


class TestAnswers:
    def test_a_heartbeat_is_answered_with_an_empty_bucket(self, run):
        async def main():
            async with rpc(rate_limit=wsx.TokenBucket(rate=0.001, burst=1)) as (server, client, requests, heard):
                MessageHandler(client).answer("heartbeat", "test_request", ANSWER)
                await requests.request("a")
                server.push(TEST_REQUEST)
                await until(lambda: len(server.raw) == 2)
                assert server.raw[1] == ANSWER
                assert client.telemetry.snapshot()["auto_answers"] == 1
                server.push("{}")
                assert (await client.recv()).text == "{}"
                assert not heard.of(wsx.events.UnexpectedAnswer)

        run(main())

    def test_it_is_answered_while_hooks_run_and_on_every_connection(self, run):
        async def main():
            server = RpcServer()

            async def slow(route):
                MessageHandler(route).answer("heartbeat", "test_request", ANSWER)
                server.push(TEST_REQUEST)
                await until(lambda: server.raw.count(ANSWER) == route.epoch)

            heard = Heard()
            async with rpc(server=server, on_open=[slow], reconnect=True, on_event=heard) as (_, client, _, _):
                assert server.raw == [ANSWER]
                server.connections[0].wire.abort()
                await heard.wait(wsx.events.Opened, 2)
                await client.wait_open()
                assert server.raw == [ANSWER] * 2

        run(main())
