from typing import Self

from typing_extensions import Buffer, disjoint_base

from wsx._telemetry import Telemetry

@disjoint_base
class FrameWriter:
    def __new__(cls, telemetry: Telemetry, *, masked: bool = True) -> Self: ...
    @property
    def buffered(self) -> int: ...
    def send(self, opcode: int, payload: Buffer, *, fin: bool = True) -> None: ...

def mask_key() -> bytes: ...
