"""What follows when the user is slower than the line, and when the user's code fails on a message: an inbox's owner.

A full inbox stops the reading of the socket until half of it is free again, for at most `max_pause`; then, or at once
where `inbox_policy` says "disconnect", the connection is failed with 1008.
Not here: what is dropped instead where the policy drops (_drops.pyx), where messages wait (_inbox.pyx).
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from wsx._message import Message
from wsx.errors import SlowConsumer
from wsx.events import CallbackFailed, ReadingPaused, ReadingResumed
from wsx.events import SlowConsumer as SlowConsumerEvent

if TYPE_CHECKING:
    from wsx.session import Session

_log = logging.getLogger("wsx")
_POLICY_VIOLATION = 1008


class SlowReader:
    """One client's reader, as its connection meets it. session: whose inbox it owns."""

    _paused_ns: int | None = None  # since when reading rests
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, session: "Session") -> None:
        self._session = session

    def stop(self) -> None:
        """The connection ends: nothing is paused any more."""
        self._paused_ns = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- InboxOwner -------------------------------------------------------------------------------------------------

    def on_inbox_full(self) -> None:
        """Stop reading for a while, or end the connection, as `inbox_policy` says."""
        connection = self._session.connection
        if connection is None or self._paused_ns is not None:
            return
        if connection.closing:
            self._go_blind()
        elif self._session.config.inbox_policy == "disconnect":
            self._give_up()
        else:
            connection.pause_reading()
            self._pause()

    def on_inbox_drained(self) -> None:
        """There is room again."""
        session = self._session
        if self._paused_ns is None or session.connection is None:
            return
        paused_ns = session.now_ns() - self._paused_ns
        self.stop()
        session.tell(ReadingResumed, paused_ns=paused_ns)
        session.connection.resume_reading()
        session.streams.start()

    def on_callback_error(self, error: BaseException, message: Message) -> None:
        """The user's callback raised: said, counted, and the connection stays up."""
        self._say_failed("on_message of %r raised; the connection stays up", error, message)

    def on_key_error(self, error: BaseException, message: Message) -> None:
        """The user's `conflate_key` raised: said, counted, and the message is kept."""
        self._say_failed("conflate_key of %r raised; the message is kept unconflated", error, message)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _go_blind(self) -> None:
        """To see the peer's CLOSE a closing connection is read on: blind from here, not from the last message."""
        session = self._session
        session.ledger.begin("", session.now_ns(), "inbox full while closing", epoch=session.epoch)
        session.inbox.divert = lambda message: None

    def _pause(self) -> None:
        session = self._session
        self._paused_ns = session.now_ns()
        session.telemetry.add("inbox_pauses")
        session.streams.stop()
        self._timer = asyncio.get_running_loop().call_later(session.config.max_pause, self._give_up)
        session.tell(ReadingPaused, inbox_messages=len(session.inbox), inbox_bytes=session.inbox.waiting_bytes)

    def _give_up(self) -> None:
        session, connection = self._session, self._session.connection
        assert connection is not None  # its end stops the timer
        messages, size = len(session.inbox), session.inbox.waiting_bytes
        paused_ns = session.now_ns() - self._paused_ns if self._paused_ns is not None else 0
        self.stop()
        session.tell(SlowConsumerEvent, inbox_messages=messages, inbox_bytes=size, paused_ns=paused_ns)
        connection.fail(SlowConsumer(messages, size, paused_ns / 1e9), _POLICY_VIOLATION)

    def _say_failed(self, text: str, error: BaseException, message: Message) -> None:
        self._session.telemetry.add("errors_application")
        _log.error(text, self._session.name, exc_info=error)
        self._session.tell(CallbackFailed, error=error, message_opcode=message.opcode)
