"""What routing needs of a JSON-RPC message, found in one pass over its bytes: no object is made, nothing is parsed.

    {"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.BTC-PERPETUAL.raw","data":{...}}}
                      ──────                            ───────                              ──── skipped, 64 bytes at a time

Where a full parse (orjson) succeeds, it gives what the scan found; where the scan cannot be sure, it says PARSE_ME: an
escape in a key or in a text that it reports, an id that is no whole number of at most 18 digits, a channel that is no
text, an envelope that does not end with the message. A key of the envelope that comes twice is REPEATED.
What lies inside `data`, `result` and keys that routing does not know is not looked at, save for strings and brackets: a
message that is broken there is routed, and found out when its payload is parsed.
Not here: what follows from it (_router.pyx), parsing (_json.pyx).
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from wsx._json cimport parse_bytes

cdef extern from "_json.h" nogil:
    const uint8_t* after_nested "wsx_after_nested"(const uint8_t* at, const uint8_t* end, int wide)
    int is_wide "wsx_is_wide"()
    const uint8_t* closing_quote "wsx_closing_quote"(const uint8_t* at, const uint8_t* end, int* escapes)

cdef enum:
    MOST_DIGITS = 18                     # of an id: fits in 63 bits


cdef object MESSAGE_KEYS = frozenset(("params", "method", "id", "result", "error"))
cdef object PARAMS_KEYS = frozenset(("data", "channel", "type"))
cdef int _wide = is_wide()               # what this processor has, asked once


cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end


# ---- steps: each moves the cursor past what it read, or says False ---------------------------------------------------

cdef inline uint8_t _peek(Cursor* cursor) noexcept nogil:
    """The next byte that is no white space, or 0 at the end."""
    while cursor.at < cursor.end:
        if cursor.at[0] > 0x20:
            return cursor.at[0]
        if cursor.at[0] != 0x20 and cursor.at[0] != 0x0A and cursor.at[0] != 0x0D and cursor.at[0] != 0x09:
            return 0
        cursor.at += 1
    return 0


cdef inline bint _take(Cursor* cursor, uint8_t byte) noexcept nogil:
    if _peek(cursor) != byte:
        return False
    cursor.at += 1
    return True


cdef inline bint _text(Cursor* cursor, Span* span) noexcept nogil:
    """A string without escapes."""
    cdef int escapes = 0
    if not _take(cursor, c'"'):
        return False
    span.start = cursor.at
    cursor.at = closing_quote(cursor.at, cursor.end, &escapes)
    if cursor.at == NULL or escapes:
        return False
    span.size = cursor.at - span.start
    cursor.at += 1
    return True


cdef bint _value(Cursor* cursor, Span* span) noexcept nogil:
    """Any value, whatever is in it."""
    cdef int escapes = 0
    cdef uint8_t first = _peek(cursor)
    span.start = cursor.at
    if first == c'{' or first == c'[':
        cursor.at = after_nested(cursor.at, cursor.end, _wide)
    elif first == c'"':
        cursor.at = closing_quote(cursor.at + 1, cursor.end, &escapes)
        cursor.at += cursor.at != NULL
    else:
        _skip_word(cursor)
    if cursor.at == NULL or cursor.at == span.start:
        return False
    span.size = cursor.at - span.start
    return True


cdef inline void _skip_word(Cursor* cursor) noexcept nogil:
    """A number, true, false or null."""
    while cursor.at < cursor.end and cursor.at[0] > 0x20 and cursor.at[0] not in b",]}":
        cursor.at += 1


cdef bint _id(Cursor* cursor, Fields* fields) noexcept nogil:
    cdef Span span
    if _peek(cursor) == c'"':
        fields.id_kind = TEXT_ID
        return _text(cursor, &fields.text_id)
    if not _value(cursor, &span):
        return False
    if equals(&span, b"null", 4):
        fields.id_kind = NULL_ID
        return True
    fields.id_kind = NUMBER_ID
    return _whole_number(&span, &fields.id)


cdef bint _whole_number(const Span* span, int64_t* number) noexcept nogil:
    """A number as RFC 8259 6 writes one without fraction and exponent, of at most MOST_DIGITS digits."""
    cdef bint negative = span.start[0] == c'-'
    cdef const uint8_t* digits = span.start + negative
    cdef Py_ssize_t count = span.size - negative
    cdef Py_ssize_t i
    if not 1 <= count <= MOST_DIGITS or (digits[0] == c'0' and span.size > 1):
        return False
    number[0] = 0
    for i in range(count):
        if not c'0' <= digits[i] <= c'9':
            return False
        number[0] = 10 * number[0] + (digits[i] - c'0')
    if negative:
        number[0] = -number[0]
    return True


# ---- the message and its params --------------------------------------------------------------------------------------

cdef int _message_member(Cursor* cursor, const Span* key, Fields* fields) noexcept nogil:
    """The value behind a key of the message."""
    cdef Span ignored
    if equals(key, b"params", 6):
        return REPEATED if fields.params.start else _params(cursor, fields)
    if equals(key, b"method", 6):
        return _once(fields.method.start) or not _text(cursor, &fields.method)
    if equals(key, b"id", 2):
        return REPEATED if fields.id_kind else not _id(cursor, fields)
    if equals(key, b"result", 6):
        return _once(fields.result.start) or not _value(cursor, &fields.result)
    if equals(key, b"error", 5):
        return _once(fields.error.start) or not _value(cursor, &fields.error)
    return not _value(cursor, &ignored)


cdef int _params_member(Cursor* cursor, const Span* key, Fields* fields) noexcept nogil:
    """The value behind a key of params."""
    cdef Span ignored
    if equals(key, b"data", 4):
        return _once(fields.data.start) or not _value(cursor, &fields.data)
    if equals(key, b"channel", 7):
        return _once(fields.channel.start) or not _text(cursor, &fields.channel)
    if equals(key, b"type", 4):
        return _once(fields.type.start) or not _text(cursor, &fields.type)
    return not _value(cursor, &ignored)


cdef inline int _once(const uint8_t* start) noexcept nogil:
    return REPEATED if start else FOUND


cdef inline int _members(Cursor* cursor, Fields* fields, bint of_params) noexcept nogil:
    """An object from its first to its last bracket: FOUND, PARSE_ME or REPEATED."""
    cdef Span key
    cdef int said
    cursor.at += 1
    if _take(cursor, c'}'):
        return FOUND
    while True:
        if not _text(cursor, &key) or not _take(cursor, c':'):
            return PARSE_ME
        said = _params_member(cursor, &key, fields) if of_params else _message_member(cursor, &key, fields)
        if said:
            return said
        if _take(cursor, c'}'):
            return FOUND
        if not _take(cursor, c','):
            return PARSE_ME


cdef int _params(Cursor* cursor, Fields* fields) noexcept nogil:
    """`params`: an object, in which the payload is looked for, or something else."""
    cdef int said
    if _peek(cursor) != c'{':
        return not _value(cursor, &fields.params)
    fields.params.start = cursor.at
    said = _members(cursor, fields, True)
    fields.params.size = cursor.at - fields.params.start
    return said


cdef int scan_envelope(const uint8_t* data, Py_ssize_t size, Fields* fields) noexcept nogil:
    """Find the envelope of the message in `data`: FOUND, PARSE_ME or REPEATED; `fields` holds only then for FOUND.

    Never reads past `size`; `fields` points into `data`.
    """
    cdef Cursor cursor
    cdef int said
    cursor.at, cursor.end = data, data + size
    fields.id_kind = NO_ID               # the rest counts only where there is a start: less to write than all of it
    fields.text_id.start = fields.method.start = fields.params.start = fields.channel.start = NULL
    fields.type.start = fields.data.start = fields.result.start = fields.error.start = NULL
    if _peek(&cursor) != c'{':
        return PARSE_ME
    said = _members(&cursor, fields, False)
    if said == FOUND and (_peek(&cursor) or cursor.at != cursor.end):
        return PARSE_ME
    return said


cdef list find_elements(const uint8_t* data, Py_ssize_t size, Py_ssize_t most):
    """(start, end) of each object in an array that holds nothing else, and `most` at most; or None."""
    cdef Cursor cursor
    cdef Span span
    cdef list found = []
    cursor.at, cursor.end = data, data + size
    if not _take(&cursor, c'['):
        return None
    while True:
        if len(found) == most or _peek(&cursor) != c'{' or not _value(&cursor, &span):
            return None
        found.append((span.start - data, cursor.at - data))
        if not _take(&cursor, c','):
            break
    return found if _take(&cursor, c']') and _peek(&cursor) == 0 and cursor.at == cursor.end else None


cdef bint has_repeated(const uint8_t* data, Py_ssize_t size) except -1:
    """Does a key of the envelope come twice in this object, which a full parse has accepted, however it is written?"""
    cdef Cursor cursor
    cursor.at, cursor.end = data, data + size
    return _repeats(&cursor, MESSAGE_KEYS)


cdef bint _repeats(Cursor* cursor, object keys) except -1:
    """The same for the object at the cursor, which moves past it. keys: those that count."""
    seen = set()
    _take(cursor, c'{')
    while (name := _key(cursor)) is not None:
        if name in seen or _value_repeats(cursor, name, keys):
            return True
        if name in keys:
            seen.add(name)
        if not _take(cursor, c','):
            break
    _take(cursor, c'}')
    return False


cdef bint _value_repeats(Cursor* cursor, object name, object keys) except -1:
    """The same within the value of a key, which the cursor moves past: only those of params count too."""
    cdef Span ignored
    if name == "params" and keys is MESSAGE_KEYS and _peek(cursor) == c'{':
        return _repeats(cursor, PARAMS_KEYS)
    _value(cursor, &ignored)
    return False


cdef object _key(Cursor* cursor):
    """The key at the cursor, as it reads without escapes; None where there is none."""
    cdef Span key
    return parse_bytes(key.start, key.size) if _value(cursor, &key) and _take(cursor, c':') else None


cdef inline bint equals(const Span* span, const uint8_t* text, Py_ssize_t size) noexcept nogil:
    """Are the bytes of the span these?"""
    return span.size == size and memcmp(span.start, text, size) == 0


# ---- for Python ------------------------------------------------------------------------------------------------------

@cython.final
cdef class Envelope:
    """What `scan` found. Spans are (start, end) in bytes; None: not there.

    id: int, str or None; has_id tells null from nothing. method, channel (params.channel), type (params.type): str.
    """

    def __repr__(self):
        return f"<Envelope id={self.id!r} method={self.method!r} channel={self.channel!r}>"


def use_wide_instructions(bint wide):
    """Whether to use what this processor has beyond the common ones, as it does by itself; False where it has not."""
    global _wide
    _wide = wide and is_wide()
    return bool(_wide)


def scan(bytes data not None):
    """The envelope of a JSON-RPC message, or None where only a full parse can tell (or says what is wrong)."""
    cdef Fields fields
    cdef const uint8_t* start = data
    if scan_envelope(start, len(data), &fields) != FOUND:
        return None
    try:
        return _envelope(start, &fields)
    except UnicodeDecodeError:           # no JSON text: RFC 8259 8.1
        return None


cdef Envelope _envelope(const uint8_t* start, const Fields* fields):
    cdef Envelope envelope = Envelope.__new__(Envelope)
    envelope.has_id = fields.id_kind != NO_ID
    envelope.id = fields.id if fields.id_kind == NUMBER_ID else _decoded(&fields.text_id)
    envelope.method = _decoded(&fields.method)
    envelope.channel = _decoded(&fields.channel)
    envelope.type = _decoded(&fields.type)
    envelope.has_error, envelope.has_result = fields.error.start != NULL, fields.result.start != NULL
    envelope.params_span = _place(start, &fields.params)
    envelope.data_span = _place(start, &fields.data)
    envelope.result_span = _place(start, &fields.result)
    envelope.error_span = _place(start, &fields.error)
    return envelope


cdef object _decoded(const Span* span):
    return None if span.start == NULL else span.start[:span.size].decode("utf-8")


cdef object _place(const uint8_t* data, const Span* span):
    return None if span.start == NULL else (span.start - data, span.start - data + span.size)
