"""What is built from the tree holds what a user needs, and works where the tree is not."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from source_lines import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SHIPPED = {".py", ".pyx", ".pxd", ".pyi", ".h", ".typed"}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the source tree; what it printed. A failure shows all of it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> dict[str, Path]:
    """The source distribution, and the wheel that is built from it in an isolated environment."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return {"sdist": next(folder.glob("*.tar.gz")), "wheel": next(folder.glob("*.whl"))}


def shipped_sources() -> set[str]:
    paths = (path for path in (ROOT / "wsx").rglob("*") if path.suffix in SHIPPED)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_sdist_holds_every_source(distributions):
    with tarfile.open(distributions["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped_sources() | {"pyproject.toml", "setup.py", "LICENSE"} <= names
    assert {"bench/far_end.c", "bench/mask_keys.c"} <= names
    assert not [name for name in names if name.endswith(".so") or (name.startswith("wsx/") and name.endswith(".c"))]


def test_the_wheel_holds_sources_declarations_stubs_and_compiled_modules(distributions):
    names = set(zipfile.ZipFile(distributions["wheel"]).namelist())
    assert shipped_sources() <= names
    compiled = {name.partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    assert compiled == {name.removesuffix(".pyx") for name in shipped_sources() if name.endswith(".pyx")}


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    names = zipfile.ZipFile(distributions["wheel"]).namelist()
    strangers = [name for name in names if not name.startswith(("wsx/", "wsx-"))]
    assert not strangers
    assert not [name for name in names if "capture" in name and name.endswith((".jsonl", ".gz"))]


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_it_works_where_the_source_tree_is_not(distributions, tmp_path, kind):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{distributions[kind]}[testing]", cwd=tmp_path)
    printed = run(python, ROOT / "tools" / "smoke.py", cwd=tmp_path)
    assert str(tmp_path) in printed
