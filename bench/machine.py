"""The machine a run is made on: its cores, and one paragraph that names everything a figure depends on."""

import os
import platform
import ssl
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("wsx", "picows", "aiofastnet", "uvloop", "websockets", "aiohttp", "aiolimiter", "Cython")


def cores() -> tuple[int | None, int | None]:
    """(far end's core, client's core): the first two this process may use; (None, None) where nothing can be pinned."""
    if sys.platform != "linux":
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def pin_process(pid: int, core: int | None) -> None:
    """Keep process `pid` (0: this one) on `core`; None leaves it where it is."""
    if sys.platform == "linux" and core is not None:
        os.sched_setaffinity(pid, {core})


def description() -> str:
    """CPU, kernel, Python, packages, load and revision, for the head of a report."""
    far_end, client = cores()
    pinned = f"far end on core {far_end}, client on core {client}" if client is not None else "nothing pinned"
    python = f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    load = f"load {os.getloadavg()[0]:.2f} at the start"
    system = f"{platform.system()} {platform.release()}"
    return f"{_cpu()}, {os.cpu_count()} cores; {system}; {python}; {_versions()}; {pinned}; {load}; {_revision()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "revision unknown"
    return f"revision {result.stdout.strip()}" if result.returncode == 0 else "revision unknown"
