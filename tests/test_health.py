"""From what was measured to a score with its reasons."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx.client import State
from wsx.health import Health, HealthInputs, Thresholds, assess

SECOND = 1_000_000_000
NOW = 1000 * SECOND
WELL = HealthInputs(
    state="open",
    since_ns=NOW - 600 * SECOND,
    heartbeat_ns=NOW - 3 * SECOND,
    rtt_ns=250_000,
    rate_limit={"matching": 0.25},
    queues={"inbox_messages": (10, 65536), "write_buffer_bytes": (0, 1 << 20)},
    streams={"book.BTC": NOW - SECOND},
    reconnects=2,
    last_error="ConnectionLost: the peer reset the connection",
)
JUDGING_DATA = Thresholds(data_age=5)


def judged(thresholds: Thresholds = JUDGING_DATA, **changes: object) -> Health:
    return assess(replace(WELL, **changes), thresholds, NOW)  # type: ignore[arg-type]


def penalties(health: Health) -> dict[str, int]:
    return {reason.what: reason.penalty for reason in health.reasons}


class TestMeasures:
    def test_a_client_that_is_well_has_a_full_score_and_no_reasons(self) -> None:
        health = judged()
        assert (health.score, health.reasons, health.ready) == (100, (), True)

    def test_it_repeats_what_was_measured_in_seconds(self) -> None:
        health = judged()
        assert (health.state, health.since_ns, health.at_ns, health.state_seconds) == ("open", WELL.since_ns, NOW, 600)
        assert (health.heartbeat_age, health.rtt) == (3.0, 0.00025)
        assert (health.rate_limit, health.queues) == ({"matching": 0.25}, WELL.queues)
        assert (health.reconnects, health.last_error, health.stale) == (2, WELL.last_error, {})

    def test_what_was_not_measured_is_none(self) -> None:
        health = judged(heartbeat_ns=None, rtt_ns=None)
        assert (health.heartbeat_age, health.rtt, health.score) == (None, None, 100)

    def test_an_instant_later_than_now_is_no_negative_age(self) -> None:
        assert judged(heartbeat_ns=NOW + 1).heartbeat_age == 0

    def test_it_does_not_change_afterwards(self) -> None:
        rate_limit = {"matching": 0.25}
        health = judged(rate_limit=rate_limit)
        rate_limit["matching"] = 1.0
        assert health.rate_limit == {"matching": 0.25}
        with pytest.raises(FrozenInstanceError):
            health.score = 7  # type: ignore[misc]


class TestReasons:
    @pytest.mark.parametrize("state", ["connecting", "reconnecting", "closing", "closed", "halted", "unheard of"])
    def test_only_an_open_client_is_ready(self, state: str) -> None:
        health = judged(Thresholds(ready_score=1), state=state)
        assert not health.ready
        assert list(penalties(health)) == ["state"]
        assert health.reasons[0].text == f"{state} for 600.0 s, last error: {WELL.last_error}"

    def test_every_state_of_a_client_has_its_score(self) -> None:
        scores = {state: judged(state=state).score for state in State}
        assert scores[State.OPEN] == 100
        assert all(scores[state] < 50 for state in State if state is not State.OPEN)
        assert [judged(state=state).score for state in ("reconnecting", "halted", "unheard of")] == [30, 0, 0]
        assert judged(state=State.OPEN).ready

    def test_a_state_without_an_error_says_so_little(self) -> None:
        assert judged(state="connecting", last_error=None).reasons[0].text == "connecting for 600.0 s"

    def test_a_silent_peer_makes_a_client_unready(self) -> None:
        health = judged(heartbeat_ns=NOW - 21 * SECOND)
        assert penalties(health) == {"heartbeat": 60}
        assert health.reasons[0].text == "no PONG for 21.0 s, above 20 s"
        assert not health.ready

    def test_a_slow_round_trip_counts(self) -> None:
        health = judged(rtt_ns=1_500_000_000)
        assert health.reasons[0].text == "round trip 1.500 s, above 1 s"
        assert (health.score, health.ready) == (85, True)

    def test_a_connection_is_unsettled_right_after_a_reconnect_and_not_after_the_first_opening(self) -> None:
        health = judged(since_ns=NOW - 2 * SECOND)
        assert health.reasons[0].text == "reconnected 2.0 s ago, reconnects so far: 2"
        assert health.score == 90
        assert judged(since_ns=NOW - 2 * SECOND, reconnects=0).score == 100

    def test_subscriptions_without_data_are_named(self) -> None:
        streams = {f"ticker.{number}": NOW - 6 * SECOND for number in range(5)} | {"trades": NOW - SECOND}
        health = judged(streams=streams)
        assert health.stale == {f"ticker.{number}": 6.0 for number in range(5)}
        assert health.reasons[0].text == "no data for up to 6.0 s on ticker.0, ticker.1, ticker.2 and 2 more"
        assert health.score == 70

    def test_staleness_is_judged_only_where_a_limit_is_set_and_the_connection_open(self) -> None:
        streams = {"trades": NOW - 600 * SECOND}
        assert judged(Thresholds(), streams=streams).stale == {}
        assert judged(streams=streams, state="reconnecting").stale == {}

    def test_queues_that_fill_up_are_named(self) -> None:
        health = judged(
            queues={"inbox_messages": (51, 100), "inbox_bytes": (50, 100), "write_buffer_bytes": (100, 100)}
        )
        assert health.reasons[0].text == "more than 50% full: inbox_messages, write_buffer_bytes"
        assert health.score == 80

    def test_buckets_that_are_used_up_are_named(self) -> None:
        health = judged(rate_limit={"matching": 0.95, "subscribe": 0.9})
        assert health.reasons[0].text == "more than 90% used: matching"
        assert health.score == 85

    def test_penalties_add_up_and_never_below_zero(self) -> None:
        everything = judged(
            heartbeat_ns=0,
            rtt_ns=SECOND * 2,
            since_ns=NOW,
            streams={"a": 0},
            queues={"q": (1, 1)},
            rate_limit={"b": 1.0},
        )
        assert list(penalties(everything)) == ["heartbeat", "rtt", "unsettled", "stale", "queue", "rate_limit"]
        assert sum(penalties(everything).values()) > 100
        assert everything.score == 0

    @given(
        st.sampled_from([*State, "halted"]),
        st.integers(0, NOW),
        st.integers(0, NOW),
        st.integers(0, 2 * SECOND),
        st.floats(0, 1),
        st.integers(0, 100),
        st.integers(1, 100),
    )
    def test_the_score_is_what_the_reasons_leave_and_readiness_follows_it(
        self, state: str, since_ns: int, heartbeat_ns: int, rtt_ns: int, used: float, depth: int, ready_score: int
    ) -> None:
        health = judged(
            Thresholds(ready_score=ready_score),
            state=state,
            since_ns=since_ns,
            heartbeat_ns=heartbeat_ns,
            rtt_ns=rtt_ns,
            rate_limit={"all": used},
            queues={"inbox": (depth, 100)},
        )
        assert health.score == max(100 - sum(penalties(health).values()), 0)
        assert health.ready == (state == "open" and health.score >= ready_score)


class TestThresholds:
    def test_they_can_be_moved(self) -> None:
        strict = Thresholds(heartbeat_age=2, rtt=0.0001, rate_limit=0.1, queue=0.0001, settled_after=601, data_age=0.5)
        assert set(penalties(judged(strict))) == {"heartbeat", "rtt", "rate_limit", "queue", "unsettled", "stale"}

    @pytest.mark.parametrize("name", ["heartbeat_age", "rtt", "data_age", "settled_after"])
    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
    def test_durations_must_be_above_zero(self, name: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"{name} must be above 0 seconds"):
            Thresholds(**{name: value})

    @pytest.mark.parametrize("name", ["rate_limit", "queue"])
    @pytest.mark.parametrize("value", [0, 1.01, float("nan")])
    def test_parts_must_be_above_zero_and_at_most_one(self, name: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"{name} must be above 0 and at most 1"):
            Thresholds(**{name: value})

    @pytest.mark.parametrize("value", [0, 101])
    def test_a_score_to_be_ready_must_be_one_to_a_hundred(self, value: int) -> None:
        with pytest.raises(ValueError, match="ready_score must be 1 to 100"):
            Thresholds(ready_score=value)

    def test_every_default_is_valid(self) -> None:
        assert {field.name for field in fields(Thresholds())} >= {"heartbeat_age", "data_age", "ready_score"}
