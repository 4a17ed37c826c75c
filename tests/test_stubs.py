"""Every compiled module has its .pxd and its .pyi, and the .pyi says what the built module holds."""

import subprocess
import sys

import pytest
from source_lines import ROOT

MODULES = sorted((ROOT / "wsx").rglob("*.pyx"))
ALLOWLIST = ROOT / "tests" / "stubtest_allowlist.txt"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_compiled_module_has_declarations_and_a_stub(path):
    missing = [suffix for suffix in (".pxd", ".pyi") if not path.with_suffix(suffix).exists()]
    assert not missing


@pytest.mark.timeout(300)
def test_each_stub_says_what_its_module_holds():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES]
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml"]
    command += ["--allowlist", str(ALLOWLIST), *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
