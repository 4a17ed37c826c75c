from collections.abc import Callable
from typing import Protocol, Self, final, type_check_only

from typing_extensions import Buffer, disjoint_base

from wsx._frame import FrameSink
from wsx._message import Message
from wsx._telemetry import Telemetry

@type_check_only
class ControlHandler(Protocol):
    def on_control(self, opcode: int, payload: bytes, /) -> object: ...
    def on_close(self, code: int, reason: str, /) -> object: ...
    def on_failure(self, close_code: int, reason: str, /) -> object: ...

@disjoint_base
class MessageReceiver:
    def __new__(cls) -> Self: ...

@final
class Assembler(FrameSink):
    def __new__(
        cls,
        receiver: MessageReceiver | Callable[[Message], object],
        control: ControlHandler,
        telemetry: Telemetry,
        *,
        max_message_size: int = ...,
        max_fragments: int = 131072,
        server: bool = False,
        epoch: int = 1,
    ) -> Self: ...
    @property
    def max_message_size(self) -> int: ...
    @property
    def max_fragments(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    slowest_ns: int
    @property
    def finished(self) -> bool: ...
    def feed(self, data: Buffer) -> bool: ...
    def fail(self, close_code: int, reason: str) -> None: ...

def may_be_sent(code: int) -> bool: ...
