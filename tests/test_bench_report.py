"""The report's arithmetic: ratios are taken within a round, and what is missing is said."""

from bench.report import RowResult, report
from bench.rows import Aim, Column, Row

ROW = Row(
    name="a-row",
    title="A row",
    work="calls",
    count=1,
    quick_count=1,
    columns=(Column("ns", "ns"), Column("ns", "×", "{:.2f}", "theirs")),
    peers=("theirs", "ours", "absent"),
    aims=(Aim("ns", "ours", "theirs", 0.5), Aim("ns", "absent", "theirs", 0.5)),
)


def rounds(*values: float) -> dict[int, dict[str, float]]:
    return {number: {"ns": value} for number, value in enumerate(values)}


def test_a_ratio_is_the_median_of_the_ratios_within_each_round():
    result = RowResult(ROW, {"theirs": rounds(100, 1000, 10), "ours": rounds(50, 600, 4)}, {})
    text = report("machine", [result], 1.0)
    assert "| ours | 50 | 0.50 (0.40–0.60) | 3 |" in text
    assert "ns of ours ≤ 0.5 × theirs: met at 0.5" in text


def test_a_round_that_one_side_missed_is_in_no_ratio():
    result = RowResult(ROW, {"theirs": {1: {"ns": 10.0}}, "ours": {0: {"ns": 1.0}, 1: {"ns": 20.0}}}, {})
    assert result.paired("ns", "ours", "theirs") == [(20.0, 10.0)]
    assert "ns of ours ≤ 0.5 × theirs: missed at 2" in report("machine", [result], 1.0)


def test_a_client_that_failed_is_named_with_its_last_words():
    result = RowResult(ROW, {"theirs": rounds(1)}, {"absent": "ImportError: no such thing"})
    text = report("machine", [result], 1.0)
    assert "- absent was not measured: ImportError: no such thing" in text
    assert "ns of absent ≤ 0.5 × theirs: not measured" in text


def test_a_difference_is_an_aim_too():
    row = Row("r", "t", "calls", 1, 1, (), ("a", "b"), aims=(Aim("ns", "a", "b", 20, difference=True),))
    assert "≤ b + 20: met at 15" in report("machine", [RowResult(row, {"a": rounds(100), "b": rounds(85)}, {})], 1.0)
