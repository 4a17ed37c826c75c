"""The assembler against the vectors, against itself under every split, and against two other implementations."""

import gc
import sys
import tracemalloc

import pytest
import wsproto.connection
import wsproto.events
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streams import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Endpoint,
    byte_by_byte,
    expected,
    frame,
    receive,
    shortened,
    stream,
    unhex,
    vectors,
)
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side
from websockets.protocol import State as ProtocolState

from wsx._assembler import Assembler, MessageReceiver, may_be_sent
from wsx._frame import FAULTS
from wsx._telemetry import Telemetry

STREAMS = vectors("streams.json")
UTF8 = vectors("utf8.json")

each_stream = pytest.mark.parametrize("entry", STREAMS, ids=lambda entry: entry["name"])
each_text = pytest.mark.parametrize("entry", UTF8, ids=lambda entry: entry["name"])


# ---- vectors --------------------------------------------------------------------------------------------------------


@each_stream
def test_a_vector_gives_its_events(entry):
    wire, options = stream(entry)
    want = expected(entry)
    assert shortened(receive(wire, **options), want) == want


@each_stream
def test_a_vector_fed_byte_by_byte_gives_the_same_events(entry):
    wire, options = stream(entry)
    assert receive(wire, byte_by_byte(wire), **options) == receive(wire, **options)


@each_stream
def test_a_vector_cut_once_anywhere_gives_the_same_events(entry):
    wire, options = stream(entry)
    whole = receive(wire, **options)
    places = range(len(wire) + 1) if len(wire) < 300 else (1, 5, 9, 10, 11, len(wire) // 2, len(wire) - 1)
    assert all(receive(wire, [cut], **options) == whole for cut in places)


def test_every_reason_to_refuse_a_stream_has_a_vector():
    met = {
        event[2] for entry in STREAMS for event in receive(stream(entry)[0], **stream(entry)[1]) if event[0] == "fail"
    }
    assert met == {words for _, words in FAULTS.values()}


@each_text
def test_text_is_delivered_if_it_is_utf_8(entry):
    data = unhex(entry["bytes"])
    (event,) = receive(frame(TEXT, data))
    assert event[:2] == (("text", data) if entry["valid"] else ("fail", 1007))


@each_text
def test_text_in_parts_is_delivered_if_it_is_utf_8(entry):
    data = unhex(entry["bytes"])
    whole = receive(frame(TEXT, data))
    for cut in range(len(data) + 1):
        assert receive(frame(TEXT, data[:cut], fin=False) + frame(0, data[cut:])) == whole


@each_text
def test_bad_text_is_refused_at_the_byte_that_makes_it_certain(entry):
    data = unhex(entry["bytes"])
    for end in range(1, len(data) + 1):
        refused = bool(receive(frame(TEXT, data[:end], fin=False)))
        assert refused == (not can_go_on(data[:end])), data[:end]


@each_text
def test_the_reason_of_a_close_is_utf_8(entry):
    reason = unhex(entry["bytes"])[:123]
    (event,) = receive(frame(CLOSE, (1000).to_bytes(2) + reason))
    assert event == ("close", 1000, reason) if is_utf8(reason) else event[:2] == ("fail", 1007)


@pytest.mark.parametrize("size", [*range(1, 34), *range(62, 68), *range(78, 84), *range(126, 132), 200])
def test_one_byte_beyond_ascii_is_noticed_wherever_it_stands(size):
    ascii_text = bytes(33 + i % 90 for i in range(size))
    assert receive(frame(TEXT, ascii_text)) == [("text", ascii_text)]
    for place in range(size):
        broken = ascii_text[:place] + b"\xff" + ascii_text[place + 1 :]
        assert [event[:2] for event in receive(frame(TEXT, broken))] == [("fail", 1007)]
        longer = ascii_text[:place] + "é".encode() + ascii_text[place + 1 :]
        assert receive(frame(TEXT, longer)) == [("text", longer)]


@each_text
def test_bytes_are_delivered_whatever_they_are(entry):
    data = unhex(entry["bytes"])
    assert receive(frame(BINARY, data)) == [("binary", data)]


@each_text
def test_the_vector_agrees_with_python(entry):
    assert is_utf8(unhex(entry["bytes"])) == entry["valid"]


def is_utf8(data):
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


def can_go_on(data):
    """Is there any valid text that begins with `data`? Tried, not reasoned: every ending that a character may need."""
    endings = [
        b"",
        *(bytes([a]) for a in TAILS),
        *(bytes([a, 0x80]) for a in TAILS),
        *(bytes([a, 0x80, 0x80]) for a in TAILS),
    ]
    return any(is_utf8(data + ending) for ending in endings)


TAILS = range(0x80, 0xC0)
LENGTH_NOT_MINIMAL = 1  # the first of FAULTS


def test_all_codes_of_a_close_are_judged():
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for code in range(65536):
        (event,) = receive(frame(CLOSE, code.to_bytes(2)))
        assert event[:2] == (("close", code) if code in allowed else ("fail", 1002))
        assert may_be_sent(code) == (code in allowed)


def test_a_code_that_two_bytes_cannot_hold_may_not_be_sent():
    assert not any(map(may_be_sent, (-1, 65536, 2**31 - 1, 66536)))


# ---- sessions -------------------------------------------------------------------------------------------------------

PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([0, 125, 126, 127, 65535, 65536, 70000]).map(bytes),
)
MESSAGES = st.one_of(
    st.tuples(st.just("binary"), PAYLOADS),
    st.tuples(st.just("text"), st.text(max_size=40).map(str.encode)),
    st.tuples(st.just("text"), st.sampled_from(["é" * 63, "€" * 42 + "a", "x" * 200 + "😀"]).map(str.encode)),
)
CONTROLS = st.tuples(st.sampled_from(["ping", "pong"]), st.binary(max_size=125))
OPCODES = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG}


@st.composite
def sessions(draw, server=False):
    """The wire bytes of messages in any number of parts with control frames anywhere, and the events they are."""
    wire, events = [], []

    def controls():
        for kind, payload in draw(st.lists(CONTROLS, max_size=2)):
            wire.append(frame(OPCODES[kind], payload, server=server))
            events.append((kind, payload))

    for kind, payload in draw(st.lists(MESSAGES, max_size=5)):
        controls()
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        edges = list(zip([0, *cuts], [*cuts, len(payload)], strict=True))
        for number, (start, end) in enumerate(edges, 1):
            opcode = OPCODES[kind] if number == 1 else 0
            wire.append(frame(opcode, payload[start:end], fin=number == len(edges), server=server))
            if number < len(edges):
                controls()
        events.append((kind, payload))
    return b"".join(wire), events


@given(sessions(), st.data())
def test_any_session_survives_any_fragmentation_and_split(session, data):
    wire, events = session
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    assert receive(wire, cuts) == events


@given(sessions(server=True), st.data())
def test_any_session_of_a_client_survives_any_fragmentation_and_split(session, data):
    wire, events = session
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    assert receive(wire, cuts, server=True) == events


@given(sessions())
@settings(max_examples=40)
def test_any_session_byte_by_byte_is_the_same_session(session):
    wire, events = session
    assume(len(wire) < 3000)
    assert receive(wire, byte_by_byte(wire)) == events


@given(sessions(), st.data())
def test_a_session_cut_off_gives_the_beginning_of_its_events(session, data):
    wire, events = session
    end = data.draw(st.integers(0, len(wire)))
    found = receive(wire[:end])
    assert found == events[: len(found)]


# ---- beside two other implementations -------------------------------------------------------------------------------


def of_wsproto(wire):
    """The messages that wsproto delivers."""
    connection = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
    connection.receive_data(wire)
    messages, parts = [], []
    for event in connection.events():
        if isinstance(event, wsproto.events.Message):
            parts.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                kind = "text" if isinstance(event, wsproto.events.TextMessage) else "binary"
                messages.append((kind, b"".join(parts)))
                parts = []
    return messages


def of_websockets(wire):
    """The messages that websockets delivers; it leaves UTF-8 to its caller, who ends at the first text that is not."""
    protocol = Protocol(Side.CLIENT, state=ProtocolState.OPEN, max_size=16 << 20)
    protocol.receive_data(wire)
    messages, parts, kind = [], [], ""
    for received in protocol.events_received():
        if received.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            continue
        kind = {Opcode.TEXT: "text", Opcode.BINARY: "binary"}.get(received.opcode, kind)
        parts.append(bytes(received.data))
        if received.fin:
            messages.append((kind, b"".join(parts)))
            parts = []
            if kind == "text" and not is_utf8(messages[-1][1]):
                return messages[:-1]
        elif kind == "text" and not can_go_on(b"".join(parts)):
            return messages
    return messages


def delivered(wire):
    return [event for event in receive(wire) if event[0] in ("text", "binary")]


@st.composite
def mutated_sessions(draw):
    wire = bytearray(draw(sessions())[0])
    assume(len(wire) < 5000)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(wire)))
        kind = draw(st.sampled_from(["flip", "drop", "insert", "repeat", "header"]))
        if kind == "flip" and at < len(wire):
            wire[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "drop":
            del wire[at : at + draw(st.integers(1, 8))]
        elif kind == "insert":
            wire[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "repeat":
            wire[at:at] = wire[at : at + draw(st.integers(1, 40))]
        elif kind == "header":
            wire[at:at] = bytes([draw(st.integers(0, 255)), draw(st.integers(0, 127))])
    return bytes(wire)


@given(mutated_sessions())
@settings(max_examples=400)
def test_broken_sessions_deliver_what_others_deliver_and_nothing_else(wire):
    found = delivered(wire)
    assert found == of_wsproto(wire)
    if ("fail", *FAULTS[LENGTH_NOT_MINIMAL]) in receive(wire):
        assert found == of_websockets(wire)[: len(found)]  # websockets takes any form of a length
    else:
        assert found == of_websockets(wire)


@given(mutated_sessions(), st.data())
def test_broken_sessions_are_the_same_in_any_split(wire, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    assert receive(wire, cuts) == receive(wire)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300)
def test_noise_ends_at_its_first_failure_or_close(wire, server):
    events = receive(wire, server=server)
    assert not [event for event in events[:-1] if event[0] in ("fail", "close")]


# ---- limits ---------------------------------------------------------------------------------------------------------


def peak_bytes(end, pieces):
    """The most memory that feeding these pieces took at a time."""
    gc.collect()
    tracemalloc.start()
    try:
        for piece in pieces:
            end.assembler.feed(piece)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_announced_is_not_allocated():
    end = Endpoint(max_message_size=2**63)
    assert peak_bytes(end, [unhex("82 7f 4000000000000000"), bytes(1000)]) < 20_000
    assert end.events == []


def test_what_is_announced_over_the_limit_is_refused_and_not_allocated():
    end = Endpoint()
    assert peak_bytes(end, [unhex("82 7f 4000000000000000"), bytes(1000)]) < 20_000
    assert [event[:2] for event in end.events] == [("fail", 1009)]


def test_a_part_that_would_pass_the_limit_is_refused_from_its_header():
    events = receive(frame(BINARY, b"123", fin=False) + frame(0, b"456")[:2], max_message_size=5)
    assert [event[:2] for event in events] == [("fail", 1009)]


def test_a_message_without_end_takes_no_more_than_its_limit():
    end = Endpoint(max_message_size=100_000)
    pieces = [frame(BINARY, bytes(1000), fin=False), *[frame(0, bytes(1000), fin=False)] * 1000]
    assert peak_bytes(end, pieces) < 130_000
    assert [event[:2] for event in end.events] == [("fail", 1009)]


def test_a_million_empty_parts_are_refused_at_the_limit():
    end = Endpoint(max_fragments=1024)
    many = frame(0, fin=False) * 1000
    assert peak_bytes(end, [frame(TEXT, fin=False), *[many] * 1000]) < 20_000
    assert [event[:2] for event in end.events] == [("fail", 1009)]
    assert end.telemetry.snapshot()["frames_received"] == 1025


def test_a_ping_flood_inside_a_message_takes_no_memory():
    end = Endpoint()
    end.events = Forgetful()
    assert peak_bytes(end, [frame(TEXT, b"a", fin=False), *[frame(PING, bytes(125)) * 100] * 100]) < 50_000


class Forgetful(list):
    def append(self, event):
        """Keep nothing."""


def test_a_large_buffer_is_given_back():
    end = Endpoint()
    end.events = end.messages = Forgetful()
    wire = frame(BINARY, bytes(1 << 20), fin=False) + frame(0, bytes(1 << 20))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, len(wire), 65536):
            end.assembler.feed(wire[start : start + 65536])
        assert tracemalloc.get_traced_memory()[0] - before < 200_000
    finally:
        tracemalloc.stop()


# ---- the end of a stream --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["88 00", "88 02 03e8", "83 00", "81 01 ff", "82 7f 4000000000000000"])
def test_after_the_end_nothing_is_taken(last):
    end = Endpoint()
    assert not end.assembler.feed(frame(TEXT, b"before"))
    assert end.assembler.feed(unhex(last) + frame(TEXT, b"in the same read"))
    assert end.assembler.finished
    seen = list(end.events)
    assert end.assembler.feed(frame(TEXT, b"after") + unhex("88 00 83 00"))
    end.assembler.fail(1011, "told again")
    assert end.events == seen


def test_a_failure_found_outside_is_told_once():
    end = Endpoint()
    end.assembler.fail(1002, "seen by the transport")
    end.assembler.fail(1009, "seen again")
    assert end.assembler.feed(frame(TEXT, b"x"))
    assert end.events == [("fail", 1002, "seen by the transport")]


def test_a_failure_from_inside_a_callback_ends_the_read():
    end = Endpoint()
    end.on_control = lambda opcode, payload: end.assembler.fail(1008, "the application has had enough")
    assert end.assembler.feed(frame(TEXT, b"1") + frame(PING) + frame(TEXT, b"2"))
    assert end.events == [("text", b"1"), ("fail", 1008, "the application has had enough")]


def test_a_failure_from_inside_the_last_part_of_a_message_does_no_harm():
    end = Endpoint()

    def fail_inside(message):
        end.events.append(message.data)
        end.assembler.fail(1008, "enough")

    end.assembler = Assembler(fail_inside, end, end.telemetry)
    end.feed(frame(BINARY, bytes(100_000), fin=False) + frame(0, b"!") + frame(TEXT, b"after"))
    assert end.events == [bytes(100_000) + b"!", ("fail", 1008, "enough")]


# ---- callbacks that do more than listen -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100_000])
@pytest.mark.parametrize("nested", [frame(TEXT, b"nested"), frame(BINARY, bytes(200_000))[:150_000], b""])
def test_feeding_from_inside_a_callback_is_refused(nested, size):
    end = Endpoint()
    errors = []

    def feed_inside(opcode, payload):
        with pytest.raises(RuntimeError, match="from inside one of its own callbacks") as caught:
            end.assembler.feed(nested)
        errors.append(caught.value)

    end.on_control = feed_inside
    end.assembler.feed(frame(BINARY, bytes(size), fin=False) + frame(PING) + frame(0, b"end") + frame(TEXT, b"after"))
    assert len(errors) == 1
    assert end.events == [("binary", bytes(size) + b"end"), ("text", b"after")]


def test_feeding_from_inside_the_news_of_the_end_is_ignored():
    end = Endpoint()
    end.on_close = lambda code, reason: end.events.append(end.assembler.feed(frame(TEXT, b"x")))
    end.assembler.feed(unhex("88 00"))
    assert end.events == [True]


@pytest.mark.parametrize("error", [MemoryError, OSError, KeyboardInterrupt])
def test_after_an_exception_from_below_nothing_is_delivered_with_a_gap_before_it(error):
    end = Endpoint()

    def fail(opcode, payload):
        raise error("in the middle of a read")

    end.on_control = fail
    with pytest.raises(error, match="in the middle"):
        end.assembler.feed(frame(TEXT, b"1") + frame(PING) + frame(TEXT, b"lost"))
    assert end.assembler.feed(frame(TEXT, b"3"))
    assert end.events == [("text", b"1")]
    end.assembler.fail(1011, "and then it can still be failed")
    assert end.events[1:] == [("fail", 1011, "and then it can still be failed")]


def test_lack_of_memory_at_any_point_raises_and_delivers_nothing_after_it():
    testcapi = memory_switch()
    wire = frame(TEXT, b"1" * 700) + frame(BINARY, b"2" * 400, fin=False) + frame(PING) + frame(0, b"3" * 4000)
    wire += frame(BINARY, b"4" * 70_000)
    whole = receive(wire)
    failures = 0
    for number in range(100):
        end = Endpoint()
        if failed := feed_without_memory(testcapi, number, end.assembler.feed, wire):
            assert end.assembler.feed(frame(TEXT, b"after"))
            assert end.events == whole[: len(end.events)]
        else:
            assert end.events == whole
        failures += failed
    assert failures >= 10


def memory_switch():
    if sys.gettrace() is not None:
        pytest.skip("whoever traces needs memory too")
    return pytest.importorskip("_testcapi")


def feed_without_memory(testcapi, number, feed, wire):
    """Feed in four reads while only the allocation of this number fails: True where one of them raised MemoryError."""
    first, second, third, fourth = wire[:300], wire[300:1500], wire[1500:40_000], wire[40_000:]
    testcapi.set_nomemory(number, number + 1)
    try:
        feed(first)
        feed(second)
        feed(third)
        feed(fourth)
    except MemoryError:
        return True
    finally:
        testcapi.remove_mem_hooks()
    return False


# ---- what a message carries, and what is counted --------------------------------------------------------------------


def test_messages_of_one_read_share_their_time_and_the_last_one_says_so():
    end = Endpoint(epoch=7)
    end.feed(frame(TEXT, b"1") + frame(BINARY, b"2", fin=False) + frame(0, b"2") + frame(TEXT, b"3"))
    end.feed(frame(TEXT, b"4"))
    first, second, third, fourth = end.messages
    assert [message.last_in_batch for message in end.messages] == [False, False, True, True]
    assert first.received_ns == second.received_ns == third.received_ns < fourth.received_ns
    assert {message.epoch for message in end.messages} == {7}


def test_a_read_that_ends_inside_a_frame_is_over_with_its_last_whole_frame():
    end = Endpoint()
    end.feed(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3")[:2])
    assert [message.last_in_batch for message in end.messages] == [False, True]


@pytest.mark.parametrize("server", [False, True])
def test_frames_and_bytes_are_counted_as_they_were_on_the_wire(server):
    wire = b"".join(frame(BINARY, bytes(size), server=server) for size in (0, 125, 126, 65535, 65536))
    wire += frame(PING, b"x", server=server) + frame(PONG, server=server)
    counted = Endpoint(server=server).feed(wire, byte_by_byte(wire[:200])).telemetry.snapshot()
    assert counted["bytes_received"] == len(wire)
    assert counted["frames_received"] == 7
    assert counted["messages_received"] == 5
    assert (counted["pings_received"], counted["pongs_received"]) == (1, 1)


# ---- wrong arguments ------------------------------------------------------------------------------------------------


def test_an_assembler_needs_its_parts():
    with pytest.raises(TypeError):
        Assembler(None, Endpoint(), Telemetry())
    with pytest.raises(TypeError):
        Assembler(MessageReceiver(), Endpoint(), None)
    with pytest.raises(OverflowError):
        Endpoint(max_message_size=-1)


def test_a_receiver_takes_messages_or_can_be_called():
    with pytest.raises(TypeError, match="receiver must be a MessageReceiver or callable, not list"):
        Assembler([], Endpoint(), Telemetry())


@pytest.mark.parametrize("error", [KeyError, GeneratorExit])
def test_what_a_callable_raises_comes_out_and_nothing_is_taken_after_it(error):
    def fail(message):
        seen.append(message.data)
        raise error

    seen = []
    assembler = Assembler(fail, Endpoint(), Telemetry())
    with pytest.raises(error):
        assembler.feed(frame(TEXT, b"first") + frame(TEXT, b"second"))
    assert assembler.feed(frame(TEXT, b"third"))
    assert seen == [b"first"]


def test_a_receiver_without_code_says_so():
    with pytest.raises(NotImplementedError):
        Assembler(MessageReceiver(), Endpoint(), Telemetry()).feed(frame(TEXT, b"x"))


@pytest.mark.parametrize("data", ["text", None, [1]])
def test_only_bytes_are_fed(data):
    with pytest.raises(TypeError):
        Endpoint().assembler.feed(data)
