"""What the scan of an envelope is held to: a full parse of the same bytes, read by rules of its own.

Not here: the inputs (test_envelope.py, fuzz/fuzz_envelope.py).
"""

import orjson

from wsx._envelope import scan

TEXTS = {"method": (), "channel": ("params",), "type": ("params",)}
SPANS = {"params": (), "data": ("params",), "result": (), "error": ()}
MISSING = object()


def look_up(document, path, key):
    for name in path:
        document = document.get(name, MISSING)
        if not isinstance(document, dict):
            return MISSING
    return document.get(key, MISSING)


def check(data):
    """AssertionError where the scan says something that a full parse contradicts. What it said: None for "parse me"."""
    envelope = scan(data)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return envelope  # nothing is claimed
    if envelope is None:
        return None
    assert isinstance(document, dict)
    assert envelope.has_id == ("id" in document)
    identity = document.get("id")
    assert (type(envelope.id), envelope.id) == (type(identity), identity)
    for key, path in TEXTS.items():
        found, expected = getattr(envelope, key), look_up(document, path, key)
        assert found == (None if expected is MISSING else expected), key
    for key, path in SPANS.items():
        place, expected = getattr(envelope, f"{key}_span"), look_up(document, path, key)
        assert (place is None) == (expected is MISSING), key
        if place is not None:
            assert orjson.loads(data[place[0] : place[1]]) == expected, key
    assert (envelope.has_error, envelope.has_result) == ("error" in document, "result" in document)
    return envelope
