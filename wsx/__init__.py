"""wsx: a WebSocket client for trading systems.

The public names, and nothing else. Everything is re-exported from the module that says more about it.
"""

import picows as _picows

__version__ = "0.1.0"

_PICOWS_VERSION = "2.3.1"
if _picows.__version__ != _PICOWS_VERSION:
    raise ImportError(
        f"wsx {__version__} was built against picows {_PICOWS_VERSION} and uses its C layout, but picows"
        f" {_picows.__version__} is installed; install picows=={_PICOWS_VERSION}"
    )

from wsx import errors, events  # noqa: E402, after the version check
from wsx._message import Message  # noqa: E402
from wsx._ratelimit import TokenBucket  # noqa: E402
from wsx.client import Client, State, connect  # noqa: E402
from wsx.config import Config, SocketOptions  # noqa: E402
from wsx.run import run  # noqa: E402
from wsx.secret import Secret  # noqa: E402

__all__ = [
    "Client",
    "Config",
    "Message",
    "Secret",
    "SocketOptions",
    "State",
    "TokenBucket",
    "connect",
    "errors",
    "events",
    "run",
]
