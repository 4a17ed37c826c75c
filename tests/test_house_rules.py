"""A module shows at most five public functions or classes; a function's body fits in fifteen lines, its docstring aside.

A compiled module has two fronts, each with at most five doors: what Python sees, and the C functions its .pxd shares.
One table holds the exceptions and their reasons. An exception that is no longer needed fails too.
"""

from pathlib import Path

import pytest
from source_lines import ROOT, doors, functions, scan_functions

MAX_PUBLIC_NAMES = 5
MAX_BODY_LINES = 15
ROOMS = ("wsx", "bench", "examples", "tools")

# "module" excepts it from the number of public names; "module:function" a function from its length.
EXCEPTIONS = {
    "wsx/errors.py": "the error tree, drawn and defined in one place",
    "wsx/events.py": "one small frozen class an event",
    "wsx/adapters/deribit/channels.py": "one small function a kind of channel",
    "wsx/adapters/deribit/market_data.py": "one small frozen struct a kind of data, as the exchange names them",
    "wsx/_frame.pyx:parse_header": "inner loop: reads as the diagram of RFC 6455 5.2, a field or a rejection a line",
    "wsx/_frame.pyx:feed": "inner loop over a stream's bytes: a call a frame would cost more than its work",
    "wsx/_frame.pyx:_complete": "inner loop over a stream's bytes: completes the frame that two reads share",
}


def modules() -> list[Path]:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py*") if path.suffix in (".py", ".pyx")]
    return sorted([*files, ROOT / "setup.py", ROOT / "conftest.py"])


def violations(path: Path) -> dict[str, str]:
    """What breaks a rule in this file: the key it would have in the table, and what was seen."""
    where = path.relative_to(ROOT).as_posix()
    found = {
        f"{where}:{function.name}": f"{where}:{function.line}: {function.name} has {function.body_lines} lines"
        for function in functions(path)
        if function.body_lines > MAX_BODY_LINES
    }
    for users, names in doors(path).items():
        if len(names) > MAX_PUBLIC_NAMES:
            found[where] = f"{where} shows {len(names)} public names for {users}: {', '.join(sorted(names))}"
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_keeps_the_house_rules(path):
    broken = [text for key, text in violations(path).items() if key not in EXCEPTIONS]
    assert not broken, "\n".join(broken)


def test_every_exception_is_still_needed():
    needed = {key for path in modules() for key in violations(path)}
    assert set(EXCEPTIONS) <= needed, f"no longer needed: {sorted(set(EXCEPTIONS) - needed)}"


def test_every_exception_says_why():
    assert all(len(reason.split()) >= 3 for reason in EXCEPTIONS.values())


def test_the_text_scan_and_the_parser_measure_python_alike():
    for path in [*modules(), *(ROOT / "tests").glob("*.py")]:
        if path.suffix == ".py":
            scanned = {(function.line, function.body_lines) for function in scan_functions(path.read_text("utf-8"))}
            parsed = {(function.line, function.body_lines) for function in functions(path)}
            assert scanned == parsed, path.name


CYTHON_SAMPLE = '''
cdef extern from "_mask.h":
    void mask(uint8_t* data, size_t size) nogil

cdef enum Opcode:
    TEXT = 1

cdef int _limit = max(1, 2)

cdef inline int parse(const uint8_t* data,
                      size_t size) noexcept nogil:
    """Two
    lines of docstring: not counted.
    """
    # nor is this comment

    cdef int first = data[0]
    # but this one is

    if first:
        return "not a comment: # nor a block:"
    return 0   # the end


cdef class Parser:
    cdef (int, int) pair(self):
        return (
            1,
            2,
        )

    @property
    def name(self): return 1


cpdef object shown(x): return x
def _hidden(): pass
'''


def test_the_text_scan_reads_cython():
    measured = {function.name: function.body_lines for function in scan_functions(CYTHON_SAMPLE)}
    assert measured == {"parse": 6, "pair": 4}


def test_doors_for_python_and_for_cimport_are_told_apart(tmp_path):
    (tmp_path / "sample.pyx").write_text(CYTHON_SAMPLE)
    assert doors(tmp_path / "sample.pyx") == {"Python": {"Parser", "shown"}, "cimport": set()}
    (tmp_path / "sample.pxd").write_text("cdef int parse(const uint8_t* data, size_t size) noexcept nogil\n")
    assert doors(tmp_path / "sample.pyx") == {"Python": {"Parser", "shown"}, "cimport": {"parse"}}


def test_a_function_of_sixteen_lines_is_too_long():
    body = "".join(f"    x{number} = {number}\n" for number in range(16))
    assert [function.body_lines for function in scan_functions(f"def long():\n{body}")] == [16]
