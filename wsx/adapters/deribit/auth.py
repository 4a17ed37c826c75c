"""Logging in at Deribit: credentials, signatures, how long a token lives. Pure: time and chance are arguments.

Rules: docs.deribit.com, "Authentication" and public/auth.
Not here: asking the exchange (session.py).
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsx.errors import AuthenticationFailed, RpcError
from wsx.secret import Secret

_REFRESH_AT = 0.8  # of a token's life
_SHORTEST_WAIT = 0.5  # seconds until a token is renewed: one that is no good at once is no reason for a flood
_SECOND_FACTOR = "security_key_authorization_required"
_LEVELS = ("none", "read", "read_write")
_ID, _SECRET = "DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key of Deribit's. client_secret: a str is made a `Secret`. scope: what is asked for, as Deribit writes it.

    session: a name makes the tokens outlive the connection ("session:NAME"). sign: log in with a signature, so that
    the secret never leaves; False sends it (client_credentials). Raises TypeError and ValueError.
    """

    client_id: str
    client_secret: Secret
    scope: str = ""
    session: str = ""
    sign: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.client_secret, str):
            object.__setattr__(self, "client_secret", Secret(self.client_secret))
        if not isinstance(self.client_secret, Secret):
            raise TypeError(f"client_secret must be a str or a Secret, not {type(self.client_secret).__name__}")
        for name in ("client_id", "scope", "session"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        if not self.client_id:
            raise ValueError(f"client_id is empty: is {_ID} set?")
        if not (self.session.isprintable() and self.scope.isprintable()) or " " in self.session:
            raise ValueError("session must be one word, and scope words with a blank between them")

    @property
    def whole_scope(self) -> str:
        """What is asked for, the session's name included."""
        session = f"session:{self.session}" if self.session else ""
        return " ".join(filter(None, (session, self.scope)))

    def missing_from(self, granted: str) -> list[str]:
        """What of it a scope does not grant, as it was asked for; how long and where from is not a right."""
        found = granted.split()
        rights = dict(word.split(":", 1) for word in found if ":" in word)
        return [word for word in self.whole_scope.split() if word not in found and not _covers(rights, word)]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Credentials | None":
        """Those of DERIBIT_CLIENT_ID and DERIBIT_CLIENT_SECRET; None where neither is set. ValueError for half of them."""
        found = [environment.get(name, "") for name in (_ID, _SECRET)]
        if not any(found):
            return None
        if not all(found):
            missing = _ID if not found[0] else _SECRET
            raise ValueError(f"{missing} is not set, and the other of {_ID} and {_SECRET} is; set both or neither")
        return cls(found[0], Secret(found[1]))


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gave. expires_at, refresh_at: on the clock that `now` was read from, seconds; issued_ns: the same."""

    access: Secret
    refresh: Secret
    scope: str
    expires_at: float
    refresh_at: float
    issued_ns: int

    @classmethod
    def from_result(cls, result: Mapping[str, Any], now: float) -> "Token":
        """Of the result of public/auth. Raises RpcError where it holds no tokens, AuthenticationFailed where the
        exchange asks for a second factor instead."""
        if isinstance(result, Mapping) and result.get(_SECOND_FACTOR):
            raise AuthenticationFailed(f"Deribit answered {_SECOND_FACTOR!r} to public/auth; use a key without it")
        try:
            life = _seconds(result["expires_in"])
            access, refresh = Secret(result["access_token"]), Secret(result["refresh_token"])
            scope = str(result["scope"])
        except (KeyError, TypeError, ValueError, OverflowError):  # whose text may show what is in it
            raise RpcError(0, "the answer holds no tokens", method="public/auth") from None
        return cls(access, refresh, scope, now + life, now + max(life * _REFRESH_AT, _SHORTEST_WAIT), round(now * 1e9))


def _seconds(value: Any) -> float:
    """Raises TypeError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def login_params(credentials: Credentials, timestamp_ms: int, nonce: str) -> dict[str, Any]:
    """The params of public/auth; a secret among them is still a `Secret` (`revealed`), for tracebacks may show variables.

    timestamp_ms: the exchange's time, as far as it is known; good for 60 s.
    """
    params: dict[str, Any] = {"client_id": credentials.client_id}
    if credentials.whole_scope:
        params["scope"] = credentials.whole_scope
    if not credentials.sign:
        return params | {"grant_type": "client_credentials", "client_secret": credentials.client_secret}
    signature = sign(credentials.client_secret, timestamp_ms, nonce)
    signed = {"timestamp": timestamp_ms, "nonce": nonce, "data": "", "signature": signature}
    return params | {"grant_type": "client_signature"} | signed


def _covers(rights: Mapping[str, str], word: str) -> bool:
    name, _, level = word.partition(":")
    if name in ("expires", "ip"):
        return True
    granted = rights.get(name, "none")
    return level in _LEVELS and granted in _LEVELS and _LEVELS.index(granted) >= _LEVELS.index(level)


def revealed(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same params for the wire: nobody keeps them."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in params.items()}


def sign(secret: Secret, timestamp_ms: int, nonce: str, data: str = "") -> str:
    """The signature of public/auth: hex of HMAC-SHA256 over timestamp, nonce and data, a line each."""
    text = f"{timestamp_ms}\n{nonce}\n{data}"
    return hmac.new(secret.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()
