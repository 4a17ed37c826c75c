"""Which answer belongs to which request, in plain numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsx.correlation import Correlator
from wsx.errors import Outcome, TooManyPending


def opened(correlator, method="m", deadline=None, *, sent=True, together=None):
    pending = correlator.open(method, deadline, None, together)
    if sent:
        correlator.sent(pending)
    return pending


def test_ids_are_whole_numbers_from_one_each_used_once():
    correlator = Correlator()
    assert [opened(correlator).request_id for _ in range(3)] == [1, 2, 3]
    correlator.close(3, Outcome.OK)
    assert opened(correlator).request_id == 4


def test_a_request_ends_once():
    correlator = Correlator()
    pending = opened(correlator)
    assert correlator.close(1, Outcome.OK) is pending
    assert correlator.close(1, Outcome.REJECTED) is None
    assert correlator.ended(1).outcome is Outcome.OK
    assert len(correlator) == 0


def test_an_id_of_another_type_is_another_id():
    correlator = Correlator()
    opened(correlator)
    correlator.close(1, Outcome.OK)
    assert [correlator.ended(identity) for identity in ("1", 1.0, True, None, [1])] == [None] * 5


def test_more_than_may_wait_are_refused_and_nothing_is_changed():
    correlator = Correlator(most_pending=2)
    opened(correlator)
    opened(correlator, sent=False)
    with pytest.raises(TooManyPending, match="2 requests wait") as caught:
        opened(correlator)
    assert (caught.value.limit, caught.value.outcome, len(correlator)) == (2, Outcome.NOT_SENT, 2)
    correlator.close(1, Outcome.OK)
    assert opened(correlator).request_id == 3


def test_deadlines_are_met_in_their_own_order():
    correlator = Correlator()
    for deadline in (30.0, 10.0, None, 20.0):
        opened(correlator, deadline=deadline)
    assert correlator.next_deadline() == 10.0
    assert [pending.request_id for pending in correlator.due(9.9)] == []
    assert [pending.request_id for pending in correlator.due(20.0)] == [2, 4]
    assert correlator.ended(2).outcome is Outcome.UNKNOWN
    assert (correlator.next_deadline(), len(correlator)) == (30.0, 2)
    assert [pending.request_id for pending in correlator.due(1e9)] == [1]
    assert correlator.next_deadline() is None


def test_the_deadline_of_an_answered_request_is_nobodys():
    correlator = Correlator()
    for deadline in (1.0, 2.0, 3.0):
        opened(correlator, deadline=deadline)
    correlator.close(1, Outcome.OK)
    assert correlator.next_deadline() == 2.0
    correlator.close(2, Outcome.OK)
    assert [pending.request_id for pending in correlator.due(5.0)] == [3]


def test_deadlines_of_answered_requests_take_no_room():
    correlator = Correlator()
    for number in range(1, 10_001):
        opened(correlator, deadline=1e9 + number)
        correlator.close(number, Outcome.OK)
    assert correlator.deadlines < 100


def test_a_request_that_was_not_sent_has_no_deadline_and_outlives_the_connection():
    correlator = Correlator()
    waiting = opened(correlator, deadline=1.0, sent=False)
    sent = opened(correlator, deadline=1.0)
    assert correlator.end_sent() == [sent]
    assert correlator.due(2.0) == []
    assert (correlator.ended(2).outcome, correlator.ended(1), len(correlator)) == (Outcome.UNKNOWN, None, 1)
    assert correlator.close(1, Outcome.NOT_SENT) is waiting
    assert correlator.ended(1) is None


def test_that_a_request_was_answered_is_not_forgotten_whatever_came_after():
    correlator = Correlator()
    for number in range(1, 5001):
        opened(correlator)
        correlator.close(number, Outcome.OK)
    assert [correlator.ended(number).outcome for number in (1, 2500, 5000)] == [Outcome.OK] * 3
    assert correlator.ended(5001) is None


def test_of_the_other_outcomes_the_last_4096_are_remembered_and_nothing_is_said_of_older_ones():
    correlator = Correlator()
    for number in range(1, 5001):
        opened(correlator)
        correlator.close(number, Outcome.OK if number == 500 else Outcome.UNKNOWN)
    assert correlator.ended(1) is None
    assert correlator.ended(500) is None  # older than what was forgotten: it might be one of those
    assert (correlator.ended(905).outcome, correlator.ended(905).method) == (Outcome.UNKNOWN, "m")
    assert correlator.ended(5000).outcome is Outcome.UNKNOWN


@given(
    deadlines=st.lists(st.one_of(st.none(), st.integers(0, 50).map(float)), max_size=300),
    answered=st.sets(st.integers(1, 300)),
    steps=st.lists(st.integers(0, 60).map(float), max_size=5).map(sorted),
)
def test_what_is_due_is_what_a_sorted_list_says(deadlines, answered, steps):
    correlator = Correlator()
    waiting, planned = [], []
    for number, deadline in enumerate(deadlines, 1):
        pending = correlator.open("m", deadline, None)
        is_earliest = correlator.sent(pending)  # of those planned, which may have been dropped once they were answered
        if deadline is not None:
            assert is_earliest <= all((deadline, number) < entry for entry in waiting)
            assert is_earliest >= all((deadline, number) < entry for entry in planned)
            planned.append((deadline, number))
        if number in answered:
            correlator.close(number, Outcome.OK)
        elif deadline is not None:
            waiting.append((deadline, number))
    waiting.sort()
    for now in steps:
        due = [entry for entry in waiting if entry[0] <= now]
        assert [(pending.deadline, pending.request_id) for pending in correlator.due(now)] == due
        waiting = waiting[len(due) :]
        assert correlator.next_deadline() == (waiting[0][0] if waiting else None)


def test_the_members_of_one_message_are_known_to_be_alone():
    correlator = Correlator()
    members: list[object] = []
    assert correlator.alone() == []
    members.extend(opened(correlator, together=members) for _ in range(2))
    waiting = opened(correlator, sent=False)
    assert correlator.alone() == members
    correlator.sent(waiting)
    assert correlator.alone() == []
    correlator.close(waiting.request_id, Outcome.OK)
    others: list[object] = []
    others.append(opened(correlator, together=others))
    assert correlator.alone() == []
    correlator.close(members[0].request_id, Outcome.OK)
    correlator.close(others[0].request_id, Outcome.OK)
    assert correlator.alone() == []  # one of them was answered: the message was not refused as a whole
