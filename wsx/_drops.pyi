from collections.abc import Callable, Hashable
from typing import Any, Protocol, type_check_only

from typing_extensions import disjoint_base

from wsx._inbox import Inbox, InboxOwner
from wsx._message import Message

@type_check_only
class Record(Protocol):
    def on_dropping(self) -> object: ...
    def on_dropped(self, cause: str, missed: int, since_ns: int, until_ns: int, epoch: int, /) -> Any: ...
    def join(self, first: Any, second: Any, /) -> Any: ...

@type_check_only
class ConflatingOwner(InboxOwner, Protocol):
    def on_key_error(self, error: BaseException, message: Message, /) -> object: ...

@disjoint_base
class DroppingInbox(Inbox):
    def drop_by(self, record: Record, max_age_ns: int = 0) -> None: ...
    def flush(self) -> None: ...

class DropOldestInbox(DroppingInbox): ...

@disjoint_base
class ConflatingInbox(DroppingInbox):
    def conflate_by(self, key_of: Callable[[Message], Hashable | None]) -> None: ...
