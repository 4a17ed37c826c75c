"""The meaning of each counter, and how those of several clients go together."""

import re

from source_lines import ROOT

from wsx._telemetry import Telemetry
from wsx.telemetry_metrics import METRICS, Kind, together


def counted(**values: int) -> dict[str, int]:
    """A snapshot in which some counters stand at these values."""
    telemetry = Telemetry()
    for name, value in values.items():
        telemetry.store(name, value)
    return telemetry.snapshot()


class TestMeaning:
    def test_every_number_of_a_snapshot_has_one_in_the_same_order(self) -> None:
        assert list(METRICS) == list(Telemetry().snapshot())

    def test_what_is_nanoseconds_says_so_in_its_name_and_has_a_kind_of_time(self) -> None:
        times = {Kind.DURATION, Kind.INSTANT, Kind.SHORTEST}
        assert {name for name, metric in METRICS.items() if metric.unit == "ns"} == {
            name for name in METRICS if re.search(r"_ns(_(min|max|p\d+))?$", name)
        }
        assert all((metric.unit == "ns") == (metric.kind in times) for metric in METRICS.values())

    def test_the_kinds_agree_with_the_table_in_the_block(self) -> None:
        gauges = {Kind.LEVEL, Kind.PEAK, Kind.DURATION, Kind.SHORTEST}
        block_kinds = kinds_in_source()
        for name, metric in METRICS.items():
            if not name.startswith("rtt_ns_"):
                expected = "INSTANT" if metric.kind is Kind.INSTANT else "GAUGE" if metric.kind in gauges else "COUNTER"
                assert block_kinds.get(name, "COUNTER") == expected, name

    def test_every_one_has_words(self) -> None:
        assert all(metric.text and metric.unit for metric in METRICS.values())


def kinds_in_source() -> dict[str, str]:
    """The kinds that the block's field table is filled with."""
    source = (ROOT / "wsx" / "_telemetry.pyx").read_text("utf-8")
    return dict(re.findall(r'^    "(\w+)": (GAUGE|INSTANT),$', source, re.MULTILINE))


class TestTogether:
    def test_of_nobody_is_nothing(self) -> None:
        assert together([]) == {}

    def test_of_one_is_the_same(self) -> None:
        snapshot = counted(messages_sent=3, last_sent_ns=9)
        assert together([snapshot]) == snapshot

    def test_what_counts_or_waits_is_added_up(self) -> None:
        both = together([counted(bytes_sent=3, inbox_messages=4), counted(bytes_sent=5, inbox_messages=1)])
        assert (both["bytes_sent"], both["inbox_messages"]) == (8, 5)

    def test_of_peaks_times_and_instants_the_largest_is_shown(self) -> None:
        one = counted(inbox_bytes_peak=7, opening_tls_ns=5, last_message_ns=100)
        other = counted(inbox_bytes_peak=2, opening_tls_ns=6, last_message_ns=90)
        both = together([one, other])
        assert (both["inbox_bytes_peak"], both["opening_tls_ns"], both["last_message_ns"]) == (7, 6, 100)

    def test_round_trips_show_the_shortest_that_was_and_the_worst_of_each_percentile(self) -> None:
        one, other, silent = Telemetry(), Telemetry(), Telemetry()
        for rtt_ns in (10, 20, 30):
            one.record_rtt(rtt_ns)
        other.record_rtt(25)
        both = together(telemetry.snapshot() for telemetry in (one, other, silent))
        assert (both["rtt_ns_count"], both["rtt_ns_min"], both["rtt_ns_p50"], both["rtt_ns_max"]) == (4, 10, 25, 30)
        assert together([silent.snapshot()])["rtt_ns_min"] == 0
