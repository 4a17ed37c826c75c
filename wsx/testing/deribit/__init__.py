"""A local exchange with the protocol of Deribit: real sockets, a seeded market, and misbehaviour on command.

Read in this order: exchange.py (the server), session.py (one socket), floor.py (the market), hub.py and feeds.py (who is
told what), script.py (what goes wrong).
Orders are not here: methods for them do not exist yet. What matches them acts on the floor and says so by its
`happened`, over which everything that happens reaches the channels.
"""

from wsx.testing.deribit.account import Account
from wsx.testing.deribit.exchange import DeribitExchange
from wsx.testing.deribit.outlet import digest_of
from wsx.testing.deribit.script import Rule

__all__ = ["Account", "DeribitExchange", "Rule", "digest_of"]
