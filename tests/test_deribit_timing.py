"""A round trip split into exchange and wire; the exchange's clock less ours."""

import pytest

from wsx.adapters.deribit.timing import Split, Timing, times_of

SENT_NS = 1_000_000_000_000_000_000  # on our wall clock
US_IN = SENT_NS // 1000


@pytest.mark.parametrize(
    "answer",
    [
        b'{"jsonrpc":"2.0","id":1,"result":[],"usIn":17,"usOut":20,"usDiff":3,"testnet":true}',
        b'{"usOut":20,"usDiff":3,"usIn":17,"result":' + b"1" * 300 + b"}",
        b'{ "id": 1, "usIn" : 17,\n "testnet" : false, "usOut" : 20 }',
        b'{"result":{"usIn":1,"usOut":2},"usIn":17,"usOut":20}',
    ],
)
def test_the_times_of_an_answer_are_found_in_any_order(answer):
    assert times_of(answer) == (17, 20)


@pytest.mark.parametrize(
    "times", ["", '"usIn":17', '"usIn":17,"usOut":null', '"usIn":17.5,"usOut":2e3', '"usIn":-1,"usOut":2']
)
def test_an_answer_that_does_not_say_both_times_has_none(times):
    assert times_of(f'{{"result":"\\"usIn\\":1,\\"usOut\\":2",{times}}}'.encode()) is None


def test_what_the_exchange_took_is_not_the_wires():
    split = Timing().note(SENT_NS, 5_000_000, US_IN + 2000, US_IN + 3000)
    assert split == Split(total_ns=5_000_000, exchange_ns=1_000_000, wire_ns=4_000_000, offset_ns=0)


def test_the_offset_is_what_is_left_when_both_ways_took_equally_long():
    assert Timing().note(SENT_NS, 4_000_000, US_IN + 2000 + 70_000, US_IN + 72_000).offset_ns == 70_000_000


@pytest.mark.parametrize(
    ("us_out", "total_ns", "exchange_ns", "wire_ns"), [(-5, 1000, 0, 1000), (9, 1000, 9000, 0), (0, 0, 0, 0)]
)
def test_a_clock_that_jumps_makes_no_negative_time(us_out, total_ns, exchange_ns, wire_ns):
    split = Timing().note(SENT_NS, total_ns, US_IN, US_IN + us_out)
    assert (split.exchange_ns, split.wire_ns) == (exchange_ns, wire_ns)


def test_the_fastest_of_the_newest_round_trips_says_the_offset():
    timing = Timing()
    assert timing.offset_ns is None
    timing.note(SENT_NS, 1000, US_IN + 1, US_IN + 1)
    timing.note(SENT_NS, 9_000_000, US_IN + 9000, US_IN + 9000)
    assert timing.offset_ns == 500
    for _ in range(63):
        timing.note(SENT_NS, 9_000_000, US_IN + 9000, US_IN + 9000)
    assert timing.offset_ns == 4_500_000


@pytest.mark.parametrize(("us_in", "us_out"), [(US_IN, US_IN + 3_600_000_000), (US_IN, US_IN - 5), (0, 0)])
def test_a_clock_that_was_set_meanwhile_says_no_offset(us_in, us_out):
    timing = Timing()
    timing.note(SENT_NS, 4_000_000, US_IN + 2000, US_IN + 2000)
    timing.note(SENT_NS, 1000, us_in, us_out)
    assert timing.offset_ns == 0


def test_the_snapshot_has_percentiles_with_their_units():
    timing = Timing()
    assert set(timing.snapshot().values()) == {0}
    for _ in range(10):
        timing.note(SENT_NS, 3_000_000, US_IN + 1000, US_IN + 2000)
    snapshot = timing.snapshot()
    assert (snapshot["answers"], snapshot["clock_offset_ns"]) == (10, 0)
    assert snapshot["exchange_ns_p50"] == pytest.approx(1_000_000, rel=0.03)
    assert snapshot["wire_ns_p99"] == pytest.approx(2_000_000, rel=0.03)
