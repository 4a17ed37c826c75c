"""What Deribit's error codes mean for wsx (docs.deribit.com, "RPC Error Codes"); codes count, their texts vary.

Not here: the errors themselves (`wsx.errors.RpcError`), what follows (session.py).
"""

from wsx.errors import AuthenticationFailed, RpcError

TOO_MANY_REQUESTS = 10028
INVALID_CREDENTIALS = 13004
UNAUTHORIZED = 13009

# The login is wrong, and will be tomorrow: permission_denied, invalid_credentials, pwd_match_error, user_not_found,
# unauthorized, forbidden, scope_exceeded; and what asks for a second factor: security_key_authorization_over_limit,
# verification_required, security_key_authorization_error.
_REFUSED = frozenset({11042, INVALID_CREDENTIALS, 13005, 13007, UNAUTHORIZED, 13021, 13403, 12998, 13031, 13668})
# Worth another try after a pause: the exchange was busy, settling or under maintenance.
_PASSING = frozenset({TOO_MANY_REQUESTS, 10040, 10041, 10047, 10066, 11051, 11094, 12003, 13028})


def is_passing(error: RpcError) -> bool:
    """Whether the same request may succeed after a pause. An order may have been carried out all the same: ask first."""
    return error.code in _PASSING


def is_login_lost(error: RpcError) -> bool:
    """Whether a request was rejected because the exchange does not know its token (any more)."""
    reason = error.data.get("reason", "invalid_token") if isinstance(error.data, dict) else "invalid_token"
    return error.code == UNAUTHORIZED and reason == "invalid_token"


def as_login_error(error: RpcError) -> RpcError | AuthenticationFailed:
    """What a refused login is: AuthenticationFailed where trying again would not help. No secret is in its text."""
    if error.code not in _REFUSED:
        return error
    return AuthenticationFailed(f"Deribit answered {error.code} {error.message!r} to public/auth")
