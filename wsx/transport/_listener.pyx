"""What picows has read into a FrameSink, and a FrameWriter's bytes into picows' transport.

picows reads and writes; splitting the stream and every rule above that is wsx's own. Uses picows' C layout, which is why
its version is pinned. Not here: opening and closing (picows.py).
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from wsx.errors import NotConnected


cdef enum:
    FIRST_BYTES = 32 * 1024
    MOST_BYTES = 128 * 1024              # more at once than the processor's caches hold makes a flood dearer


@cython.final
cdef class Listener(WSListener):
    """`owner` hears of the socket through it: writable or not, gone."""

    def __init__(self, owner):
        self._owner = owner

    cpdef on_ws_connected(self, WSTransport transport):
        # Every frame is written by wsx: with this flag up, picows writes none of its own (its mask keys are guessable).
        transport.is_close_frame_sent = True

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._owner.on_disconnected()

    cpdef pause_writing(self):
        self._owner.on_writing_paused()

    cpdef resume_writing(self):
        self._owner.on_writing_resumed()


@cython.final
cdef class Reader:
    """Gives the sink what picows has read into `buffer`, which grows once, where a read has filled it.

    `owner` hears where taking it failed on this side, for lack of memory say.
    """

    def __init__(self, FrameSink sink not None, owner):
        self._sink, self._owner = sink, owner
        self._allocate(FIRST_BYTES)

    def take(self, size_t size):
        """The buffer's first `size` bytes have come. Raises ValueError for more than it has."""
        cdef size_t room = PyByteArray_GET_SIZE(self._bytes)
        if size > room:
            raise ValueError(f"the buffer has {room} bytes, not {size}")
        try:
            self._sink.feed_bytes(<const uint8_t*>PyByteArray_AS_STRING(self._bytes), size)
            if size == room == FIRST_BYTES:
                self._allocate(MOST_BYTES)
        except Exception as error:
            self._owner.on_broken(error)

    cdef int _allocate(self, Py_ssize_t size) except -1:
        self._bytes = PyByteArray_FromStringAndSize(NULL, size)
        self.buffer = memoryview(self._bytes)  # which keeps it from moving
        return 0


@cython.final
cdef class PicowsWriter(FrameWriter):
    """Writes through picows' fast path: straight to the socket when nothing is queued."""

    def attach(self, WSTransport transport not None, underlying):
        """Begin to write to an upgraded connection. `underlying`: its asyncio transport."""
        self._transport = transport
        if hasattr(underlying, "write_nocheck"):
            # picows was given a muted transport during its handshake; from here on it writes to the real one.
            transport._tr_write = underlying.write_nocheck
            transport._is_aiofn_transport = True
        else:
            transport._tr_write = underlying.write
        self._is_closing = underlying.is_closing
        self._write_buffer_size = underlying.get_write_buffer_size

    def detach(self):
        """Write nothing more: the descriptor's number may soon belong to another socket."""
        self._transport = None

    cdef int write_bytes(self, const uint8_t* data, size_t size) except -1:
        cdef Py_ssize_t buffered
        if self._transport is None or self._transport.is_disconnected or self._is_closing():
            raise NotConnected("the connection is closed; nothing was sent")
        self._transport._fast_write(<char*>data, size)
        if self._is_closing():
            raise NotConnected("the socket broke while writing; the message did not leave")
        buffered = self._write_buffer_size()
        self._telemetry.counters.write_buffered_bytes = buffered
        if buffered > <Py_ssize_t>self._telemetry.counters.write_buffered_bytes_peak:
            self._telemetry.counters.write_buffered_bytes_peak = buffered
        return 0

    cdef Py_ssize_t buffered_bytes(self) except -1:
        return self._write_buffer_size() if self._transport is not None else 0
