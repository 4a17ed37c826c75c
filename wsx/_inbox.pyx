"""Where messages wait, and the fast lane of `async for`.

`Inbox` is one client's: it outlives connections. With a callback it hands each message over inline, in the read path;
without one it keeps them in a ring, bounded in messages and bytes, for one reader.
A `Tap` is asked before anybody else, also while a connection is restored: answers and heartbeats are taken there.
`MessageIterator` gives a waiting message back from its `am_send` slot: no task switch, no exception per message.
Not here: what a full inbox means for the connection (session.py), inboxes that drop (_drops.pyx).
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF

from asyncio import get_running_loop as _get_running_loop

cdef extern from *:
    """
    /* The two slots through which a step is awaited, in C because raising in Cython costs more than the message.
     * Python 3.11 awaits through am_send; later versions call tp_iternext and take the message out of a StopIteration.
     * MessageIterator._step is what both are about. */
    static sendfunc wsx_step;
    static PyStopIterationObject *wsx_stop; /* raised again and again while nobody has kept it */

    /* Raises StopIteration(value); steals the reference. */
    static void wsx_raise_stop(PyObject *value)
    {
    #if PY_VERSION_HEX >= 0x030C0000
        PyStopIterationObject *stop = wsx_stop;
        if (!stop || Py_REFCNT(stop) > 1 || stop->traceback || stop->context || stop->cause) {
            stop = (PyStopIterationObject *)PyObject_CallNoArgs(PyExc_StopIteration);
            if (!stop) {
                Py_DECREF(value);
                return;
            }
            Py_XSETREF(wsx_stop, stop);
        }
        Py_XSETREF(stop->value, value);
        PyErr_SetRaisedException(Py_NewRef(stop));
    #else
        PyErr_SetObject(PyExc_StopIteration, value);
        Py_DECREF(value);
    #endif
    }

    static PyObject *wsx_next(PyObject *self)
    {
        PyObject *result = NULL;
        PySendResult status = wsx_step(self, Py_None, &result);
        if (status == PYGEN_RETURN) {
            wsx_raise_stop(result);
            return NULL;
        }
        if (wsx_stop && Py_REFCNT(wsx_stop) == 1)
            Py_CLEAR(wsx_stop->value); /* while nothing comes, the last message is not held here */
        return result;
    }

    static void wsx_set_step(PyTypeObject *type, sendfunc step)
    {
        wsx_step = step;
        type->tp_iternext = wsx_next;
        type->tp_as_async->am_send = step;
        type->tp_flags |= 1UL << 21; /* Py_TPFLAGS_HAVE_AM_SEND: private name, fixed by the stable ABI */
    }

    /* callback(message). A bound method is taken apart here: its own call would put the two arguments together anew. */
    static inline PyObject *wsx_call(PyObject *callback, PyObject *message)
    {
        if (PyMethod_Check(callback)) {
            PyObject *arguments[] = {PyMethod_GET_SELF(callback), message};
            return PyObject_Vectorcall(PyMethod_GET_FUNCTION(callback), arguments, 2, NULL);
        }
        return PyObject_CallOneArg(callback, message);
    }

    /* For a place where the interpreter's error is set already. */
    static int wsx_raise_current(void)
    {
        return -1;
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef PySendResult (*sendfunc)(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR
    void wsx_set_step(PyTypeObject* type, sendfunc step)
    PyObject* call_with "wsx_call"(object callback, object message) noexcept
    int raise_current "wsx_raise_current"() except -1
    void Py_DECREF_pointer "Py_DECREF"(PyObject* pointer)

cdef enum:
    SMALLEST_RING = 64                   # messages


cdef class Tap:
    """Takes messages out of the stream before anybody else sees them."""

    cdef bint take(self, Message message) except -1:
        """Is this message for the tap alone? What it raises is reported, and the message goes on."""
        raise NotImplementedError


cdef class Inbox(MessageReceiver):
    """One client's messages between the socket and their reader.

    owner: hears `on_inbox_full()`, `on_inbox_drained()` and `on_callback_error(error, message)`.
    callback: called with each message once `start()` was called; None: messages wait to be read.
    A limit may be passed by what one read of the socket still brings after `on_inbox_full()`.
    """

    def __cinit__(self, owner, Telemetry telemetry not None, *, callback=None, size_t max_messages=65536,
                  size_t max_bytes=16 << 20):
        self._owner = owner
        self._telemetry = telemetry
        self._callback = callback
        self.max_messages = max_messages
        self.max_bytes = max_bytes

    def __dealloc__(self):
        cdef size_t i
        for i in range(self._count):
            Py_DECREF_pointer(self._ring[(self._head + i) & (self._capacity - 1)])
        PyMem_Free(self._ring)

    def __len__(self):
        return self._count

    def start(self):
        """Let the tap's callbacks and the callback run: first over what has waited, then inline."""
        if not self._started:
            self._routing = True
            self._catch_up()
            self._started = True

    def end(self, error=None):
        """Nothing more comes. What waits can still be read; then reading raises `error`, or ends."""
        if not self.ended:
            self.ended = True
            self.error = error
            self._wake()

    def deliver(self, Message message not None):
        """A message that was held back, as if it came now."""
        self.receive(message)

    def interrupt(self, error not None):
        """Raise `error` to the reader once, after what waits; more may come later."""
        self._interruption = error
        self._wake()

    @property
    def has_callback(self):
        """Are messages handed over rather than kept?"""
        return self._callback is not None

    @property
    def flowing(self):
        """May messages be handed to the user? Not before `start`, nor while hooks run."""
        return self.is_flowing()

    @property
    def waiting_bytes(self):
        """Payload bytes that wait to be read."""
        return self._bytes

    cdef int receive(self, Message message) except -1:
        if cython.unlikely(self.ended):
            return 0
        if cython.unlikely(self.tap is not None):
            if self._tapped(message):
                return 0
        if cython.unlikely(self.divert is not None):
            self.divert(message)
            return 0
        if cython.unlikely(self.sight is not None):
            self.see(message)
        if self._started and self._callback is not None:
            return self._call(self._callback, message)
        return self._push(message)

    cdef bint is_flowing(self) noexcept:
        return self._routing and self.divert is None

    cdef int see(self, Message message) except -1:
        """The message is about to reach the user: where it ends a gap, it carries it."""
        if self.sight is not None:
            sight, self.sight = self.sight, None
            message.gap = sight(message)
        return 0

    cdef bint _tapped(self, Message message) except -1:
        try:
            return self.tap.take(message)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._owner.on_callback_error(error, message)
        return False

    cdef int _catch_up(self) except -1:
        """Hand over what came before `start`; what nobody takes goes on waiting, in its order."""
        cdef size_t waiting = self._count if self.tap is not None or self._callback is not None else 0
        cdef Message message
        while waiting:
            message = self._pop()        # None where an inbox that drops had nothing worth reading
            if message is not None and not (self.tap is not None and self._tapped(message)):
                if self._callback is not None:
                    self._call(self._callback, message)
                else:
                    self._push(message)
            waiting = self._count if self._callback is not None else min(waiting - 1, self._count)
        return 0

    cdef int call(self, object callback, Message message) except -1:
        """Run a callback, for a tap."""
        return self._call(callback, message)

    cdef inline int _call(self, object callback, Message message) except -1:
        """Run a callback; what it raises is the owner's business, save what ends the process."""
        cdef PyObject* result = call_with(callback, message)
        if result == NULL:
            return self._callback_failed(message)
        Py_DECREF_pointer(result)
        return 0

    cdef int _callback_failed(self, Message message) except -1:
        # Apart from `_call`, which pays nothing for it.
        try:
            raise_current()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._owner.on_callback_error(error, message)
        return 0

    cdef int _push(self, Message message) except -1:
        if self._count == self._capacity:
            self._grow()
        Py_INCREF(message)
        self._ring[(self._head + self._count) & (self._capacity - 1)] = <PyObject*>message
        self._count += 1
        self._bytes += len(message.data)
        self._gauge()
        if self._waiter is not None and not self._woken:
            self._wake()
        if not self.full and (self._count >= self.max_messages or self._bytes >= self.max_bytes):
            self._at_limit()
        return 0

    cdef int _at_limit(self) except -1:
        """A limit is reached: say so, once until there is room again."""
        self.full = True
        self._owner.on_inbox_full()
        return 0

    cdef Message _pop(self):
        """The oldest message; one waits. None: none that may still be read (_drops.pyx)."""
        cdef PyObject* first = self._ring[self._head]
        message = <Message>first
        Py_DECREF_pointer(first)
        self._head = (self._head + 1) & (self._capacity - 1)
        self._count -= 1
        self._bytes -= len(message.data)
        self._gauge()
        if not self._count and self._capacity > 16 * SMALLEST_RING:
            self._resize(SMALLEST_RING)          # where that fails the ring stays as it is
        if self.full and 2 * self._count <= self.max_messages and 2 * self._bytes <= self.max_bytes:
            self.full = False
            self._owner.on_inbox_drained()
        return message

    cdef int _grow(self) except -1:
        """Make room in the ring. Raises MemoryError, with everything as it was."""
        if not self._resize(max(<size_t>SMALLEST_RING, 2 * self._capacity)):
            raise MemoryError
        return 0

    cdef bint _resize(self, size_t capacity) noexcept:
        """Move to a ring of another size, a power of two that holds what waits. False for lack of memory."""
        cdef PyObject** ring = <PyObject**>PyMem_Realloc(NULL, capacity * sizeof(PyObject*))
        cdef size_t i
        if ring == NULL:
            return False
        for i in range(self._count):
            ring[i] = self._ring[(self._head + i) & (self._capacity - 1)]
        PyMem_Free(self._ring)
        self._ring = ring
        self._capacity = capacity
        self._head = 0
        return True

    cdef void _gauge(self) noexcept:
        """Write the depths where telemetry readers find them."""
        counters = self._telemetry.counters
        counters.inbox_messages = self._count
        counters.inbox_bytes = self._bytes
        if self._count > counters.inbox_messages_peak:
            counters.inbox_messages_peak = self._count
        if self._bytes > counters.inbox_bytes_peak:
            counters.inbox_bytes_peak = self._bytes

    cdef int _wake(self) except -1:
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return 0

    cdef object _wait(self):
        """A future that the next message, or the end, fulfils."""
        self._waiter = _get_running_loop().create_future()
        self._woken = False
        return self._waiter


@cython.final
cdef class MessageIterator:
    """One reader's messages, one after another; also the awaitable of each step, so that a step allocates nothing."""

    def __cinit__(self, Inbox inbox not None):
        self._inbox = inbox

    def __aiter__(self):
        return self

    def __anext__(self):
        return self

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)           # next() and await come through wsx_next instead

    def send(self, value):
        """One step as a coroutine makes it: yields what to wait for, or raises StopIteration(message)."""
        cdef PyObject* result = NULL
        cdef int status = self._step(&result)
        outcome = <object>result
        Py_DECREF_pointer(result)
        if status == PYGEN_RETURN:
            raise StopIteration(outcome)
        return outcome

    def throw(self, error, value=None, traceback=None):
        """Cancelled while waiting: the waiting future is given up, no message is lost."""
        self.close()
        raise error if value is None else value

    def close(self):
        """Give up waiting."""
        if self._waiting is not None and self._waiting is self._inbox._waiter:
            self._inbox._waiter = None
        self._waiting = None

    cdef int _step(self, PyObject** result) except -1:
        """A message (PYGEN_RETURN), what to wait for (PYGEN_NEXT), or the end as an exception."""
        cdef Inbox inbox = self._inbox
        cdef PySendResult status = PYGEN_RETURN
        cdef object outcome = None
        if inbox._waiter is not None:
            self._resume()
        if inbox._count:
            outcome = inbox._pop()
        if outcome is None:
            outcome, status = self._wait_or_end(), PYGEN_NEXT
        Py_INCREF(outcome)
        result[0] = <PyObject*>outcome
        return status

    cdef object _wait_or_end(self):
        """What to wait for, or the end as an exception: there is no message."""
        cdef Inbox inbox = self._inbox
        if inbox.ended:
            # The traceback of the reading before this one is dropped: it would grow with each.
            raise StopAsyncIteration if inbox.error is None else inbox.error.with_traceback(None)
        if inbox._interruption is not None:
            interruption, inbox._interruption = inbox._interruption, None
            raise interruption
        self._waiting = inbox._wait()
        return next(self._waiting.__await__())

    cdef int _resume(self) except -1:
        """Go on after waiting. Raises RuntimeError where somebody else waits, or is being woken."""
        if self._waiting is not self._inbox._waiter or not self._waiting.done():
            raise RuntimeError("another task is already reading this client's messages; one reader at a time")
        self._waiting = self._inbox._waiter = None
        return 0


cdef PySendResult _am_send(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    return <PySendResult>(<MessageIterator>self)._step(result)


wsx_set_step(<PyTypeObject*>MessageIterator, _am_send)
