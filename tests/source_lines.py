"""Reads Cython (and Python) source as logical lines, for the tests that hold the project's rules.

A lexical scan: strings become `""`, comments vanish, lines inside brackets are joined. Not a parser:
it knows what begins a block and nothing else.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

_TOKEN = re.compile(
    r'(?P<string>(?:"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'))'
    r"|(?P<comment>#[^\n]*)|(?P<joined>\\\n)|(?P<newline>\n)|(?P<bracket>[][(){}])|(?P<other>.)",
    re.DOTALL,
)
_FUNCTION = re.compile(
    r"(?:async\s+)?(?P<kind>c?p?def)\s+(?!class\b|struct\b|union\b|enum\b|extern\b|packed\b|fused\b)"
    r"(?:\([^)]*\)\s*)?[^(=]*?(?P<name>\w+)\s*\("
)
_CLASS = re.compile(r"(?:cdef\s+)?(?P<kind>class)\s+(?P<name>\w+)")


@dataclass
class Line:
    """One logical line: physical lines `first` to `last`, counted from 1, and its text without strings and comments."""

    first: int
    last: int
    text: str

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())


@dataclass
class Function:
    """A function and how many lines its body has without the docstring."""

    name: str
    line: int
    body_lines: int


def logical_lines(source: str) -> list[Line]:
    """The lines of `source` that hold code."""
    lines: list[Line] = []
    text, number, first, depth = "", 1, 1, 0
    for token in _TOKEN.finditer(source + "\n"):
        value = token.group()
        number += value.count("\n")
        if token.lastgroup == "newline" and depth == 0:
            if text.strip():
                lines.append(Line(first, number - 1, text.rstrip()))
            text, first = "", number
            continue
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(value, 0)
        text += {"string": '""', "comment": "", "joined": " ", "newline": " "}.get(str(token.lastgroup), value)
    return lines


def functions(path: Path) -> list[Function]:
    """Every function in a .py or .pyx file, methods and inner functions included."""
    source = path.read_text(encoding="utf-8")
    return _python_functions(source) if path.suffix == ".py" else scan_functions(source)


def doors(path: Path) -> dict[str, set[str]]:
    """The public functions and classes at the top of a .py or .pyx file: those for Python, and those for cimport alone."""
    lines = [line for line in logical_lines(path.read_text(encoding="utf-8")) if line.indent == 0]
    matches = [match for line in lines if (match := _CLASS.match(line.text) or _FUNCTION.match(line.text))]
    shared = _shared_functions(path.with_suffix(".pxd"))
    found = {
        "Python": {match["name"] for match in matches if match["kind"] != "cdef"},
        "cimport": {match["name"] for match in matches if match["kind"] == "cdef"} & shared,
    }
    return {users: {name for name in names if not name.startswith("_")} for users, names in found.items()}


def scan_functions(source: str) -> list[Function]:
    """The functions of Cython source, measured like Python's: from the first statement's line to the last one's end."""
    lines = logical_lines(source)
    found = []
    for index, line in enumerate(lines):
        match = _FUNCTION.match(line.text.lstrip())
        if match and line.text.endswith(":"):
            found.append(Function(match["name"], line.first, _body_lines(lines, index)))
    return found


def _body_lines(lines: list[Line], header: int) -> int:
    body = []
    for line in lines[header + 1 :]:
        if line.indent <= lines[header].indent:
            break
        body.append(line)
    if body and body[0].text.strip() in ('""', 'r""'):
        del body[0]
    while body and body[0].text.lstrip().startswith("@"):
        del body[0]
    return body[-1].last - body[0].first + 1 if body else 0


def _shared_functions(declarations: Path) -> set[str]:
    if not declarations.exists():
        return set()
    lines = logical_lines(declarations.read_text(encoding="utf-8"))
    return {match["name"] for line in lines if line.indent == 0 and (match := _FUNCTION.match(line.text))}


def _python_functions(source: str) -> list[Function]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
            body = node.body[1:] if docstring else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.append(Function(node.name, node.lineno, lines))
    return found
