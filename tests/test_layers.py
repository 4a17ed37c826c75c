"""Imports point downward through the layers, read from the source of every module.

One table says which module belongs to which layer. `import`, `cimport`, imports inside functions and those for
type checkers all count.
"""

import ast
import re
from pathlib import Path

import pytest
from source_lines import ROOT, logical_lines

# Lowest first. A package's name stands for everything in it; "wsx" alone is the package's face, which re-exports.
LAYERS = {
    "native": [
        "wsx._clock",
        "wsx._frame",
        "wsx._assembler",
        "wsx._message",
        "wsx._inbox",
        "wsx._drops",
        "wsx._writer",
        "wsx._ratelimit",
        "wsx._telemetry",
        "wsx._signal",
        "wsx._watched",
        "wsx._json_reader",
        "wsx._levels",
        "wsx._envelope",
        "wsx._json",
        "wsx._book_message",
        "wsx._book",
    ],
    "base": [
        "wsx.backoff",
        "wsx.clock",
        "wsx.config",
        "wsx.endpoint",
        "wsx.errors",
        "wsx.events",
        "wsx.headers",
        "wsx.health",
        "wsx.secret",
        "wsx.telemetry",
        "wsx.telemetry_file",
        "wsx.telemetry_metrics",
        "wsx.telemetry_prometheus",
        "wsx.telemetry_reader",
    ],
    "transport": ["wsx.transport"],
    "session": [
        "wsx.announcer",
        "wsx.connection",
        "wsx.data_watch",
        "wsx.driver",
        "wsx.drop_record",
        "wsx.error_handler",
        "wsx.evidence",
        "wsx.explanation",
        "wsx.heartbeat",
        "wsx.keep_alive",
        "wsx.ledger",
        "wsx.outbox",
        "wsx.reconnection",
        "wsx.route",
        "wsx.session",
        "wsx.slow_reader",
        "wsx.stream_watch",
        "wsx.suspend_watch",
    ],
    "messaging": [
        "wsx._asking",
        "wsx._correlation",
        "wsx._router",
        "wsx.correlation",
        "wsx.json_rpc",
        "wsx.message_handler",
        "wsx.requester",
        "wsx.rate_limiter",
        "wsx.rate_profile",
    ],
    "client": ["wsx._lane", "wsx.client", "wsx.connection_registry", "wsx.restart_policy", "wsx.supervisor", "wsx.run"],
    "face": ["wsx"],
    "adapters": ["wsx.adapters"],
    "tools": ["wsx.cli", "wsx.testing", "wsx.__main__"],
}
ORDER = list(LAYERS)

_FROM = re.compile(r"\s*from\s+(?P<module>[.\w]+)\s+c?import\s+(?P<names>.+)")
_IMPORT = re.compile(r"\s*c?import\s+(?P<names>.+)")


def layer_of(module: str) -> str | None:
    """The layer of a module of wsx, by its longest name in the table."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        name = ".".join(parts[:length])
        for layer, members in LAYERS.items():
            if name in members:
                return layer
    return "face" if module == "wsx" else None


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    if any(name in members for members in LAYERS.values()):
        return True
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pxd"))


def resolve(importer: Path, module: str, name: str) -> str:
    """The module that `from module import name` reaches from `importer`."""
    dots = len(module) - len(module.lstrip("."))
    if dots:
        package = importer.relative_to(ROOT).parent.parts
        module = ".".join([*package[: len(package) - dots + 1], *filter(None, [module.lstrip(".")])])
    return f"{module}.{name}" if is_module(f"{module}.{name}") else module


def python_imports(importer: Path, source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {resolve(importer, module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def cython_imports(importer: Path, source: str) -> set[str]:
    found = set()
    for line in logical_lines(source):
        if match := _FROM.match(line.text):
            found |= {resolve(importer, match["module"], name) for name in imported_names(match["names"])}
        elif match := _IMPORT.match(line.text):
            found |= set(imported_names(match["names"]))
    return found


def imported_names(text: str) -> list[str]:
    return [part.split()[0] for part in text.strip(" ()").split(",") if part.strip()]


def reversed_arrows(importer: Path, source: str) -> list[str]:
    """What `importer` imports from a layer above its own."""
    read = python_imports if importer.suffix == ".py" else cython_imports
    own = layer_of(module_name(importer)) or ORDER[-1]
    return [
        f"{importer.relative_to(ROOT)} ({own}) imports {target} ({layer}), which lies above it"
        for target in sorted(read(importer, source))
        if (target + ".").startswith("wsx.")
        if (layer := layer_of(target)) and ORDER.index(layer) > ORDER.index(own)
    ]


def sources() -> list[Path]:
    return sorted(path for path in (ROOT / "wsx").rglob("*.p*") if path.suffix in (".py", ".pyx", ".pxd"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_downward(path):
    arrows = reversed_arrows(path, path.read_text(encoding="utf-8"))
    assert not arrows, "\n".join(arrows)


def test_every_module_belongs_to_a_layer():
    homeless = [str(path.relative_to(ROOT)) for path in sources() if layer_of(module_name(path)) is None]
    assert not homeless, f"in no layer of the table: {homeless}"


def test_the_page_on_architecture_names_every_module_in_its_layer():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+)[^|]*\|([^|]+)\|", page, re.MULTILINE)
    rooms = {layer: " ".join(text for name, text in rows if name == layer) for layer in ORDER}
    modules = {module_name(path) for path in sources() if path.parent == ROOT / "wsx"}
    unnamed = [
        module
        for module in sorted(modules - {"wsx", "wsx.__main__"})
        if not re.search(rf"`{module.removeprefix('wsx.')}[.`]", rooms[layer_of(module) or "tools"])
    ]
    assert not unnamed, f"not in the row of their layer: {unnamed}"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wsx/transport/base.py", "from ..client import Client"),
        ("wsx/transport/base.py", "def late():\n    import wsx.client"),
        ("wsx/config.py", "from wsx import connect"),
        ("wsx/_frame.pyx", "from wsx.transport.base cimport (\n    Sink,\n    Other)"),
        ("wsx/_frame.pxd", "cimport wsx.transport.base as base"),
        ("wsx/adapters/deribit/auth.py", "from ...testing import EchoServer"),
    ],
)
def test_an_upward_import_is_seen(path, source):
    assert len(reversed_arrows(ROOT / path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wsx/client.py", "from .transport import base\nfrom . import errors\nimport asyncio"),
        ("wsx/transport/base.py", "from .handshake import request\nfrom ..errors import WsxError"),
        (
            "wsx/transport/_listener.pyx",
            '"""\nfrom wsx.client import Client\n"""\nfrom wsx._frame cimport parse_header',
        ),
        ("wsx/adapters/deribit/auth.py", "import wsx"),
    ],
)
def test_a_downward_import_is_fine(path, source):
    assert reversed_arrows(ROOT / path, source) == []
