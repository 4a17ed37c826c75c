"""The harness: goes through the rows, interleaves the clients round by round, prints the table.

Not here: the rows (rows.py), one run (runs.py, worker.py), statistics and layout (report.py).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import machine
from bench.build import build
from bench.far_end import Certificate, FarEnd
from bench.report import RowResult, report
from bench.rows import ROWS, Row
from bench.runs import BARE, RunFailed, import_sample, worker_sample
from bench.worker import Loop, Sample, Task

WARM_UP = {"idle": 10, "cycles": 1_000}  # a tenth of the count for the other works

Measure = Callable[[str, int], Sample]
"""(peer, count) -> what one fresh process measured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 when a run failed."""
    options = _options(arguments)
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    started = time.monotonic()
    head = f"{machine.description()}; loop {options.loop}"
    results = _results(rows, options)
    text = report(head, results, time.monotonic() - started)
    print(text)
    if options.json:
        content = {"machine": head, "rows": {result.row.name: result.as_json() for result in results}}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n")
    return 1 if any(result.failures for result in results) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a look in under a minute; not for conclusions")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="for every client")
    parser.add_argument("--rows", type=_names({row.name for row in ROWS}), help="only these rows, by comma")
    parser.add_argument("--only", type=_names(_peer_names()), help="only these clients, by comma")
    parser.add_argument("--rounds", type=int, help="instead of each row's own number")
    parser.add_argument("--json", metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


def _peer_names() -> set[str]:
    return {peer for row in ROWS for peer in row.peers + row.context}


def _names(known: set[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - known:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        return names

    return parse


def _results(rows: Sequence[Row], options: argparse.Namespace) -> list[RowResult]:
    results = []
    binary = build()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Certificate.made_in(Path(folder))
        for row in rows:
            started = time.monotonic()
            results.append(_row_result(row, options, binary, certificate))
            print(f"{row.name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return results


def _row_result(row: Row, options: argparse.Namespace, binary: Path, certificate: Certificate) -> RowResult:
    """A row has a far end of its own, so that no row inherits another's state."""
    far_end_core, client_core = machine.cores()
    with ExitStack() as stack:
        url, authority = "", ""
        if row.path:
            recording = _recording(certificate.chain.parent) if "recording=1" in row.path else None
            far_end = stack.enter_context(FarEnd(binary, certificate, far_end_core, recording))
            if row.tls and not far_end.has_tls:
                return RowResult(row, {}, {"far end": "built without TLS"})
            url = far_end.url(row.path, tls=row.tls)
            authority = str(certificate.authority) if row.tls else ""
        return _rounds(row, options, _measure(row, options.loop, url, authority, client_core))


def _recording(folder: Path) -> Path:
    """The changes of many books, a line each."""
    from bench.book import many_books  # needs the packages of the extra

    file = folder / "recording.jsonl"
    _, changes = many_books()
    file.write_bytes(b"\n".join(changes) + b"\n")
    return file


def _measure(row: Row, loop: Loop, url: str, authority: str, core: int | None) -> Measure:
    def measure(peer: str, count: int) -> Sample:
        if row.work == "import":
            return import_sample(peer, core)
        warm_up = WARM_UP.get(row.work, count // 10)
        task = Task(row.name, row.work, peer, loop, count, warm_up, url, authority, row.size, core)
        return worker_sample(task, row.environment)

    return measure


def _rounds(row: Row, options: argparse.Namespace, measure: Measure) -> RowResult:
    """A B C A B C ...; a client that fails once is left out of the rest."""
    result = RowResult(row, {}, {})
    count = row.quick_count if options.quick else row.count
    rounds = options.rounds or (row.quick_rounds if options.quick else row.rounds)
    for number in range(rounds):
        for peer in row.peers + (row.context if number % 3 == 0 else ()):
            if (options.only and peer not in options.only) or peer in result.failures:
                continue
            try:
                share = row.context_share if peer in row.context else 1
                result.add(peer, number, measure(peer, count // share))
            except RunFailed as failure:
                result.failures[peer] = str(failure)
    return _above_bare(result) if row.work == "import" else result


def _above_bare(result: RowResult) -> RowResult:
    """Add what an import costs beyond the interpreter, round by round."""
    for samples in result.samples.values():
        for number, sample in samples.items():
            bare = result.samples.get(BARE, {}).get(number, {})
            sample.update({f"net_{name}": value - bare[name] for name, value in list(sample.items()) if name in bare})
    return result
