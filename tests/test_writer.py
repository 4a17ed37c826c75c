"""Frames out: what is on the wire, what is refused, what is counted."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import BINARY, CLOSE, PING, PONG, TEXT, unhex

from wsx._frame import Decoder, mask
from wsx._telemetry import Telemetry
from wsx._writer import FrameWriter, mask_key
from wsx.errors import NotConnected
from wsx.transport._pipe import PipeWriter


class Wire:
    """A writer and the bytes that came out of it."""

    def __init__(self):
        self.pieces = []
        self.waiting = 0
        self.telemetry = Telemetry()
        self.writer = PipeWriter(self.telemetry)
        self.writer.attach(self.pieces.append, lambda: self.waiting)

    def frames(self):
        return [
            (frame.opcode, frame.fin, frame.payload) for frame in Decoder(server=True).decode(b"".join(self.pieces))
        ]

    def counted(self):
        return self.telemetry.snapshot()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4081, 4082, 4083, 4096, 65535, 65536, 1 << 20])
def test_what_is_sent_is_what_a_server_reads(size):
    wire, payload = Wire(), (bytes(range(256)) * 4100)[:size]
    wire.writer.send(BINARY, payload)
    assert wire.frames() == [(BINARY, True, payload)]
    assert len(wire.pieces) == 1


@given(st.lists(st.tuples(st.sampled_from([0, TEXT, BINARY]), st.booleans(), st.binary(max_size=5000)), max_size=5))
def test_any_frames_arrive_in_order(frames):
    wire = Wire()
    for opcode, fin, payload in frames:
        wire.writer.send(opcode, payload, fin=fin)
    assert wire.frames() == frames


def test_each_frame_is_masked_with_its_own_key():
    wire = Wire()
    for _ in range(100):
        wire.writer.send(TEXT, b"the same words")
    keys = {piece[2:6] for piece in wire.pieces}
    assert len(keys) == 100
    assert {mask(piece[6:], piece[2:6]) for piece in wire.pieces} == {b"the same words"}


def test_a_server_does_not_mask():
    pieces = []
    writer = PipeWriter(Telemetry(), masked=False)
    writer.attach(pieces.append, int)
    writer.send(TEXT, b"Hello")
    assert pieces == [unhex("81 05 48656c6c6f")]


@pytest.mark.parametrize("opcode", [3, 11, 15, 16, -1, 256])
def test_an_opcode_that_is_not_defined_is_refused(opcode):
    wire = Wire()
    with pytest.raises(ValueError, match="may be sent"):
        wire.writer.send(opcode, b"")
    assert wire.pieces == []


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_long_or_unfinished_control_frame_is_refused(opcode):
    wire = Wire()
    with pytest.raises(ValueError, match="126 bytes"):
        wire.writer.send(opcode, b"x" * 126)
    with pytest.raises(ValueError, match="fin=False"):
        wire.writer.send(opcode, b"", fin=False)
    assert wire.pieces == []


def test_what_was_sent_is_counted():
    wire = Wire()
    wire.writer.send(TEXT, b"a", fin=False)
    wire.writer.send(0, b"b")
    wire.writer.send(BINARY, b"c")
    wire.writer.send(PING, b"")
    wire.writer.send(PONG, b"")
    wire.writer.send(CLOSE, b"\x03\xe8")
    counted = wire.counted()
    assert (counted["frames_sent"], counted["messages_sent"]) == (6, 2)
    assert (counted["pings_sent"], counted["pongs_sent"]) == (1, 1)
    assert counted["bytes_sent"] == len(b"".join(wire.pieces))
    assert counted["last_sent_ns"] > 0


def test_what_could_not_be_written_is_not_counted():
    wire = Wire()

    def broken(data):
        raise ConnectionResetError("gone")

    wire.writer.attach(broken, int)
    for size in (10, 100_000):
        with pytest.raises(NotConnected, match="nothing was sent"):
            wire.writer.send(TEXT, b"x" * size)
    assert (wire.counted()["frames_sent"], wire.counted()["bytes_sent"]) == (0, 0)


def test_the_writer_knows_what_waits_below_it():
    wire = Wire()
    wire.waiting = 1234
    assert wire.writer.buffered == 1234


@pytest.mark.parametrize(("outer", "inner"), [(10, 10), (10, 100_000), (100_000, 10), (100_000, 200_000)])
def test_sending_from_inside_a_write_leaves_both_frames_whole(outer, inner):
    wire = Wire()
    wire.writer.attach(lambda data: (wire.pieces.append(data), nested(data)), int)

    def nested(data):
        if len(wire.pieces) == 1:
            wire.writer.send(BINARY, b"i" * inner)

    wire.writer.send(BINARY, b"o" * outer)
    assert wire.frames() == [(BINARY, True, b"o" * outer), (BINARY, True, b"i" * inner)]


def test_a_writer_without_a_transport_says_so():
    writer = FrameWriter(Telemetry())
    with pytest.raises(NotImplementedError):
        writer.send(TEXT, b"x")
    with pytest.raises(NotImplementedError):
        _ = writer.buffered
    with pytest.raises(TypeError):
        FrameWriter(None)


@pytest.mark.parametrize("payload", ["text", None, 7])
def test_only_bytes_are_sent(payload):
    with pytest.raises(TypeError):
        Wire().writer.send(TEXT, payload)


def test_lack_of_memory_sends_the_whole_frame_or_nothing():
    if sys.gettrace() is not None:
        pytest.skip("whoever traces needs memory too")
    testcapi = pytest.importorskip("_testcapi")
    payload = b"x" * 100_000
    sent = []
    for number in range(20):
        wire = Wire()
        sent.append(send_without_memory(testcapi, number, wire.writer.send, payload))
        assert wire.frames() == [(BINARY, True, payload)] * sent[-1]
    assert not sent[0]
    assert sent[-1]


def send_without_memory(testcapi, number, send, payload):
    """Send while only the allocation of this number fails: False where that raised MemoryError."""
    testcapi.set_nomemory(number, number + 1)
    try:
        send(BINARY, payload)
    except MemoryError:
        return False
    finally:
        testcapi.remove_mem_hooks()
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_masks_with_keys_of_its_own():
    mask_key()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, sent_keys(200))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    ours = sent_keys(200)
    assert len(theirs) == len(ours) == 800
    assert len({data[i : i + 4] for data in (theirs, ours) for i in range(0, 800, 4)}) >= 399


def sent_keys(count):
    wire = Wire()
    for _ in range(count):
        wire.writer.send(TEXT, b"")
    return b"".join(piece[2:6] for piece in wire.pieces)
