"""A callback that remembers when its newest message came: what one subscription's watch looks at.

Not here: how old is too old (stream_watch.py), which message is whose (_router.pyx).
"""

cimport cython


@cython.final
cdef class Watched:
    """Calls `callback(message)`, and notes the time of the message."""

    def __cinit__(self, callback not None):
        self.callback = callback

    def __call__(self, Message message not None):
        self.last_ns = message.received_ns
        if self.sight is not None:
            self._see(message)
        return self.callback(message)

    cdef int _see(self, Message message) except -1:
        """The stream was blind until this message: unless it ends a gap of everything, it carries this one's."""
        sight, self.sight = self.sight, None
        gap = sight(message)
        if message.gap is None:
            message.gap = gap
        return 0
