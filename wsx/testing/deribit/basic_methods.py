"""Methods about the connection itself: time, tests, heartbeats. Not here: logging in (auth_methods.py)."""

from typing import Any

from wsx.testing.deribit.method import Method
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.session import Session
from wsx.testing.deribit.wire import Refusal

_VERSION = {"version": "1.2.26"}
_MIN_HEARTBEAT = 10  # seconds


def _get_time(session: Session, params: Params) -> int:
    return session.exchange.now_ms()


def _test(session: Session, params: Params) -> dict[str, str]:
    """The answer to a `test_request`, too."""
    if session.heartbeat is not None:
        session.heartbeat.answered()
    if "expected_result" in params and params.choice("expected_result", ("exception",)):
        raise Refusal(10001, "error")
    return _VERSION


def _hello(session: Session, params: Params) -> dict[str, str]:
    for name in ("client_name", "client_version"):
        params.text(name)
    return _VERSION


def _status(session: Session, params: Params) -> dict[str, Any]:
    return {"locked": "true" if session.exchange.in_maintenance else "false", "locked_indices": []}


def _set_heartbeat(session: Session, params: Params) -> str:
    session.beat(params.integer("interval", low=_MIN_HEARTBEAT))
    return "ok"


def _disable_heartbeat(session: Session, params: Params) -> str:
    session.beat(None)
    return "ok"


BASIC_METHODS = {
    "public/get_time": Method(_get_time),
    "public/test": Method(_test),
    "public/hello": Method(_hello),
    "public/status": Method(_status),
    "public/set_heartbeat": Method(_set_heartbeat),
    "public/disable_heartbeat": Method(_disable_heartbeat),
}
