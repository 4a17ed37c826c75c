"""Methods of logging in and out. Not here: how a grant is made and judged (auth.py)."""

import asyncio
from typing import Any

from wsx.testing.deribit.auth import Grant
from wsx.testing.deribit.method import Method
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.session import Session
from wsx.testing.deribit.wire import Refusal

_GRANT_TYPES = ("client_credentials", "client_signature", "refresh_token")


def _auth(session: Session, params: Params) -> dict[str, Any]:
    kind = params.choice("grant_type", _GRANT_TYPES)
    grant = _refreshed(session, params) if kind == "refresh_token" else _logged_in(session, params, kind)
    session.grant = grant
    session.hearing.belong_to(grant.account.client_id)
    session.cancel_on_disconnect |= session.exchange.state_of(grant.account).cancel_on_disconnect
    state = {"state": params.text("state")} if "state" in params else {}
    return _token(grant) | state


def _logged_in(session: Session, params: Params, kind: str) -> Grant:
    tokens = session.exchange.tokens
    if kind == "client_credentials":
        account = tokens.by_secret(params.text("client_id"), params.text("client_secret"))
    else:
        stamp = params.integer("timestamp"), params.text("nonce", ""), params.text("data", "")
        signature = params.text("signature")
        account = tokens.by_signature(params.text("client_id"), signature, stamp, session.exchange.now_ms())
    return tokens.grant(account, params.text("scope", ""), session.number, _now())


def _refreshed(session: Session, params: Params) -> Grant:
    tokens = session.exchange.tokens
    return tokens.renew(tokens.refreshed(params.text("refresh_token"), session.number), _now())


def _fork_token(session: Session, params: Params) -> dict[str, Any]:
    """Another session for the same login; only session scope can be forked."""
    tokens = session.exchange.tokens
    grant = tokens.refreshed(params.text("refresh_token"), session.number)
    if grant.session is None:
        raise Refusal("unauthorized", data={"reason": "invalid_token"})
    asked = " ".join(f"{name}:{level}" for name, level in grant.rights.items())
    scope = f"session:{params.text('session_name')} {asked}"
    return _token(tokens.grant(grant.account, scope, session.number, _now()))


def _exchange_token(session: Session, params: Params) -> dict[str, Any]:
    """The same rights in another account of the family."""
    tokens = session.exchange.tokens
    grant = tokens.refreshed(params.text("refresh_token"), session.number)
    account = tokens.subject(grant, params.integer("subject_id"))
    return _token(tokens.grant(account, params.text("scope", grant.scope), session.number, _now()))


def _logout(session: Session, params: Params) -> None:
    """Nobody hears the result: the connection ends first."""
    grant = session.authorise(params, "")
    if params.flag("invalidate_token", True):
        session.exchange.tokens.revoke(grant)
    session.outlet.close(1000, "")


def _token(grant: Grant) -> dict[str, Any]:
    facts = {"access_token": grant.access_token, "expires_in": grant.life, "refresh_token": grant.refresh_token}
    return facts | {"scope": grant.scope, "enabled_features": [], "token_type": "bearer"}


def _now() -> float:
    return asyncio.get_running_loop().time()


AUTH_METHODS = {
    "public/auth": Method(_auth),
    "public/fork_token": Method(_fork_token),
    "public/exchange_token": Method(_exchange_token),
    "private/logout": Method(_logout, right="", worker="private"),
}
