"""The exchange's JSON-RPC texts: answers, errors and notifications, keys in the order of the wire.

Not here: how numbers are written (number_text.py), who is told what.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from wsx.testing.number_text import wire_text

MAX_REQUEST_BYTES = 32 * 1024


class Refusal(Exception):
    """What the exchange says no with. code: an int, or the name of one of its errors.

    data: what goes beside the message, `{"reason": ...}` as a rule; None: nothing.
    """

    def __init__(self, code: int | str, message: str | None = None, data: Any = None) -> None:
        number, text = (CODES[code], code) if isinstance(code, str) else (code, _NAMES.get(code, "error"))
        super().__init__(number, message or text)
        self.code, self.message, self.data = number, message or text, data

    @property
    def error(self) -> dict[str, Any]:
        """The error object."""
        data = {} if self.data is None else {"data": self.data}
        return {"code": self.code} | data | {"message": self.message}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for. head: `{"id": ...}` as it was sent, a text or an integer, or empty where there was none."""

    method: str
    params: dict[str, Any] | None
    head: dict[str, Any]


def read_request(data: bytes) -> Request:
    """The request in a frame. Raises Refusal, which is answered without an id."""
    if len(data) > MAX_REQUEST_BYTES:
        raise Refusal(-32600, "request entity too large")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Refusal("bad_request", data="invalid json") from None
    method, params = (value.get("method"), value.get("params")) if isinstance(value, dict) else (None, None)
    if not isinstance(method, str) or not isinstance(params, dict | None):
        raise Refusal("bad_request")
    head = {"id": value["id"]} if "id" in value else {}
    if not all(type(one) in (int, str) for one in head.values()):  # an integer beyond 64 bits is a float here
        raise Refusal("bad_request", data={"reason": "wrong format", "param": "id"})
    return Request(method, params, head)


def answer_text(
    head: dict[str, Any], body: dict[str, Any], us_in: int, now_us: Callable[[], int], *, testnet: bool
) -> bytes:
    """An answer. head: the id or nothing. body: `{"result": ...}` or `{"error": ...}`. us_in: when it was asked."""
    us_out = now_us()
    times = {"usIn": us_in, "usOut": us_out, "usDiff": us_out - us_in, "testnet": testnet}
    return wire_text({"jsonrpc": "2.0"} | head | body | times).encode()


def notification_text(channel: str, data: Any) -> bytes:
    """What the subscribers of `channel` are sent."""
    params = {"channel": channel, "data": data}
    return wire_text({"jsonrpc": "2.0", "method": "subscription", "params": params}).encode()


CODES = {
    "too_many_requests": 10028,
    "bad_request": 11050,
    "invalid_credentials": 13004,
    "unauthorized": 13009,
    "not_found": 13020,
    "scope_exceeded": 13403,
    "raw_subscriptions_not_available_for_unauthorized": 13778,
    "Missing params": -32000,
    "Method not found": -32601,
    "Invalid params": -32602,
}
_NAMES = {code: name for name, code in CODES.items()}
