"""From a message to its callbacks: by what its envelope says, without parsing it.

    message ─ scan ─▶ method and type of a rule?  its frame is written at once          (also while hooks run)
                  ├─▶ an answer?                  to whom waits for it                    (also while hooks run)
                  └─▶ exact channel ─▶ longest prefix ─▶ method ─▶ unrouted ─▶ flows on   (once the user may see it)

The most specific key that has callbacks gets the message, all its callbacks in the order of their coming; one that
raises is an application error and does not stop the others. What the scan leaves open is parsed once and routed alike.
Another format: a `scanner`, or a Cython subclass whose `take` finds the key and calls `deliver`.
Not here: what the envelope is (_envelope.pyx), who waits for answers (requester.py), the Python face (message_handler.py).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from wsx._correlation cimport Pending
from wsx._envelope cimport (
    FOUND, NUMBER_ID, PARSE_ME, REPEATED, TEXT_ID, Fields, Span, equals, find_elements, has_repeated,
    scan_envelope
)
from wsx._frame cimport TEXT
from wsx._json cimport parse, parse_bytes
from wsx._message cimport new_message

from wsx.errors import Outcome

cdef object _OK = Outcome.OK

cdef enum:
    SMALLEST_TABLE = 16

cdef enum:                               # what an answer holds
    RESULT = 0
    ERROR = 1
    NEITHER = 2
    BOTH = 3

cdef enum:                               # whether it has a result, an error
    ABSENT = 0
    EMPTY = 1                            # null
    THERE = 2


# ---- keys and their callbacks ----------------------------------------------------------------------------------------

cdef inline uint64_t _hash(const uint8_t* key, Py_ssize_t size) noexcept nogil:
    """Spreads keys over slots; eight bytes at a time, the last ones filled up with zeros."""
    cdef uint64_t hashed = <uint64_t>size * 0x9E3779B97F4A7C15ULL
    cdef uint64_t word
    while size > 0:
        word = 0
        memcpy(&word, key, 8 if size >= 8 else size)
        hashed = (hashed ^ word) * 0x9E3779B97F4A7C15ULL
        hashed ^= hashed >> 32
        key += 8
        size -= 8
    return hashed


@cython.final
cdef class Table:
    """Keys and their callbacks, found without making an object."""

    def __cinit__(self):
        self.handlers = {}
        self._rebuild(SMALLEST_TABLE)

    def __dealloc__(self):
        PyMem_Free(self._slots)

    def add(self, bytes key not None, handler):
        """Call `handler` too for this key."""
        handlers = (*self.handlers.get(key, ()), handler)
        if 2 * (<size_t>len(self.handlers) + 1) > self._capacity:
            self._rebuild(2 * self._capacity)
        self._place(key, handlers)

    def remove(self, bytes key not None, handler):
        """Do not call it any more. Raises ValueError where it was not called for this key."""
        left = list(self.handlers.get(key, ()))
        left.remove(handler)
        if left:
            self._place(key, tuple(left))
        else:
            self._displace(key)
            del self.handlers[key]       # last: what goes with it may run Python, which may look for the key

    cdef PyObject* find(self, const Span* key) noexcept:
        """The callbacks of a key, borrowed, or NULL."""
        cdef uint64_t hashed = _hash(key.start, key.size)
        cdef Slot* slot = self._slots + (hashed & (self._capacity - 1))
        while slot.key != NULL:
            if slot.hash == hashed and slot.size == key.size and memcmp(slot.key, key.start, key.size) == 0:
                return slot.handlers
            slot += 1
            if slot == self._slots + self._capacity:
                slot = self._slots
        return NULL

    cdef int _place(self, bytes key, tuple handlers) except -1:
        """Let the slots point to these callbacks of this key; there is a free one."""
        cdef uint64_t hashed = _hash(<const uint8_t*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        cdef size_t at = hashed & (self._capacity - 1)
        cdef Slot* slot = self._slots + at
        while slot.key != NULL and not (slot.hash == hashed and slot.key[:slot.size] == key):
            at = (at + 1) & (self._capacity - 1)
            slot = self._slots + at
        if slot.key == NULL:
            slot.hash, slot.size = hashed, PyBytes_GET_SIZE(key)
            slot.key = <const uint8_t*>PyBytes_AS_STRING(key)
        slot.handlers = <PyObject*>handlers
        self.handlers[key] = handlers        # a key that is there already stays the object that the slot points to
        return 0

    cdef void _displace(self, bytes key) noexcept:
        """Let no slot point to this key, which has one; those behind it that it had pushed away move up."""
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(key)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        cdef size_t last = self._capacity - 1
        cdef size_t free = _hash(text, size) & last, at
        cdef Slot* slots = self._slots
        while slots[free].size != size or memcmp(slots[free].key, text, size) != 0:
            free = (free + 1) & last
        at = (free + 1) & last
        while slots[at].key != NULL:
            if ((at - slots[at].hash) & last) >= ((at - free) & last):
                slots[free] = slots[at]
                free = at
            at = (at + 1) & last
        slots[free].key = NULL

    cdef int _rebuild(self, size_t capacity) except -1:
        cdef Slot* slots = self._slots
        if capacity != self._capacity:
            slots = <Slot*>PyMem_Malloc(capacity * sizeof(Slot))
            if slots == NULL:
                raise MemoryError
            PyMem_Free(self._slots)
        memset(slots, 0, capacity * sizeof(Slot))
        self._slots, self._capacity = slots, capacity
        for key, handlers in list(self.handlers.items()):
            self._place(key, handlers)
        return 0


# ---- messages --------------------------------------------------------------------------------------------------------

cdef class Router(Tap):
    """One inbox's tap: who gets which message."""

    def __cinit__(self, Inbox inbox not None):
        self.inbox = inbox
        self.channels, self.prefixes, self.methods = Table(), Table(), Table()
        self._rules, self._quiet_ids, self._longest_first = [], set(), ()

    def add_prefix(self, bytes prefix not None, handler):
        """Call `handler` for channels that begin so and have no callbacks of their own."""
        self.prefixes.add(prefix, handler)
        self._sort_prefixes()

    def remove_prefix(self, bytes prefix not None, handler):
        """Do not call it any more. Raises ValueError where it was not called for this prefix."""
        self.prefixes.remove(prefix, handler)
        self._sort_prefixes()

    def _sort_prefixes(self):
        self._longest_first = tuple(sorted(self.prefixes.handlers.items(), key=lambda item: -len(item[0])))

    def add_rule(self, bytes method not None, bytes kind not None, bytes payload not None):
        """Write `payload` as a text message whenever this method comes with `params.type` of this kind.

        Where it is a request, the answer to its id interests nobody.
        """
        self._rules = [rule for rule in self._rules if rule[:2] != (method, kind)] + [(method, kind, payload)]
        ids = [_id_in(rule[2]) for rule in self._rules]
        self._quiet_ids = {request_id for request_id in ids if type(request_id) in (int, str)}

    cdef bint take(self, Message message) except -1:
        cdef Fields fields
        cdef int said
        if self.scanner is not None or self.reader is not None:
            return self._custom(message)
        said = scan_envelope(<const uint8_t*>PyBytes_AS_STRING(message.data), PyBytes_GET_SIZE(message.data), &fields)
        if said != FOUND:
            return self._parsed(message, said)
        return self._route(message, &fields)

    cdef bint _route(self, Message message, const Fields* fields) except -1:
        cdef bint answered
        if fields.method.start == NULL:
            if self.answers is not None and (fields.id_kind or fields.result.start or fields.error.start):
                return self._answer(message, fields)
            return self.deliver(message, NULL, NULL)
        answered = fields.type.start != NULL and self._apply_rules(fields)
        return self.deliver(message, &fields.channel, &fields.method) or answered

    cdef bint deliver(self, Message message, const Span* channel, const Span* method) except -1:
        """Give the message to the callbacks of its channel or method; either may be NULL, or have no start."""
        cdef PyObject* found
        if not self.inbox.is_flowing():
            return False
        found = self._callbacks(channel, method)
        if found == NULL and self.unrouted is None:
            return False
        handlers = <tuple>found if found != NULL else (self.unrouted,)
        self.inbox.see(message)          # only now: it tells of the gap, and who hears that may take callbacks away
        for handler in <tuple>handlers:
            self.inbox.call(handler, message)
        return True

    cdef PyObject* _callbacks(self, const Span* channel, const Span* method) noexcept:
        """Those of the most specific key that has any: a tuple, borrowed, or NULL."""
        cdef PyObject* found = NULL
        if channel != NULL and channel.start != NULL:
            found = self.channels.find(channel)
            if found == NULL:
                found = self._by_prefix(channel)
        if found == NULL and method != NULL and method.start != NULL:
            found = self.methods.find(method)
        return found

    cdef PyObject* _by_prefix(self, const Span* channel) noexcept:
        cdef bytes prefix
        for item in self._longest_first:
            prefix = <bytes>(<tuple>item)[0]
            if (PyBytes_GET_SIZE(prefix) <= channel.size
                    and memcmp(PyBytes_AS_STRING(prefix), channel.start, PyBytes_GET_SIZE(prefix)) == 0):
                return <PyObject*>(<tuple>item)[1]
        return NULL

    cdef bint _apply_rules(self, const Fields* fields) except -1:
        """Write the frame of the rule that fits, if any does."""
        cdef bytes method, kind, payload
        for rule in self._rules:
            method, kind, payload = <tuple>rule
            if (equals(&fields.method, <const uint8_t*>PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method))
                    and equals(&fields.type, <const uint8_t*>PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind))):
                self._write(payload)
                return True
        return False

    cdef int _write(self, bytes payload) except -1:
        """A text message past every queue. A connection that is ending says so by itself, and is not written to."""
        if self.inbox.writer is None:
            return 0
        try:
            self.inbox.writer.write_frame(
                TEXT, True, <const uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)
            )
        except ConnectionError:
            return 0
        self.inbox._telemetry.counters.auto_answers += 1
        return 0

    # ---- answers -----------------------------------------------------------------------------------------------------

    cdef bint _answer(self, Message message, const Fields* fields) except -1:
        """An answer whose envelope was found: only its result or error is parsed."""
        cdef int kind = _kind(_presence(&fields.result), _presence(&fields.error))
        cdef const Span* span = &fields.error if kind == ERROR else &fields.result
        value = None
        if kind == RESULT or kind == ERROR:
            try:
                value = parse_bytes(span.start, span.size)
            except ValueError as error:
                return self._malformed(message, str(error))
        return self._give_answer(_id_of(fields), value, kind, message)

    cdef bint _give_answer(self, object request_id, object value, int kind, Message message) except -1:
        cdef Pending pending
        if self._quiet_ids and type(request_id) in (int, str) and request_id in self._quiet_ids:
            return True
        if kind == RESULT and type(request_id) is int and self.correlator is not None:
            pending = self.correlator.answer(request_id, _OK)
            if pending is not None:
                if not pending.waiter.done():
                    pending.waiter.set_result(message if pending.whole else value)
                if self.observer is not None:
                    self.observer(pending, message, None)
                return True
        return self.answers.take_answer(request_id, value, kind, message)

    # ---- what the scan left open -------------------------------------------------------------------------------------

    cdef bint _parsed(self, Message message, int said) except -1:
        """Parse the whole message, and route it as if it had been scanned."""
        if said == REPEATED:
            return self._malformed(message, "a key of the envelope comes twice")
        if message.data.lstrip()[:1] == b"[":
            return self._batch(message)
        try:
            document = parse(message.data)
        except ValueError as error:
            return self._malformed(message, str(error))
        if not isinstance(document, dict):
            return self._malformed(message, "not an object")
        if has_repeated(<const uint8_t*>PyBytes_AS_STRING(message.data), PyBytes_GET_SIZE(message.data)):
            return self._malformed(message, "a key of the envelope comes twice")
        return self._document(message, document)

    cdef bint _document(self, Message message, dict document) except -1:
        cdef Fields fields
        memset(&fields, 0, sizeof(fields))
        method, params = document.get("method"), document.get("params")
        if method is None and self.answers is not None and document.keys() & {"id", "result", "error"}:
            kind = _kind(_presence_in(document, "result"), _presence_in(document, "error"))
            value = document["error"] if kind == ERROR else document.get("result")
            return self._give_answer(document.get("id"), value, kind, message)
        texts = [
            text.encode() if isinstance(text, str) else None
            for text in (method, *map(params.get, ("channel", "type")))
        ] if isinstance(params, dict) else [method.encode() if isinstance(method, str) else None, None, None]
        _point(&fields.method, texts[0])
        _point(&fields.channel, texts[1])
        _point(&fields.type, texts[2])
        return self._route(message, &fields)

    cdef bint _batch(self, Message message) except -1:
        """An array of messages: each goes its own way."""
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(message.data)
        cdef Py_ssize_t most = self._most_elements()
        elements = find_elements(data, PyBytes_GET_SIZE(message.data), most)
        if not elements:
            return self._malformed(message, f"neither an object nor an array of objects, {most} at most")
        self.in_array = True
        try:
            for start, end in elements:
                self.inbox.receive(_element(message, data + <Py_ssize_t>start, end - start))
        finally:
            self.in_array = False
        return True

    cdef Py_ssize_t _most_elements(self) noexcept:
        """How many messages an array may hold: a short text may hold millions, each of which would be an object."""
        cdef Py_ssize_t waiting = self.inbox.max_messages
        return max(waiting, self.correlator.most_pending) if self.correlator is not None else waiting

    cdef bint _malformed(self, Message message, str what) except -1:
        """No JSON-RPC: said where somebody listens, and then it reaches nobody else."""
        if self.listener is None:
            return self.deliver(message, NULL, NULL)
        self.listener.on_malformed(message, what)
        return True

    # ---- another format ----------------------------------------------------------------------------------------------

    cdef bint _custom(self, Message message) except -1:
        cdef Span span
        if self.reader is not None and self.reader(message):
            return True
        key = self.scanner(message.data) if self.scanner is not None else None
        if key is None:
            return self.deliver(message, NULL, NULL)
        text = key.encode() if isinstance(key, str) else key
        _point(&span, text)
        return self.deliver(message, &span, &span)


cdef Message _element(Message message, const uint8_t* start, Py_ssize_t size):
    """A message out of one that holds several."""
    cdef Message element = new_message(message.opcode, start, size)
    element.received_ns, element.epoch = message.received_ns, message.epoch
    element.last_in_batch = message.last_in_batch
    return element


cdef inline int _presence(const Span* span) noexcept:
    if span.start == NULL:
        return ABSENT
    return EMPTY if equals(span, b"null", 4) else THERE


cdef int _presence_in(dict document, str key) except -1:
    if key not in document:
        return ABSENT
    return EMPTY if document[key] is None else THERE


cdef inline int _kind(int result, int error) noexcept:
    """Which of the two presences counts. Many servers write both, and null for what is not there, as JSON-RPC 1.0 did."""
    if error == THERE:
        return BOTH if result == THERE else ERROR
    return NEITHER if result == ABSENT else RESULT


cdef object _id_of(const Fields* fields):
    if fields.id_kind == NUMBER_ID:
        return fields.id
    return fields.text_id.start[:fields.text_id.size].decode("utf-8", "replace") if fields.id_kind == TEXT_ID else None


cdef object _id_in(bytes payload):
    """The id of a request, parsed: however it is written. None where there is none, or where it is no JSON."""
    try:
        document = parse(payload)
    except ValueError:
        return None
    return document.get("id") if isinstance(document, dict) else None


cdef int _point(Span* span, bytes text) except -1:
    """Let a span show `text`, which the caller keeps."""
    span.start = <const uint8_t*>NULL if text is None else <const uint8_t*>PyBytes_AS_STRING(text)
    span.size = 0 if text is None else PyBytes_GET_SIZE(text)
    return 0
