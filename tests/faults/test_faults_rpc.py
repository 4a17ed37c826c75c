"""Group 6, JSON and JSON-RPC: what the other side sends is wrong, and nobody gets somebody else's answer.

Every fault is sent over a real socket by a server of its own; afterwards the connection still answers.
"""

import asyncio
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from leftovers import LOOPS, nothing_left
from rpc_servers import RpcServer, rpc

import wsx
import wsx.message_handler
from wsx.errors import AnswerTimeout, RpcError, TooManyPending
from wsx.events import Closed, LateAnswer, ProtocolError, UnexpectedAnswer

DEEP = 100_000


@pytest.fixture(params=LOOPS)
def run(request):
    """As conftest's, with the servers on the client's loop: uvloop keeps a descriptor for all servers to come."""

    async def checked(main):
        async with RpcServer():
            pass
        async with nothing_left():
            await main

    return lambda main: wsx.run(asyncio.wait_for(checked(main), 30), loop=request.param)


@asynccontextmanager
async def talking(**options):
    """A client that must have the same connection, and get answers over it, when the body is through."""
    async with rpc(server=RpcServer(), **options) as (server, client, requests, heard):
        yield server, client, requests, heard
        assert await requests.request("still/there", [1]) == [1]
        assert (client.state, client.epoch, heard.of(Closed)) == (wsx.State.OPEN, 1, [])


async def asked(server, requests, **options):
    """A request that waits for its answer: its task and its id."""
    before = len(server.requests)
    task = asyncio.ensure_future(requests.request("silent", **options))
    while len(server.requests) == before:
        await asyncio.sleep(0)
    return task, server.requests[-1]["id"]


class TestRow1:
    """6.1: what is no JSON-RPC is an event, the connection stays, numbers never change in silence."""

    @pytest.mark.parametrize(
        "text",
        [
            "not JSON",
            '{"id":ID,"result":{"a":1',
            '{"id":ID,"result":[1,2}',
            '"text"',
            "17",
            "null",
            "[]",
            "[[]]",
            '{"id":ID,"result":' + "[" * DEEP + "]" * DEEP + "}",
            "[" * DEEP,
            '{"a":' * DEEP,
            '{"id":ID,"result":NaN}',
            '{"id":ID,"result":-Infinity}',
            '{"id":ID,"result":[1,1e400]}',
            '{"id":ID,"result":' + "9" * 400 + "}",
            '{"id":ID,"id":ID,"result":1}',
            '{"id":ID,"result":1,"result":2}',
            '{"id":ID,"result":"\\ud800"}',
            '{"id":ID,"result":1}{"id":ID,"result":2}',
            '{"i\\u0064":ID,"result":NaN}',
        ],
        ids=lambda text: text[:40],
    )
    def test_it_is_a_protocol_error_event_and_resolves_nobody(self, run, text):
        async def main():
            async with talking() as (server, client, requests, heard):
                task, identity = await asked(server, requests)
                server.push(text.replace("ID", str(identity)))
                (event,) = await heard.wait(ProtocolError)
                assert event.what
                assert event.message.text.startswith(text[:5].replace("ID", str(identity)))
                assert not task.done()
                server.push(f'{{"id":{identity},"result":"right"}}')
                assert await task == "right"
                assert client.telemetry.snapshot()["errors_protocol"] == 1

        run(main())

    def test_whole_numbers_of_any_size_are_exact(self, run):
        async def main():
            async with talking() as (server, client, requests, _):
                numbers = [2**53 + 1, 2**64 - 1, 2**64 + 1, -(2**63) - 1, 10**300]
                text = orjson.dumps({"a": "1" * 30})[:-1] + f',"n":{numbers}}}'.encode()
                server.answers["m"] = lambda request: f'{{"id":{request["id"]},"result":{text.decode()}}}'
                assert (await requests.request("m"))["n"] == numbers
                server.push(f'{{"method":"n","params":{{"channel":"c","data":{text.decode()}}}}}')
                message = await client.recv()
                assert message.data_json()["n"] == message.json()["params"]["data"]["n"] == numbers

        run(main())

    def test_a_number_without_a_finite_value_is_refused_where_it_is_parsed(self, run):
        async def main():
            async with talking() as (server, client, _, _):
                server.push('{"method":"n","params":{"channel":"c","data":[1e400]}}')
                message = await client.recv()
                with pytest.raises(ValueError, match="infinity"):
                    message.data_json()

        run(main())


class TestRow2:
    """6.2: an answer that fits no request is an event, and nobody else's request is resolved."""

    @pytest.mark.parametrize(
        "text",
        [
            '{"id":4711,"result":1}',
            '{"id":"ID","result":1}',
            '{"id":ID.0,"result":1}',
            '{"id":[ID],"result":1}',
            '{"id":{"id":ID},"result":1}',
            '{"id":false,"result":1}',
            '{"id":18446744073709551617,"result":1}',
            '{"id":-ID,"result":1}',
            '{"id":ID}',
            '{"id":ID,"result":1,"error":{"code":1,"message":"both"}}',
            '{"error":{"code":-32600,"message":"request entity too large"}}',
            '{"id":null,"error":{"code":11050,"data":"invalid json","message":"bad_request"}}',
            '{"result":"ok"}',
        ],
    )
    def test_it_is_an_event(self, run, text):
        async def main():
            async with talking() as (server, _, requests, heard):
                tasks = [await asked(server, requests) for _ in range(3)]
                server.push(text.replace("ID", str(tasks[1][1])))
                (event,) = await heard.wait(UnexpectedAnswer)
                assert event.what
                assert not any(task.done() for task, _ in tasks)
                for task, identity in tasks:
                    server.push(f'{{"id":{identity},"result":{identity}}}')
                    assert await task == identity
                assert len(heard.of(UnexpectedAnswer)) == 1

        run(main())

    def test_the_second_of_two_answers_is_an_event(self, run):
        async def main():
            async with talking() as (server, _, requests, heard):
                (first, one), (second, _) = await asked(server, requests), await asked(server, requests)
                server.push(f'{{"id":{one},"result":"first"}}')
                server.push(f'{{"id":{one},"error":{{"code":1,"message":"again"}}}}')
                (event,) = await heard.wait(UnexpectedAnswer)
                assert (await first, event.request_id, event.error.code) == ("first", one, 1)
                assert not second.done()
                second.cancel()
                await asyncio.gather(second, return_exceptions=True)

        run(main())


class TestRow3:
    """6.3: without an answer the outcome is unknown at the timeout; a late answer is an event that carries it."""

    def test_it_is_unknown_and_its_late_answer_an_event(self, run):
        async def main():
            async with talking() as (server, _, requests, heard):
                task, identity = await asked(server, requests, timeout=0.05)
                with pytest.raises(AnswerTimeout) as caught:
                    await task
                assert caught.value.outcome is wsx.Outcome.UNKNOWN
                server.push(f'{{"id":{identity},"result":"late"}}')
                (event,) = await heard.wait(LateAnswer)
                assert (event.request_id, event.method, event.outcome) == (identity, "silent", wsx.Outcome.UNKNOWN)
                assert event.message.data_json() == "late"

        run(main())


class TestRow4:
    """6.4: each member of a batch has its own outcome, whatever comes back."""

    @pytest.mark.parametrize(
        ("answer", "outcomes"),
        [
            (lambda ids: [{"id": n, "result": n} for n in reversed(ids)], ["ok", "ok", "ok"]),
            (lambda ids: [{"id": ids[1], "result": 1}], ["unknown", "ok", "unknown"]),
            (
                lambda ids: [{"id": ids[2], "error": {"code": 1, "message": "no"}}, {"id": ids[0], "result": 1}],
                ["ok", "unknown", "rejected"],
            ),
            (lambda ids: {"id": None, "error": {"code": -32600, "message": "no batches"}}, ["rejected"] * 3),
            (lambda ids: [], ["unknown"] * 3),
            (lambda ids: {"id": ids[0], "result": 1}, ["ok", "unknown", "unknown"]),
            (lambda ids: [{"id": ids[0], "result": 1}, 5], ["unknown"] * 3),
        ],
        ids=["reordered", "partial", "mixed", "one error", "empty answer", "one alone", "no objects"],
    )
    def test_each_member_has_its_own_outcome(self, run, answer, outcomes):
        async def main():
            async with talking() as (server, _, requests, _):
                server.answers["batch"] = lambda members: answer([member["id"] for member in members])
                settled = await requests.batch([("a", None), ("b", None), ("c", None)], timeout=0.2)
                assert [member.outcome for member in settled] == outcomes

        run(main())

    def test_an_empty_one_is_refused_before_sending(self, run):
        async def main():
            async with talking() as (server, _, requests, _):
                with pytest.raises(ValueError, match="nothing was sent"):
                    await requests.batch([])
                assert server.raw == []

        run(main())


class TestRow5:
    """6.5: a caller that is cancelled leaves nothing pending, and its answer is a late one."""

    def test_the_entry_is_gone_and_the_answer_is_late(self, run):
        async def main():
            async with talking() as (server, _, requests, heard):
                task, identity = await asked(server, requests)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert requests.pending == 0
                server.push(f'{{"id":{identity},"error":{{"code":1,"message":"no"}}}}')
                (event,) = await heard.wait(LateAnswer)
                assert (event.request_id, event.outcome, event.error.code) == (identity, "unknown", 1)

        run(main())


class TestRow6:
    """6.6: a hundred thousand requests are capped, by name."""

    def test_those_beyond_the_cap_are_refused_and_were_not_sent(self, run):
        async def main():
            async with talking(write_limit=64 << 20) as (server, _, requests, _):
                refused, tasks = 0, []
                for _ in range(100_000):
                    asking = requests.request("silent")
                    with suppress(TooManyPending):
                        asking.send(None)
                        tasks.append(asking)
                        continue
                    refused += 1
                with pytest.raises(TooManyPending, match="10000 requests wait") as caught:
                    await requests.request("silent")
                assert (caught.value.limit, caught.value.outcome) == (10_000, "not_sent")
                assert (refused, len(tasks), requests.pending) == (90_000, 10_000, 10_000)
                for asking in tasks:
                    asking.close()
                assert requests.pending == 0
                while len(server.requests) < 10_000:
                    await asyncio.sleep(0.001)

        run(main())


class TestRow7:
    """6.7: however a message is written, it is routed as a full parse would."""

    @pytest.mark.parametrize(
        "text",
        [
            '{"params":{"data":7,"channel":"a/b"},"method":"subscription","jsonrpc":"2.0"}',
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"a\\/b","data":7}}',
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"\\u0061/b","data":7}}',
            '{"jsonrpc":"2.0","method":"subscri\\u0070tion","params":{"channel":"a/b","data":7}}',
            '{"jsonrpc":"2.0","\\u006dethod":"subscription","p\\u0061rams":{"ch\\u0061nnel":"a/b","d\\u0061ta":7}}',
            '\n{ "method"\t:\r\n"subscription" , "params" : { "channel" : "a/b" , "data" : 7 } }\n ',
            '{"method":"subscription","x":{"channel":"no"},"params":{"y":["channel","no"],"channel":"a/b","data":7}}',
        ],
    )
    def test_it_reaches_its_callback(self, run, text):
        async def main():
            async with talking() as (server, client, _, heard):
                seen = asyncio.get_running_loop().create_future()
                handler = wsx.message_handler.MessageHandler(client)
                handler.on_channel("a/b", lambda message: seen.set_result(message.data_json()))
                handler.on_channel("no", lambda message: seen.set_exception(AssertionError("routed wrongly")))
                server.push(text)
                assert await seen == 7
                assert not heard.of(ProtocolError)

        run(main())

    def test_an_answer_however_it_is_written_finds_its_request(self, run):
        async def main():
            async with talking() as (server, _, requests, _):
                server.answers["m"] = lambda request: f'{{ "r\\u0065sult" : [1] , "\\u0069d":{request["id"]} }}'
                assert await requests.request("m") == [1]
                server.answers["e"] = lambda request: f'{{"error":{{"c\\u006fde":5}},"id":{request["id"]}}}'
                with pytest.raises(RpcError) as caught:
                    await requests.request("e")
                assert caught.value.code == 5

        run(main())
