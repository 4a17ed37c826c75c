"""The envelope that is found without parsing is the one that a full parse gives, or the scan says "parse me"."""

import json
from random import Random

import orjson
import pytest
from envelopes import check
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx._envelope import scan
from wsx.testing import load_capture

NOTIFICATION = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.X.raw","data":{"a":[1,"]}"]}}}'
KEYS = ["jsonrpc", "id", "method", "params", "result", "error", "channel", "data", "type", "", "usIn", "é", '"', "\\"]
ODD_NUMBERS = [0, -1, 10**17, 10**18, 2**63, 2**64 - 1, 1.5, -0.0, 1e300, True, False]

scalars = st.none() | st.sampled_from(ODD_NUMBERS) | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=80)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=20,
)


def pairs(**likely):
    """Members of an object: mostly what a real one has, each key once; sometimes anything, and keys that come again."""
    usual = st.one_of(*(st.tuples(st.just(key), value) for key, value in likely.items()))
    odd = st.tuples(st.sampled_from(KEYS), values)
    once = st.fixed_dictionaries({}, optional=likely).flatmap(lambda members: st.permutations(list(members.items())))
    return st.integers(0, 4).flatmap(lambda draw: once if draw else st.lists(usual | odd, max_size=6))


seeds = st.integers(0, 2**32).map(Random)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\'), max_size=40)
params = pairs(channel=texts, type=texts, data=values, label=texts)
identities = st.integers(-(10**18) + 1, 10**18 - 1) | texts | st.none()
messages = pairs(
    jsonrpc=st.just("2.0"), id=identities, method=texts, params=params | params | values, result=values, error=values
)


class Writer:
    """Writes a document as JSON in odd but legal ways: white space, escapes, pairs in any order and number."""

    def __init__(self, random):
        self.random = random

    def space(self):
        return self.random.choice(["", "", "", "", " ", "\n", "\t", " \r\n  "])

    def text(self, text):
        written = json.dumps(text, ensure_ascii=self.random.random() < 0.05)
        if self.random.random() < 0.02 and text and ord(text[0]) < 0xD800:
            return f'"\\u{ord(text[0]):04x}' + json.dumps(text[1:])[1:]
        return written

    def value(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            value = list(value.items())
        elif isinstance(value, list) and not (value and all(isinstance(item, tuple) for item in value)):
            return "[" + self.space() + f"{self.space()},{self.space()}".join(map(self.value, value)) + "]"
        if isinstance(value, list):
            members = (f"{self.text(key)}{self.space()}:{self.space()}{self.value(item)}" for key, item in value)
            return "{" + self.space() + f"{self.space()},{self.space()}".join(members) + self.space() + "}"
        return json.dumps(value)

    def message(self, pairs):
        return (self.space() + self.value(pairs or {}) + self.space()).encode("utf-8", "surrogatepass")


class TestWhatIsFound:
    def test_a_notification(self):
        envelope = check(NOTIFICATION)
        assert (envelope.method, envelope.channel, envelope.id) == ("subscription", "book.X.raw", None)
        start, end = envelope.data_span
        assert NOTIFICATION[start:end] == b'{"a":[1,"]}"]}'
        assert repr(envelope) == "<Envelope id=None method='subscription' channel='book.X.raw'>"

    def test_a_heartbeat_in_another_order(self):
        envelope = check(b'{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}')
        assert (envelope.method, envelope.type, envelope.channel) == ("heartbeat", "test_request", None)

    @pytest.mark.parametrize(
        ("text", "identity"),
        [
            ("0", 0), ("-7", -7), ("999999999999999999", 10**18 - 1), ('"1"', "1"), ('""', ""), ("null", None),
            ('"é"', "é"),
        ],
    )  # fmt: skip
    def test_an_id_has_its_type_and_its_whole_value(self, text, identity):
        envelope = check(f'{{"id":{text},"result":1}}'.encode())
        assert (type(envelope.id), envelope.id, envelope.has_id) == (type(identity), identity, True)

    def test_a_result_and_an_error(self):
        assert check(b' {"id" : 1 , "result" : null } ').result_span == (24, 28)
        envelope = check(b'{"error":{"code":1},"id":1}')
        assert (envelope.has_error, envelope.has_result, envelope.error_span) == (True, False, (9, 19))

    @pytest.mark.parametrize("params", ["[1,2]", '"text"', "5", "null", "{}", "{ }"])
    def test_params_of_any_kind(self, params):
        assert check(f'{{"method":"m","params":{params}}}'.encode()).channel is None

    def test_an_empty_object(self):
        assert check(b"{}").method is None


class TestParseMe:
    @pytest.mark.parametrize(
        "text",
        [
            r'{"\u0069d":1}',
            r'{"method":"sub\u0073cription"}',
            r'{"params":{"channel":"a\/b"}}',
            r'{"params":{"channe\u006c":"a"}}',
            r'{"id":"\u0031"}',
            '{"id":1,"id":2}',
            '{"method":"a","method":"b"}',
            '{"params":{},"params":{}}',
            '{"params":[],"params":{}}',
            '{"params":{"channel":"a","channel":"b"}}',
            '{"params":{"data":1,"data":2}}',
            '{"params":{"type":"a","type":"b"}}',
            '{"result":1,"result":2}',
            '{"error":1,"error":2}',
            '{"id":1.0}',
            '{"id":1e2}',
            '{"id":-0}',
            '{"id":01}',
            '{"id":-}',
            '{"id":true}',
            '{"id":[1]}',
            '{"id":1000000000000000000}',
            '{"method":1}',
            '{"params":{"channel":null}}',
            '{"params":{"type":5}}',
            '{"a":1}x',
            '{"a":1} {}',
            '{"a":1}\0',
            '{"a":1,}',
            '{"a" 1}',
            '{"a":}',
            '{"a":1',
            '{"a":[1,{"b":2}',
            '{"params":{"data":[1,2',
            '{"a":"',
            '{"a":"\\',
            '{"a\\',
            "{",
            '{"',
            "",
            "   ",
            "[]",
            "[{}]",
            "5",
            '"text"',
            "null",
            "\ufeff{}",
            '{"id":1}\x0b',
            "{'id':1}",
        ],
    )
    def test_what_only_a_full_parse_can_tell(self, text):
        assert check(text.encode()) is None

    def test_bytes_that_are_no_text(self):
        assert scan(b'{"method":"\xff"}') is None
        assert scan(b'{"id":"\xff"}') is None


class TestAgreement:
    @given(messages, seeds)
    def test_on_any_document_however_it_is_written(self, pairs, random):
        check(Writer(random).message(pairs))

    def test_most_such_documents_are_not_left_to_a_full_parse(self):
        found = []

        @settings(max_examples=300, database=None, derandomize=True)
        @given(messages, seeds)
        def look(pairs, random):
            found.append(check(Writer(random).message(pairs)))

        look()
        envelopes = [envelope for envelope in found if envelope is not None]
        assert len(envelopes) > len(found) // 2
        assert sum(envelope.channel is not None for envelope in envelopes) > len(found) // 60
        assert sum(envelope.data_span is not None for envelope in envelopes) > len(found) // 60

    @given(values, st.integers(0, 130), seeds)
    def test_wherever_the_payload_begins_and_whatever_is_in_it(self, payload, offset, random):
        text = Writer(random).value({"params": {"x": "p" * offset, "data": payload, "channel": "c"}, "method": "m"})
        data = text.encode("utf-8", "surrogatepass")
        if '\\"channel' not in text:
            check(data)

    @given(st.lists(st.sampled_from(['"', "\\", "{", "}", "[", "]", "a", " ", "\\\\", '\\"']), max_size=200))
    def test_brackets_and_quotes_inside_texts_are_not_structure(self, parts):
        text = json.dumps("".join(parts))
        for payload in (text, f"[{text},[{text}]]", f'{{"a":{text}}}'):
            data = f'{{"method":"m","params":{{"data":{payload},"channel":"c"}}}}'.encode()
            envelope = check(data)
            assert envelope is not None
            assert (envelope.channel, data[slice(*envelope.data_span)].decode()) == ("c", payload)

    @given(st.binary(max_size=200))
    def test_on_anything_at_all(self, data):
        check(data)

    def test_a_backslash_at_every_place_of_a_block(self):
        for offset in range(130):
            for slashes in range(1, 6):
                text = "x" * offset + "\\" * slashes + '"]}' + "y" * 70
                data = orjson.dumps({"params": {"data": [text, {"a": text}], "channel": "c"}, "method": "m"})
                assert check(data).channel == "c"

    def test_a_payload_of_every_length_around_the_blocks(self):
        for size in range(300):
            data = orjson.dumps({"params": {"data": [[1] * (size % 7)] + ["z" * size], "channel": "c"}})
            assert check(data).channel == "c"
            assert check(data[:-1]) is None

    def test_depth_does_not_matter(self):
        nested = b"[" * 100_000 + b"]" * 100_000
        envelope = scan(b'{"id":7,"result":' + nested + b"}")
        assert (envelope.id, envelope.result_span) == (7, (17, 17 + len(nested)))


class TestCaptures:
    @pytest.fixture
    def recorded(self, captures):
        paths = [*captures.glob("*.jsonl"), *captures.glob("*.jsonl.gz")]
        assert paths
        return [message for path in paths for message in load_capture(path).messages]

    def test_every_recorded_object_is_routed_without_a_parse(self, recorded):
        assert all(check(message) is not None for message in recorded if message.lstrip()[:1] == b"{")

    def test_every_truncation_and_many_mutations_agree_too(self, recorded):
        random = Random(1)
        for message in recorded:
            short = message[:2000]
            for _ in range(40):
                data = bytearray(message if random.random() < 0.2 else short)
                for _ in range(random.randint(1, 4)):
                    at = random.randrange(len(data) + 1)
                    change = random.choice([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"id", b'"id":1,'])
                    data[at : at + random.choice([0, 1, 1, 10])] = change if random.random() < 0.8 else b""
                check(bytes(data))
            check(message[: random.randrange(len(message))])
