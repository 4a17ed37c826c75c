"""The order book's fuzz target for a bounded time: mutations of its corpus, the same ones in every run."""

import re
from random import Random

import pytest
from fuzz_book import check, corpus

ROUNDS = 1500  # mutated inputs for each seed
TOKENS = b'[ ] { } , : " \\ 0 -0 1e2 0.5 1e400 null true "new" "delete" "bids" "asks" "params" "data" "channel" \\u0061 \n'.split(
    b" "
)
TOKENS += [
    b'"channel":"book.BTC-PERPETUAL.raw",',
    b'"channel":"book.ETH-PERPETUAL.raw",',
    b'"data":null,',
    b'"bids":null,',
]
NUMBER = re.compile(rb"-?\d[\d.eE+-]*")


@pytest.mark.parametrize("data", corpus(), ids=lambda data: str(len(data)))
def test_an_input_of_the_corpus_shows_no_fault(data):
    check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_inputs_show_no_fault(seed):
    random = Random(seed)
    inputs = corpus()
    for _ in range(ROUNDS):
        data = mutated(random, inputs)
        try:
            check(data)
        except Exception as error:
            pytest.fail(f"{error!r} on an input for fuzz_book.KEPT: {data!r}")


def mutated(random, inputs):
    data = bytearray(random.choice(inputs))
    for _ in range(random.choice([1, 1, 2, 4])):
        at = random.randint(0, len(data))
        random.choice([flip, drop, repeat, splice, put_token, put_token, other_number, other_number])(
            random, data, at, inputs
        )
    return bytes(data)


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


def put_token(random, data, at, inputs):
    data[at:at] = random.choice(TOKENS)


def other_number(random, data, at, inputs):
    numbers = list(NUMBER.finditer(data))
    if numbers:
        one, other = random.choice(numbers), random.choice(numbers)
        text = random.choice([other[0], one[0][:-1], one[0] + b"5", one[0] + b"e-1", b"-" + one[0], b"0"])
        data[one.start() : one.end()] = text
