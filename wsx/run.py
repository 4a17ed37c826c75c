"""Run a program on the fastest loop that is installed. Not here: anything that a program does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeAlias, TypeVar

_T = TypeVar("_T")
_LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


def run(
    main: Coroutine[Any, Any, _T], *, loop: Literal["auto", "asyncio", "uvloop"] = "auto", debug: bool | None = None
) -> _T:
    """Run `main` to its end and return its result, as `asyncio.run` does.

    loop: "auto" takes uvloop where it is installed. Raises ValueError for another name, ImportError for "uvloop"
    where it is missing. A name look-up that is stuck does not hold up the end.
    """
    try:
        factory = _factory(loop)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        return runner.run(main)


def _factory(loop: str) -> _LoopFactory | None:
    if loop == "asyncio":
        return None
    if loop not in ("auto", "uvloop"):
        raise ValueError(f"loop must be 'auto', 'asyncio' or 'uvloop', not {loop!r}")
    try:
        import uvloop
    except ImportError:
        if loop == "auto":
            return None
        raise ImportError("loop='uvloop' needs uvloop: pip install uvloop, or use loop='asyncio'") from None
    factory: _LoopFactory = uvloop.new_event_loop
    return factory
