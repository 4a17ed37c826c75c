"""Named events: the table, who is told, and what a handler that raises does not do."""

import ast
import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from source_lines import ROOT

from wsx import Message, Outcome, events
from wsx._signal import Signal
from wsx.telemetry import EVENTS, attach, detach, publish

PAGE = ROOT / "docs" / "howto" / "telemetry.md"
CATEGORIES = {
    "connection",
    "message",
    "error",
    "heartbeat",
    "rate_limit",
    "reconnect",
    "request",
    "subscription",
    "backpressure",
    "performance",
    "supervisor",
}
MESSAGE = Message(b"5")
SAMPLES: list[events.Event] = [
    events.Opened(at_ns=1, epoch=2, endpoint="wss://h/ws", timings=events.OpeningTimes(tcp_ns=5)),
    events.Closed(at_ns=1, epoch=2, code=1001, reason="going away"),
    events.Halted(at_ns=1, epoch=2, error=ValueError("x")),
    events.GaveUp(at_ns=1, epoch=2, error=ValueError("x")),
    events.Suspended(at_ns=1, epoch=2, suspended_ns=7),
    events.Reconnecting(at_ns=1, epoch=2, attempt=3, delay_seconds=0.5),
    events.GapEvent(
        at_ns=1,
        epoch=2,
        gap=events.Gap(stream="a", last_good_ns=1, first_good_ns=2, cause="reconnect", epoch=1),
    ),
    events.StaleData(at_ns=1, epoch=2, stream="a", silent_ns=9),
    events.SubscriptionRestored(at_ns=1, epoch=2, stream="a"),
    events.SubscriptionRefused(at_ns=1, epoch=2, stream="a"),
    events.ReadingPaused(at_ns=1, epoch=2, inbox_messages=3, inbox_bytes=4),
    events.ReadingResumed(at_ns=1, epoch=2, paused_ns=5),
    events.SlowConsumer(at_ns=1, epoch=2, inbox_messages=3, inbox_bytes=4, paused_ns=5),
    events.LoopBlocked(at_ns=1, epoch=2, lag_ns=6),
    events.CallbackFailed(at_ns=1, epoch=2, error=ValueError("x"), message_opcode=1),
    events.ProtocolError(at_ns=1, epoch=2, what="not an object", message=MESSAGE),
    events.UnexpectedAnswer(at_ns=1, epoch=2, request_id="1", what="an unknown id", message=MESSAGE),
    events.LateAnswer(at_ns=1, epoch=2, request_id=1, method="m", outcome=Outcome.UNKNOWN, message=MESSAGE),
]

Told = list[tuple[str, dict[str, Any]]]


class Listener:
    """A handler that writes down what it is told, and raises what it was given."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.told: Told = []
        self.error = error

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        self.told.append((name, dict(values)))
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """Every test takes its handlers away."""
    yield
    for name in ("one", "other", "third"):
        detach(name)
    assert not any(signal.active for signal in EVENTS.values())


def raise_lag(lag_ns: int = 5) -> None:
    publish("deribit-1", events.LoopBlocked(at_ns=1, epoch=2, lag_ns=lag_ns))


class TestTable:
    def test_every_event_a_client_tells_has_a_row_with_its_fields(self) -> None:
        kinds = {kind for name in events.__all__ if issubclass(kind := getattr(events, name), events.Event)}
        assert {type(sample) for sample in SAMPLES} == kinds - {events.Event}
        listener = Listener()
        attach("*", listener, "one")
        for sample in SAMPLES:
            publish("deribit-1", sample)
        for sample, (name, values) in zip(SAMPLES, listener.told, strict=True):
            expected = {field.name: getattr(sample, field.name) for field in fields(sample)}
            assert values == {"client": "deribit-1", **expected}
            assert set(values) == set(EVENTS[name].fields)
        assert len({name for name, _ in listener.told}) == len(SAMPLES)

    def test_an_event_outside_the_table_is_told_to_nobody(self) -> None:
        listener = Listener()
        attach("*", listener, "one")
        publish("deribit-1", events.Event(at_ns=1, epoch=2))
        assert listener.told == []

    def test_names_say_their_category_first_and_are_in_order(self) -> None:
        assert {name.partition(".")[0] for name in EVENTS} == CATEGORIES
        assert list(EVENTS) == sorted(EVENTS)
        assert all(EVENTS[name].name == name for name in EVENTS)

    def test_every_row_says_when_and_every_field_its_unit_or_meaning(self) -> None:
        for signal in EVENTS.values():
            assert signal.text
            assert "at_ns" in signal.fields
            assert all(signal.fields.values())
            for field, meaning in signal.fields.items():
                assert not field.endswith("_ns") or "nanoseconds" in meaning
                assert not field.endswith("_seconds") or "seconds" in meaning

    def test_the_page_has_the_table(self) -> None:
        rows = [
            f"| `{signal.name}` | {signal.text} | {', '.join(f'`{field}`' for field in signal.fields)} |"
            for signal in EVENTS.values()
        ]
        assert "\n".join(rows) in PAGE.read_text("utf-8")
        meanings = {field: meaning for signal in EVENTS.values() for field, meaning in signal.fields.items()}
        assert "\n".join(f"| `{field}` | {meanings[field]} |" for field in sorted(meanings)) in PAGE.read_text("utf-8")

    def test_a_field_means_the_same_wherever_it_is(self) -> None:
        meanings: dict[str, set[str]] = {}
        for signal in EVENTS.values():
            for field, meaning in signal.fields.items():
                meanings.setdefault(field, set()).add(meaning)
        assert {field: texts for field, texts in meanings.items() if len(texts) > 1} == {}


class TestListening:
    def test_a_handler_is_told_the_events_of_its_name(self) -> None:
        listener = Listener()
        attach("performance.loop_blocked", listener, "one")
        raise_lag(5)
        assert listener.told == [
            ("performance.loop_blocked", {"at_ns": 1, "client": "deribit-1", "epoch": 2, "lag_ns": 5})
        ]

    def test_the_beginning_of_a_name_stands_for_all_that_go_on_with_a_dot(self) -> None:
        listener = Listener()
        attach("backpressure", listener, "one")
        raise_lag()
        for sample in SAMPLES:
            publish("deribit-1", sample)
        assert {name for name, _ in listener.told} == {
            "backpressure.reading_paused",
            "backpressure.reading_resumed",
            "backpressure.slow_consumer",
        }

    @pytest.mark.parametrize(
        ("name", "hint"),
        [("reconnect.schedule", "; did you mean 'reconnect.scheduled'"), ("connection.op", ""), ("", ""), ("zzz", "")],
    )
    def test_a_name_that_no_event_has_is_refused(self, name: str, hint: str) -> None:
        with pytest.raises(ValueError, match=f"no event is named {name!r}.*{hint}"):
            attach(name, Listener(), "one")
        assert not detach("one")

    def test_an_id_is_taken_until_it_is_detached(self) -> None:
        attach("error", Listener(), "one")
        with pytest.raises(ValueError, match="a handler 'one' is attached already"):
            attach("message", Listener(), "one")
        assert detach("one")
        attach("message", Listener(), "one")

    def test_after_detaching_nothing_is_told_and_nobody_listens(self) -> None:
        listener = Listener()
        attach("performance", listener, "one")
        assert EVENTS["performance.loop_blocked"].active
        assert detach("one")
        assert not detach("one")
        assert not EVENTS["performance.loop_blocked"].active
        raise_lag()
        assert listener.told == []

    def test_handlers_are_told_in_the_order_of_their_coming_and_leave_alone(self) -> None:
        order: list[str] = []
        attach("performance", lambda name, values: order.append("one"), "one")
        attach("*", lambda name, values: order.append("other"), "other")
        raise_lag()
        detach("one")
        raise_lag()
        assert order == ["one", "other", "other"]

    def test_a_handler_may_detach_itself(self) -> None:
        told: list[str] = []

        def once(name: str, values: Mapping[str, Any]) -> None:
            told.append(name)
            detach("one")

        attach("performance", once, "one")
        raise_lag()
        raise_lag()
        assert told == ["performance.loop_blocked"]

    def test_what_cannot_be_called_inline_is_refused(self) -> None:
        async def later(name: str, values: Mapping[str, Any]) -> None:
            raise AssertionError("never called")

        with pytest.raises(TypeError, match="handler must be callable, not str"):
            attach("error", "print", "one")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must not be a coroutine function"):
            attach("error", later, "one")


class TestHandlersThatRaise:
    @pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError(), GeneratorExit()])
    def test_it_is_detached_and_reported_and_the_others_are_told(
        self, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        failing, listener, reports = Listener(error), Listener(), Listener()
        attach("performance", failing, "one")
        attach("performance", listener, "other")
        attach("error.handler", reports, "third")
        with caplog.at_level(logging.ERROR, "wsx"):
            raise_lag()
            raise_lag()
        assert len(failing.told) == 1
        assert len(listener.told) == 2
        (record,) = caplog.records
        assert record.getMessage() == "the handler 'one' raised on performance.loop_blocked and was detached"
        assert record.exc_info is not None and record.exc_info[1] is error
        ((name, values),) = reports.told
        assert (name, values["handler_id"], values["event"]) == ("error.handler", "one", "performance.loop_blocked")
        assert values["error"] is error
        assert set(values) == set(EVENTS["error.handler"].fields)

    def test_a_handler_of_failures_that_fails_ends_the_matter(self) -> None:
        attach("*", Listener(ValueError("one")), "one")
        attach("*", Listener(ValueError("other")), "other")
        raise_lag()
        assert not detach("one")
        assert not detach("other")

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_the_end_of_the_program_passes(self, error: type[BaseException]) -> None:
        attach("performance", Listener(error()), "one")
        with pytest.raises(error):
            raise_lag()

    def test_no_handler_can_change_what_the_next_one_is_told(self) -> None:
        def change(name: str, values: Any) -> None:
            values["lag_ns"] = 0

        listener = Listener()
        attach("performance", change, "one")
        attach("performance", listener, "other")
        raise_lag(5)
        assert listener.told[0][1]["lag_ns"] == 5
        assert not detach("one")


class TestSignal:
    def test_it_is_what_the_table_says_and_cannot_be_changed(self) -> None:
        signal = Signal("a.b", "it happened", {"at_ns": "nanoseconds"})
        assert (signal.name, signal.text, dict(signal.fields), signal.active) == (
            "a.b",
            "it happened",
            {"at_ns": "nanoseconds"},
            False,
        )
        assert repr(signal) == "<Signal 'a.b'>"
        with pytest.raises(AttributeError):
            signal.active = True  # type: ignore[misc]
        with pytest.raises(TypeError):
            signal.fields["x"] = "y"  # type: ignore[index]

    def test_without_a_listener_an_emission_reaches_nobody(self) -> None:
        Signal("a.b", "it happened", {}).emit(x=1)


# ---- every place in the package where an event is told --------------------------------------------------------------


def emissions(path: Path) -> Iterator[tuple[str, set[str], int]]:
    """Event name, field names and line of each `signal.emit(...)` whose signal comes out of EVENTS by a literal name,
    and of each `self._emit("name", ...)` of a session, which adds the time and the client."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        target.id: literal
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (literal := event_name(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
            base = node.func.value
            name = names.get(base.id) if isinstance(base, ast.Name) else event_name(base)
            if name is not None:
                yield name, {str(keyword.arg) for keyword in node.keywords}, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_emit":
            fields = {str(keyword.arg) for keyword in node.keywords} | {"at_ns", "client"}
            if path.name == "session.py" and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), fields, node.lineno


def event_name(node: ast.AST) -> str | None:
    named = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "EVENTS"
    if named and isinstance(node.slice, ast.Constant):
        return str(ast.literal_eval(node.slice))
    return None


def test_every_emission_carries_the_fields_of_its_row() -> None:
    found = [
        (path.name, line, name, carried)
        for path in sorted((ROOT / "wsx").rglob("*.py"))
        for name, carried, line in emissions(path)
    ]
    assert found
    wrong = [place for place in found if place[3] != set(EVENTS[place[2]].fields)]
    assert not wrong


def test_an_emission_with_another_field_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(
        'S = EVENTS["error.handler"]\nS.emit(at_ns=1)\nEVENTS["message.sent"].emit(bytes=2)\nother.emit(x=1)\n'
    )
    assert sorted(emissions(tmp_path / "sample.py")) == [
        ("error.handler", {"at_ns"}, 2),
        ("message.sent", {"bytes"}, 3),
    ]
