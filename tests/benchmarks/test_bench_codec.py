"""What the codec takes for one message, piece by piece.

Every round makes CALLS calls, or passes CALLS messages, so the table's microseconds a round are nanoseconds a message;
what is called from a Python loop pays some nanoseconds for the loop. Sockets and the kernel are not in it.
"""

import asyncio
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

from wsx._assembler import Assembler
from wsx._frame import encode, mask
from wsx._inbox import Inbox
from wsx._lane import Lane
from wsx._message import Message
from wsx._telemetry import Telemetry
from wsx._writer import mask_key
from wsx.transport._pipe import PipeWriter

pytestmark = pytest.mark.benchmark(group="a message (us a round are ns a message)", warmup=True)

CALLS = 1000
TEXT = 0x1
KEY = b"\x37\xfa\x21\x3d"
MESSAGE = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.BTC-PERPETUAL.raw","data":'.ljust(
    320, b"x"
)


class Owner:
    """Hears what an inbox and an assembler say, and does nothing about it."""

    def on_inbox_full(self) -> None:
        """The benchmark reads in a moment."""

    def on_inbox_drained(self) -> None:
        """It has read."""

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        raise error

    def on_control(self, opcode: int, payload: bytes) -> None:
        """None comes."""

    def on_close(self, code: int, reason: str) -> None:
        raise AssertionError(code, reason)

    on_failure = on_close


class HalfClient(Lane):
    """A lane that anybody may read."""

    def _check_reader(self) -> None:
        """There is one reader."""


def call_often(function: Callable[..., object], *arguments: object) -> None:
    for _ in repeat(None, CALLS):
        function(*arguments)


def wire(count: int) -> bytes:
    return encode(TEXT, MESSAGE) * count


def line(callback: Callable[[Message], object] | None) -> tuple[Inbox, Assembler]:
    owner, telemetry = Owner(), Telemetry()
    inbox = Inbox(owner, telemetry, callback=callback, max_messages=10 * CALLS)
    inbox.start()
    return inbox, Assembler(inbox, owner, telemetry)


def test_encode_256_bytes(benchmark: Any) -> None:
    payload = bytes(256)
    benchmark(call_often, lambda: encode(TEXT, payload, key=KEY))


@pytest.mark.parametrize("size", [256, 4096])
def test_mask(benchmark: Any, size: int) -> None:
    benchmark(call_often, mask, bytes(size), KEY)


def test_mask_key(benchmark: Any) -> None:
    benchmark(call_often, mask_key)


def test_message_by_hand(benchmark: Any) -> None:
    benchmark(call_often, Message, MESSAGE)


@pytest.mark.parametrize("together", [1, 50], ids=["one a read", "50 a read"])
def test_320_bytes_of_text_from_the_wire_to_a_callback(benchmark: Any, together: int) -> None:
    count = 0

    def on_message(message: Message) -> None:
        nonlocal count
        count += 1

    _, assembler = line(on_message)
    read = wire(together)
    benchmark(lambda: [assembler.feed(read) for _ in range(CALLS // together)])
    assert count
    assert count % CALLS == 0


def test_320_bytes_of_text_from_the_wire_through_async_for(benchmark: Any) -> None:
    inbox, assembler = line(None)
    client = HalfClient()
    client._attach(inbox, None, Telemetry(), 1 << 20)
    read = wire(CALLS)

    async def take() -> int:
        count = 0
        async for _ in client:
            count += 1
            if count == CALLS:
                break
        return count

    def bring_and_take() -> int:
        assembler.feed(read)
        return loop.run_until_complete(take())

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        assert benchmark(bring_and_take) == CALLS


@pytest.mark.parametrize("data", ["x" * 256, b"x" * 256], ids=["str", "bytes"])
def test_send_nowait_256_bytes_into_a_pipe(benchmark: Any, data: str | bytes) -> None:
    inbox, _ = line(None)
    client, telemetry = HalfClient(), Telemetry()
    writer = PipeWriter(telemetry)
    writer.attach(len, int)
    client._attach(inbox, None, telemetry, 1 << 20)
    client._open_lane(writer)
    benchmark(call_often, client.send_nowait, data)
    assert telemetry.snapshot()["messages_sent"] % CALLS == 0
