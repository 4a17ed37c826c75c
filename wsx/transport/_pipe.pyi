from collections.abc import Callable
from typing import final

from wsx._writer import FrameWriter

@final
class PipeWriter(FrameWriter):
    def attach(self, write: Callable[[bytes], object], buffered: Callable[[], int]) -> None: ...
    def detach(self) -> None: ...
