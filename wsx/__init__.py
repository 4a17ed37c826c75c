"""wsx: a WebSocket client for trading systems.

The public names, each at home in a module that says more about it. A name is loaded when it is first used, so that
`import wsx` costs little more than `import picows`; type checkers and editors see plain imports.
"""

import typing as _typing
from importlib import import_module as _import_module

import picows as _picows

__version__ = "0.1.0"

_PICOWS_VERSION = "2.3.1"
_found = _picows.__version__  # type: ignore[attr-defined]
if _found != _PICOWS_VERSION:
    raise ImportError(
        f"wsx {__version__} was built against picows {_PICOWS_VERSION} and uses its C layout, but picows"
        f" {_found} is installed; install picows=={_PICOWS_VERSION}"
    )

from wsx.run import run  # noqa: E402, after the version check; at once, because the module bears the same name

if _typing.TYPE_CHECKING:
    from wsx import errors, events
    from wsx._book import OrderBook
    from wsx._message import Message
    from wsx._ratelimit import TokenBucket
    from wsx.backoff import Backoff
    from wsx.client import Client, connect
    from wsx.config import Config, SocketOptions
    from wsx.error_handler import ErrorHandler
    from wsx.errors import Outcome
    from wsx.explanation import explain
    from wsx.json_rpc import JsonRpc
    from wsx.secret import Secret
    from wsx.session import State
    from wsx.supervisor import ChildSpec, Supervisor

_HOMES = {
    "Backoff": "wsx.backoff",
    "ChildSpec": "wsx.supervisor",
    "Client": "wsx.client",
    "Config": "wsx.config",
    "ErrorHandler": "wsx.error_handler",
    "JsonRpc": "wsx.json_rpc",
    "Message": "wsx._message",
    "OrderBook": "wsx._book",
    "Outcome": "wsx.errors",
    "Secret": "wsx.secret",
    "SocketOptions": "wsx.config",
    "State": "wsx.session",
    "Supervisor": "wsx.supervisor",
    "TokenBucket": "wsx._ratelimit",
    "connect": "wsx.client",
    "explain": "wsx.explanation",
}
_ROOMS = ("adapters", "errors", "events", "testing")  # modules and packages, shown as they are

__all__ = [
    "Backoff",
    "ChildSpec",
    "Client",
    "Config",
    "ErrorHandler",
    "JsonRpc",
    "Message",
    "OrderBook",
    "Outcome",
    "Secret",
    "SocketOptions",
    "State",
    "Supervisor",
    "TokenBucket",
    "connect",
    "errors",
    "events",
    "explain",
    "run",
]


if not _typing.TYPE_CHECKING:  # a type checker would take every name for good

    def __getattr__(name: str) -> object:
        if name not in _HOMES and name not in _ROOMS:
            raise AttributeError(f"module 'wsx' has no attribute {name!r}")
        home = _import_module(_HOMES.get(name, f"wsx.{name}"))
        value = home if name in _ROOMS else getattr(home, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
