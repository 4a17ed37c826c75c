"""What differs between protocols of requests and answers: how a request is written, and how an answer is known.

JSON-RPC's strategy is in json_rpc.py; another protocol brings its own `Strategy` to a `Requester`.
Not here: ids, what is pending (_correlation.pyx, whose `Correlator` is shown here too), sending (requester.py).
"""

from dataclasses import dataclass
from typing import Any, Protocol

from wsx._correlation import Correlator, Pending
from wsx._message import Message
from wsx.errors import RpcError

__all__ = ["Answer", "Correlator", "Pending", "Strategy"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a strategy found in a message. request_id: as the message has it. error: a refusal; None: `value` is it."""

    request_id: Any
    value: Any = None
    error: RpcError | None = None


class Strategy(Protocol):
    """How one protocol writes requests and knows answers."""

    def encode(self, request_id: int, method: str, params: Any) -> bytes:
        """The message that asks for `method`, as UTF-8. Raises TypeError or ValueError for what cannot be written."""

    def read(self, message: Message) -> Answer | None:
        """The answer that a message is, or None where it is none. Called inline, once for each message."""
