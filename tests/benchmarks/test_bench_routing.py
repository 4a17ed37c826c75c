"""What it takes to bring one message to the callback of its channel, and to find the answer to one request.

Every round takes CALLS messages, so the table's microseconds a round are nanoseconds a message. Sockets are not in it.
"""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from wsx._assembler import Assembler
from wsx._envelope import scan
from wsx._frame import encode
from wsx._inbox import Inbox
from wsx._message import Message
from wsx._router import Router
from wsx._telemetry import Telemetry
from wsx.correlation import Correlator
from wsx.errors import Outcome

pytestmark = pytest.mark.benchmark(group="a routed message (us a round are ns a message)", warmup=True)

CALLS = 1000
TEXT = 0x1
LEVEL = '["change",36809.5,25487.0]'


def book(levels: int) -> bytes:
    bids = ",".join([LEVEL] * levels)
    return (
        '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-PERPETUAL.100ms","data":{"type":"change",'
        f'"timestamp":1622627435737,"instrument_name":"BTC-PERPETUAL","bids":[{bids}],"asks":[]}}}}}}'
    ).encode()


class Owner:
    """Hears what an inbox and an assembler say."""

    def on_inbox_full(self) -> None:
        raise AssertionError

    on_inbox_drained = on_inbox_full

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        raise error

    def on_control(self, opcode: int, payload: bytes) -> None:
        raise AssertionError

    def on_close(self, code: int, reason: str) -> None:
        raise AssertionError

    on_failure = on_close


def line(add: Callable[[Router], None]) -> Assembler:
    owner, telemetry = Owner(), Telemetry()
    inbox = Inbox(owner, telemetry)
    router = Router(inbox)
    inbox.tap = router
    add(router)
    inbox.start()
    return Assembler(inbox, owner, telemetry)


def on_message(message: Message) -> None:
    """Nothing is read."""


@pytest.mark.parametrize("levels", [5, 20, 2000], ids=["350 B", "700 B", "54 kB"])
def test_from_the_wire_to_the_callback_of_the_channel(benchmark: Any, levels: int) -> None:
    assembler = line(lambda router: router.channels.add(b"book.BTC-PERPETUAL.100ms", on_message))
    read = encode(TEXT, book(levels)) * CALLS
    benchmark(assembler.feed, read)


@pytest.mark.parametrize("levels", [5, 20], ids=["350 B", "700 B"])
def test_from_the_wire_to_the_callback_of_the_prefix(benchmark: Any, levels: int) -> None:
    assembler = line(lambda router: router.add_prefix(b"book.", on_message))
    read = encode(TEXT, book(levels)) * CALLS
    benchmark(assembler.feed, read)


@pytest.mark.parametrize("levels", [5, 20], ids=["350 B", "700 B"])
def test_the_same_message_parsed_and_looked_up_in_a_dict(benchmark: Any, levels: int) -> None:
    data, callbacks = book(levels), {"book.BTC-PERPETUAL.100ms": on_message}

    def parse() -> None:
        for _ in range(CALLS):
            params = orjson.loads(data)["params"]
            callbacks[params["channel"]](params["data"])

    benchmark(parse)


def test_the_scan_as_python_sees_it(benchmark: Any) -> None:
    data = book(5)
    benchmark(lambda: [scan(data) for _ in range(CALLS)])


def test_a_request_and_its_answer_in_the_correlator(benchmark: Any) -> None:
    correlator = Correlator()

    def ask() -> None:
        for _ in range(CALLS):
            pending = correlator.open("public/test", 30.0, None)
            correlator.sent(pending)
            correlator.close(pending.request_id, Outcome.OK)

    benchmark(ask)
