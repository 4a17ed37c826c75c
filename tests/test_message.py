"""A message owns its bytes."""

import gc
import io
import pickle
import sys
import types

import orjson
import pytest
from streams import BINARY, TEXT, Endpoint, frame

from wsx._message import Message


def test_a_message_shows_its_payload_in_three_forms():
    message = Message(b'{"price": 1.5}')
    assert message.data == b'{"price": 1.5}'
    assert message.text == '{"price": 1.5}'
    assert message.json() == {"price": 1.5}


def test_a_message_is_text_unless_it_is_binary():
    assert (Message(b"").opcode, Message(b"", text=False).opcode) == (TEXT, BINARY)


def test_a_message_made_by_hand_belongs_to_no_connection():
    message = Message(b"x")
    assert (message.epoch, message.received_ns, message.gap, message.last_in_batch) == (0, 0, None, True)


def test_a_message_off_the_wire_carries_where_it_came_from():
    end = Endpoint(epoch=3).feed(frame(BINARY, b"\xff"))
    (message,) = end.messages
    assert (message.epoch, message.opcode, message.gap, message.last_in_batch) == (3, BINARY, None, True)
    assert message.received_ns > 0


def test_binary_that_is_not_utf_8_has_no_text():
    with pytest.raises(UnicodeDecodeError):
        _ = Message(b"\xff", text=False).text


@pytest.mark.parametrize("data", [b"", b"{", b"nan", b"\xff"])
def test_what_is_not_json_is_said(data):
    with pytest.raises(ValueError, match=r".") as caught:
        Message(data).json()
    assert isinstance(caught.value, orjson.JSONDecodeError)


def test_json_is_parsed_anew_each_time():
    message = Message(b"[]")
    assert message.json() is not message.json()


def test_a_message_is_its_length_and_its_bytes():
    message = Message(b"abc")
    assert (len(message), bytes(message), b"".join([message])) == (3, b"abc", b"abc")


class TestBuffer:
    def test_it_is_read_only(self):
        view = memoryview(Message(b"abc"))
        assert (view.readonly, view.format, view.itemsize, view.shape) == (True, "B", 1, (3,))
        with pytest.raises(TypeError):
            view[0] = 1

    def test_a_writable_one_is_refused(self):
        with pytest.raises(TypeError, match="read-write"):
            io.BytesIO(b"xyz").readinto(Message(b"abc"))

    def test_a_view_outlives_its_message(self):
        view = memoryview(Message(b"x" * 1000))
        gc.collect()
        others = [Message(b"y" * 1000) for _ in range(1000)]
        assert bytes(view) == b"x" * 1000
        assert len(others) == 1000

    def test_a_view_keeps_its_bytes_when_the_message_is_made_anew(self):
        message = Message(b"".join([b"x"] * 1000))
        view = memoryview(message)
        message.__init__(b"other")
        gc.collect()
        filled = [b"z" * 1000 for _ in range(1000)]
        assert bytes(view) == b"x" * 1000
        assert len(filled) == 1000

    def test_a_view_leaves_no_reference_behind(self):
        message = Message(b"abc")
        before = sys.getrefcount(None)
        for _ in range(10_000):
            memoryview(message).release()
        assert abs(sys.getrefcount(None) - before) < 1000


def test_a_message_that_was_never_filled_is_no_danger():
    empty = Message.__new__(Message)
    for use in (len, memoryview, bytes):
        with pytest.raises(TypeError):
            use(empty)
    with pytest.raises(AttributeError):
        _ = empty.text


def test_the_text_of_a_message_does_not_show_its_payload():
    assert repr(Message(b"secret")) == "<Message text, 6 bytes, epoch 0>"
    assert repr(Message(b"secret", text=False)) == "<Message binary, 6 bytes, epoch 0>"


@pytest.mark.parametrize("data", ["text", None, bytearray(b"x"), 1])
def test_a_message_is_made_of_bytes(data):
    with pytest.raises(TypeError):
        Message(data)


@pytest.mark.parametrize("name", ["data", "opcode", "received_ns", "epoch", "gap", "last_in_batch", "text"])
def test_a_message_cannot_be_changed(name):
    with pytest.raises(AttributeError):
        setattr(Message(b"x"), name, None)


@pytest.mark.parametrize("name", ["data", "gap"])
def test_what_every_callback_reads_is_a_slot_that_the_interpreter_reads_without_a_call(name):
    assert isinstance(vars(Message)[name], types.MemberDescriptorType)
    assert getattr(Message(b"x"), name) == {"data": b"x", "gap": None}[name]


def test_messages_are_not_for_the_garbage_collector():
    assert not gc.is_tracked(Message(b"x"))


def test_messages_are_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(Message(b"x"))


def test_messages_leave_no_memory_behind():
    end = Endpoint()
    end.events = end.messages = Nothing()
    wire = frame(TEXT, b"x" * 100) * 100
    end.feed(wire)
    before = sys.getallocatedblocks()
    for _ in range(100):
        end.feed(wire)
    assert sys.getallocatedblocks() - before < 100


class Nothing(list):
    def append(self, item):
        """Keep nothing."""
