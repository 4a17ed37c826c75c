"""Runs a coroutine on the simulated loop that wsx ships for users' own tests."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from wsx.testing import SimulatedLoop

T = TypeVar("T")


def simulate(main: Coroutine[Any, Any, T], loop: SimulatedLoop | None = None) -> T:
    """Run `main` to its end; without a loop, on one of its own."""
    with asyncio.Runner(loop_factory=lambda: loop or SimulatedLoop()) as runner:
        return runner.run(main)
