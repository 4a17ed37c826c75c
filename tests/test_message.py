"""A message owns its bytes."""

import gc
import io
import json
import pickle
import subprocess
import sys
import types
from decimal import Decimal

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


class TestPayload:
    NOTIFICATION = b'{"method":"subscription","params":{"channel":"a","data":{"price":1.5,"amount":2}}}'

    @pytest.mark.parametrize(
        ("text", "payload"),
        [
            ('{"params":{"data":[1,2]}}', [1, 2]),
            ('{"id":1,"result":{"a":null}}', {"a": None}),
            ('{"result":1,"params":{"data":2}}', 2),
            ('{"params":{"d\\u0061ta":3},"result":4}', 3),
            ('{"params":[5],"\\u0072esult":6}', 6),
            ('{"params":{"data":1,"data":2}}', 2),
            ('{"params":{"data":18446744073709551617}}', 2**64 + 1),
        ],
    )
    def test_it_is_the_data_of_a_notification_or_the_result_of_an_answer(self, text, payload):
        assert Message(text.encode()).data_json() == payload

    def test_nothing_but_the_payload_is_parsed(self):
        assert Message(b'{"method":"m","params":{"x":nonsense,"data":7}}').data_json() == 7

    @pytest.mark.parametrize("text", ["{}", '{"id":1,"error":{}}', '{"method":"\\u006d"}', "[1]", '{"params":[1]}'])
    def test_a_message_without_one_says_so(self, text):
        with pytest.raises(ValueError, match=r"neither params\.data nor result"):
            Message(text.encode()).data_json()

    @pytest.mark.parametrize("text", ['{"params":{"data":[1,}}', '{"result":NaN}', '{"result":1e400}', "hello"])
    def test_one_that_is_not_json_is_said(self, text):
        with pytest.raises(orjson.JSONDecodeError):
            Message(text.encode()).data_json()

    def test_both_parse_into_a_type(self):
        class Trade(msgspec.Struct):
            price: float
            amount: int

        class Params(msgspec.Struct):
            data: Trade

        class Quote(msgspec.Struct):
            price: Decimal
            by: dict[int, int]
            as_is: msgspec.Raw

        class Notification(msgspec.Struct):
            params: Params

        message = Message(self.NOTIFICATION)
        assert message.data_json(type=Trade) == Trade(1.5, 2)
        assert message.json(type=Notification).params.data == Trade(1.5, 2)
        escaped = Message(self.NOTIFICATION.replace(b'"channel"', b'"ch\\u0061nnel"'))
        assert escaped.data_json(type=Trade) == Trade(1.5, 2)
        exact = Message(b'{"\\u0069d":1,"result":{"price":0.1234567890123456789012,"by":{"1":2},"as_is":[1.50]}}')
        quote = exact.data_json(type=Quote)
        assert (quote.price, quote.by, bytes(quote.as_is)) == (Decimal("0.1234567890123456789012"), {1: 2}, b"[1.50]")
        with pytest.raises(ValueError, match=r"Expected `int`, got `object` - at `\$.amount`|Expected"):
            message.data_json(type=list[int])

    @pytest.mark.parametrize(
        "number",
        [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, -(10**19) + 1, 2**64 - 1, 2**64, 10**19 - 1, 10**20, -(10**18)],
    )
    @pytest.mark.parametrize("before", range(0, 40, 3))
    def test_whole_numbers_are_exact_wherever_they_stand(self, number, before):
        found = Message(f'["{"x" * before}",{number},0.{"1" * 30},{number}]'.encode()).json()
        assert (found[1], type(found[1]), found[3]) == (number, int, number)

    def test_without_msgspec_what_is_missing_is_said(self):
        script = (
            "import sys; sys.modules['msgspec'] = None\n"
            "from wsx import Message\n"
            "try: Message(b'1').json(type=int)\n"
            "except ImportError as error: print(error)\n"
        )
        said = subprocess.check_output([sys.executable, "-c", script], text=True)
        assert said == "parsing into a type needs msgspec: pip install 'wsx[msgspec]'\n"


class TestExactNumbers:
    @pytest.mark.parametrize(
        "number",
        [2**53 + 1, 10**18, 2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 10**300, 0.1, 1e308, -0.0],
    )
    @pytest.mark.parametrize("place", ["%s", "[1,%s]", ' {"a" : %s } ', '{"a":"1234567890123456789012","b":[%s]}'])
    def test_a_number_is_what_it_was(self, number, place):
        message = Message((place % repr(number)).encode())
        assert message.json() == json.loads(message.text)
        assert repr(number) in repr(message.json())

    @given(st.recursive(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
    def test_any_numbers_are_what_they_were(self, value):
        try:
            parsed = Message(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).json()
        except ValueError:  # a lone surrogate, or an integer that no double can hold
            return
        assert repr(parsed) == repr(value)

    def test_deep_text_with_a_long_number_is_exact_or_refused_in_words(self):
        message = Message(b"[" * 1020 + b"12345678901234567890" + b"]" * 1020)
        if sys.version_info < (3, 12):  # there the standard library's parser recurses no further than Python does
            with pytest.raises(ValueError, match="nested too deep to be parsed exactly"):
                message.json()
            return
        value = message.json()
        while isinstance(value, list):
            (value,) = value
        assert value == 12345678901234567890
