"""What Deribit's error codes mean for wsx (docs.deribit.com, "RPC Error Codes"); codes count, their texts vary.

Not here: the errors themselves (`wsx.errors.RpcError`), what follows (session.py).
"""

from wsx.errors import AuthenticationFailed, RpcError

TOO_MANY_REQUESTS = 10028
INVALID_CREDENTIALS = 13004

# The login is wrong, and will be tomorrow: permission_denied, invalid_credentials, pwd_match_error, user_not_found,
# unauthorized, forbidden, scope_exceeded.
_REFUSED = frozenset({11042, INVALID_CREDENTIALS, 13005, 13007, 13009, 13021, 13403})
# Worth another try after a pause: the exchange was busy, settling or under maintenance.
_PASSING = frozenset({TOO_MANY_REQUESTS, 10040, 10041, 10047, 10066, 11051, 11094, 12003, 13028})


def is_passing(error: RpcError) -> bool:
    """Whether the same request may succeed after a pause. An order may have been carried out all the same: ask first."""
    return error.code in _PASSING


def as_login_error(error: RpcError) -> RpcError | AuthenticationFailed:
    """What a refused login is: AuthenticationFailed where trying again would not help. No secret is in its text."""
    if error.code not in _REFUSED:
        return error
    return AuthenticationFailed(f"Deribit answered {error.code} {error.message!r} to public/auth")
