"""Fixtures that more than one test file needs."""

import os
from pathlib import Path

import pytest

import wsx

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded exchange traffic: WSX_CAPTURES, or shared/captures beside the project."""
    folder = Path(os.environ.get("WSX_CAPTURES") or ROOT.parent / "shared" / "captures")
    if not folder.is_dir():
        pytest.skip(f"no captures at {folder}: set WSX_CAPTURES to the folder that holds them")
    return folder


@pytest.fixture
def run(capsys):
    """Run a command's coroutine: its exit code and what it printed."""

    def run(command):
        code = wsx.run(command)
        return code, capsys.readouterr().out

    return run
