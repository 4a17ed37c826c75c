"""An account of the local exchange: who may log in, what they may do, what they own.

Not here: tokens (auth.py), what an account may spend on requests (credits.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from wsx.testing.checked import number
from wsx.testing.deribit.credits import Credits

RIGHTS = ("account", "block_rfq", "block_trade", "trade", "wallet")
LEVELS = ("none", "read", "read_write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """client_id, client_secret: its key. user_id: its number, by which a main account reaches its sub-accounts.

    rights: the most that its key grants, "read" or "read_write" by name. main: the user_id of its main account; None:
    it is one. balances: by currency. Raises ValueError for rights and balances that are none.
    """

    client_id: str
    client_secret: str = field(repr=False)
    user_id: int = 1
    main: int | None = None
    rights: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(RIGHTS, "read_write")))
    balances: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"BTC": 10.0, "ETH": 100.0}))

    def __post_init__(self) -> None:
        for currency, balance in self.balances.items():
            number(f"balances[{currency!r}]", balance)
        for name, level in self.rights.items():
            if level not in LEVELS:
                raise ValueError(f"rights[{name!r}] must be one of {', '.join(LEVELS)}, not {level!r}")

    @property
    def family(self) -> int:
        """The same for a main account and its sub-accounts."""
        return self.user_id if self.main is None else self.main


DEMO = Account(client_id="demo", client_secret="demo-secret")


class AccountState:
    """What changes about an account while the exchange runs."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.credits = Credits()
        self.cancel_on_disconnect = False  # what its new connections begin with


def summary(account: Account, currency: str) -> dict[str, Any]:
    """The account in one currency, without positions."""
    balance = float(account.balances.get(currency, 0.0))
    zeros = ("session_upl", "session_rpl", "total_pl", "futures_pl", "options_pl", "delta_total", "fee_balance")
    margins = ("initial_margin", "maintenance_margin", "projected_initial_margin", "projected_maintenance_margin")
    facts: dict[str, Any] = {"currency": currency} | dict.fromkeys((*zeros, *margins), 0.0)
    owned = ("balance", "equity", "margin_balance", "available_funds", "available_withdrawal_funds")
    facts |= dict.fromkeys(owned, balance)
    return facts | {"margin_model": "segregated_sm", "portfolio_margining_enabled": False, "limits": LIMITS}


def extended(account: Account) -> dict[str, Any]:
    """What `extended: true` adds."""
    kind = "main" if account.main is None else "subaccount"
    name = account.client_id
    facts = {"id": account.user_id, "system_name": name, "username": name, "type": kind}
    return facts | {"login_enabled": True, "mmp_enabled": False, "interuser_transfers_enabled": False}


_TIER_4 = {"rate": 5, "burst": 20}
LIMITS = {
    "limits_per_currency": False,
    "non_matching_engine": {"rate": 20, "burst": 100},
    "matching_engine": {"trading": {"total": _TIER_4}, "spot": _TIER_4, "cancel_all": _TIER_4},
}
