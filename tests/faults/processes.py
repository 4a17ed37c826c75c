"""A process of a test's own, for faults that would hurt the test run itself. Not here: networks (namespaces.py)."""

import subprocess
import sys


def in_process(function, *, before=(), within=40):
    """Run a test module's function in a new interpreter; it has to end well within so many seconds. Its output.

    Every warning is an error there too. before: a command that runs the interpreter.
    """
    start = f"import sys; sys.path[:0] = {sys.path!r}; import {function.__module__} as m; m.{function.__name__}()"
    command = [*before, sys.executable, "-W", "error", "-X", "faulthandler", "-c", start]
    done = subprocess.run(command, capture_output=True, text=True, timeout=within)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr and "was never" not in done.stderr, done.stderr
    return done.stdout
