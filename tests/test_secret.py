"""A canary in a `Secret` is found nowhere but in `reveal()`."""

import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback

import pytest

from wsx.secret import Secret

CANARY = "canary-3f9a"


@pytest.fixture
def secret():
    return Secret(CANARY)


def test_reveal_gives_the_value(secret):
    assert secret.reveal() == CANARY


def test_no_text_shows_it(secret):
    texts = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", f"{secret:>20}"]
    texts += [f"{secret}", ascii(secret), repr([secret]), repr({"key": secret}), str(vars(type(secret)))]
    assert "Secret(***)" in texts[0]
    assert not any(CANARY in text for text in texts)


def test_a_dataclass_that_holds_it_does_not_show_it(secret):
    @dataclasses.dataclass
    class Credentials:
        key: Secret

    assert repr(Credentials(secret)).endswith("Credentials(key=Secret(***))")
    assert dataclasses.asdict(Credentials(secret))["key"] is secret


def test_logging_does_not_show_it(secret):
    stream = io.StringIO()
    record = logging.LogRecord("x", logging.DEBUG, "x", 1, "%s %r %s", (secret, secret, {"a": secret}), None)
    logging.StreamHandler(stream).emit(record)
    assert stream.getvalue() == "Secret(***) Secret(***) {'a': Secret(***)}\n"


def test_a_traceback_with_its_locals_does_not_show_it(secret):
    def fail(key):
        raise RuntimeError(f"no luck with {key}")

    with pytest.raises(RuntimeError) as caught:
        fail(secret)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "Secret(***)" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(secret, protocol):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps({"key": secret}, protocol)


def test_its_state_is_not_given_away(secret):
    with pytest.raises(TypeError, match="state"):
        secret.__getstate__()
    with pytest.raises(TypeError):
        vars(secret)


def test_json_is_refused(secret):
    with pytest.raises(TypeError):
        json.dumps({"key": secret})


def test_a_copy_is_the_secret_itself(secret):
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"key": secret})["key"] is secret


def test_it_cannot_be_changed(secret):
    with pytest.raises(AttributeError, match="changed"):
        secret.value = "x"
    with pytest.raises(AttributeError, match="changed"):
        secret._Secret__value = "x"
    with pytest.raises(AttributeError, match="changed"):
        del secret._Secret__value
    assert secret.reveal() == CANARY


def test_it_is_no_oracle_for_guesses(secret):
    assert secret != CANARY
    assert secret != Secret(CANARY)


def test_only_text_that_is_there_makes_a_secret():
    with pytest.raises(ValueError, match="empty"):
        Secret("")
    for value in (None, b"canary", 5):
        with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
            Secret(value)
