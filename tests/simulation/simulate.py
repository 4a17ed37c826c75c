"""Runs simulated worlds by the thousand, on every processor, and names the seeds whose histories break a promise.

    make simulate SEEDS=10000                        # FROM=0
    PYTHONPATH=. python tests/simulation/simulate.py --from 4711 --seeds 1     # replays one, and shows its history

Not here: one world (world.py), what is promised (promises.py).
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from promises import broken
from world import run_world

COMMAND = "PYTHONPATH=. python tests/simulation/simulate.py --from {} --seeds 1"
CHUNK = 50  # seeds a task


def judge(seed: int) -> list[str]:
    """What this seed breaks; an exception out of the world is a broken promise too."""
    try:
        return broken(run_world(seed))
    except Exception:
        return [f"the world itself: {traceback.format_exc()}"]


def judge_all(seeds: range) -> list[tuple[int, list[str]]]:
    """The seeds that break anything, with what they break."""
    return [(seed, what) for seed in seeds if (what := judge(seed))]


def failing(first: int, count: int, workers: int) -> Iterator[tuple[int, list[str]]]:
    """The same for many seeds, by several processes."""
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(judge_all, chunks):
            yield from found


def report(found: Iterable[tuple[int, list[str]]]) -> int:
    """Print each failing seed with the command that replays it; how many there are."""
    count = 0
    for seed, what in found:
        count += 1
        print(f"seed {seed}: {COMMAND.format(seed)}", *what, sep="\n    ", flush=True)
    return count


def show(seed: int) -> int:
    """One seed in full."""
    history = run_world(seed)
    for record in history.records:
        print(f"{record.at_ns / 1e9:12.6f}  {record}")
    print(history.settings)
    what = broken(history)
    print("\n".join(what) or "no promise is broken")
    return bool(what)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    if options.seeds == 1:
        return show(options.first)
    since = time.monotonic()
    bad = report(failing(options.first, options.seeds, options.workers))
    took = time.monotonic() - since
    print(f"{options.seeds} runs in {took:.0f} s, {options.seeds / took * 60:.0f} a minute; {bad} break a promise")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
