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

    loop: "auto" takes uvloop where it is installed. Raises TypeError for what is no coroutine, ValueError for another
    name, ImportError for "uvloop" where it is missing, RuntimeError inside a running loop. A name look-up that is stuck does not hold up the end.
    """
    if not asyncio.iscoroutine(main):
        raise TypeError(f"main must be a coroutine, as in wsx.run(main()), not {type(main).__name__}")
    try:
        _check_outside()
        factory = _factory(loop)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        return runner.run(main)


def _check_outside() -> None:
    if asyncio._get_running_loop() is not None:  # the function that raises instead would be the context of our error
        raise RuntimeError("wsx.run() cannot be called from inside a running loop; there, await main() itself")


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
