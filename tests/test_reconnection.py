"""When a client tries again and when it stops: the rules, and their properties over any history."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx.backoff import Backoff
from wsx.errors import (
    AuthenticationFailed,
    Category,
    ConnectionFailed,
    ConnectionLost,
    Pace,
    ProtocolError,
    ReconnectExhausted,
    Recovery,
    Verdict,
)
from wsx.reconnection import Attempts, GiveUp, HostBudget, Plan

MS = 1_000_000
S = 1000 * MS
LOST, FAILED, BROKEN = ConnectionLost("reset"), ConnectionFailed("tcp", "refused"), ProtocolError(1002, "RSV1 is set")
RECONNECT = Verdict(Category.CONNECTION, Recovery.RECONNECT)
JITTERED = Verdict(Category.CONNECTION, Recovery.RECONNECT, pace=Pace.JITTERED)
LONGEST = Verdict(Category.CONNECTION, Recovery.RECONNECT, pace=Pace.LONGEST)
NOTIFY = Verdict(Category.PROTOCOL, Recovery.NOTIFY)
HALT = Verdict(Category.AUTHENTICATION, Recovery.HALT)
PASS = Verdict(Category.APPLICATION, Recovery.PASS_THROUGH)
ALMOST_ONE = 1 - 2**-53


def asked(seconds, pace=Pace.IMMEDIATE):
    return Verdict(Category.CONNECTION, Recovery.RECONNECT, seconds, pace)


def attempts(budget=None, **settings):
    return Attempts(Backoff(**settings), budget or HostBudget())


backoffs = st.builds(
    Backoff,
    initial=st.floats(0.001, 86_400),
    factor=st.floats(1, 1000) | st.integers(1, 1000),
    cap=st.floats(0.001, 86_400),
)
jitters = st.floats(0, 1, exclude_max=True)
numbers = st.integers(1, 10**6)


class TestSettings:
    def test_the_defaults_are_the_documented_ones(self):
        backoff = Backoff()
        assert (backoff.initial, backoff.factor, backoff.cap, backoff.stable_after) == (0.1, 2.0, 30.0, 30.0)
        assert (backoff.attempts, backoff.protocol_errors) == (None, (3, 600.0))

    @pytest.mark.parametrize("name", ["initial", "cap", "stable_after", "factor"])
    @pytest.mark.parametrize("value", [0, -1, 1e9, float("nan"), float("inf"), 10**400])
    def test_a_wrong_number_is_refused_by_name(self, name, value):
        with pytest.raises(ValueError, match=name):
            Backoff(**{name: value})

    @pytest.mark.parametrize("name", ["initial", "cap", "stable_after", "factor", "attempts", "protocol_errors"])
    @pytest.mark.parametrize("value", ["1", True, [3, 600.0], (1, 2, 3)])
    def test_a_wrong_type_is_refused_by_name(self, name, value):
        with pytest.raises(TypeError, match=name):
            Backoff(**{name: value})

    @pytest.mark.parametrize(
        "settings", [{"attempts": 0}, {"attempts": 2**31}, {"protocol_errors": (0, 1)}, {"protocol_errors": (1, 0)}]
    )
    def test_a_wrong_count_is_refused(self, settings):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Backoff(**settings)

    def test_a_float_is_no_count(self):
        with pytest.raises(TypeError, match="attempts"):
            Backoff(attempts=2.0)

    def test_settings_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            Backoff().cap = 1


class TestDelays:
    def test_the_ceiling_doubles_up_to_the_cap(self):
        assert [Backoff().ceiling(n) for n in range(1, 11)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]

    def test_jitter_takes_any_part_of_the_ceiling(self):
        assert Backoff().delay(3, 0.0) == 0.0
        assert Backoff().delay(3, 0.5) == 0.2

    @given(backoffs, numbers, jitters)
    def test_a_delay_is_below_its_ceiling_and_the_ceiling_within_the_cap(self, backoff, attempt, jitter):
        assert 0 <= backoff.delay(attempt, jitter) <= backoff.ceiling(attempt) <= backoff.cap

    @given(backoffs, numbers, numbers)
    def test_ceilings_never_fall(self, backoff, one, other):
        assert backoff.ceiling(min(one, other)) <= backoff.ceiling(max(one, other))

    @given(backoffs, numbers, jitters, st.floats(0, 3600))
    def test_a_server_that_asks_to_wait_is_obeyed(self, backoff, attempt, jitter, seconds):
        assert seconds <= backoff.delay(attempt, jitter, seconds) <= seconds + backoff.cap
        assert seconds <= backoff.longest(jitter, seconds)

    def test_no_server_silences_a_client_for_more_than_an_hour(self):
        assert Backoff().delay(1, 0.0, 1e9) == 3600.0
        assert Backoff().longest(0.0, 1e9) == 3600.0

    def test_waiting_less_than_nothing_is_nothing(self):
        assert Backoff().delay(1, 0.0, -5.0) == 0.0

    @given(backoffs, jitters)
    def test_the_longest_backoff_is_within_a_fifth_of_the_cap(self, backoff, jitter):
        assert backoff.cap * 0.7999 <= backoff.longest(jitter) <= backoff.cap

    def test_two_who_were_asked_to_wait_alike_come_back_apart(self):
        assert Backoff().delay(1, 0.1, 5) != Backoff().delay(1, 0.9, 5)


class TestAttempts:
    def test_the_first_attempt_after_a_lost_connection_is_at_once(self):
        client = attempts()
        client.opened(0)
        plan = client.lost(LOST, RECONNECT, 5 * MS, jitter=0.9, host="h")
        assert (plan.delay_seconds, plan.attempt, plan.immediate) == (0.0, 1, True)

    def test_what_follows_is_jittered_and_grows(self):
        client = attempts()
        client.lost(LOST, RECONNECT, 0, jitter=0.5, host="h")
        plans = [client.failed(FAILED, RECONNECT, n * S, jitter=0.5) for n in range(3)]
        assert [(plan.attempt, plan.delay_seconds) for plan in plans] == [(2, 0.1), (3, 0.2), (4, 0.4)]
        assert not any(plan.immediate for plan in plans)
        assert client.attempt == 4

    def test_a_first_opening_that_failed_is_followed_by_a_jittered_attempt(self):
        plan = attempts().failed(FAILED, RECONNECT, 0, jitter=0.5)
        assert (plan.attempt, plan.delay_seconds, plan.immediate) == (1, 0.05, False)

    @pytest.mark.parametrize("uptime_ns", [0, S, 30 * S - 1])
    def test_a_connection_that_was_not_stable_does_not_reset_the_backoff(self, uptime_ns):
        client = attempts()
        client.lost(LOST, RECONNECT, 0, jitter=0.5, host="h")
        client.opened(S)
        plan = client.lost(LOST, RECONNECT, S + uptime_ns, jitter=0.5, host="h")
        assert (plan.attempt, plan.immediate, plan.delay_seconds) == (2, False, 0.1)

    def test_a_stable_connection_resets_the_backoff_and_the_history(self):
        client = attempts()
        client.lost(LOST, RECONNECT, 0, jitter=0.5, host="h")
        client.opened(S)
        plan = client.lost(LOST, RECONNECT, 31 * S, jitter=0.5, host="h")
        assert (plan.attempt, plan.immediate) == (1, True)
        assert [failure.attempt for failure in client.history] == [0]

    def test_an_attempt_that_failed_while_restoring_was_never_stable(self):
        client = attempts()
        client.lost(LOST, RECONNECT, 0, jitter=0.5, host="h")
        client.opened(S)
        client.failed(FAILED, RECONNECT, 2 * S, jitter=0.5)
        plan = client.lost(LOST, RECONNECT, 100 * S, jitter=0.5, host="h")
        assert plan.attempt == 3

    def test_a_server_that_flaps_each_second_is_left_more_and_more_alone(self):
        client, now_ns, delays = attempts(), 0, []
        for _ in range(20):
            client.opened(now_ns)
            now_ns += S
            plan = client.lost(LOST, RECONNECT, now_ns, jitter=ALMOST_ONE, host="h")
            delays.append(plan.delay_seconds)
            now_ns += round(plan.delay_seconds * S)
        assert delays == sorted(delays)
        assert delays[0] == 0.0 and delays[-1] == pytest.approx(30.0)

    def test_retry_after_delays_even_the_first_attempt(self):
        plan = attempts().lost(LOST, asked(5.0), 0, jitter=0.5, host="h")
        assert (plan.delay_seconds, plan.immediate) == (5.05, False)
        assert "the server asked for 5 s" in plan.reason

    def test_a_jittered_pace_delays_even_the_first_attempt(self):
        plan = attempts().lost(LOST, JITTERED, 0, jitter=0.5, host="h")
        assert (plan.delay_seconds, plan.immediate) == (0.05, False)

    def test_the_longest_pace_waits_for_the_cap_at_once(self):
        plan = attempts().lost(LOST, LONGEST, 0, jitter=0.0, host="h")
        assert (plan.delay_seconds, plan.attempt, plan.immediate) == (30.0, 1, False)
        assert "longest backoff" in plan.reason

    def test_the_longest_pace_and_retry_after_take_the_later(self):
        assert attempts().failed(FAILED, asked(100.0, Pace.LONGEST), 0, jitter=0.0).delay_seconds == 100.0
        assert attempts().failed(FAILED, asked(1.0, Pace.LONGEST), 0, jitter=0.0).delay_seconds == 30.0

    def test_a_person_starts_it_afresh(self):
        client = attempts()
        for n in range(3):
            client.failed(BROKEN, NOTIFY, n, jitter=0.5)
        client.reset()
        assert (client.attempt, client.history) == (0, ())
        assert client.lost(LOST, RECONNECT, 4, jitter=0.5, host="h").immediate
        assert isinstance(client.failed(BROKEN, NOTIFY, 5, jitter=0.5), Plan)

    def test_a_loss_that_nobody_opened_counts_like_one(self):
        assert attempts().lost(LOST, RECONNECT, 0, jitter=0.5, host="h").immediate


class TestGivingUp:
    def test_refused_credentials_halt(self):
        error = AuthenticationFailed("13004")
        end = attempts().failed(error, HALT, 0, jitter=0.5)
        assert (end.error, end.halt) == (error, True)

    def test_what_is_not_wsxs_to_recover_from_ends_with_its_own_error(self):
        error = RuntimeError("x")
        end = attempts().lost(error, PASS, 0, jitter=0.5, host="h")
        assert (end.error, end.halt) == (error, False)

    def test_a_halt_uses_none_of_the_hosts_budget(self):
        budget = HostBudget()
        attempts(budget).lost(LOST, HALT, 0, jitter=0.5, host="h")
        assert budget.hosts == 0

    def test_used_up_attempts_are_told_with_their_history(self):
        client = attempts(attempts=2)
        client.opened(0)
        assert isinstance(client.lost(LOST, RECONNECT, 40 * S, jitter=0.5, host="h"), Plan)
        assert isinstance(client.failed(FAILED, RECONNECT, 41 * S, jitter=0.5), Plan)
        end = client.failed(FAILED, RECONNECT, 42 * S, jitter=0.5)
        assert isinstance(end, GiveUp) and isinstance(end.error, ReconnectExhausted) and not end.halt
        assert end.error.__cause__ is FAILED
        assert [(failure.attempt, failure.at_ns) for failure in end.error.history] == [
            (0, 40 * S),
            (1, 41 * S),
            (2, 42 * S),
        ]
        assert "refused" in end.error.history[2].error
        assert "all 2 attempts" in str(end.error)

    @given(st.integers(1, 50))
    def test_exactly_the_configured_attempts_are_made(self, allowed):
        client = attempts(attempts=allowed)
        plans = [client.failed(FAILED, RECONNECT, n, jitter=0.5) for n in range(allowed + 1)]
        assert [isinstance(plan, Plan) for plan in plans] == [True] * allowed + [False]

    def test_without_a_limit_it_never_stops_and_its_memory_is_bounded(self):
        client = attempts()
        for n in range(2000):
            assert isinstance(client.failed(FAILED, RECONNECT, n, jitter=0.5), Plan)
        assert len(client.history) == 32
        assert client.history[-1].attempt == 1999

    def test_a_protocol_error_waits_for_the_longest_backoff(self):
        plan = attempts().lost(BROKEN, NOTIFY, 0, jitter=0.0, host="h")
        assert (plan.delay_seconds, plan.immediate) == (30.0, False)

    def test_more_than_three_protocol_errors_in_ten_minutes_are_too_many(self):
        client = attempts()
        ends = [client.failed(BROKEN, NOTIFY, n * 199 * S, jitter=0.5) for n in range(4)]
        assert [isinstance(end, GiveUp) for end in ends] == [False, False, False, True]
        assert isinstance(ends[3].error, ReconnectExhausted)
        assert "4 protocol errors within 600 s" in ends[3].reason

    def test_protocol_errors_that_are_further_apart_never_are(self):
        client = attempts()
        assert all(isinstance(client.failed(BROKEN, NOTIFY, n * 201 * S, jitter=0.5), Plan) for n in range(50))

    def test_a_stable_connection_between_them_does_not_forgive_protocol_errors(self):
        client, ends = attempts(), []
        for n in range(4):
            client.opened(n * 100 * S)
            ends.append(client.lost(BROKEN, NOTIFY, (n * 100 + 50) * S, jitter=0.5, host="h"))
        assert isinstance(ends[3], GiveUp)

    @given(st.lists(st.tuples(st.integers(0, 400 * S), st.sampled_from([NOTIFY, RECONNECT])), max_size=60))
    def test_the_window_holds_over_any_history(self, steps):
        client, now_ns, errors_ns = attempts(), 0, []
        for step_ns, verdict in steps:
            now_ns += step_ns
            end = client.failed(FAILED, verdict, now_ns, jitter=0.5)
            errors_ns += [now_ns] if verdict is NOTIFY else []
            recent = sum(now_ns - at_ns <= 600 * S for at_ns in errors_ns)
            assert isinstance(end, GiveUp) == (verdict is NOTIFY and recent > 3)

    def test_the_history_keeps_no_endless_text_and_no_stranger_s_words(self):
        client = attempts()
        client.failed(ConnectionFailed("tcp", "x" * 10_000), RECONNECT, 0, jitter=0.5)
        client.failed(KeyError("canary"), RECONNECT, 1, jitter=0.5)
        client.failed(OSError("canary"), RECONNECT, 2, jitter=0.5)
        client.failed(OSError(24, "Too many open files"), RECONNECT, 3, jitter=0.5)
        assert len(client.history[0].error) < 400
        assert [failure.error for failure in client.history[1:]] == [
            "KeyError",
            "OSError",
            "OSError: Too many open files",
        ]


class TestHostBudget:
    def test_sixteen_in_any_second_may_go_at_once(self):
        budget = HostBudget()
        assert [budget.allow_immediate("h", n) for n in range(17)] == [True] * 16 + [False]
        assert not budget.allow_immediate("h", S - 1)
        assert budget.allow_immediate("h", S)
        assert not budget.allow_immediate("h", S)

    @given(st.lists(st.integers(0, 200 * MS), max_size=200))
    def test_no_second_ever_holds_more_than_sixteen(self, steps):
        budget, now_ns, allowed = HostBudget(), 0, []
        for step_ns in steps:
            now_ns += step_ns
            if budget.allow_immediate("h", now_ns):
                allowed.append(now_ns)
        assert all(later - first >= S for first, later in zip(allowed, allowed[16:]))

    def test_each_host_has_its_own(self):
        budget = HostBudget()
        for _ in range(16):
            budget.allow_immediate("a", 0)
        assert not budget.allow_immediate("a", 0)
        assert budget.allow_immediate("b", 0)

    def test_turns_are_one_after_the_other_and_not_saved_up(self):
        budget = HostBudget()
        assert [budget.turn("h", 0) for _ in range(3)] == [0.01, 0.02, 0.03]
        assert budget.turn("h", 100 * S) == 0.01

    def test_it_remembers_a_bounded_number_of_hosts(self):
        budget = HostBudget()
        for n in range(3000):
            budget.allow_immediate(f"host-{n}", n)
        assert budget.hosts == 1024

    def test_several_threads_share_it(self):
        budget, allowed = HostBudget(), []

        def ask():
            for n in range(2000):
                budget.turn(f"host-{n}", 0)
                if budget.allow_immediate("h", 0):
                    allowed.append(n)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(allowed) == 16
        assert budget.hosts == 1024

    @pytest.mark.parametrize("cap", [2.0, 30.0])
    def test_a_thousand_clients_cut_at_once_do_not_come_back_as_one_storm(self, cap):
        budget, dice = HostBudget(), random.Random(7)
        plans = []
        for _ in range(1000):
            client = attempts(budget, cap=cap)
            client.opened(0)
            plans.append(client.lost(LOST, RECONNECT, 60 * S, jitter=dice.random(), host="h"))
        assert sum(plan.immediate for plan in plans) == 16
        delays = sorted(plan.delay_seconds for plan in plans if not plan.immediate)
        assert delays[-1] <= cap
        assert busiest_window(delays, 0.1) <= 3 * len(delays) * 0.1 / (delays[-1] - delays[0])

    @pytest.mark.parametrize("attempt", [3, 4, 5, 6, 7])
    def test_a_thousand_clients_refused_at_one_moment_come_back_spread_out(self, attempt):
        dice, starts = random.Random(11), []
        for _ in range(1000):
            client = attempts()
            plans = [client.failed(FAILED, RECONNECT, 0, jitter=dice.random()) for _ in range(attempt)]
            starts.append(plans[-1].delay_seconds)
        starts.sort()
        assert busiest_window(starts, 0.1) <= 3 * len(starts) * 0.1 / (starts[-1] - starts[0])


def busiest_window(times, width):
    """How many of the sorted times lie in the fullest half-open window of this width."""
    first = most = 0
    for last, time in enumerate(times):
        while time - times[first] >= width:
            first += 1
        most = max(most, last - first + 1)
    return most
