"""Events are values: frozen, slotted, comparable."""

import dataclasses

import pytest

from wsx import Message, Outcome, events
from wsx.events import (
    CallbackFailed,
    Closed,
    Event,
    Gap,
    GapEvent,
    GaveUp,
    Halted,
    LateAnswer,
    LoopBlocked,
    Opened,
    OpeningTimes,
    ProtocolError,
    ReadingPaused,
    ReadingResumed,
    Reconnecting,
    SlowConsumer,
    StaleData,
    SubscriptionRefused,
    SubscriptionRestored,
    Suspended,
    UnexpectedAnswer,
)

MESSAGE = Message(b"5")
TIMES = OpeningTimes(dns_ns=1, tcp_ns=20, tls_ns=300, upgrade_ns=4000)
GAP = Gap(stream="trades", last_good_ns=1, first_good_ns=9, cause="reconnect", missed=3, epoch=1)
EACH = [
    Opened(at_ns=1, epoch=1, endpoint="wss://h/", timings=TIMES),
    Closed(at_ns=2, epoch=1, code=1000, reason="bye"),
    ReadingPaused(at_ns=3, epoch=1, inbox_messages=65536, inbox_bytes=1000),
    ReadingResumed(at_ns=4, epoch=1, paused_ns=5),
    SlowConsumer(at_ns=5, epoch=1, inbox_messages=65536, inbox_bytes=1000, paused_ns=5),
    Reconnecting(at_ns=5, epoch=1, attempt=2, delay_seconds=0.1, error=OSError("x")),
    Halted(at_ns=5, epoch=1, error=OSError("x")),
    GaveUp(at_ns=5, epoch=1, error=OSError("x")),
    GapEvent(at_ns=9, epoch=2, gap=GAP),
    StaleData(at_ns=5, epoch=1, stream="trades", silent_ns=30),
    SubscriptionRestored(at_ns=5, epoch=2, stream="trades"),
    SubscriptionRefused(at_ns=5, epoch=2, stream="trades"),
    Suspended(at_ns=5, epoch=1, suspended_ns=30),
    LoopBlocked(at_ns=6, epoch=1, lag_ns=30),
    CallbackFailed(at_ns=7, epoch=1, error=RuntimeError("x"), message_opcode=1),
    ProtocolError(at_ns=7, epoch=1, what="not an object", message=MESSAGE),
    UnexpectedAnswer(at_ns=7, epoch=1, request_id="1", what="an unknown id", message=MESSAGE),
    LateAnswer(at_ns=7, epoch=1, request_id=1, method="m", outcome=Outcome.UNKNOWN, message=MESSAGE),
]


def test_every_event_of_the_module_is_tried_here_and_drawn():
    classes = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert classes - {Event} == {type(event) for event in EACH}
    assert all(kind.__name__ in events.__doc__ for kind in classes)


@pytest.mark.parametrize("event", [*EACH, GAP], ids=lambda event: type(event).__name__)
def test_an_event_cannot_be_changed_and_has_no_dict(event):
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.epoch = 0
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("event", EACH, ids=lambda event: type(event).__name__)
def test_an_event_equals_its_twin_and_not_one_of_another_time(event):
    assert dataclasses.replace(event) == event
    assert dataclasses.replace(event, at_ns=99) != event


@pytest.mark.parametrize("event", EACH, ids=lambda event: type(event).__name__)
def test_fields_are_given_by_name_only(event):
    with pytest.raises(TypeError):
        type(event)(1, 2)


def test_a_close_without_more_has_no_error():
    assert Closed(at_ns=1, epoch=1, code=1006).error is None


def test_opening_times_add_up():
    assert TIMES.total_ns == 4321
    assert OpeningTimes().total_ns == 0
