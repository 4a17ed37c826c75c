"""Masking beside its rule: octet i XOR octet i modulo 4 of the key (RFC 6455 5.3). And where the keys come from."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx._frame import mask
from wsx._writer import mask_key

KEY = b"\x01\x80\xff\x5a"


def rule(data, key):
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


@pytest.mark.parametrize("alignment", range(17))
def test_masking_equals_the_rule_at_every_length_and_alignment(alignment):
    data = memoryview(bytes(range(256)) * 2)[alignment:]
    for size in range(200):
        assert mask(data[:size], KEY) == rule(data[:size], KEY)


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_masking_equals_the_rule_for_any_bytes(data, key):
    assert mask(data, key) == rule(data, key)


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_bytes_back(data, key):
    assert mask(mask(data, key), key) == data


def test_nothing_masked_is_nothing():
    assert mask(b"", KEY) == b""


def test_keys_do_not_repeat_more_than_chance_allows():
    # Among 100,000 random 32-bit numbers 1.2 pairs are expected; more than 12 are met once in 10**9 runs.
    keys = Counter(mask_key() for _ in range(100_000))
    assert 100_000 - len(keys) <= 12


def test_every_bit_of_a_key_is_as_often_set_as_not():
    # 20,000 fair coins for each bit: 6 standard deviations are 424.
    keys = [int.from_bytes(mask_key()) for _ in range(20_000)]
    for bit in range(32):
        assert abs(sum(key >> bit & 1 for key in keys) - 10_000) < 424


def keys_of_a_forked_child(count):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(mask_key() for _ in range(count)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return [data[i : i + 4] for i in range(0, len(data), 4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_keys_of_its_own():
    mask_key()  # the pool is filled and partly used: a child that kept it would send what its parent sends
    children = [keys_of_a_forked_child(500), keys_of_a_forked_child(500)]
    own = [mask_key() for _ in range(500)]
    assert all(len(keys) == 500 for keys in children)
    # Of 1500 random numbers of 32 bits two are equal in one run of 3800; a shared pool would make hundreds equal.
    assert len({*children[0], *children[1], *own}) >= 1498
