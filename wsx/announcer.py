"""Says what happens to one client: to its own `on_event`, and to whoever listens by name.

The last few events are kept, in words, so that an error can tell what came before it.
Not here: which events there are (events.py), listening by name (telemetry.py), when something happens (session.py).
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from wsx._telemetry import Telemetry
from wsx.clock import Clock
from wsx.events import Event
from wsx.telemetry import EVENTS, publish

_log = logging.getLogger("wsx")
_KEPT = 16  # events


class Announcer:
    """One client's voice. A handler that raises hurts nobody else: it is logged and counted."""

    def __init__(self, on_event: Callable[[Event], object] | None, telemetry: Telemetry, clock: Clock) -> None:
        self._on_event = on_event
        self._telemetry = telemetry
        self._clock = clock
        self._last: deque[Event] = deque(maxlen=_KEPT)

    def tell(self, kind: type[Event], client: str, epoch: int, **fields: Any) -> None:
        """Make the event and tell it."""
        event = kind(at_ns=self._clock.now_ns(), epoch=epoch, **fields)
        self._last.append(event)
        publish(client, event)
        if self._on_event is not None:
            self._tell_user(client, event)

    def emit(self, name: str, client: str, **fields: Any) -> None:
        """Tell an event that only those who listen by its name hear of."""
        signal = EVENTS[name]
        if signal.active:
            signal.emit(at_ns=self._clock.now_ns(), client=client, **fields)

    def last_events(self) -> tuple[str, ...]:
        """The newest events in words, the oldest first, each with its age."""
        now_ns = self._clock.now_ns()
        return tuple(f"{(now_ns - event.at_ns) / 1e9:.3f} s before: {_in_words(event)}" for event in self._last)

    def _tell_user(self, client: str, event: Event) -> None:
        assert self._on_event is not None
        try:
            self._on_event(event)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self._telemetry.add("errors_application")
            _log.exception("on_event of %r raised on %s", client, type(event).__name__)


def _in_words(event: Event) -> str:
    """Its name, its epoch and its plain numbers: texts may be the peer's, and long."""
    values = ((name, getattr(event, name)) for name in event.__dataclass_fields__ if name not in ("at_ns", "epoch"))
    numbers = [f", {name} {value:g}" for name, value in values if isinstance(value, int | float)]
    return f"{type(event).__name__} in epoch {event.epoch}{''.join(numbers)}"
