"""Frames: every header there is, every reason to refuse one, every split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import BINARY, CLOSE, KEY, PING, PONG, TEXT, byte_by_byte, unhex

from wsx._frame import FAULTS, Decoder, Frame, encode, mask

LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def fields(frames):
    return [(frame.opcode, frame.fin, frame.rsv, frame.payload) for frame in frames]


def decode(wire, cuts=(), *, server=False):
    decoder = Decoder(server=server)
    edges = [0, *cuts, len(wire)]
    return [frame for a, b in zip(edges, edges[1:], strict=False) for frame in decoder.decode(wire[a:b])]


class TestEncoding:
    def test_an_unmasked_text_frame_is_the_one_of_the_rfc(self):
        assert encode(TEXT, b"Hello") == unhex("81 05 48656c6c6f")

    def test_a_masked_text_frame_is_the_one_of_the_rfc(self):
        assert encode(TEXT, b"Hello", key=KEY) == unhex("81 85 37fa213d 7f9f4d5158")

    @pytest.mark.parametrize(
        ("size", "header"),
        [(125, "82 7d"), (126, "82 7e 007e"), (65535, "82 7e ffff"), (65536, "82 7f 0000000000010000")],
    )
    def test_a_length_has_its_shortest_form(self, size, header):
        assert encode(BINARY, b"x" * size) == unhex(header) + b"x" * size

    def test_an_unfinished_frame_lacks_the_top_bit(self):
        assert encode(TEXT, b"a", fin=False) == unhex("01 01 61")

    @pytest.mark.parametrize("payload", [bytearray(b"abc"), memoryview(b"xabc")[1:], b"abc"])
    def test_whatever_holds_bytes_can_be_encoded(self, payload):
        assert encode(BINARY, payload) == unhex("82 03 616263")

    @pytest.mark.parametrize("opcode", [3, 7, 11, 15, 16, -1, 255, 257])
    def test_an_opcode_that_is_not_defined_is_refused(self, opcode):
        with pytest.raises(ValueError, match="reserved opcode"):
            encode(opcode, b"")

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_control_frame_is_short_and_whole(self, opcode):
        assert len(encode(opcode, b"x" * 125)) == 127
        with pytest.raises(ValueError, match="over 125 bytes"):
            encode(opcode, b"x" * 126)
        with pytest.raises(ValueError, match="fragmented"):
            encode(opcode, b"", fin=False)

    @pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
    def test_a_key_has_four_bytes(self, key):
        with pytest.raises(ValueError, match="4 bytes"):
            encode(TEXT, b"", key=key)
        with pytest.raises(ValueError, match="4 bytes"):
            mask(b"", key)

    def test_text_is_not_bytes(self):
        with pytest.raises(TypeError):
            encode(TEXT, "Hello")


class TestDecoding:
    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("size", LENGTHS)
    def test_what_is_encoded_is_decoded(self, size, key):
        payload = bytes(range(256)) * 274
        wire = encode(BINARY, payload[:size], key=key)
        assert fields(decode(wire, server=key is not None)) == [(BINARY, True, 0, payload[:size])]

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("size", [size for size in LENGTHS if size < 1000])
    def test_each_byte_alone_gives_the_same_frames(self, size, key):
        wire = encode(TEXT, b"x" * size, fin=False, key=key) + encode(PING, b"y" * (size % 126), key=key)
        assert fields(decode(wire, byte_by_byte(wire), server=key is not None)) == fields(
            decode(wire, server=key is not None)
        )

    def test_each_cut_of_a_long_frame_gives_the_same_frames(self):
        wire = encode(BINARY, bytes(range(256)) * 300) + encode(TEXT, b"after")
        for cut in (1, 2, 3, 9, 10, 11, 12, 65545, 65546, len(wire) - 8, len(wire) - 7, len(wire) - 1):
            assert fields(decode(wire, [cut])) == fields(decode(wire))

    def test_a_read_may_end_nowhere(self):
        decoder = Decoder()
        assert decoder.decode(b"") == []
        assert decoder.decode(unhex("81 03 61")) == []
        assert decoder.decode(b"") == []
        assert fields(decoder.decode(b"bc")) == [(TEXT, True, 0, b"abc")]

    def test_the_frames_before_a_refusal_are_kept(self):
        with pytest.raises(ValueError, match=r"^1002: 64-bit payload length") as caught:
            Decoder().decode(unhex("81 01 61 82 7f 8000000000000000 00"))
        assert fields(caught.value.frames) == [(TEXT, True, 0, b"a")]

    def test_a_refused_stream_stays_refused(self):
        decoder = Decoder()
        for _ in range(3):
            with pytest.raises(ValueError, match=r"^1002: reserved opcode") as caught:
                decoder.decode(unhex("83 00 81 01 61"))
            assert caught.value.frames == []

    def test_a_header_is_judged_as_soon_as_it_is_there(self):
        decoder = Decoder()
        assert decoder.decode(unhex("82 7f 80000000000000")) == []
        with pytest.raises(ValueError, match="top bit"):
            decoder.decode(b"\x00")

    def test_a_frame_says_what_it_is_without_its_payload(self):
        (found,) = decode(unhex("82 06 736563726574"))
        assert repr(found) == "Frame(opcode=0x2, fin=True, rsv=0, payload=6 bytes)"

    @pytest.mark.parametrize("data", ["text", None, 1])
    def test_only_bytes_are_decoded(self, data):
        with pytest.raises(TypeError):
            Decoder().decode(data)

    @given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8), st.data())
    def test_any_frames_survive_any_split(self, parts, data):
        wire = b"".join(encode(BINARY, payload, fin=fin, key=KEY) for payload, fin in parts)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
        found = [(frame.payload, frame.fin) for frame in decode(wire, cuts, server=True)]
        assert found == parts

    @given(st.binary(max_size=64), st.booleans(), st.data())
    def test_any_bytes_give_the_same_in_any_split(self, wire, server, data):
        def outcome(cuts):
            decoder, frames = Decoder(server=server), []
            edges = [0, *cuts, len(wire)]
            try:
                for start, end in zip(edges, edges[1:], strict=False):
                    frames += decoder.decode(wire[start:end])
            except ValueError as error:
                return fields([*frames, *error.frames]), str(error)
            return fields(frames), None

        cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
        assert outcome(cuts) == outcome([]) == outcome(byte_by_byte(wire))


def test_each_fault_has_a_code_that_may_be_sent_and_names_its_rule():
    assert {code for code, _ in FAULTS.values()} == {1002, 1007, 1009}
    assert all("RFC 6455" in words for code, words in FAULTS.values() if code != 1009)
    assert sorted(FAULTS) == list(range(1, len(FAULTS) + 1))


def test_a_frame_is_made_by_the_decoder_only():
    assert fields([Frame()]) == [(0, False, 0, None)]
