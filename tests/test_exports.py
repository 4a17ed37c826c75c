"""What `import wsx` shows, and what it does not load."""

import importlib.metadata
import json
import os
import subprocess
import sys
import types

import pytest

import wsx

# Nobody who only opens a connection pays for these.
NOT_LOADED = {"click", "rich", "trustme", "cryptography", "wsx.cli", "wsx.testing", "wsx.adapters", "h2", "hypothesis"}


def loaded_modules() -> set[str]:
    """What `import wsx` loads in a fresh interpreter."""
    script = "import json, sys, wsx; print(json.dumps(sorted(sys.modules)))"
    return set(json.loads(subprocess.check_output([sys.executable, "-c", script], text=True)))


def test_all_is_sorted_and_without_repetition():
    assert list(wsx.__all__) == sorted(set(wsx.__all__))


def test_an_exchange_that_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'mtgox'"):
        wsx.adapters.mtgox  # noqa: B018, an attribute
    assert {"connect", "adapters", "errors"} <= set(dir(wsx))


def test_each_name_of_all_is_there():
    missing = [name for name in wsx.__all__ if not hasattr(wsx, name)]
    assert not missing


def test_all_names_everything_public():
    shown = {
        name
        for name, value in vars(wsx).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert shown <= set(wsx.__all__), f"public, yet not in __all__: {sorted(shown - set(wsx.__all__))}"


def test_a_star_import_gives_all():
    namespace: dict[str, object] = {}
    exec("from wsx import *", namespace)
    assert set(wsx.__all__) <= set(namespace)


def test_the_version_is_the_distributions():
    assert wsx.__version__ == importlib.metadata.version("wsx")


def test_importing_wsx_loads_no_tool():
    assert "wsx" in loaded_modules()
    assert not loaded_modules() & NOT_LOADED


def test_another_picows_is_refused_by_name(tmp_path):
    if "picows" not in loaded_modules():
        pytest.skip("wsx does not load picows yet")
    (tmp_path / "picows").mkdir()
    (tmp_path / "picows" / "__init__.py").write_text('__version__ = "2.3.0"\n')
    (tmp_path / "picows-2.3.0.dist-info").mkdir()
    (tmp_path / "picows-2.3.0.dist-info" / "METADATA").write_text("Name: picows\nVersion: 2.3.0\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", "import wsx"], env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert "2.3.1" in result.stderr and "2.3.0" in result.stderr


@pytest.mark.parametrize("path", ["wsx.adapters.deribit.connect", "wsx.testing.EchoServer", "wsx.errors.NotConnected"])
def test_rooms_are_there_without_another_import(path):
    script = f"import wsx; print({path}.__module__)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).startswith("wsx.")


@pytest.mark.parametrize("room", ["wsx", "wsx.adapters"])
def test_what_is_not_there_is_said(room):
    script = f"import wsx; {room}.kraken"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and f"module '{room}' has no attribute 'kraken'" in done.stderr
