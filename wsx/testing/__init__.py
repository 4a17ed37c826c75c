"""Real servers on loopback for the tests of a trading system: no mocks, the same codec as the client's.

Public names only. TLS needs the extra: `pip install 'wsx[testing]'`.
"""

from wsx.testing.capture import Capture, load_capture
from wsx.testing.echo import EchoServer
from wsx.testing.replay import ReplayServer
from wsx.testing.server import LocalServer

__all__ = ["Capture", "EchoServer", "LocalServer", "ReplayServer", "load_capture"]
