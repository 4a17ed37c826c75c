"""The command `wsx`. Its parts need the extra `wsx[cli]`; without it the command says so.

Not here: the commands themselves (commands.py).
"""

import os
import sys

_EXTRA = {"click", "rich", "trustme"}
_STDERR = 2
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    _fill_standard_streams()
    try:
        from wsx.cli.commands import wsx

        wsx()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ImportError as error:
        if error.name not in _EXTRA:
            raise
        sys.exit(f"the command wsx needs {error.name}: pip install 'wsx[cli]'")


def _fill_standard_streams() -> None:
    """Where the caller closed one (`wsx demo >&-`) a socket would get its number, and the loop ends a process over that."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(number)
