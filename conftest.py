"""Which tests run: benchmarks and live tests only where they are asked for.

Not here: fixtures (tests/conftest.py) and the markers' meaning (pyproject.toml).
"""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --benchmark beside the --benchmark-... options of the plugin that measures."""
    parser.addoption("--benchmark", action="store_true", help="run the benchmarks, and nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what was not asked for; with --benchmark leave out everything else."""
    if config.getoption("--benchmark"):
        _keep_only_benchmarks(config, items)
    else:
        _skip(items, "benchmark", "a benchmark: run it with --benchmark")
    if "live" not in config.getoption("markexpr"):
        _skip(items, "live", "talks to a real exchange: run it with -m live")


def _keep_only_benchmarks(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item for item in items if not _marked(item, "benchmark")]
    items[:] = [item for item in items if _marked(item, "benchmark")]
    config.hook.pytest_deselected(items=others)


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if _marked(item, marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _marked(item: pytest.Item, marker: str) -> bool:
    """A test that measures through pytest-benchmark's fixture is a benchmark, marked or not."""
    return item.get_closest_marker(marker) is not None or marker in getattr(item, "fixturenames", ())
