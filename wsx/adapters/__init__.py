"""Exchanges: what each makes of a WebSocket. One package or module an exchange; nothing is loaded before it is asked for."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from wsx.adapters import deribit as deribit

else:

    def __getattr__(name: str) -> object:
        if name != "deribit":
            raise AttributeError(f"module 'wsx.adapters' has no attribute {name!r}")
        return _import_module(f"wsx.adapters.{name}")
