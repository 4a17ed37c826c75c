"""What keeps a command from beginning, in one line for the person who typed it. Not here: beginning (demo.py, book.py, playback.py)."""

from collections.abc import Iterator
from contextlib import contextmanager

from wsx.errors import WsxError


class CannotBegin(Exception):
    """There is no connection, or it does not bring what was asked for; the text says why."""


@contextmanager
def beginning() -> Iterator[None]:
    """What goes wrong inside is CannotBegin."""
    try:
        yield
    except ValueError as error:
        raise CannotBegin(str(error)) from error
    except (WsxError, OSError) as error:
        raise CannotBegin(f"{type(error).__name__}: {str(error) or 'no answer came in time'}") from error
