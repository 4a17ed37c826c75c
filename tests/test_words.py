"""The project speaks of itself: it names no package registry's host and no path of one machine.

The patterns are put together from parts, so that this file passes its own test.
"""

import re
from pathlib import Path

import pytest
from source_lines import ROOT

# What a build, an environment or a run leaves behind; everything else is the project's.
LEFT_BEHIND = {".git", ".venv", "build", "dist", "wheelhouse", "__pycache__", ".hypothesis", ".benchmarks"}
BINARY = {".so", ".pyd", ".gz", ".whl", ".png", ".bin", ".pyc"}

HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "debian" + ".org"]
PATHS = [r"(?<![\w./~-])/" + name + "/" for name in ("work", "root", "home", "farm", "Users")]
PATTERNS = [*(re.escape(host) for host in HOSTS), *PATHS]


def project_files() -> list[Path]:
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        left_behind = any(part in LEFT_BEHIND or part.endswith(("_cache", ".egg-info")) for part in parts)
        if path.is_file() and not left_behind and path.suffix not in BINARY and not parts[0].startswith(".coverage"):
            found.append(path)
    return found


def words_found(text: str, pattern: str) -> list[int]:
    """The lines of `text` that the pattern is on."""
    return [number for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_file_names_a_registry_or_a_machine(pattern):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in project_files()
        for line in words_found(path.read_text(encoding="utf-8", errors="replace"), pattern)
    ]
    assert not found, "\n".join(found)


def test_the_files_of_the_project_are_read():
    names = {path.relative_to(ROOT).as_posix() for path in project_files()}
    assert {"pyproject.toml", "Makefile", ".ci/run", "wsx/__init__.py", "tests/test_words.py"} <= names


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_finds_what_it_is_for(pattern):
    samples = [f"see https://files.{host}/simple" for host in HOSTS]
    samples += [
        f"cd {name}wsx" for name in ("/" + "work/", "/" + "root/", "/" + "home/", "/" + "farm/", "/" + "Users/")
    ]
    assert any(words_found(sample, pattern) for sample in samples)
