"""Starts one measured process and reads its sample.

Not here: what happens inside it (worker.py), which one comes next (run.py).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.machine import pin_process
from bench.worker import Sample, Task

ROOT = Path(__file__).resolve().parent.parent
RUN_SECONDS = 180.0
BARE = "bare"


class RunFailed(Exception):
    """A measured process ended badly; the text is the last line that it wrote."""


def worker_sample(task: Task, environment: Mapping[str, str]) -> Sample:
    """Run `task` in a fresh interpreter. Raises RunFailed, also after RUN_SECONDS."""
    command = [sys.executable, "-m", "bench.worker", json.dumps(asdict(task))]
    run = partial(subprocess.run, check=False, capture_output=True, text=True)
    try:
        result = run(command, env=os.environ | environment, cwd=ROOT, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired as exc:
        raise RunFailed(f"no answer after {RUN_SECONDS:.0f} s") from exc
    if result.returncode != 0:
        raise RunFailed((result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1])
    sample: Sample = json.loads(result.stdout)
    return sample


def import_sample(package: str, core: int | None) -> Sample:
    """CPU and wall time of a whole interpreter that imports `package` (BARE: nothing). Raises RunFailed."""
    command = [sys.executable, "-c", "pass" if package == BARE else f"import {package}"]
    started_ns = time.perf_counter_ns()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    pin_process(process.pid, core)
    _, status, usage = os.wait4(process.pid, 0)
    wall_ns = time.perf_counter_ns() - started_ns
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RunFailed(f"import {package} failed")
    return {"cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3, "wall_ms": wall_ns / 1e6}
