"""Two real ends in memory: what a client does over a socket it does here, without one."""

import asyncio
import random
import time
from functools import partial

import pytest

import wsx
from wsx._frame import encode
from wsx.testing import Door, MemoryServer, connect_in_memory

TEXT = 0x1
connect = partial(connect_in_memory, reconnect=False)  # an end is an end here


def echo(connection, message):
    connection.send(message.data, text=message.opcode == TEXT)


def echo_server(**options):
    return MemoryServer(Door(on_message=echo), **options)


def run(main):
    """On asyncio's own loop, bounded: where bytes are lost, nothing here would wait for ever."""
    return asyncio.run(asyncio.wait_for(main, 20))


class TestBothWays:
    @pytest.mark.parametrize("read_bytes", [1, 3, 65536])
    def test_messages_come_back_however_the_bytes_are_split(self, read_bytes):
        async def main():
            async with connect(echo_server(read_bytes=read_bytes)) as client:
                sent = ["grüße", b"\x00\xff", "", "x" * 3000]
                for data in sent:
                    await client.send(data)
                return [(await client.recv()).data for _ in sent]

        assert run(main()) == ["grüße".encode(), b"\x00\xff", b"", b"x" * 3000]

    def test_what_the_door_does_not_understand_is_rejected(self):
        async def main():
            with pytest.raises(wsx.errors.HandshakeRejected) as caught:
                await connect(echo_server(), headers={"X-Long": "x" * 100_000})
            return caught.value.status

        assert run(main()) == 400

    def test_an_opening_has_its_deadline_here_too(self):
        async def main():
            opening = asyncio.ensure_future(connect(echo_server(), connect_timeout=0.001))
            asyncio.get_running_loop().call_soon(time.sleep, 0.01)  # the loop is held up as it opens
            with pytest.raises(wsx.errors.ConnectionFailed) as caught:
                await opening
            return caught.value.stage

        assert run(main()) == "upgrade"

    def test_a_ping_comes_back(self):
        async def main():
            async with connect(echo_server()) as client:
                return await client.ping()

        assert run(main()) > 0

    def test_the_server_speaks_first_and_delivery_begins_after_connect_has_returned(self):
        async def main():
            seen = []
            server = MemoryServer(Door(), lambda connection: connection.send("hello"))
            async with connect(server, on_message=lambda message: seen.append(message.text)) as client:
                before = list(seen)
                await client.ping()
                return before, seen

        assert run(main()) == ([], ["hello"])

    def test_order_is_kept_under_any_interleaving(self):
        async def main():
            random_numbers = random.Random(7)
            async with connect(echo_server(capacity=100, read_bytes=17)) as client:
                received = []
                for number in range(2000):
                    await client.send(str(number))
                    while len(client._session.inbox) and random_numbers.random() < 0.7:
                        received.append(int((await client.recv()).text))
                while len(received) < 2000:
                    received.append(int((await client.recv()).text))
                return received

        assert run(main()) == list(range(2000))


class TestUpgrade:
    def test_a_common_subprotocol_is_chosen_and_the_request_is_seen(self):
        async def main():
            server = MemoryServer(Door(subprotocols=("b", "a")))
            options = {"subprotocols": ["x", "a", "b"], "headers": {"X-Desk": "7"}}
            async with connect(server, "ws://localhost/feed?x=1", **options) as client:
                (end,) = server.connections
                return client.subprotocol, end.subprotocol, end.request.resource, ("X-Desk", "7") in end.request.headers

        assert run(main()) == ("a", "a", "/feed?x=1", True)

    def test_a_door_that_stays_shut_answers_with_its_status(self):
        async def main():
            with pytest.raises(wsx.errors.HandshakeRejected) as caught:
                await connect(MemoryServer(Door(check=lambda request: 401)))
            return caught.value.status

        assert run(main()) == 401


class TestClosing:
    def test_the_client_closes_in_good_order(self):
        async def main():
            server = echo_server()
            async with connect(server) as client:
                (end,) = server.connections
                await client.send("last words")
                await client.close(4001, "enough")
                await end.wait_closed()
                return client.close_code, end.close_code, server.connections

        assert run(main()) == (4001, 4001, ())

    def test_the_server_closes_after_what_it_has_sent(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server) as client:
                (end,) = server.connections
                for number in range(100):
                    end.send(str(number))
                end.close(1012, "restart")
                received = [await client.recv() for _ in range(100)]
                with pytest.raises(wsx.errors.ConnectionClosed):
                    await client.recv()
                return received[-1].text, client.close_code, client.close_reason

        assert run(main()) == ("99", 1012, "restart")

    def test_a_stream_that_ends_in_the_middle_of_a_message_is_a_lost_connection(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server) as client:
                (end,) = server.connections
                end.send_raw(encode(TEXT, b"whole") + encode(TEXT, b"cut in the middle")[:9])
                end.wire.close()
                whole = (await client.recv()).text
                with pytest.raises(wsx.errors.ConnectionLost):
                    await anext(aiter(client))
                return whole, client.close_code

        assert run(main()) == ("whole", 1006)

    def test_a_cut_loses_what_was_on_its_way_and_ends_both_sides(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server) as client:
                (end,) = server.connections
                end.send("on its way")
                end.abort()
                await client.wait_closed()
                await end.wait_closed()
                with pytest.raises(ConnectionResetError):
                    end.send("too late")
                with pytest.raises(wsx.errors.ConnectionClosed):
                    client.send_nowait("too late")
                return client.close_code, client.telemetry.snapshot()["messages_received"]

        assert run(main()) == (1006, 0)

    def test_a_broken_stream_is_failed_with_its_code_and_the_peer_hears_it(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server) as client:
                (end,) = server.connections
                end.send_raw(encode(TEXT, b"\xff"))
                await end.wait_closed()
                await client.wait_closed()
                with pytest.raises(wsx.errors.InvalidUtf8):
                    await anext(aiter(client))
                return end.close_code

        assert run(main()) == 1007

    def test_a_peer_that_never_answers_is_left_after_close_timeout(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server, close_timeout=0.05) as client:
                (end,) = server.connections
                end.wire.pause_reading()
                await client.close()
                await end.wait_closed()
                return client.close_code

        assert run(main()) == 1006

    def test_a_dead_peer_is_noticed_by_the_heartbeat(self):
        async def main():
            server = MemoryServer(Door())
            async with connect(server, ping_interval=0.02, ping_timeout=0.05) as client:
                server.connections[0].wire.pause_reading()
                with pytest.raises(wsx.errors.HeartbeatTimeout):
                    await anext(aiter(client))

        run(main())


class TestBounds:
    def test_a_server_that_does_not_read_fills_the_clients_write_buffer_and_no_more(self):
        async def main():
            server = MemoryServer(Door(), capacity=1000)
            async with connect(server, write_limit=5000, close_timeout=0.05) as client:
                server.connections[0].wire.pause_reading()
                with pytest.raises(wsx.errors.Backpressure) as caught:
                    await send_without_end(client)
                return client.telemetry.snapshot()["messages_sent"], caught.value.buffered

        sent, buffered = run(main())
        assert sent == pytest.approx((1000 + 5000) / 100, abs=1)
        assert buffered == 100 * sent - 1000

    def test_waiting_senders_go_on_once_the_server_reads_again(self):
        async def main():
            got = []
            server = MemoryServer(Door(on_message=lambda connection, message: got.append(message.text)), capacity=1000)
            async with connect(server, write_limit=2000) as client:
                (end,) = server.connections
                end.wire.pause_reading()
                sending = asyncio.gather(*(client.send(str(number)) for number in range(1000)))
                await asyncio.sleep(0)  # every sender has had its turn
                assert not sending.done()
                end.wire.resume_reading()
                await sending
                await client.ping()
                return got

        assert run(main()) == [str(number) for number in range(1000)]

    def test_a_client_that_does_not_read_is_not_read_from(self):
        async def main():
            server = echo_server(capacity=1000)
            async with connect(server, inbox_messages=10, write_limit=10_000, close_timeout=0.05) as client:
                with pytest.raises(wsx.errors.Backpressure):
                    await send_without_end(client)
                return server.connections[0].wire.writer.buffered

        assert 0 < run(main()) < 1000 + 65536

    def test_a_full_inbox_holds_the_server_back_and_nothing_is_lost(self):
        async def main():
            server = MemoryServer(Door(), capacity=1000, read_bytes=500)
            async with connect(server, inbox_messages=10) as client:
                (end,) = server.connections
                writing = asyncio.create_task(send_numbers(end, 5000))
                received = []
                async for message in client:
                    received.append(int(message.text))
                    assert len(client._session.inbox) < 10 + 500
                await writing
                return received, client.close_code

        assert run(main()) == (list(range(5000)), 1000)


async def send_without_end(client):
    """100 bytes on the wire at a time, until the client refuses."""
    while True:
        client.send_nowait(b"x" * 94)
        await asyncio.sleep(0)


async def send_numbers(end, count):
    for number in range(count):
        end.send(str(number))
        await end.drain()
    end.close()
