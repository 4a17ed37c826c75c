"""The announcer: the user hears first-hand, others by name, and the last few events are kept in words."""

import logging

import pytest

from wsx import events, telemetry
from wsx._telemetry import Telemetry
from wsx.announcer import Announcer
from wsx.clock import MonotonicClock


def announcer(on_event=None):
    counters = Telemetry()
    return Announcer(on_event, counters, MonotonicClock()), counters


def test_the_user_is_told_the_event():
    told = []
    announcer(told.append)[0].tell(events.LoopBlocked, "a", 3, lag_ns=7)
    assert [(type(event), event.epoch, event.lag_ns) for event in told] == [(events.LoopBlocked, 3, 7)]


def test_whoever_listens_by_name_is_told_too():
    told = []
    telemetry.attach("performance.loop_blocked", lambda name, fields: told.append((name, dict(fields))), "test")
    try:
        announcer()[0].tell(events.LoopBlocked, "a", 3, lag_ns=7)
    finally:
        telemetry.detach("test")
    (name, fields), *others = told
    assert (name, fields["client"], fields["lag_ns"], others) == ("performance.loop_blocked", "a", 7, [])


def test_an_event_without_a_class_is_told_to_those_who_listen():
    told = []
    voice, _ = announcer()
    voice.emit("heartbeat.pong", "a", epoch=1, rtt_ns=5)  # nobody listens yet
    telemetry.attach("heartbeat", lambda name, fields: told.append((name, fields["client"], fields["rtt_ns"])), "test")
    try:
        voice.emit("heartbeat.pong", "a", epoch=1, rtt_ns=6)
    finally:
        telemetry.detach("test")
    assert told == [("heartbeat.pong", "a", 6)]


def test_what_a_users_handler_raises_is_logged_and_counted(caplog):
    def fail(event):
        raise ValueError("mine")

    voice, counters = announcer(fail)
    with caplog.at_level(logging.ERROR, "wsx"):
        voice.tell(events.LoopBlocked, "a", 1, lag_ns=7)
    assert counters.snapshot()["errors_application"] == 1
    assert "on_event of 'a' raised on LoopBlocked" in caplog.text


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_passes(ending):
    def end(event):
        raise ending

    with pytest.raises(ending):
        announcer(end)[0].tell(events.LoopBlocked, "a", 1, lag_ns=7)


def test_the_last_events_are_kept_in_words_the_oldest_first():
    voice, _ = announcer()
    for attempt in range(1, 21):
        voice.tell(events.Reconnecting, "a", 1, attempt=attempt, delay_seconds=0.5, error=ValueError("secret"))
    kept = voice.last_events()
    assert len(kept) == 16
    assert "Reconnecting in epoch 1, attempt 5, delay_seconds 0.5" in kept[0] and "attempt 20" in kept[-1]
    assert "secret" not in "".join(kept)
