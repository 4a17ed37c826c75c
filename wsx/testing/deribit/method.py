"""What a method of the exchange is: a row of its table. Not here: the methods (basic_methods.py and its like)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsx.testing.deribit.params import Params
    from wsx.testing.deribit.session import Session


@dataclass(frozen=True, slots=True)
class Method:
    """run(session, params) gives the result, or raises Refusal.

    right: what the client must be allowed ("account:read"); "": to be logged in is enough; None: anyone may ask.
    worker: who answers; only the answers of one worker keep their order.
    """

    run: "Callable[[Session, Params], Any]"
    right: str | None = None
    worker: str = "public"
