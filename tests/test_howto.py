"""The programs in docs/howto run: the blocks of a page one after the other, in one namespace."""

import re
from pathlib import Path

import pytest
from source_lines import ROOT

PAGES = sorted(path.name for path in (ROOT / "docs" / "howto").glob("*.md"))


def blocks(page: Path) -> list[str]:
    """Each behind as many empty lines as stand before it, so that a traceback names the line of the page."""
    text = page.read_text("utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text.count("\n", 0, block.start(1)) + block[1] for block in found]


@pytest.mark.parametrize("name", PAGES)
def test_the_programs_of_a_page_run(name: str) -> None:
    page = ROOT / "docs" / "howto" / name
    programs = blocks(page)
    assert programs
    namespace: dict[str, object] = {"__name__": "howto"}
    for program in programs:
        exec(compile(program, str(page), "exec"), namespace)
