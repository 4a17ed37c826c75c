"""The programs in docs/howto run: the blocks of a page one after the other, in one namespace."""

import re
from pathlib import Path

import pytest
from source_lines import ROOT

PAGES = ["health.md", "json-rpc.md", "rate-limits.md", "routing.md", "telemetry.md"]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_the_programs_of_a_page_run(name: str) -> None:
    page = ROOT / "docs" / "howto" / name
    programs = blocks(page)
    assert programs
    namespace: dict[str, object] = {"__name__": "howto"}
    for program in programs:
        exec(compile(program, str(page), "exec"), namespace)
