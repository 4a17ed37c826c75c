"""The envelope's fuzz target for a bounded time: mutations of its corpus, the same ones in every run."""

from random import Random

import pytest
from fuzz_envelope import check, corpus

from wsx._envelope import use_wide_instructions

ROUNDS = 8000  # mutated inputs for each seed
PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b'"id":1',
    b'"data":',
    b'"channel":"c"',
    b"\\u0022",
    b"0",
]


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    use_wide_instructions(True)


@pytest.mark.parametrize("data", corpus(), ids=lambda data: data[:20].decode())
def test_an_input_of_the_corpus_shows_no_fault(data):
    check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_inputs_show_no_fault(seed):
    random, inputs = Random(seed), corpus()
    for _ in range(ROUNDS):
        data = mutated(random, inputs)
        try:
            check(data)
        except Exception as error:
            pytest.fail(f"{error!r} on an input for envelopes.txt: {data!r}")


def mutated(random, inputs):
    data = bytearray(random.choice(inputs))
    for _ in range(random.randint(1, 5)):
        at = random.randint(0, len(data))
        change = random.randrange(5)
        if change == 0:
            del data[at : at + random.randint(1, 10)]
        elif change == 1:
            data[at:at] = data[at : at + random.randint(1, 80)]
        elif change == 2:
            other = random.choice(inputs)
            data[at:] = other[random.randint(0, len(other)) :]
        else:
            data[at : at + random.randint(0, 1)] = random.choice(PIECES) * random.choice([1, 1, 1, 2, 30])
    return bytes(data)
