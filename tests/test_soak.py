"""The soak run tells a good client from a bad one, and two minutes of it are good."""

import asyncio
import subprocess
import sys

import pytest
from source_lines import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from soak import FAULTS, Report, Tally, conclude, make_script, run

GOOD = {"state": "open", "descriptors": (9, 9), "tasks": (1, 1)}


def tallied(*numbers):
    """The tally of these messages; a tuple's carries a gap."""
    tally = Tally()
    for number in numbers:
        gap = isinstance(number, tuple)
        tally.count(number[0] if gap else number, gap=gap)
    return tally


def test_a_loss_is_counted_by_whether_it_was_said():
    tally = tallied(3, 4, (9,), 10, 13)
    assert (tally.received, tally.said, tally.silent, tally.again) == (5, 4, 2, 0)


def test_a_message_that_comes_again_or_late_is_counted():
    tally = tallied(3, 4, 4, 2, 5)
    assert (tally.received, tally.again, tally.silent) == (5, 2, 0)


def test_a_good_report_has_nothing_wrong():
    report = Report(tallied(1, (3,)), outages=[0.25, 0.05, 0.1], **GOOD)
    assert report.wrong() == []
    lines = "\n".join(report.lines())
    assert "lost, and said so    1" in lines and "median 100.0 ms, max 0.250 s" in lines


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"tally": tallied(1, 3)}, "messages were lost in silence"),
        ({"tally": tallied(1, 1)}, "messages came twice or misplaced"),
        ({"tally": Tally()}, "no message came"),
        ({"state": "halted"}, "the client was halted at the end"),
        ({"grown_bytes": 1 << 25}, "memory has grown"),
        ({"descriptors": (9, 10)}, "descriptors are left"),
        ({"tasks": (1, 2)}, "tasks are left"),
    ],
)
def test_what_is_wrong_is_named(change, wrong):
    report = Report(**{"tally": tallied(1), **GOOD, **change})
    assert report.wrong() == [wrong]
    assert "reconnect time" not in "\n".join(report.lines())


def test_a_script_is_drawn_by_its_seed_and_ends_each_fault_before_the_next():
    script = make_script(7, 600, 20)
    assert make_script(7, 600, 20) == script != make_script(8, 600, 20)
    assert {step.at for step in script.steps if step.at % 20 == 0} == {20.0 * slot for slot in range(1, 30)}
    assert all(step.at % 20 in (0, 10) and step.at < 600 for step in script.steps)
    begun = {command for begin, _ in FAULTS.values() for command in begin}
    assert begun <= {step.command for step in script.steps}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_few_seconds_with_a_fault_in_each_are_good(seed):
    report = asyncio.run(run(4, 1, seed))
    assert report.wrong() == []
    assert report.faults == 3


def test_the_verdict_is_the_last_line_and_the_exit_code(capsys):
    assert conclude(Report(tallied(1), **GOOD)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "good"
    assert conclude(Report(tallied(1, 3), **{**GOOD, "tasks": (1, 2)})) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "bad: messages were lost in silence; tasks are left"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_minutes_with_a_fault_every_five_seconds_are_good():
    command = [sys.executable, ROOT / "tools" / "soak.py", "--minutes", "2", "--every", "5", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "good"
