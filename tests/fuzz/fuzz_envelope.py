"""A fuzz target for the envelope's scan: on any bytes it agrees with a full parse, or says "parse me".

`python tests/fuzz/fuzz_envelope.py` runs it with atheris, where that is installed, until it is stopped or fails (see
fuzz_assembler.py for what it can be given). tests/fuzz/test_fuzz_envelope.py runs it for a bounded time without atheris.
Not here: what agreeing means (tests/envelopes.py).
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import envelopes

from wsx._envelope import use_wide_instructions

CORPUS = Path(__file__).parent / "envelopes.txt"


def corpus() -> list[bytes]:
    """Inputs to begin with, one a line."""
    return [line.encode() for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def check(data: bytes) -> None:
    """AssertionError where the scan is wrong, or where the two sets of instructions differ."""
    said = []
    for wide in (False, True):
        use_wide_instructions(wide)
        envelope = envelopes.check(data)
        said.append(None if envelope is None else (envelope.data_span, envelope.result_span, envelope.params_span))
    assert said[0] == said[1], "the two sets of instructions differ"


def main() -> None:
    """Fuzz until stopped, or until `check` fails."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris; pytest tests/fuzz runs without it, for a bounded time")
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus()):
            Path(folder, str(number)).write_bytes(data)
        atheris.Setup([*sys.argv, folder], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
