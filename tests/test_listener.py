"""picows' frames into the assembler and ours into its transport, over real sockets."""

import asyncio

import pytest
from streams import expected, stream, vectors

import wsx
from wsx._telemetry import Telemetry
from wsx.errors import NotConnected
from wsx.events import Closed
from wsx.testing import EchoServer, LocalServer
from wsx.transport._listener import Listener, PicowsWriter


def on_an_echo_connection(use):
    """Run `use(client, underlying)` with a client of a local echo server and the asyncio transport below it."""

    async def main():
        async with EchoServer() as server, wsx.connect(server.url) as client:
            return await use(client, client._session.connection.transport._underlying)

    return asyncio.run(main())


def test_a_transport_that_closes_by_itself_is_no_connection_any_more():
    async def use(client, underlying):
        underlying.abort()  # as after a reset: the loop tells the protocol only in its next turn
        for data in ("x", b"x" * 100_000):
            with pytest.raises(NotConnected, match="nothing was sent"):
                client.send_nowait(data)
        return client.telemetry.snapshot()["frames_sent"]

    assert on_an_echo_connection(use) == 0


def test_frames_of_every_size_come_back():
    async def use(client, underlying):
        sizes = [0, 1, 125, 126, 4096, 65535, 65536, 300_000]
        for size in sizes:
            await client.send(b"x" * size)
        return [len(await client.recv()) for _ in sizes] == sizes

    assert on_an_echo_connection(use)


def test_the_last_message_of_a_read_says_so():
    async def use(client, underlying):
        for number in range(200):
            client.send_nowait(str(number))
        messages = [await client.recv() for _ in range(200)]
        assert messages[-1].last_in_batch
        reads = [[]]
        for message in messages:
            reads[-1].append(message.received_ns)
            if message.last_in_batch:
                reads.append([])
        return all(len(set(read)) == 1 for read in reads[:-1])

    assert on_an_echo_connection(use)


def test_a_writer_that_is_not_attached_refuses():
    writer = PicowsWriter(Telemetry())
    assert writer.buffered == 0
    with pytest.raises(NotConnected):
        writer.send(0x1, b"x")
    writer.detach()


def test_a_listener_needs_a_sink():
    with pytest.raises(TypeError):
        Listener(None, object())


# ---- the vectors, split by picows -----------------------------------------------------------------------------------

OF_A_SERVER = [entry for entry in vectors("streams.json") if entry.get("from") != "client"]


async def through_a_socket(wire, options):
    """What a client makes of `wire`: its messages, and the code and the error that it ended with."""

    def send(end):
        end.send_raw(wire)
        end.wire.close()

    def on_event(event):
        if isinstance(event, Closed):
            ends.append((event.code, getattr(event.error, "close_code", None)))

    messages, ends = [], []
    async with LocalServer(on_open=send) as server:
        options = dict(options, reconnect=False, on_event=on_event)
        client = await wsx.connect(server.url, on_message=messages.append, **options)
        await client.wait_closed()
    kinds = {0x1: "text", 0x2: "binary"}
    return [(kinds[message.opcode], message.data) for message in messages], ends[0]


@pytest.mark.parametrize("entry", OF_A_SERVER, ids=lambda entry: entry["name"])
def test_a_vector_split_by_picows_gives_the_same_messages_and_the_same_end(entry):
    wire, options = stream(entry)
    del options["server"]
    messages, (code, refused_with) = asyncio.run(through_a_socket(wire, options))
    want = expected(entry)
    assert messages == [event for event in want if event[0] in ("text", "binary")]
    ends = {event[0]: event[1] for event in want}
    assert code == ends.get("close", 1006)
    assert refused_with == ends.get("fail")
