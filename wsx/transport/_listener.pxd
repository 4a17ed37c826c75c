# What picows has read into a FrameSink, and a FrameWriter's bytes into picows' transport.

from picows.picows cimport WSListener, WSTransport

from wsx._frame cimport FrameSink
from wsx._writer cimport FrameWriter


cdef class Listener(WSListener):
    cdef object _owner                   # on_disconnected(), on_writing_paused(), on_writing_resumed()


cdef class Reader:
    cdef readonly object buffer          # a memoryview of the bytes
    cdef bytearray _bytes
    cdef FrameSink _sink
    cdef object _owner                   # on_broken(error)
    cdef int _allocate(self, Py_ssize_t size) except -1


cdef class PicowsWriter(FrameWriter):
    cdef WSTransport _transport          # None before the upgrade and after close
    cdef object _is_closing
    cdef object _write_buffer_size
