"""The start of a body, by length, by chunks, or to the end: always within its cap."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx.transport.http_body import MAX_BODY_BYTES, BodyReader
from wsx.transport.http_head import Head

CHUNKED = [("Transfer-Encoding", "gzip, Chunked")]


def reader_for(fields, status=500):
    return BodyReader(status, Head("", tuple(fields)))


def collect(fields, data, step, status=500):
    """The body, and whether the reader had enough before the data ended."""
    reader, enough = reader_for(fields, status), False
    for start in range(0, len(data), step):
        enough = reader.feed(data[start : start + step])
        if enough:
            break
    return reader.body, enough


@pytest.mark.parametrize("step", [1, 3, 100_000])
class TestLength:
    def test_it_ends_at_its_length(self, step):
        assert collect([("Content-Length", "3")], b"abcdef", step) == (b"abc", True)

    def test_it_waits_for_its_length(self, step):
        assert collect([("Content-Length", "9")], b"abc", step) == (b"abc", False)

    def test_equal_lengths_are_one(self, step):
        assert collect([("Content-Length", "3, 3"), ("content-length", "3")], b"abcdef", step) == (b"abc", True)

    @pytest.mark.parametrize("lengths", [["x"], ["-1"], ["3", "4"], ["9" * 5000], ["1.5"], []])
    def test_without_a_readable_length_it_goes_on_to_the_end(self, step, lengths):
        assert collect([("Content-Length", length) for length in lengths], b"abcdef", step) == (b"abcdef", False)

    def test_it_is_cut_at_the_cap(self, step):
        for fields in ([], [("Content-Length", "100000")]):
            assert collect(fields, b"x" * 5000, step) == (b"x" * MAX_BODY_BYTES, True)

    @pytest.mark.parametrize(
        ("status", "fields"), [(204, []), (304, [("Content-Length", "9")]), (500, [("Content-Length", "0")])]
    )
    def test_there_may_be_none(self, step, status, fields):
        assert reader_for(fields, status).feed(b"")
        assert collect(fields, b"abc", step, status) == (b"", True)


@pytest.mark.parametrize("step", [1, 3, 100_000])
class TestChunks:
    def test_they_are_joined(self, step):
        data = b'3\r\nabc\r\n00A ;name="value"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n'
        assert collect(CHUNKED, data, step) == (b"abc0123456789", True)

    def test_it_waits_for_the_last(self, step):
        assert collect(CHUNKED, b"3\r\nabc\r\n5\r\nde", step) == (b"abcde", False)

    @pytest.mark.parametrize("line", [b"xyz", b"-5", b"123456789", b"5 5", b";"])
    def test_a_broken_size_ends_the_body_and_keeps_what_came(self, step, line):
        assert collect(CHUNKED, b"3\r\nabc\r\n" + line + b"\r\ndef", step) == (b"abc", True)

    def test_they_are_cut_at_the_cap(self, step):
        assert collect(CHUNKED, b"fff\r\n" + b"x" * 4095 + b"\r\n2\r\nyz\r\n", step) == (b"x" * 4095 + b"y", True)

    def test_a_size_line_without_end_is_given_up(self, step):
        assert collect(CHUNKED, b"3\r\nabc\r\n" + b"1" * 300, step) == (b"abc", True)

    def test_line_breaks_without_end_are_given_up(self, step):
        assert collect(CHUNKED, b"\r\n" * 20_000, step) == (b"", True)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50), st.booleans())
def test_any_bytes_in_any_split_give_the_same_body(data, step, chunked):
    fields = CHUNKED if chunked else []
    assert collect(fields, data, step) == collect(fields, data, max(1, len(data)))
