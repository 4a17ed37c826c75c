"""HTTP heads for themselves; through the handshakes they are tried in test_handshake.py."""

import pytest

from wsx.transport.http_head import MAX_HEAD_BYTES, MAX_LINE_BYTES, Head, HeadError, HeadReader


def read(data, start=b"HTTP/"):
    return HeadReader(start).feed(data)


def line_of(size):
    """A field line that has `size` bytes with its line break."""
    return b"X: " + b"y" * (size - 5) + b"\r\n"


def test_a_head_is_a_start_line_and_fields():
    reader = HeadReader(b"HTTP/")
    head = reader.feed(b"HTTP/1.1 200 OK\r\nA: 1\r\nb:2 \r\nC:\r\n\r\nrest")
    assert head == Head("HTTP/1.1 200 OK", (("A", "1"), ("b", "2"), ("C", "")))
    assert reader.leftover == b"rest"


def test_values_are_found_in_any_case_and_order():
    head = Head("x", (("A", "1"), ("a", "2"), ("B", "3")))
    assert head.values("a") == head.values("A") == ["1", "2"]
    assert head.values("c") == []


def test_tokens_are_the_members_of_all_lists():
    head = Head("x", (("A", "1, 2 ,,\t3"), ("a", ""), ("a", "4")))
    assert head.tokens("A") == ["1", "2", "3", "4"]


def test_bytes_above_ascii_are_part_of_a_value():
    assert read(b"HTTP/x\r\nA: \xa0\xe9\x85\r\n\r\n").fields == (("A", "\xa0\xe9\x85"),)


def test_a_folded_empty_line_adds_nothing():
    assert read(b"HTTP/x\r\nA: 1\r\n \r\n\t2\r\n\r\n").fields == (("A", "1 2"),)


def test_a_line_of_exactly_the_cap_passes_and_one_byte_more_does_not():
    assert read(b"HTTP/x\r\n" + line_of(MAX_LINE_BYTES) + b"\r\n") is not None
    with pytest.raises(HeadError, match="a header line of more than 16384 bytes"):
        read(b"HTTP/x\r\n" + line_of(MAX_LINE_BYTES + 1) + b"\r\n")


def test_a_head_of_exactly_the_cap_passes_and_one_byte_more_does_not():
    first = b"HTTP/x\r\n" + line_of(MAX_LINE_BYTES) * 3
    rest = MAX_HEAD_BYTES - len(first) - 2
    assert read(first + line_of(rest) + b"\r\n") is not None
    with pytest.raises(HeadError, match="headers of more than 65536 bytes"):
        read(first + line_of(rest + 1) + b"\r\n")


def test_what_follows_a_head_does_not_count():
    reader = HeadReader(b"HTTP/")
    reader.feed(b"HTTP/x\r\n\r\n" + bytes(MAX_HEAD_BYTES * 2))
    assert len(reader.leftover) == MAX_HEAD_BYTES * 2


def test_a_start_that_does_not_fit_is_named_as_soon_as_it_can_be_told():
    reader = HeadReader(b"GET ")
    assert reader.feed(b"POS") is None
    with pytest.raises(HeadError, match="began with b'POST'"):
        reader.feed(b"T")


@pytest.mark.parametrize(
    ("data", "missing"),
    [(b"", "without answering"), (b"HT", "middle of the headers"), (b"HTTP/1.1 200 OK\r\n", "middle of")],
)
def test_the_end_says_what_is_missing(data, missing):
    reader = HeadReader(b"HTTP/")
    reader.feed(data)
    assert missing in reader.eof()


def test_the_end_names_what_is_no_http():
    reader = HeadReader(b"HTTP/")
    reader.feed(b"no")
    with pytest.raises(HeadError, match="began with b'no'"):
        reader.eof()


def test_256_fields_pass_and_one_more_does_not():
    assert len(read(b"HTTP/x\r\n" + b"A: 1\r\n" * 256 + b"\r\n").fields) == 256
    with pytest.raises(HeadError, match="more than 256 header lines"):
        read(b"HTTP/x\r\n" + b"A: 1\r\n" * 257 + b"\r\n")
