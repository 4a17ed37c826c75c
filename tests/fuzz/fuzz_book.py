"""A fuzz target for the order book: whatever comes, it must not crash, and never say "valid" where the model does not.

`python tests/fuzz/fuzz_book.py` runs it with atheris, as fuzz_assembler.py does; tests/fuzz/test_fuzz_book.py runs it for
a bounded time without atheris. An input: messages, one a line, for one book.
Not here: what is right for given messages (tests/book_model.py).
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import orjson
from book_model import follow

from wsx.testing import Market

INSTRUMENT = "BTC-PERPETUAL"
DEEPEST = 50  # brackets open at once; the book's limit is its own affair
KEPT = [
    b'{"bids":[[-4.0e-7,1E+5],[-1,2.8e-4]],"asks":[[0.0,3.2e4]],"change_id":1}',
    b'{"change_id":7,"bids":null,"asks":[["new",1,1]]}\n{"prev_change_id":7,"change_id":9,"bids":[],"asks":[["delete",1]]}',
    b'{"prev_change_id":0,"change_id":9,"asks":[["n\\u0065w",1,1]],"b\\u0069ds":[],"x":[{"y":[null,true,false]}]}',
    b'{"change_id":7,"bids":[],"asks":[]}\n{"params":{"channel":"book.BTC-PERPETUAL.raw","data":{"change_id":8,"asks":[]}}}',
    b'{"params":{"data":{"change_id":7,"bids":[],"asks":[]},"channel":"book.BTC-PERPETUAL.raw"}}',
]


def corpus() -> list[bytes]:
    """Inputs to begin with: short streams of a made-up market, and what is kept here."""
    messages = [message for message in Market(seed=3).capture(1, 3000).messages if b'"channel":"book.BTC-P' in message]
    first = orjson.loads(messages[0])
    for levels in (first["params"]["data"][side] for side in ("bids", "asks")):
        del levels[12:]
    short = orjson.dumps(first)
    return [*KEPT, *(b"\n".join([short, *messages[1:size]]) for size in range(2, 9))]


def check(data: bytes) -> None:
    """AssertionError where an input shows a fault of the book."""
    messages = data.split(b"\n")
    if max(map(_depth, messages)) <= DEEPEST:
        follow(messages, INSTRUMENT)


def _depth(message: bytes) -> int:
    """At most so many brackets are open at once."""
    depth = deepest = 0
    for letter in message:
        depth += (letter in b"[{") - (letter in b"]}")
        deepest = max(deepest, depth)
    return deepest


def main() -> None:
    """Fuzz until stopped, or until `check` fails."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris; pytest tests/fuzz runs without it, for a bounded time")
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus()):
            Path(folder, str(number)).write_bytes(data)
        atheris.instrument_all()  # the model, run on the same input, guides the fuzzer where it sees no compiled code
        atheris.Setup([*sys.argv, folder], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
