"""What `import wsx` shows, and what it does not load."""

import importlib.metadata
import json
import subprocess
import sys
import types

import wsx

# Nobody who only opens a connection pays for these.
NOT_LOADED = {"click", "rich", "trustme", "cryptography", "wsx.cli", "wsx.testing", "wsx.adapters", "h2", "hypothesis"}


def test_all_is_sorted_and_without_repetition():
    assert list(wsx.__all__) == sorted(set(wsx.__all__))


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
    script = "import json, sys, wsx; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", script], text=True)))
    assert "wsx" in loaded
    assert not loaded & NOT_LOADED
