"""One named event, and who listens to it.

Nobody listening costs a look at one field: `if signal.active: signal.emit(...)`, which C code reads as a C field.
Not here: which other events there are, attaching by name and prefix, reporting a handler that raised (telemetry.py).
"""

cimport cython

from types import MappingProxyType

cdef object _report = None


def on_failure(report) -> None:
    """Have `report(handler_id, name, error)` called after a handler raised; it must not raise itself."""
    global _report
    _report = report


@cython.final
cdef class Signal:
    """An event by its name. text: when it happens. fields: what it carries -> unit or meaning."""

    def __cinit__(self, str name not None, str text not None, fields) -> None:
        self.name, self.text, self.fields = name, text, MappingProxyType(dict(fields))
        self._handlers = ()

    def emit(self, **values) -> None:
        """Call every handler with the name and `values`, which no handler can change.

        What a handler raises is reported and hurts nobody, CancelledError included; KeyboardInterrupt and SystemExit
        pass.
        """
        cdef object shown = MappingProxyType(values)
        for handler_id, handler in self._handlers:
            try:
                handler(self.name, shown)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                _report(handler_id, self.name, error)

    def listen(self, str handler_id not None, handler) -> None:
        """Call `handler(name, values)` from the next event on."""
        self._handlers = (*self._handlers, (handler_id, handler))
        self.active = True

    def forget(self, str handler_id not None) -> None:
        """Do not call this handler any more, from the next event on."""
        self._handlers = tuple([entry for entry in self._handlers if entry[0] != handler_id])
        self.active = len(self._handlers) > 0

    def __repr__(self) -> str:
        return f"<Signal {self.name!r}>"


# The two events of every message. They are here because the C code of the hot path looks at them.
cdef dict _FIELDS = {
    "at_ns": "nanoseconds of the monotonic clock",
    "client": "its name",
    "epoch": "number of the connection, from 1",
    "opcode": "1 text, 2 binary",
    "bytes": "bytes of its payload",
}
cdef Signal message_received = Signal("message.received", "a message was taken in", _FIELDS)
cdef Signal message_sent = Signal("message.sent", "a message went to the kernel or the write buffer", _FIELDS)
PER_MESSAGE = (message_received, message_sent)
