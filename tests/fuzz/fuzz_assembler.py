"""A fuzz target for the codec: whatever comes, it must not crash, and what it delivers must be right.

`python tests/fuzz/fuzz_assembler.py` runs it with atheris, where that is installed, until it is stopped or fails; what
it is given (`-max_total_time=600`, a folder) goes to libFuzzer. It sees into the compiled code where that was built with
`CC=clang WSX_SANITIZE=fuzzer-no-link`. tests/fuzz/test_fuzz_assembler.py runs it for a bounded time without atheris.
An input: one byte of settings (SETTINGS), one that seeds the places of the cuts, then the stream.
Not here: what is right for a given stream (tests/vectors): a failure found here becomes a vector first.
"""

import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

import wsproto.connection
import wsproto.events
from streams import Event, byte_by_byte, receive, stream, vectors

CORPUS = Path(__file__).parent / "corpus.txt"
SETTINGS: list[dict[str, int]] = [
    {},
    {"server": 1},
    {"max_message_size": 10, "max_fragments": 3},
    {"server": 1, "max_message_size": 1000},
]
TAKEN_WHOLE = 400  # bytes; longer streams are not also fed byte by byte


def corpus() -> list[bytes]:
    """Inputs to begin with: the vectors under each setting, and what is kept in corpus.txt."""
    lines = (line.partition("#")[0] for line in CORPUS.read_text(encoding="ascii").splitlines())
    kept = [bytes.fromhex(line) for line in lines if line.strip()]
    wires = [stream(entry) for entry in vectors("streams.json")]
    short = [(wire, options) for wire, options in wires if len(wire) < 5000]
    return [*kept, *(bytes([options["server"], 7]) + wire for wire, options in short)]


def check(data: bytes) -> None:
    """AssertionError where an input shows a fault of the codec."""
    settings = SETTINGS[data[0] % len(SETTINGS)] if data else {}
    wire, random = data[2:], Random(data[1] if data[1:] else 0)
    events = receive(wire, **settings)
    cuts = sorted(random.randrange(len(wire) + 1) for _ in range(4))
    assert receive(wire, cuts, **settings) == events, f"cut at {cuts}"
    if len(wire) <= TAKEN_WHOLE:
        assert receive(wire, byte_by_byte(wire), **settings) == events, "byte by byte"
    _check_events(events, settings.get("max_message_size", 16 << 20))
    if not settings:
        messages = [event for event in events if event[0] in ("text", "binary")]
        assert messages == messages_of_wsproto(wire), "wsproto differs"


def _check_events(events: list[Event], max_message_size: int) -> None:
    for number, event in enumerate(events, 1):
        if event[0] in ("close", "fail"):
            assert number == len(events), "something after the end"
        elif event[0] in ("ping", "pong"):
            assert len(event[1]) <= 125
        else:
            assert len(event[1]) <= max_message_size
        if event[0] == "text":
            event[1].decode()


def messages_of_wsproto(wire: bytes) -> list[Event]:
    """The whole messages that wsproto delivers of a server's stream."""
    connection = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
    connection.receive_data(wire)
    messages: list[Event] = []
    parts: list[bytes] = []
    for event in connection.events():
        if isinstance(event, wsproto.events.Message):
            parts.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                kind = "text" if isinstance(event, wsproto.events.TextMessage) else "binary"
                messages.append((kind, b"".join(parts)))
                parts = []
    return messages


def main() -> None:
    """Fuzz until stopped, or until `check` fails."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris; pytest tests/fuzz runs without it, for a bounded time")
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus()):
            Path(folder, str(number)).write_bytes(data)
        atheris.instrument_all()  # wsproto, run on the same input, guides the fuzzer where it cannot see compiled code
        atheris.Setup([*sys.argv, folder], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
