"""Ctrl-C and SIGTERM: the work is cancelled once, cleans up, and what is known is still said.

Not here: what is said then (demo.py, playback.py, book.py).
"""

import asyncio
from signal import SIGINT, SIGTERM, Signals
from types import TracebackType
from typing import Self

_SIGNALS = {SIGINT: "Ctrl-C", SIGTERM: "SIGTERM"}


class Stop:
    """`with Stop() as stop:` cancels the task it stands in at the first of these signals, and ends that cancelling.

    Further signals change nothing: everything that is closed is closed under a bound. signal: the one that came.
    """

    signal: Signals | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._loop = task, asyncio.get_running_loop()
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)
        if self.signal is None:
            return False
        self._task.uncancel()
        return kind is asyncio.CancelledError

    def judge(self, code: int, verdict: str) -> tuple[int, str]:
        """What came of the work, unless it was stopped: then the exit code is a shell's, 128 and the signal's number."""
        if self.signal is None:
            return code, verdict
        return 128 + self.signal, f"stopped by {_SIGNALS[self.signal]}"

    def _on_signal(self, number: Signals) -> None:
        if self.signal is None:
            self.signal = number
            self._task.cancel()
