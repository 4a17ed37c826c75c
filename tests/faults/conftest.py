"""Fixtures of the fault tests. Not here: what they are made of (leftovers.py)."""

import pytest
from leftovers import LOOPS, run_checked


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on each loop; at its end no socket, task or timer is left."""
    return lambda main, **bounds: run_checked(main, request.param, **bounds)
