"""Requests and their one outcome, batches, notifications: over real sockets."""

import asyncio
from dataclasses import dataclass
from enum import Enum

import orjson
import pytest
from raw_server import LOOPS, run_bounded
from rpc_servers import Heard, RpcServer, rpc

import wsx
from wsx.correlation import Answer
from wsx.errors import (
    AnswerTimeout,
    Backpressure,
    ConnectionClosed,
    NotConnected,
    OutcomeUnknown,
    RpcError,
    SendTimeout,
    TooManyPending,
)
from wsx.events import LateAnswer, ProtocolError, UnexpectedAnswer
from wsx.json_rpc import Settled
from wsx.rate_limiter import RateLimiter
from wsx.rate_profile import Budget, Charge, RateProfile
from wsx.requester import Requester
from wsx.testing import LocalServer

PRICES = RateProfile(
    "prices",
    {"dear": Budget(rate=0.001, burst=100), "cheap": Budget(rate=0.001, burst=10)},
    Charge("cheap"),
    {"dear": Charge("dear", lambda params: params["tokens"])},
)


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


@dataclass
class Order:
    price: float
    label: str | None = None
    _note: float = float("nan")


class TestRequest:
    def test_a_result_is_returned(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                assert await requests.request("public/x", {"a": [1, "é"]}) == {"a": [1, "é"]}
                assert await requests.request("public/y", [1]) == [1]
                assert await requests.request("public/z") == {}
                assert server.raw[0] == '{"jsonrpc":"2.0","method":"public/x","id":1,"params":{"a":[1,"é"]}}'.encode()
                assert [request["id"] for request in server.requests] == [1, 2, 3]
                assert requests.pending == 0

        run(main())

    def test_the_whole_answer_is_given_where_it_is_asked_for(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["m"] = lambda request: f'{{"id":{request["id"]},"result":1,"usIn":5,"usOut":7}}'
                answer = await requests.request("m", whole=True)
                assert (answer.data_json(), answer.json()["usOut"], answer.received_ns > 0) == (1, 7, True)
                with pytest.raises(RpcError):
                    await requests.request("refuse", whole=True)

        run(main())

    def test_an_error_is_raised_with_its_data(self, run):
        async def main():
            async with rpc() as (_, _, requests, _):
                with pytest.raises(RpcError, match=r"10009 not_enough_funds on refuse \(id 1\)") as caught:
                    await requests.request("refuse")
                error = caught.value
                assert (error.code, error.data, error.outcome) == (10009, {"reason": "margin"}, wsx.Outcome.REJECTED)

        run(main())

    @pytest.mark.parametrize("error", ['"text"', "{}", '{"code":"1","message":2}', "[1]"])
    def test_an_error_that_is_no_error_object_is_a_refusal_all_the_same(self, error):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["m"] = lambda request: f'{{"id":{request["id"]},"error":{error}}}'
                with pytest.raises(RpcError, match="not as JSON-RPC 2.0 has it") as caught:
                    await requests.request("m")
                assert (caught.value.code, caught.value.outcome) == (0, "rejected")

        run_bounded(main())

    @pytest.mark.parametrize("key", ["id", "i\\u0064"])
    def test_null_for_what_is_not_there_does_not_count(self, key):
        async def main():
            async with rpc() as (server, _, requests, _):
                for result in ("[1]", "null"):
                    server.answers["m"] = lambda request, result=result: (
                        f'{{"{key}":{request["id"]},"result":{result},"error":null}}'
                    )
                    assert await requests.request("m") == orjson.loads(result)
                server.answers["m"] = lambda request: (
                    f'{{"result":null,"error":{{"code":7,"message":"no"}},"{key}":{request["id"]}}}'
                )
                with pytest.raises(RpcError, match="7 no on m"):
                    await requests.request("m")

        run_bounded(main())

    def test_answers_in_any_order_find_their_requests(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                kept = []

                def keep(request):
                    kept.append({"id": request["id"], "result": request["params"]["n"]})
                    if len(kept) == 20:
                        for answer in reversed(kept):
                            server.push(orjson.dumps(answer))

                server.answers["m"] = keep
                results = await asyncio.gather(*(requests.request("m", {"n": n}) for n in range(20)))
                assert results == list(range(20))

        run(main())

    def test_an_answer_in_another_order_with_escapes_is_understood(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["m"] = lambda request: f' {{"usIn":1, "result" : [1] ,\n "\\u0069d":{request["id"]}}}'
                assert await requests.request("m") == [1]
                server.answers["m"] = lambda request: f'{{"\\u0069d":{request["id"]},"error":{{"code":7}}}}'
                with pytest.raises(RpcError, match="7"):
                    await requests.request("m")

        run(main())

    def test_null_for_a_method_that_is_not_there_does_not_count(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["m"] = lambda request: f'{{"method":null,"id":{request["id"]},"result":5,"params":null}}'
                assert await requests.request("m") == 5

        run(main())

    def test_whole_numbers_of_a_result_are_exact(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["m"] = lambda request: f'{{"id":{request["id"]},"result":[{2**64 + 1},-{2**70},1.5]}}'
                assert await requests.request("m") == [2**64 + 1, -(2**70), 1.5]

        run(main())

    def test_wrong_arguments_are_refused_before_anything_is_sent(self):
        async def main():
            async with rpc() as (server, client, requests, _):
                for params in (5, "text", b"{}"):
                    with pytest.raises(TypeError, match="params must be a dict"):
                        await requests.request("m", params)
                for value in (float("nan"), float("inf")):
                    order, kind = Order(value), Enum("Kind", {"it": value}).it
                    for params in ({"a": [1, None, {"price": value}]}, [value], (value,), {"o": order}, [kind]):
                        with pytest.raises(ValueError, match="no JSON number; nothing was sent"):
                            await requests.request("m", params)
                with pytest.raises(TypeError):
                    await requests.request("m", {"a": object()})
                for timeout in (0, -1, float("nan")):
                    with pytest.raises(ValueError, match="timeout must be more than 0"):
                        await requests.request("m", timeout=timeout)
                for timeout in (1, None):
                    with pytest.raises(ValueError, match="deadline must be a time of the loop's clock"):
                        await requests.request("m", timeout=timeout, deadline=float("nan"))
                    with pytest.raises(TypeError):
                        await requests.request("m", timeout=timeout, deadline="soon")
                    with pytest.raises(TypeError):
                        await requests.batch([("m", None)], timeout=timeout, deadline="soon")
                with pytest.raises(OverflowError):
                    await requests.request("m", timeout=None, deadline=10**400)
                with pytest.raises(ValueError, match="most_pending must be at least 1"):
                    wsx.JsonRpc(client, most_pending=0)
                with pytest.raises(TypeError, match="a client, or the route of an on_open hook"):
                    wsx.JsonRpc("client")
                assert (server.requests, requests.pending) == ([], 0)
                assert await requests.request("m", {"a": None, "b": [None]}) == {"a": None, "b": [None]}
                order = Order(1.0)
                assert await requests.request("m", {"o": order}) == {"o": {"price": 1.0, "label": None}}

        run_bounded(main())

    def test_every_json_rpc_of_a_client_shares_its_ids(self, run):
        async def main():
            async with rpc() as (server, client, requests, _):
                other = wsx.JsonRpc(client)
                await requests.request("a")
                await other.request("b")
                assert [request["id"] for request in server.requests] == [1, 2]

        run(main())


class TestDeadlines:
    def test_the_outcome_is_unknown_once_the_deadline_has_passed(self, run):
        async def main():
            async with rpc() as (_, _, requests, _):
                with pytest.raises(AnswerTimeout, match="no answer to silent") as caught:
                    await requests.request("silent", timeout=0.02)
                assert isinstance(caught.value, TimeoutError)
                assert (caught.value.outcome, caught.value.request_id, requests.pending) == ("unknown", 1, 0)

        run(main())

    def test_the_earlier_of_timeout_and_deadline_counts(self, run):
        async def main():
            async with rpc() as (_, _, requests, _):
                loop = asyncio.get_running_loop()
                for timeout, ahead in ((None, 0.02), (30, 0.02), (0.02, 30)):
                    with pytest.raises(AnswerTimeout):
                        await requests.request("silent", timeout=timeout, deadline=loop.time() + ahead)

        run(main())

    def test_what_is_too_late_already_is_not_sent(self, run):
        async def main():
            async with rpc() as (_, client, requests, _):
                sent = client.telemetry.snapshot()["messages_sent"]
                for ago in (0, 0.001, 1e9, float("inf")):
                    passed = asyncio.get_running_loop().time() - ago
                    with pytest.raises(SendTimeout, match="of buy had passed already; nothing was sent") as caught:
                        await requests.request("buy", deadline=passed)
                    assert (caught.value.outcome, caught.value.method) == (wsx.Outcome.NOT_SENT, "buy")
                    with pytest.raises(SendTimeout):
                        await requests.batch([("buy", None)], deadline=passed)
                assert client.telemetry.snapshot()["messages_sent"] == sent
                assert requests.pending == 0

        run(main())

    def test_each_of_many_ends_at_its_own_time(self, run):
        async def main():
            async with rpc() as (_, _, requests, _):
                ended = []

                async def ask(timeout):
                    with pytest.raises(AnswerTimeout):
                        await requests.request("silent", timeout=timeout)
                    ended.append(timeout)

                await asyncio.gather(*(ask(timeout) for timeout in (0.09, 0.03, 0.06)))
                assert ended == [0.03, 0.06, 0.09]

        run(main())

    def test_without_a_deadline_it_waits_for_the_answer(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                task = asyncio.ensure_future(requests.request("silent", timeout=None))
                while not server.requests:
                    await asyncio.sleep(0)
                server.push('{"id":1,"result":5}')
                assert await task == 5

        run(main())

    def test_waiting_for_tokens_counts_and_then_nothing_was_sent(self, run):
        async def main():
            bucket = wsx.TokenBucket(rate=0.001, burst=1)
            async with rpc(rate_limit=bucket) as (server, _, requests, _):
                await requests.request("a")
                with pytest.raises(SendTimeout, match="nothing was sent") as caught:
                    await requests.request("b", timeout=0.02)
                assert (caught.value.outcome, caught.value.method, requests.pending) == ("not_sent", "b", 0)
                assert len(server.requests) == 1

        run(main())

    def test_a_request_that_had_to_wait_for_tokens_is_sent_then(self, run):
        async def main():
            async with rpc(rate_limit=wsx.TokenBucket(rate=100, burst=1)) as (_, _, requests, _):
                assert await asyncio.gather(*(requests.request("a", [n]) for n in range(4))) == [[0], [1], [2], [3]]

        run(main())


class TestEndings:
    def test_the_end_of_the_connection_makes_what_was_sent_unknown(self, run):
        async def main():
            async with rpc() as (server, client, requests, _):
                tasks = [asyncio.ensure_future(requests.request("silent")) for _ in range(3)]
                while len(server.requests) < 3:
                    await asyncio.sleep(0)
                server.connections[0].wire.abort()
                for task in tasks:
                    with pytest.raises(OutcomeUnknown, match="the connection ended before it came") as caught:
                        await task
                    assert caught.value.outcome is wsx.Outcome.UNKNOWN
                    assert isinstance(caught.value.__cause__, ConnectionError)
                await client.wait_closed()
                with pytest.raises(ConnectionClosed) as refused:
                    await requests.request("a")
                assert (refused.value.outcome, requests.pending) == ("not_sent", 0)

        run(main())

    def test_closing_the_client_ends_them_too(self, run):
        async def main():
            async with rpc() as (server, client, requests, _):
                task = asyncio.ensure_future(requests.request("silent"))
                while not server.requests:
                    await asyncio.sleep(0)
                await client.close()
                with pytest.raises(OutcomeUnknown):
                    await task

        run(main())

    def test_they_work_again_after_a_reconnect_with_new_ids(self, run):
        async def main():
            async with rpc(reconnect=True) as (server, client, requests, heard):
                task = asyncio.ensure_future(requests.request("silent"))
                while not server.requests:
                    await asyncio.sleep(0)
                server.connections[0].wire.abort()
                with pytest.raises(OutcomeUnknown):
                    await task
                with pytest.raises(NotConnected) as caught:
                    await requests.request("a")
                assert caught.value.outcome == "not_sent"
                await client.wait_open()
                assert await requests.request("b", [1]) == [1]
                server.push('{"id":1,"result":"of the old connection"}')
                (late,) = await heard.wait(LateAnswer)
                assert (late.request_id, late.method, late.outcome, late.error) == (1, "silent", "unknown", None)

        run(main())

    def test_a_cancelled_caller_leaves_nothing_and_its_answer_is_late(self, run):
        async def main():
            async with rpc() as (server, _, requests, heard):
                task = asyncio.ensure_future(requests.request("silent"))
                while not server.requests:
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert requests.pending == 0
                server.push('{"id":1,"error":{"code":3,"message":"no"}}')
                (late,) = await heard.wait(LateAnswer)
                assert (late.outcome, late.error.code, late.message.json()["id"]) == ("unknown", 3, 1)

        run(main())

    @pytest.mark.parametrize("answer", ['"result":1', '"error":{"code":1}'])
    def test_an_answer_to_a_caller_that_was_cancelled_in_the_same_turn_is_no_fault(self, run, answer):
        async def main():
            async with rpc() as (server, _, requests, heard):
                task = asyncio.ensure_future(requests.request("silent"))
                while not server.requests:
                    await asyncio.sleep(0)
                requests.correlator.pending[1].waiter.cancel()
                server.push(f'{{"id":1,{answer}}}')
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not heard.of(UnexpectedAnswer)

        run(main())

    def test_more_than_may_wait_are_refused_by_name(self, run):
        async def main():
            async with rpc() as (_, client, _, _):
                requests = wsx.JsonRpc(client, most_pending=3)
                tasks = [asyncio.ensure_future(requests.request("silent")) for _ in range(3)]
                await asyncio.sleep(0)
                with pytest.raises(TooManyPending, match="most_pending"):
                    await requests.request("silent")
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert await requests.request("a") == {}

        run(main())


class TestStrays:
    @pytest.mark.parametrize(
        ("text", "identity", "what"),
        [
            ('{"id":77,"result":1}', 77, "an unknown id"),
            ('{"id":"1","result":1}', "1", "an unknown id"),
            ('{"id":1.0,"result":1}', 1.0, "an id that is neither"),
            ('{"id":true,"result":1}', True, "an id that is neither"),
            ('{"id":[1],"error":{"code":5}}', [1], "an id that is neither"),
            ('{"result":1}', None, "no id"),
            ('{"id":null,"result":1}', None, "no id"),
            ('{"error":{"code":-32600,"message":"request entity too large"}}', None, "no id"),
            ('{"id":1}', 1, "neither a result nor an error"),
            ('{"id":1,"error":null}', 1, "neither a result nor an error"),
            ('{"id":1,"result":1,"error":{"code":1}}', 1, "both a result and an error"),
            ('{"i\\u0064":1,"result":1,"error":{"code":1}}', 1, "both a result and an error"),
        ],
    )
    def test_an_answer_that_is_nobodys_is_an_event_and_touches_nobody(self, text, identity, what):
        async def main():
            async with rpc() as (server, client, requests, heard):
                task = asyncio.ensure_future(requests.request("silent"))
                while not server.requests:
                    await asyncio.sleep(0)
                server.push(text)
                (event,) = await heard.wait(UnexpectedAnswer)
                assert (event.request_id, type(event.request_id)) == (identity, type(identity))
                assert event.what.startswith(what)
                assert (event.error is None) == ("code" not in text or "result" in text)
                assert event.message.text == text
                assert not task.done()
                server.push('{"id":1,"result":"mine"}')
                assert await task == "mine"
                assert client.state is wsx.State.OPEN

        run_bounded(main())

    def test_an_answer_that_comes_twice_is_an_event(self, run):
        async def main():
            async with rpc() as (server, _, requests, heard):
                await requests.request("a")
                server.push('{"id":1,"result":2}')
                (event,) = await heard.wait(UnexpectedAnswer)
                assert (event.request_id, event.what) == (1, "the request had its answer already")

        run(main())

    @pytest.mark.parametrize(
        "text", ['{"id":2,"result":1}', '{"id":2,"error":{"code":5}}', '{"i\\u0064":2,"result":1}']
    )
    def test_what_has_not_been_sent_cannot_have_been_answered(self, run, text):
        async def main():
            async with rpc(rate_limit=wsx.TokenBucket(rate=20, burst=1)) as (server, _, requests, heard):
                await requests.request("a")
                task = asyncio.ensure_future(requests.request("b", [3]))
                await asyncio.sleep(0)
                server.push(text)
                (event,) = await heard.wait(UnexpectedAnswer)
                assert (event.request_id, event.what) == (2, "the request has not been sent yet")
                assert (len(server.requests), requests.pending) == (1, 1)
                assert await task == [3]

        run(main())

    def test_what_is_no_answer_flows_on(self, run):
        async def main():
            async with rpc() as (server, client, _, heard):
                for text in ('{"method":"m"}', '{"a":1}', "{}"):
                    server.push(text)
                    assert (await client.recv()).text == text
                assert not heard.of(ProtocolError)

        run(main())


class TestBatch:
    @staticmethod
    def answer(members):
        return [
            {"id": request["id"], "error": {"code": 1, "message": "no"}}
            if request["method"] == "refuse"
            else {"id": request["id"], "result": request["params"]}
            for request in reversed(members)
        ]

    def test_each_member_has_its_own_outcome_in_the_order_of_asking(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["batch"] = self.answer
                first, second, third = await requests.batch([("a", [1]), ("refuse", None), ("b", {"x": 2})])
                assert (first, third) == (Settled(wsx.Outcome.OK, [1]), Settled(wsx.Outcome.OK, {"x": 2}))
                assert (second.outcome, second.error.code, second.error.method) == ("rejected", 1, "refuse")
                assert len(server.raw) == 1
                assert requests.pending == 0

        run(main())

    def test_members_without_an_answer_are_unknown(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["batch"] = lambda members: self.answer(members[:1])
                first, second = await requests.batch([("a", None), ("b", None)], timeout=0.05)
                assert (first.outcome, second.outcome) == ("ok", "unknown")
                assert isinstance(second.error, AnswerTimeout)

        run(main())

    def test_an_empty_one_is_refused_before_anything_is_sent(self):
        async def main():
            async with rpc() as (server, _, requests, _):
                with pytest.raises(ValueError, match="at least one call"):
                    await requests.batch([])
                assert not server.raw

        run_bounded(main())

    def test_one_error_for_all_of_it_is_each_members_where_nothing_else_waits(self, run):
        async def main():
            async with rpc() as (server, _, requests, heard):
                server.answers["batch"] = lambda members: '{"id":null,"error":{"code":-32600,"message":"no batches"}}'
                members = await requests.batch([("a", None), ("b", None)])
                assert [(member.outcome, member.error.code) for member in members] == [("rejected", -32600)] * 2
                task = asyncio.ensure_future(requests.request("silent"))
                members = await requests.batch([("a", None)], timeout=0.05)
                assert members[0].outcome == "unknown"
                assert len(heard.of(UnexpectedAnswer)) == 1
                assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        run(main())

    @pytest.mark.parametrize("place", [0, 1])
    def test_an_error_without_an_id_among_answers_is_not_everybodys(self, run, place):
        async def main():
            async with rpc() as (server, _, requests, heard):

                def answer(members):
                    answers = [{"id": request["id"], "result": request["method"]} for request in members[1:]]
                    answers.insert(place, {"id": None, "error": {"code": -32600, "message": "Invalid Request"}})
                    return answers

                server.answers["batch"] = answer
                members = await requests.batch([("a", None), ("b", None), ("c", None)], timeout=0.05)
                assert [member.outcome for member in members] == ["unknown", "ok", "ok"]
                assert [event.what for event in heard.of(UnexpectedAnswer)] == ["no id"]

        run(main())

    def test_a_cancelled_one_leaves_nothing(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                server.answers["batch"] = lambda members: self.answer(members[1:])
                task = asyncio.ensure_future(requests.batch([("a", None), ("refuse", None)]))
                while requests.pending != 1:
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert requests.pending == 0

        run(main())

    def test_it_may_have_more_members_than_the_inbox_has_room_for(self, run):
        async def main():
            async with rpc(inbox_messages=2) as (server, _, requests, _):
                server.answers["batch"] = self.answer
                assert [member.outcome for member in await requests.batch([("a", None)] * 5)] == ["ok"] * 5

        run(main())

    def test_it_waits_for_tokens(self, run):
        async def main():
            async with rpc(rate_limit=wsx.TokenBucket(rate=100, burst=1)) as (server, _, requests, _):
                server.answers["batch"] = self.answer
                await requests.request("a")
                assert [member.outcome for member in await requests.batch([("a", None), ("b", None)])] == ["ok", "ok"]

        run(main())

    def test_each_member_pays_where_a_method_has_its_own_price(self, run):
        async def main():
            limiter = RateLimiter(PRICES)
            async with rpc(rate_limit=limiter) as (server, _, requests, _):
                server.answers["batch"] = self.answer
                await requests.batch([("dear", {"tokens": 20}), ("cheap", None), ("dear", {"tokens": 4})])
                assert limiter.utilisation == {
                    "dear": pytest.approx(0.24, abs=0.001),
                    "cheap": pytest.approx(0.1, abs=0.001),
                }
                requests.notify("cheap")
                assert limiter.utilisation["cheap"] == pytest.approx(0.2, abs=0.001)
                with pytest.raises(SendTimeout) as caught:
                    await requests.batch([("cheap", None), *[("dear", {"tokens": 60})] * 2], timeout=0.02)
                assert (caught.value.outcome, len(server.raw)) == ("not_sent", 2)

        run(main())

    def test_where_it_cannot_be_sent_that_is_raised(self, run):
        async def main():
            async with rpc() as (_, client, requests, _):
                await client.close()
                with pytest.raises(ConnectionClosed) as caught:
                    await requests.batch([("a", None), ("b", None)])
                assert (caught.value.outcome, requests.pending) == ("not_sent", 0)

        run(main())

    def test_one_from_the_other_side_is_taken_apart(self, run):
        async def main():
            async with rpc() as (server, client, requests, _):
                seen = []
                requests.on("m", lambda message: seen.append(message.json()["params"]))
                server.push('[{"method":"m","params":[1]}, {"method":"other"} ,{"method":"m","params":[2]}]')
                assert (await client.recv()).text == '{"method":"other"}'
                while len(seen) < 2:
                    await asyncio.sleep(0)
                assert seen == [[1], [2]]

        run(main())


class TestNotifications:
    def test_one_is_sent_without_an_id(self, run):
        async def main():
            async with rpc() as (server, _, requests, _):
                requests.notify("tell", {"a": 1})
                await requests.request("a")
                assert server.raw[0] == b'{"jsonrpc":"2.0","method":"tell","params":{"a":1}}'

        run(main())

    def test_one_of_the_other_sides_goes_to_its_callback_until_it_is_taken_away(self, run):
        async def main():
            async with rpc() as (server, client, requests, _):
                seen = []
                stop = requests.on("m", lambda message: seen.append(message.json()["params"]))
                server.push('{"method":"m","params":[1]}')
                while not seen:
                    await asyncio.sleep(0)
                stop()
                server.push('{"method":"m","params":[2]}')
                assert (await client.recv()).json()["params"] == [2]
                assert seen == [[1]]

        run(main())


class TestRoute:
    def test_a_hook_asks_over_its_route_with_the_same_ids(self, run):
        async def main():
            events = []

            async def log_in(route):
                requests = wsx.JsonRpc(route)
                events.append(await requests.request("public/auth", [route.epoch]))
                requests.notify("tell")

            async with rpc(on_open=[log_in], reconnect=True) as (server, client, requests, heard):
                assert events == [[1]]
                assert await requests.request("a", ["user"]) == ["user"]
                server.connections[0].wire.abort()
                await heard.wait(wsx.events.Opened, 2)
                await client.wait_open()
                assert events == [[1], [2]]
                while len(server.requests) < 5:  # nobody answers a notification
                    await asyncio.sleep(0.005)
                assert [request.get("id") for request in server.requests] == [1, None, 2, 3, None]

        run(main())

    def test_an_error_of_a_hooks_request_fails_the_opening(self, run):
        async def main():
            async def log_in(route):
                await wsx.JsonRpc(route).request("refuse")

            with pytest.raises(RpcError, match="not_enough_funds"):
                async with rpc(on_open=[log_in]):
                    pass

        run(main())

    def test_a_cut_while_a_hook_waits_is_a_lost_connection_and_is_tried_again(self, run):
        async def main():
            attempts = []

            async def log_in(route):
                attempts.append(route.epoch)
                await wsx.JsonRpc(route).request("auth")

            server, heard = RpcServer(), Heard()

            def auth(request):
                if len(attempts) == 2:
                    server.connections[-1].wire.abort()
                    return None
                return {"id": request["id"], "result": "in"}

            server.answers["auth"] = auth
            async with rpc(server=server, on_open=[log_in], reconnect=True, on_event=heard) as (_, client, requests, _):
                server.connections[0].wire.abort()
                await heard.wait(wsx.events.Opened, 2)
                await client.wait_open()
                assert attempts == [1, 2, 3]
                assert await requests.request("a") == {}

        run(main())

    @pytest.mark.parametrize(("code", "state"), [(1012, wsx.State.OPEN), (1008, wsx.State.HALTED)])
    def test_a_close_while_a_hook_waits_means_what_its_code_means(self, run, code, state):
        async def main():
            attempts = []

            async def log_in(route):
                attempts.append(route.epoch)
                await wsx.JsonRpc(route).request("auth")

            server, heard = RpcServer(), Heard()

            def auth(request):
                if len(attempts) == 2:
                    server.connections[-1].close(code, "")
                    return None
                return {"id": request["id"], "result": "in"}

            server.answers["auth"] = auth
            async with rpc(server=server, on_open=[log_in], reconnect=True, on_event=heard) as (_, client, _, _):
                server.connections[0].wire.abort()
                while client.state is not state or len(attempts) < 2:
                    await asyncio.sleep(0.001)
                assert len(attempts) == (2 if state is wsx.State.HALTED else 3)

        run(main())

    def test_a_hook_without_an_answer_is_a_lost_connection(self, run):
        async def main():
            async def log_in(route):
                await wsx.JsonRpc(route).request("silent", timeout=0.02)

            with pytest.raises(wsx.errors.ConnectionLost, match="could not be restored: no answer to silent") as caught:
                async with rpc(on_open=[log_in]):
                    pass
            assert isinstance(caught.value.__cause__, AnswerTimeout)

        run(main())

    def test_answers_that_a_hook_matches_itself_still_reach_it(self, run):
        async def main():
            async def log_in(route):
                wsx.JsonRpc(route)
                text = '{"id":"own","method":"a","params":{}}'
                answer = await route.request(text, lambda message: b'"own"' in message.data, timeout=5)
                assert answer.json()["result"] == {}

            async with rpc(on_open=[log_in]) as (_, _, _, heard):
                assert not heard.of(UnexpectedAnswer)

        run(main())

    def test_a_route_that_is_over_sends_nothing(self, run):
        async def main():
            routes = []

            async def keep(route):
                routes.append(wsx.JsonRpc(route))

            async with rpc(on_open=[keep]) as (_, client, _, _):
                await client.close()
                with pytest.raises(NotConnected, match="nothing was sent"):
                    await routes[0].request("a")
                assert routes[0].pending == 0

        run(main())


def test_a_full_write_buffer_is_waited_for(run):
    async def main():
        async with rpc(write_limit=1000) as (server, client, requests, _):
            connection = server.connections[0]
            connection.wire.pause_reading()
            with pytest.raises(Backpressure):
                while True:
                    client.send_nowait(b'{"method":"fill","pad":"' + b"x" * 100_000 + b'"}', text=True)
            task = asyncio.ensure_future(requests.request("a", [1]))
            await asyncio.sleep(0)
            assert requests.pending == 1
            connection.wire.resume_reading()
            assert await task == [1]

    run(main())


class ReqId:
    """An exchange whose requests carry `req_id`."""

    def encode(self, request_id, method, params):
        return orjson.dumps({"op": method, "req_id": request_id, "args": params})

    def read(self, message):
        document = orjson.loads(message.data)
        if "req_id" not in document:
            return None
        if document["ok"]:
            return Answer(document["req_id"], document["data"])
        return Answer(document["req_id"], error=RpcError(document["data"], "no"))


class TestAnotherProtocol:
    def test_its_strategy_finds_the_answers_and_the_rest_flows_on(self, run):
        def serve(connection, message):
            request = orjson.loads(message.data)
            connection.send(orjson.dumps({"push": request["args"]}), text=True)
            known = request["op"] != "refuse"
            answer = {"req_id": request["req_id"], "ok": known, "data": request["args"] if known else 7}
            if request["op"] != "silent":
                connection.send(orjson.dumps(answer), text=True)

        async def main():
            heard = Heard()
            async with LocalServer(on_message=serve) as server, wsx.connect(server.url, on_event=heard) as client:
                requests = Requester(client, ReqId())
                assert await requests.request("subscribe", ["trades"]) == ["trades"]
                assert (await requests.request("subscribe", whole=True)).json()["req_id"] == 2
                with pytest.raises(RpcError, match="7 no") as caught:
                    await requests.request("refuse")
                assert caught.value.outcome == "rejected"
                with pytest.raises(AnswerTimeout):
                    await requests.request("silent", timeout=0.02)
                assert [(await client.recv()).json() for _ in range(4)] == [
                    {"push": ["trades"]}, {"push": None}, {"push": None}, {"push": None},
                ]  # fmt: skip
                server.connections[0].send('{"req_id":4,"ok":false,"data":5}')
                server.connections[0].send('{"req_id":"3","ok":true,"data":5}')
                (late,), (stray,) = await heard.wait(LateAnswer), await heard.wait(UnexpectedAnswer)
                assert (late.request_id, late.error.code, stray.request_id) == (4, 5, "3")

        run(main())

    def test_a_client_speaks_one_protocol(self):
        async def main():
            async with rpc() as (_, client, requests, _):
                with pytest.raises(ValueError, match="asks by JsonRpc, not by ReqId too"):
                    Requester(client, ReqId())
                assert await requests.request("a", [1]) == [1]
            async with LocalServer() as server, wsx.connect(server.url) as client:
                for _ in range(2):
                    Requester(client, ReqId())
                with pytest.raises(ValueError, match="asks by ReqId, not by JsonRpc too"):
                    wsx.JsonRpc(client)

        run_bounded(main())
