"""Real servers on loopback for the tests of a trading system: no mocks, the same codec as the client's.

Public names only. TLS needs the extra: `pip install 'wsx[testing]'`.
"""

from wsx.testing.capture import Capture, load_capture
from wsx.testing.deribit import Account, DeribitExchange, Rule, digest_of
from wsx.testing.echo import EchoServer
from wsx.testing.fault_proxy import FaultProxy
from wsx.testing.fault_script import FaultScript, Step
from wsx.testing.in_memory import connect_in_memory
from wsx.testing.market import Market
from wsx.testing.market_listing import Instrument
from wsx.testing.replay import ReplayServer
from wsx.testing.server import LocalServer
from wsx.testing.simulated_loop import NothingLeftToWaitFor, SimulatedLoop
from wsx.transport.memory import MemoryServer
from wsx.transport.server_end import Door, ServerEnd

__all__ = [
    "Account",
    "Capture",
    "DeribitExchange",
    "Door",
    "EchoServer",
    "FaultProxy",
    "FaultScript",
    "Instrument",
    "LocalServer",
    "Market",
    "MemoryServer",
    "NothingLeftToWaitFor",
    "ReplayServer",
    "Rule",
    "ServerEnd",
    "Step",
    "SimulatedLoop",
    "connect_in_memory",
    "digest_of",
    "load_capture",
]
