# A FrameWriter above Python callables: for ends that are not on the client's hot path.

from wsx._writer cimport FrameWriter


cdef class PipeWriter(FrameWriter):
    cdef object _write                   # write(bytes); None before attach and after detach
    cdef object _buffered                # buffered() -> bytes that wait
