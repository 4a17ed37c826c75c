"""What a transport offers, what it owes its owner, and what it is told to open.

Control is this plain Python protocol; data never passes here: what arrives goes into a `FrameSink`
(`feed_frame` or `feed_bytes`, _frame.pxd), what leaves goes through a `FrameWriter` (_writer.pxd).
Not here: any policy, such as when to ping, close or try again (connection.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from wsx._assembler import Assembler
from wsx._telemetry import Telemetry
from wsx._writer import FrameWriter
from wsx.config import Config
from wsx.endpoint import Endpoint
from wsx.events import OpeningTimes
from wsx.headers import CheckedHeaders


class TransportOwner(Protocol):
    """Who holds a transport; called on the loop's thread."""

    def on_disconnected(self) -> None:
        """The other end or the system ended the connection. Called once; nothing follows."""

    def on_writing_paused(self) -> None:
        """Bytes wait in the transport's buffer."""

    def on_writing_resumed(self) -> None:
        """The transport's buffer is empty again."""

    def on_broken(self, error: Exception) -> None:
        """Taking a frame failed on this side, for lack of memory say."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One attempt to open a connection. deadline: on the loop's clock, over everything until the 101."""

    endpoint: Endpoint
    headers: CheckedHeaders
    config: Config
    sink: Assembler
    owner: TransportOwner
    telemetry: Telemetry
    deadline: float


class Transport(Protocol):
    """An open connection's bytes. Reading starts paused: nothing is lost before somebody is ready."""

    times: OpeningTimes
    subprotocol: str | None

    @property
    def writer(self) -> FrameWriter:
        """Where frames are written."""

    def pause_reading(self) -> None:
        """Take nothing from the peer until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take what the peer sends."""

    def discard_input(self) -> None:
        """From now on read and throw away, so that our CLOSE is not lost to a reset; paused or not."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close now; what is buffered is lost."""

    def get_extra_info(self, name: str) -> Any:
        """What asyncio's transports tell, such as "socket", "peername", "ssl_object"; None where unknown."""


Dial: TypeAlias = Callable[[Opening], Awaitable[Transport]]
