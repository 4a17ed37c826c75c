"""The extensions of wsx and the one table of Cython directives.

WSX_DEBUG_BUILD=1 compiles with bounds checks and line tracing (coverage of the compiled modules);
WSX_SANITIZE=address,undefined compiles with those sanitizers.
Not here: metadata and the tools' configuration (pyproject.toml).
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("WSX_DEBUG_BUILD") == "1"
SANITIZE = os.environ.get("WSX_SANITIZE", "")

DIRECTIVES = {
    "language_level": "3",
    "binding": True,
    "embedsignature": True,
    "auto_pickle": False,
    "freethreading_compatible": False,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
    "linetrace": DEBUG,
}


def compiler_flags() -> list[str]:
    """What the compiler is told on this platform."""
    if os.name == "nt":
        return []
    flags = ["-O0" if SANITIZE else "-O1" if DEBUG else "-O3", "-fvisibility=hidden"]
    # Calls into the interpreter, a dozen to a message, go without a stub in between.
    return [*flags, "-fno-plt"] if sys.platform == "linux" else flags


def extensions() -> list[Extension]:
    """One extension for each .pyx below wsx/, named by its path."""
    sanitizers = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"] if SANITIZE else []
    macros = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if DEBUG else []  # as coverage traces
    return [
        Extension(
            ".".join(path.with_suffix("").parts),
            [path.as_posix()],
            include_dirs=["wsx"],
            depends=[header.as_posix() for header in sorted(Path("wsx").glob("*.h"))],
            extra_compile_args=compiler_flags() + sanitizers,
            extra_link_args=sanitizers,
            define_macros=macros,
        )
        for path in sorted(Path("wsx").rglob("*.pyx"))
    ]


# The coverage plugin reads the generated C beside its .pyx; any other build keeps it out of the package.
C_FILES = None if DEBUG else "build"

setup(
    ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES, build_dir=C_FILES),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
