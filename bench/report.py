"""Medians, ratios and aims of a run as Markdown. A ratio is the median of the ratios within each round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.rows import Aim, Column, Row
from bench.worker import Sample

LEGEND = (
    "Medians over the rounds. × is a ratio within one round, to picows-bytes or the peer named: "
    "the median, and in brackets the range over the rounds."
)


@dataclass
class RowResult:
    """Samples by peer and round, and the last line of those clients that failed."""

    row: Row
    samples: dict[str, dict[int, Sample]]
    failures: dict[str, str]

    def add(self, peer: str, number: int, sample: Sample) -> None:
        """Keep what `peer` measured in round `number`."""
        self.samples.setdefault(peer, {})[number] = sample

    def values(self, metric: str, peer: str) -> list[float]:
        """`metric` of every round of `peer` that has it."""
        return [sample[metric] for sample in self.samples.get(peer, {}).values() if metric in sample]

    def paired(self, metric: str, peer: str, reference: str) -> list[tuple[float, float]]:
        """(peer, reference) of every round in which both have `metric`."""
        ours, theirs = self.samples.get(peer, {}), self.samples.get(reference, {})
        both = [(ours[number], theirs[number]) for number in ours if number in theirs]
        return [(our[metric], their[metric]) for our, their in both if metric in our and metric in their]

    def as_json(self) -> dict[str, Any]:
        """Every sample, for a file."""
        samples = {peer: [{"round": n, **s} for n, s in rounds.items()] for peer, rounds in self.samples.items()}
        return {"title": self.row.title, "samples": samples, "failures": self.failures}


def report(head: str, results: Sequence[RowResult], seconds: float) -> str:
    """The whole text: the machine, a table for each row, aims and failures beneath it."""
    parts = [f"{head}; {seconds:.0f} s.", LEGEND, *(_row_text(result) for result in results)]
    return "\n\n".join(parts)


def _row_text(result: RowResult) -> str:
    row = result.row
    lines = [f"### {row.name}", "", f"{row.title}.", ""]
    lines.append("| | " + " | ".join(column.heading for column in row.columns) + " | rounds |")
    lines.append("| --- |" + " ---: |" * (len(row.columns) + 1))
    for peer in row.peers + row.context:
        if peer in result.samples:
            cells = [_cell(result, column, peer) for column in row.columns] + [str(len(result.samples[peer]))]
            lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    notes = [_aim_text(result, aim) for aim in row.aims]
    notes += [f"- {peer} was not measured: {failure}" for peer, failure in result.failures.items()]
    return "\n".join(lines + (["", *notes] if notes else []))


def _cell(result: RowResult, column: Column, peer: str) -> str:
    if column.reference is None:
        values = result.values(column.metric, peer)
        return column.form.format(median(values)) if values else "-"
    ratios = [ours / theirs for ours, theirs in result.paired(column.metric, peer, column.reference) if theirs]
    if not ratios or peer == column.reference:
        return "-" if not ratios else column.form.format(1)
    low, middle, high = (column.form.format(value) for value in (min(ratios), median(ratios), max(ratios)))
    return f"{middle} ({low}–{high})" if len(ratios) > 1 else middle


def _aim_text(result: RowResult, aim: Aim) -> str:
    unit = f"{aim.reference} + {aim.at_most:g}" if aim.difference else f"{aim.at_most:g} × {aim.reference}"
    wanted = f"- aim: {aim.metric} of {aim.peer} ≤ {unit}"
    pairs = result.paired(aim.metric, aim.peer, aim.reference)
    if not pairs:
        return f"{wanted}: not measured"
    reached = median(ours - theirs if aim.difference else ours / theirs for ours, theirs in pairs)
    return f"{wanted}: {'met' if reached <= aim.at_most else 'missed'} at {reached:.3g}"
