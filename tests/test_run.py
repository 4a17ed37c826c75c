"""Running a program: which loop, what comes back, and an end that nothing holds up."""

import asyncio
import importlib.util
import sys

import pytest

import wsx


async def loop_module():
    return type(asyncio.get_running_loop()).__module__.split(".")[0]


@pytest.mark.parametrize("loop, module", [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio")])
def test_the_loop_is_the_one_that_was_asked_for(loop, module):
    if module == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    assert wsx.run(loop_module(), loop=loop) == module


def test_debug_is_passed_on():
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert [wsx.run(main(), debug=debug) for debug in (True, False)] == [True, False]


def test_what_the_program_raises_comes_out():
    async def main():
        raise KeyError("x")

    with pytest.raises(KeyError):
        wsx.run(main())


def test_another_name_is_refused_and_the_program_is_closed_unrun():
    async def main():
        """Never run."""

    program = main()
    with pytest.raises(ValueError, match="'trio'"):
        wsx.run(program, loop="trio")
    assert program.cr_frame is None  # closed: nothing warns that it was never awaited


@pytest.mark.parametrize("main", [None, loop_module, 5])
def test_only_a_coroutine_can_be_run(main):
    for loop in ("auto", "trio"):
        with pytest.raises(TypeError, match=r"main must be a coroutine, as in wsx.run\(main\(\)\), not"):
            wsx.run(main, loop=loop)


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_inside_a_running_loop_it_says_so_and_the_program_is_closed_unrun(loop):
    async def main():
        program = loop_module()
        with pytest.raises(RuntimeError, match="inside a running loop"):
            wsx.run(program, loop=loop)
        return program.cr_frame

    assert wsx.run(main(), loop=loop) is None


@pytest.fixture
def no_uvloop():
    """An interpreter that cannot import uvloop: None in sys.modules says so (the import system's own rule)."""
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "uvloop"}
    sys.modules |= dict.fromkeys(loaded) | {"uvloop": None}
    yield
    del sys.modules["uvloop"]
    sys.modules |= loaded


@pytest.mark.usefixtures("no_uvloop")
def test_without_uvloop_auto_is_asyncio_and_asking_for_it_says_what_to_install():
    assert [wsx.run(loop_module()), wsx.run(loop_module(), loop="asyncio")] == ["asyncio", "asyncio"]
    with pytest.raises(ImportError, match="pip install uvloop"):
        wsx.run(loop_module(), loop="uvloop")
