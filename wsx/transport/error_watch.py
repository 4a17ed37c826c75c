"""A loop that goes on calling the reader of a socket that was reset, also where libuv stops after one call.

libuv gives a descriptor up at POLLERR, having called its reader once. aiofastnet reads what is there and waits for the
next call, so a reset right behind the last bytes went unseen until something was written. Here one epoll a loop, for
errors alone, has the reader called until it removes itself.
Not here: what a reset means (picows.py).
"""

import asyncio
import contextlib
import select
import weakref
from collections.abc import Callable
from typing import Any

_watched: "weakref.WeakValueDictionary[int, _WatchedLoop]" = weakref.WeakValueDictionary()  # by the loop's id


def with_error_watch(loop: asyncio.AbstractEventLoop) -> Any:
    """The loop itself, or what takes its place for a transport on uvloop and Linux."""
    by_libuv = any(kind.__module__.startswith("uvloop") for kind in type(loop).__mro__)
    if not by_libuv or not hasattr(select, "epoll"):
        return loop
    watched = _watched.get(id(loop)) or _WatchedLoop(loop)
    _watched[id(loop)] = watched
    return watched


class _WatchedLoop:
    """A loop of libuv's with another way to read. It lives as long as a transport that uses it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._errors: select.epoll | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_reader(self, descriptor: int, callback: Callable[..., object], *args: Any) -> None:
        """As the loop's, and watch for errors."""
        self._loop.add_reader(descriptor, callback, *args)
        self._readers[descriptor] = callback, args
        with contextlib.suppress(OSError):  # no descriptor left for the watch: the heartbeat will notice
            self._watch(descriptor)

    def remove_reader(self, descriptor: int) -> bool:
        """As the loop's."""
        if self._readers.pop(descriptor, None) is not None and self._errors is not None:
            with contextlib.suppress(OSError):  # it was not watched
                self._errors.unregister(descriptor)
            if not self._readers:
                self._loop.remove_reader(self._errors.fileno())
                self._errors.close()
                self._errors = None
        return self._loop.remove_reader(descriptor)

    def _watch(self, descriptor: int) -> None:
        if self._errors is None:
            self._errors = select.epoll()
            self._loop.add_reader(self._errors.fileno(), self._tell)
        self._errors.register(descriptor, 0)  # EPOLLERR and EPOLLHUP are always told

    def _tell(self) -> None:
        """Some are in error: their readers are called, in every round until they are removed."""
        assert self._errors is not None
        for descriptor, _ in self._errors.poll(0):
            if descriptor in self._readers:  # one of them may have closed another
                callback, args = self._readers[descriptor]
                callback(*args)
