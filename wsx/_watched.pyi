from collections.abc import Callable
from typing import Any, Self, final

from wsx._message import Message

@final
class Watched:
    last_ns: int
    sight: Callable[[Message], Any] | None
    def __new__(cls, callback: Callable[[Message], object]) -> Self: ...
    def __call__(self, message: Message) -> object: ...
    @property
    def callback(self) -> Callable[[Message], object]: ...
