"""The clients that are measured, one module for each, written as a careful user would write them.

A module offers some of three asynchronous context managers, each taking a `Target`: `connection` (open, idle, closed on
leaving), `roundtrip` and `flood`, which give a `Phase`. This table says which module and which variant a name means.
"""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Phase = Callable[[int], Awaitable[Sequence[int]]]
"""Does `count` round trips or takes `count` messages; gives the monotonic times of the round trips (a flood: none)."""

PEERS: dict[str, tuple[str, str]] = {
    "wsx": ("wsx_client", "data"),
    "wsx-text": ("wsx_client", "text"),
    "wsx-for": ("wsx_client", "for"),
    "wsx-recv": ("wsx_client", "recv"),
    "wsx-raw": ("wsx_rpc", "raw"),
    "wsx-rpc": ("wsx_rpc", "rpc"),
    "wsx-routed": ("wsx_routed", "routed"),
    "wsx-routed-data": ("wsx_routed", "data"),
    "wsx-books": ("wsx_books", ""),
    "wsx-restored": ("wsx_reopen", "restored"),
    "wsx-bare": ("wsx_reopen", "bare"),
    "picows-json": ("picows_routed", ""),
    "picows-sorted": ("picows_books", ""),
    "picows-bytes": ("raw_picows", "bytes"),
    "picows-text": ("raw_picows", "text"),
    "picows-queue": ("raw_picows", "queue"),
    "websockets": ("websockets_client", ""),
    "aiohttp": ("aiohttp_client", ""),
    "socket": ("raw_socket", ""),
}


@dataclass(frozen=True)
class Target:
    """Where a client connects to: `size` is the payload of a message in bytes, `variant` one of the module's own."""

    url: str
    tls: ssl.SSLContext | None
    size: int
    variant: str
