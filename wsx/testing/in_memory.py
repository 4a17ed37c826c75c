"""A client without a socket. Not here: the transport itself (wsx/transport/memory.py)."""

from collections.abc import Callable
from typing import Any

from wsx._message import Message
from wsx.client import Connecting
from wsx.config import make_config
from wsx.driver import REAL, Surroundings
from wsx.events import Event
from wsx.transport.memory import MemoryServer


def connect_in_memory(
    server: MemoryServer,
    url: str = "ws://localhost/",
    *,
    on_message: Callable[[Message], object] | None = None,
    on_event: Callable[[Event], object] | None = None,
    surroundings: Surroundings = REAL,
    **overrides: Any,
) -> Connecting:
    """As `wsx.connect`, to a server in memory. Raises as `connect`.

    url: what the server sees; nothing is resolved. surroundings: a `SimulatedLoop` has its own.
    """
    return Connecting(server.dial, url, on_message, on_event, make_config(None, overrides), surroundings)
