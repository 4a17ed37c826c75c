"""Logging in: grants, the tokens that stand for them, and what they allow.

Sans-I/O: both times come in as arguments, `now` for how long a token lives (seconds, monotonic), `now_ms` for how old a
signature is (unix time, by the exchange's clock).
Not here: the params of the methods (auth_methods.py), who needs which right (the tables of methods).
"""

import hashlib
import hmac
import random
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace

from wsx.testing.deribit.account import LEVELS, RIGHTS, Account
from wsx.testing.deribit.wire import Refusal

_SIGNATURE_MS = 60_000  # how long a signature is good
_MAX_SESSIONS = 16
_MAX_DIGITS = 10  # of the seconds that a token is asked to live: three hundred years
_TOKEN_LETTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody was granted, and until when. connection: the number of the socket that it dies with, or None.

    session: its name where it has session scope. rights: "read" or "read_write" by name. life: in seconds.
    """

    account: Account
    access_token: str
    refresh_token: str
    scope: str
    rights: dict[str, str]
    life: int
    expires_at: float
    session: str | None
    connection: int | None


class Tokens:
    """All grants of one exchange. life: seconds that a token lives by default."""

    def __init__(self, accounts: Iterable[Account], seed: int, life: int) -> None:
        self._accounts = {account.client_id: account for account in accounts}
        self._numbers = random.Random(seed)
        self._life = life
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        self._nonces: set[tuple[str, str]] = set()

    # ---- who is it? -------------------------------------------------------------------------------------------------

    def by_secret(self, client_id: str, client_secret: str) -> Account:
        """Raises Refusal (13004) for a wrong key, as the next one does."""
        account = self._accounts.get(client_id)
        if account is None or not hmac.compare_digest(account.client_secret.encode(), client_secret.encode()):
            raise Refusal("invalid_credentials")
        return account

    def by_signature(self, client_id: str, signature: str, stamp: tuple[int, str, str], now_ms: int) -> Account:
        """stamp: timestamp, nonce and data, which are signed. A timestamp is good for a minute, a nonce once."""
        account = self._accounts.get(client_id)
        timestamp, nonce, data = stamp
        if account is None or abs(now_ms - timestamp) > _SIGNATURE_MS or (client_id, nonce) in self._nonces:
            raise Refusal("invalid_credentials")
        signed = f"{timestamp}\n{nonce}\n{data}".encode()
        expected = hmac.new(account.client_secret.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Refusal("invalid_credentials")
        if nonce:
            self._nonces.add((client_id, nonce))
        return account

    def refreshed(self, refresh_token: str, connection: int) -> Grant:
        """The grant that a refresh token belongs to. Raises Refusal (13004) for one that is not known here."""
        grant = self._by_refresh.get(refresh_token)
        if grant is None or grant.connection not in (None, connection):
            raise Refusal("invalid_credentials")
        return grant

    def subject(self, grant: Grant, user_id: int) -> Account:
        """Another account of the same family. Raises Refusal (13004)."""
        for account in self._accounts.values():
            if account.user_id == user_id and account.family == grant.account.family:
                return account
        raise Refusal("invalid_credentials")

    # ---- what is granted --------------------------------------------------------------------------------------------

    def grant(self, account: Account, asked: str, connection: int, now: float) -> Grant:
        """Grant `asked`, a scope, or as much of it as the key has; without rights in it all that the key has.

        Raises Refusal (-32602) for a life that is none.
        """
        words = asked.split()
        session = next((word.partition(":")[2] for word in words if word.startswith("session:")), None)
        life = next((_seconds(word[8:]) for word in words if word.startswith("expires:")), self._life)
        rights = _narrowed(account, words)
        kept = [word for word in words if word.startswith(("expires:", "ip:"))]
        place = "connection" if session is None else f"session:{session}"
        main = ["mainaccount"] if account.main is None else []
        scope = " ".join([*(f"{name}:{level}" for name, level in rights.items()), *kept, place, *main])
        self._evict(account, session)
        number = connection if session is None else None
        return self._issue(Grant(account, "", "", scope, rights, life, now + life, session, number))

    def renew(self, grant: Grant, now: float) -> Grant:
        """The same grant with new tokens; the old refresh token is used up, the old access token lives on."""
        self._by_refresh.pop(grant.refresh_token, None)
        return self._issue(replace(grant, expires_at=now + grant.life))

    def find(self, access_token: str, connection: int, now: float) -> Grant | None:
        """The grant of a token, if it is good on this socket now."""
        grant = self._by_access.get(access_token)
        if grant is None or grant.expires_at <= now or grant.connection not in (None, connection):
            return None
        return grant

    def revoke(self, grant: Grant) -> None:
        """Its tokens are worth nothing from now on."""
        self._by_access.pop(grant.access_token, None)
        self._by_refresh.pop(grant.refresh_token, None)

    def disconnect(self, connection: int) -> None:
        """A socket is gone, and every grant with it that was for this socket alone."""
        for grant in [one for one in self._by_access.values() if one.connection == connection]:
            self.revoke(grant)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _issue(self, grant: Grant) -> Grant:
        issued = replace(grant, access_token=self._token(), refresh_token=self._token())
        self._by_access[issued.access_token] = self._by_refresh[issued.refresh_token] = issued
        return issued

    def _token(self) -> str:
        letters = "".join(self._numbers.choices(_TOKEN_LETTERS, k=300))
        return f"{self._numbers.randrange(10**12, 10**13)}.1{letters[:7]}.{letters[7:]}"

    def _evict(self, account: Account, session: str | None) -> None:
        """The 17th session of a key takes the place of the one that would have ended first."""
        ends: dict[str, float] = {}
        for grant in self._by_access.values():
            if grant.account is account and grant.session is not None:
                ends[grant.session] = max(grant.expires_at, ends.get(grant.session, 0.0))
        if session is None or session in ends or len(ends) < _MAX_SESSIONS:
            return
        shortest = min(ends, key=ends.__getitem__)
        for grant in [*self._by_access.values()]:
            if grant.account is account and grant.session == shortest:
                self.revoke(grant)


def _seconds(text: str) -> int:
    """How long a token is asked for. Raises Refusal (-32602) for what is no such time."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise Refusal("Invalid params", data={"reason": "invalid value", "param": "scope"})
    return int(text)


def _narrowed(account: Account, words: list[str]) -> dict[str, str]:
    """The rights that were asked for, each at most what the key has."""
    asked = dict(word.split(":", 1) for word in words if word.partition(":")[0] in RIGHTS and ":" in word)
    wanted = asked or dict(account.rights)
    rights = {
        name: min(level, account.rights.get(name, "none"), key=LEVELS.index)
        for name, level in wanted.items()
        if level in LEVELS
    }
    return {name: level for name, level in sorted(rights.items()) if level != "none"}
