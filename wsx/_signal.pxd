# One named event: C code reads `active` before it gathers anything.

cimport cython


@cython.final
cdef class Signal:
    cdef readonly str name
    cdef readonly object fields          # field -> its unit or meaning
    cdef readonly str text
    cdef readonly bint active            # somebody listens
    cdef tuple _handlers                 # of (handler_id, handler), in the order of their coming


cdef Signal message_received
cdef Signal message_sent
