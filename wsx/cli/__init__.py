"""The command `wsx`. Its parts need the extra `wsx[cli]`; without it the command says so.

Not here: the commands themselves (commands.py).
"""

import sys

_EXTRA = {"click", "rich", "trustme"}
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    try:
        from wsx.cli.commands import wsx

        wsx()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ImportError as error:
        if error.name not in _EXTRA:
            raise
        sys.exit(f"the command wsx needs {error.name}: pip install 'wsx[cli]'")
