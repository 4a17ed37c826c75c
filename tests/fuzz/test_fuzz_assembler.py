"""The fuzz target for a bounded time: mutations of its corpus, the same ones in every run."""

from random import Random

import pytest
from fuzz_assembler import check, corpus

ROUNDS = 8000  # mutated inputs for each seed
OPCODES = [0, 0, 1, 1, 1, 2, 2, 9, 9, 10, 8, 3]


@pytest.mark.parametrize("data", corpus(), ids=lambda data: data[:12].hex())
def test_an_input_of_the_corpus_shows_no_fault(data):
    check(data)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_inputs_show_no_fault(seed):
    random = Random(seed)
    inputs = corpus()
    for _ in range(ROUNDS):
        data = mutated(random, inputs)
        try:
            check(data)
        except Exception as error:
            pytest.fail(f"{error!r} on an input for corpus.txt: {data.hex()}")


def mutated(random, inputs):
    data = bytearray(random.choice(inputs))
    for _ in range(random.choice([0, 0, 3, 10])):
        put_frame(random, data, len(data), inputs)
    for _ in range(random.randint(1, 6)):
        at = random.randint(0, len(data))
        random.choice([flip, drop, repeat, splice, put_bytes, put_frame])(random, data, at, inputs)
    return bytes(data[:2000])


def flip(random, data, at, inputs):
    if at < len(data):
        data[at] ^= 1 << random.randrange(8)


def drop(random, data, at, inputs):
    del data[at : at + random.randint(1, 10)]


def repeat(random, data, at, inputs):
    data[at:at] = data[at : at + random.randint(1, 60)]


def splice(random, data, at, inputs):
    other = random.choice(inputs)
    data[at:] = other[random.randint(0, len(other)) :]


def put_bytes(random, data, at, inputs):
    data[at:at] = random.randbytes(random.randint(1, 9))


def put_frame(random, data, at, inputs):
    payload = random.choice(
        [b"", b"abc", "é€😀".encode(), b"\xed\xa0", b"\x03\xe8", random.randbytes(random.randrange(140))]
    )
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
    first = random.choice(OPCODES) | random.choice([0x80, 0x80, 0x80, 0])
    data[at:at] = bytes([first]) + length + payload
