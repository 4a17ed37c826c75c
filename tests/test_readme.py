"""The README keeps its word: its Python programs run, against a local server where they connect, and its commands exist.

Each fenced `python` block is a whole program; every WebSocket URL in it becomes the local server's.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_lines import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

SERVER = """
import asyncio
from wsx.testing import EchoServer

async def main():
    async with EchoServer() as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of Markdown `text` that are written in one of these languages."""
    fenced = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in fenced if language in languages]


def unknown_targets(shell: str, makefile: str) -> set[str]:
    """The targets that `make` is asked for in a shell block and that the Makefile does not have."""
    commands = re.findall(r"^(?:\$ )?make +([\w ]+)", shell, re.MULTILINE)
    asked = {target for command in commands for target in command.split()}
    return asked - set(re.findall(r"^([\w]+):", makefile, re.MULTILINE))


def missing_files(shell: str, root: Path) -> set[str]:
    """The project's own files that a shell block names and that are not there."""
    named = re.findall(r"\b((?:bench|docs|examples|tools)/[\w./-]+)", shell)
    return {name for name in named if not (root / name).exists()}


def run_program(source: str, folder: Path) -> str:
    """Run a program to its end, or until its first line of output if it reads for as long as the connection lives."""
    path = folder / "program.py"
    path.write_text(source, encoding="utf-8")
    endless = "async for" in source
    process = subprocess.Popen([sys.executable, "-u", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        printed = process.stdout.readline() if endless and process.stdout else ""
        if printed:
            process.kill()
        rest, errors = process.communicate(timeout=30)
    assert printed or process.returncode == 0, errors
    return printed + rest


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    """The URL of an echo server in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


@pytest.mark.parametrize("program", blocks(README, "python"))
def test_a_program_of_the_readme_runs(program, tmp_path, request):
    if "ws://" in program or "wss://" in program:
        program = re.sub(r"wss?://[\w.:/-]+", request.getfixturevalue("echo_url"), program)
    run_program(program, tmp_path)


def test_the_commands_of_the_readme_exist():
    shells = blocks(README, "sh", "bash", "shell", "console")
    assert shells
    for shell in shells:
        assert not unknown_targets(shell, (ROOT / "Makefile").read_text(encoding="utf-8"))
        assert not missing_files(shell, ROOT)


def test_fenced_blocks_are_told_apart_by_language():
    text = "# x\n```python\nprint(1)\n```\ntext\n```sh\nmake test\n```\n```\nplain\n```\n```python\nprint(2)\n```\n"
    assert blocks(text, "python") == ["print(1)\n", "print(2)\n"]
    assert blocks(text, "sh", "bash") == ["make test\n"]


def test_a_command_that_is_not_there_is_found():
    assert unknown_targets("git clone x\nmake demo\n$ make tost lint\n", "demo: build\nlint:\n") == {"tost"}
    assert missing_files("python examples/gone.py --x\npython tools/smoke.py", ROOT) == {"examples/gone.py"}


def test_a_program_that_fails_is_a_failure(tmp_path):
    with pytest.raises(AssertionError, match="not today"):
        run_program("raise SystemExit('not today')", tmp_path)
    assert run_program("async def f(x):\n    async for y in x: ...\nwhile True: print('a')", tmp_path).startswith("a\n")
