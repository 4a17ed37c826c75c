"""Fixtures that more than one test file needs."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from raw_server import LOOPS, run_bounded

import wsx
from wsx.testing.certificates import Authority

ROOT = Path(__file__).parent.parent

settings.register_profile("wsx", deadline=None)  # no test asserts how fast a machine is
settings.load_profile("wsx")


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded exchange traffic: WSX_CAPTURES, or shared/captures beside the project."""
    folder = Path(os.environ.get("WSX_CAPTURES") or ROOT.parent / "shared" / "captures")
    if not folder.is_dir():
        pytest.skip(f"no captures at {folder}: set WSX_CAPTURES to the folder that holds them")
    return folder


@pytest.fixture(params=LOOPS)
def run(request):
    return lambda main: run_bounded(main, request.param)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def tls(request, authority):
    """The options of a server and of a client."""
    if not request.param:
        return {}, {}
    return {"ssl": authority.server_context()}, {"ssl": authority.client_context()}


@pytest.fixture
def run_command(capsys):
    """Run a command's coroutine: its exit code and what it printed."""

    def run(command):
        code = wsx.run(command)
        return code, capsys.readouterr().out

    return run
