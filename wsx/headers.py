"""Header fields that a user adds to the upgrade request: checked before anything is opened.

A value may be a `Secret`, which is revealed only onto the wire. No text made here repeats a value.
Not here: the fields that wsx writes itself (transport/handshake.py).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from wsx.secret import Secret

HeaderPairs: TypeAlias = Mapping[str, str | Secret] | Iterable[tuple[str, str | Secret]]
CheckedHeaders: TypeAlias = tuple[tuple[str, str | Secret], ...]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110 5.5, without the obsolete bytes above ASCII
_CREDENTIALS = re.compile(r"auth|cookie|token|secret|api-?key|access-?key|passphrase|password|credential|sign(ature)?$")

_ITSELF = "wsx writes it itself"
_BODY = "an upgrade request has no body"
_OWNED = {
    "connection": _ITSELF,
    "content-length": _BODY,
    "sec-websocket-accept": "only a server sends it",
    "sec-websocket-extensions": _ITSELF,
    "sec-websocket-key": _ITSELF,
    "sec-websocket-protocol": "use subprotocols instead",
    "sec-websocket-version": _ITSELF,
    "transfer-encoding": _BODY,
    "upgrade": _ITSELF,
}


def checked_headers(headers: HeaderPairs) -> CheckedHeaders:
    """The fields as pairs, order and case kept.

    Raises TypeError for what is not name and value, ValueError for what HTTP does not allow (RFC 9110 5.1, 5.5)
    and for fields that are not the user's to set.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    if not isinstance(pairs, Iterable):
        raise TypeError(f"headers must be a mapping or pairs of name and value, not {type(headers).__name__}")
    checked = tuple(_checked_pair(pair) for pair in pairs)
    if sum(name.lower() == "host" for name, _ in checked) > 1:
        raise ValueError("headers hold more than one Host")
    return checked


def carries_credentials(headers: CheckedHeaders) -> bool:
    """Whether a field looks like a credential: by its name, or because its value is a `Secret`."""
    return any(
        isinstance(value, Secret) or _CREDENTIALS.search(name.lower().replace("_", "-")) for name, value in headers
    )


def is_token(text: str) -> bool:
    """Whether `text` is a token of HTTP (RFC 9110 5.6.2), as field names and subprotocols are."""
    return _TOKEN.fullmatch(text) is not None


def _checked_pair(pair: Any) -> tuple[str, str | Secret]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"headers must be pairs of name and value; one item is {type(pair).__name__}")
    name, value = pair
    if not isinstance(name, str):
        raise TypeError(f"a header's name must be a str, not {type(name).__name__}")
    _check_name(name)
    if not isinstance(value, str | Secret):
        raise TypeError(f"the value of header {name} must be a str or a Secret, not {type(value).__name__}")
    if not _VALUE.fullmatch(value.reveal() if isinstance(value, Secret) else value):
        raise ValueError(f"the value of header {name} has a line break, a control character or a non-ASCII character")
    return name, value


def _check_name(name: str) -> None:
    start = _TOKEN.match(name)
    good = start.group() if start else ""
    if good != name or not name:
        # Only the good part is shown: "Authorization: Bearer ..." given as a name would show the token.
        raise ValueError(
            f"a header's name must be letters, digits and -; {good + '...'!r} has something else or nothing"
        )
    if name.lower() in _OWNED:
        raise ValueError(f"header {name} cannot be set: {_OWNED[name.lower()]}")
