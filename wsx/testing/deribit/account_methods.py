"""Methods about the account. Not here: what it owns (account.py), orders."""

from typing import Any

from wsx.testing.deribit.account import extended, summary
from wsx.testing.deribit.instruments import CURRENCIES
from wsx.testing.deribit.method import Method
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.session import Session

_SCOPES = ("connection", "account")


def _get_account_summary(session: Session, params: Params) -> dict[str, Any]:
    account = session.authorise(params, "account:read").account
    facts = summary(account, params.choice("currency", CURRENCIES))
    if params.flag("extended", False):
        return extended(account) | facts
    del facts["limits"]
    return facts


def _get_account_summaries(session: Session, params: Params) -> dict[str, Any]:
    account = session.authorise(params, "account:read").account
    return extended(account) | {"summaries": [summary(account, currency) for currency in account.balances]}


def _enable(session: Session, params: Params) -> str:
    return _set(session, params, enabled=True)


def _disable(session: Session, params: Params) -> str:
    return _set(session, params, enabled=False)


def _set(session: Session, params: Params, *, enabled: bool) -> str:
    """For the account: what new connections begin with; this one follows."""
    if params.choice("scope", _SCOPES, "connection") == "account":
        grant = session.authorise(params, "account:read_write")
        session.exchange.state_of(grant.account).cancel_on_disconnect = enabled
    session.cancel_on_disconnect = enabled
    return "ok"


def _get(session: Session, params: Params) -> dict[str, Any]:
    scope = params.choice("scope", _SCOPES, "connection")
    if scope == "connection":
        return {"scope": scope, "enabled": session.cancel_on_disconnect}
    grant = session.authorise(params, "account:read")
    return {"scope": scope, "enabled": session.exchange.state_of(grant.account).cancel_on_disconnect}


ACCOUNT_METHODS = {
    "private/get_account_summary": Method(_get_account_summary, "account:read", "private"),
    "private/get_account_summaries": Method(_get_account_summaries, "account:read", "private"),
    "private/enable_cancel_on_disconnect": Method(_enable, "account:read_write", "private"),
    "private/disable_cancel_on_disconnect": Method(_disable, "account:read_write", "private"),
    "private/get_cancel_on_disconnect": Method(_get, "account:read", "private"),
}
