"""The private way of an `on_open` hook: it shares the socket with user traffic, which waits until the hooks end.

What arrives meanwhile is either the answer that a hook waits for or is held, in order, for the user.
Not here: when hooks run (client.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from wsx._message import Message
from wsx.config import Hook
from wsx.connection import Connection
from wsx.errors import ConnectionClosed, NotConnected, Outcome, RestoreFailed, SlowConsumer, WsxError

if TYPE_CHECKING:
    from wsx.session import Session

_TEXT, _BINARY = 0x1, 0x2
_POLICY_VIOLATION = 1008

IsAnswer: TypeAlias = Callable[[Message], bool]


class Route:
    """What a hook is given. `epoch`: number of the connection that it prepares. `session`: whose it is.

    room: messages and bytes that may be held.
    """

    def __init__(self, connection: Connection, room: tuple[int, int], session: "Session") -> None:
        self.session = session
        self.epoch = connection.assembler.epoch
        self.held: deque[Message] = deque()
        self._most_messages, self._most_bytes = room
        self._held_bytes = 0
        self._connection = connection
        self._task = asyncio.current_task()  # which runs the hooks
        self._asked: list[tuple[IsAnswer, asyncio.Future[Message]]] = []
        self.error: Exception | None = None  # what has ended the connection

    def send(self, data: Any, *, text: bool | None = None) -> None:
        """Send a message past the rate limit. Raises NotConnected where the connection has ended."""
        if self._connection.closing:
            raise NotConnected("the connection ended before it was restored; nothing was sent")
        self._connection.transport.writer.send(*_framed(data, text))

    def repeat(self, data: Any, seconds: float, *, text: bool | None = None) -> None:
        """Send a message every `seconds`, past the rate limit, for as long as this connection lives.

        For an exchange that wants to hear a ping of its own kind, such as `{"op":"ping"}`; what it answers is a message
        like any other. Raises ValueError where `seconds` is not above 0.
        """
        opcode, payload = _framed(data, text)
        self._connection.repeat(opcode, bytes(payload), seconds)

    async def request(self, data: Any, is_answer: IsAnswer, *, timeout: float) -> Message:
        """Send, and wait for the first message that `is_answer` accepts; it does not reach the user.

        Raises TimeoutError after `timeout` seconds, NotConnected when the connection ends first.
        """
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked.append((is_answer, answer))
        try:
            self.send(data)
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            self._asked.remove((is_answer, answer))

    def take(self, message: Message) -> None:
        """A message that came while hooks run: an answer, or held for the user."""
        for is_answer, answer in self._asked:
            if not answer.done() and _accepts(is_answer, message, answer):
                return
        self.held.append(message)
        self._held_bytes += len(message)
        if len(self.held) > self._most_messages or self._held_bytes > self._most_bytes:
            self._connection.fail(SlowConsumer(len(self.held), self._held_bytes, 0), _POLICY_VIOLATION)

    def check(self) -> None:
        """Raise what ended the connection, if anything did."""
        if self.error is not None:
            raise self.error
        if self._connection.closing:
            raise NotConnected("the connection ended before it was restored; nothing was sent")

    def is_asked_by_itself(self) -> bool:
        """Is it a hook that asks?"""
        return asyncio.current_task() is self._task

    def drop(self) -> None:
        """The client is closed: its hooks find nothing open any more."""
        self._connection.drop()

    def give_up(self, error: BaseException) -> BaseException:
        """Drop the connection, which could not be prepared; what is to be said of it."""
        failure, end = error, self._connection.outcome
        if isinstance(error, WsxError) and error.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT):
            if end is None:
                failure = RestoreFailed(str(error))
            else:
                failure = self.error or end.error or ConnectionClosed(end.code, end.reason)  # the hook only met it
        if failure is not error:
            failure.__cause__ = error
        self._connection.drop()
        return failure

    def fail(self, error: Exception) -> None:
        """The connection has ended: whoever waits is told."""
        self.error = error
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(error)


async def restore(route: Route, hooks: Iterable[Hook], subscriptions: Mapping[Any, bool | None]) -> list[Message]:
    """Prepare a connection: hooks in their order, then subscriptions; what came for the user meanwhile, in order.

    Where that does not succeed the connection is dropped. Raises what ended it, else what a hook raised; RestoreFailed
    where that hook had no answer, or could not send.
    """
    try:
        for hook in hooks:
            await hook(route)
        for message, text in list(subscriptions.items()):
            await route.session.outbox.pay()
            route.send(message, text=text)
        route.check()
    except BaseException as error:
        failure = route.give_up(error)
        raise failure from failure.__cause__
    return list(route.held)


def _framed(data: Any, text: bool | None) -> tuple[int, Any]:
    """Opcode and payload of a message."""
    as_text = isinstance(data, str) if text is None else text
    return _TEXT if as_text else _BINARY, data.encode() if isinstance(data, str) else data


def _accepts(is_answer: IsAnswer, message: Message, answer: "asyncio.Future[Message]") -> bool:
    """Give the message to whom it belongs. A test that raises fails its own hook, nobody else."""
    try:
        if not is_answer(message) or answer.done():  # it may have ended the connection
            return False
    except Exception as error:
        answer.set_exception(error)
        return False
    answer.set_result(message)
    return True
