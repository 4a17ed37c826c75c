"""Compiles the far end (far_end.c) and the timing of mask keys (mask_keys.c) into bench/.build.

TLS is compiled in where OpenSSL's headers and libraries are found, and left out with a word where they are not.
CC, CFLAGS and LDFLAGS are honoured. Not here: what the program does (far_end.c) and who starts it (far_end.py).
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "far_end.c"
BINARY = HERE / ".build" / "far_end"
TLS_FLAGS = ["-DFAR_END_TLS"]
TLS_LIBRARIES = ["-lssl", "-lcrypto"]
TLS_PROBE = "#include <openssl/ssl.h>\nint main(void) { return SSL_CTX_new(TLS_server_method()) == 0; }\n"


def build() -> Path:
    """The far end's program, compiled anew when its source or this file is newer.

    Raises subprocess.CalledProcessError when the compiler refuses, FileNotFoundError when there is none.
    """
    newest = max(SOURCE.stat().st_mtime, Path(__file__).stat().st_mtime)
    if BINARY.exists() and BINARY.stat().st_mtime >= newest:
        return BINARY
    BINARY.parent.mkdir(exist_ok=True)
    tls = _has_openssl()
    if not tls:
        print("bench: OpenSSL's headers are not installed: the far end is built without TLS", file=sys.stderr)
    subprocess.run(_command(SOURCE, BINARY, tls), check=True)
    return BINARY


def _command(source: Path, output: Path, tls: bool) -> list[str]:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", *shlex.split(os.environ.get("CFLAGS", ""))]
    libraries = shlex.split(os.environ.get("LDFLAGS", "")) + (TLS_LIBRARIES if tls else [])
    return [*compiler, *flags, *(TLS_FLAGS if tls else []), str(source), "-o", str(output), *libraries]


def _has_openssl() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(TLS_PROBE)
        result = subprocess.run(_command(probe, Path(folder, "probe"), True), check=False, stderr=subprocess.DEVNULL)
    return result.returncode == 0


def build_mask_keys() -> Path:
    """The program that times mask keys in C, compiled anew at each call. Raises as `build` does."""
    source, binary = HERE / "mask_keys.c", HERE / ".build" / "mask_keys"
    binary.parent.mkdir(exist_ok=True)
    subprocess.run(_command(source, binary, False), check=True)
    return binary


if __name__ == "__main__":
    print(build().relative_to(HERE.parent))
