"""What one message says about a book, read from its bytes in one pass: ids, kind, instrument, and the levels.

A message is a whole notification or only the object in its `params.data`. Its keys come in any order, unknown ones are
skipped, null is as good as nothing where a field may be missing, a text may hold escapes. A known key that comes twice or with a value of another
type makes the message faulty; the reader goes on to the end all the same, because what is not JSON is another fault.
Levels are exact decimals in no scale yet, and nothing is changed by reading: who reads decides then.
Not here: what the fields mean for a book (_book.pyx), JSON itself (_json_reader.h).
"""

from libc.stddef cimport size_t
from libc.stdint cimport SIZE_MAX, int64_t, uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp

from wsx._json_reader cimport Decimal64, JsonText, json_is, json_key, json_number, json_skip, json_space, json_string
from wsx._levels cimport MAX_LEVELS

cdef enum:                               # known keys: bits of BookFields.seen; the sides' are the sides
    TYPE = 2
    INSTRUMENT
    ID                                   # and the two behind it, as in `ids`
    UNKNOWN_KEY = ID + 3

cdef enum:                               # where in a message an object is
    TOP, PARAMS, DATA
    CHANNEL                              # no object, and a bit beside theirs in Reading.seen

# The levels of the message that is being read. One for all books: a message is read and applied before any Python runs.
cdef Edit* _edits = NULL
cdef size_t _edits_room = 0
cdef size_t _edit_count = 0


cdef const Edit* edits() noexcept nogil:
    return _edits


cdef Edit* new_edit(BookFields* fields, int* trouble) noexcept nogil:
    global _edits, _edits_room, _edit_count
    cdef size_t room = 2 * _edits_room if _edits_room else 64
    cdef Edit* grown
    if _edit_count == _edits_room:
        if _edit_count >= 2 * MAX_LEVELS:
            trouble[0] = TOO_MANY
            return NULL
        grown = <Edit*>realloc(_edits, room * sizeof(Edit))
        if grown == NULL:
            trouble[0] = NO_MEMORY
            return NULL
        _edits, _edits_room = grown, room
    _edit_count += 1
    fields.end_edit = _edit_count
    return &_edits[_edit_count - 1]


cdef void begin_edits(BookFields* fields) noexcept nogil:
    global _edit_count
    _edit_count = 0
    _begin(fields)


cdef inline void _begin(BookFields* fields) noexcept nogil:
    fields.seen = 0
    fields.faulty = False
    fields.kind = UNSAID
    fields.ids[CHANGE_ID] = fields.ids[PREV_CHANGE_ID] = fields.ids[TIMESTAMP] = -1
    fields.first_edit = fields.end_edit = _edit_count
    fields.instrument.size = 0


# ---- reading: each function takes where it is and the end, and gives where it is then; NULL where it cannot be ----


cdef inline const char* _after(const char* at, const char* end, char character) noexcept nogil:
    """Behind `character` and the space around it."""
    if at == NULL:
        return NULL
    at = json_space(at, end)
    return json_space(at + 1, end) if at < end and at[0] == character else NULL


cdef inline const char* _read_action(const char* at, const char* end, Edit* edit) noexcept nogil:
    """The action and the comma behind it."""
    cdef JsonText word
    at = json_string(at, end, &word)
    if at == NULL:
        return NULL
    if json_is(&word, "new", 3):
        edit.action = NEW
    elif json_is(&word, "change", 6):
        edit.action = CHANGED
    elif json_is(&word, "delete", 6):
        edit.action = DELETE
    else:
        return NULL
    return _after(at, end, c",")


cdef const char* _read_end_of_delete(const char* at, const char* end, Edit* edit) noexcept nogil:
    """What stands where the amount would be does not count, and may be left out."""
    cdef const char* behind = _after(at, end, c",")
    edit.amount.mantissa = edit.amount.exponent = 0
    if behind != NULL:
        at = json_skip(behind, end)
    return _after(at, end, c"]")


cdef inline const char* _read_edit(const char* at, const char* end, Edit* edit) noexcept nogil:
    """[action, price, amount] or [price, amount]; NULL for anything else, JSON or not."""
    at = _after(at, end, c"[")
    if at == NULL:
        return NULL
    edit.action = BARE
    if at < end and at[0] == c'"':
        at = _read_action(at, end, edit)
        if at == NULL:
            return NULL
    at = json_number(at, end, &edit.price)
    if edit.action == DELETE:
        return _read_end_of_delete(at, end, edit)
    at = _after(at, end, c",")
    return _after(json_number(at, end, &edit.amount), end, c"]") if at != NULL else <const char*>NULL


cdef inline const char* _read_level(const char* at, const char* end, Edit* edit, BookFields* fields) noexcept nogil:
    cdef const char* behind = _read_edit(at, end, edit)
    if behind == NULL:                   # not a level; is it JSON?
        fields.faulty = True
        behind = json_skip(json_space(at, end), end)
    return behind


cdef const char* _read_side(const char* at, const char* end, uint8_t side, BookFields* fields, int* trouble) \
        noexcept nogil:
    """An array of levels. at: behind the bracket that opens it."""
    cdef Edit* edit
    cdef const char* behind
    while True:
        edit = new_edit(fields, trouble)
        if edit == NULL:
            return NULL
        edit.side = side
        behind = _read_level(at, end, edit, fields)
        if behind == NULL:
            return NULL
        at = _after(behind, end, c",")
        if at == NULL:
            return _after(behind, end, c"]")


cdef const char* _read_levels(const char* at, const char* end, uint8_t side, BookFields* fields, int* trouble) \
        noexcept nogil:
    """The value of `bids` or `asks`."""
    cdef const char* behind = _after(at, end, c"[")
    if behind == NULL:
        fields.faulty = True
        return json_skip(at, end)
    if behind < end and behind[0] == c"]":
        return behind + 1
    return _read_side(behind, end, side, fields, trouble)


cdef inline bint _whole(const Decimal64* number, int64_t* out) noexcept nogil:
    """The number as an integer that is not negative, if it is one."""
    return number.mantissa >= 0 and fitted(number, 0, out) == 0


cdef inline const char* _read_id(const char* at, const char* end, int64_t* out, BookFields* fields) noexcept nogil:
    """A whole number; null is none."""
    cdef Decimal64 number
    cdef const char* behind = json_number(at, end, &number)
    if behind == NULL:
        fields.faulty |= at < end and at[0] != c"n"
        return json_skip(at, end)
    fields.faulty |= not _whole(&number, out)
    return behind


cdef const char* _read_type(const char* at, const char* end, BookFields* fields) noexcept nogil:
    cdef JsonText word
    cdef const char* behind = json_string(at, end, &word)
    if behind == NULL:
        fields.faulty |= at < end and at[0] != c"n"
        return json_skip(at, end)
    fields.kind = CHANGE if json_is(&word, "change", 6) else SNAPSHOT if json_is(&word, "snapshot", 8) else OTHER_KIND
    return behind


cdef const char* _read_instrument(const char* at, const char* end, BookFields* fields) noexcept nogil:
    cdef const char* behind = json_string(at, end, &fields.instrument)
    if behind == NULL:
        fields.instrument.size = 0
        fields.faulty |= at < end and at[0] != c"n"
        return json_skip(at, end)
    return behind


cdef inline int _known_key(const JsonText* key) noexcept nogil:
    if key.size == 4:
        return BIDS if json_is(key, "bids", 4) else ASKS if json_is(key, "asks", 4) \
            else TYPE if json_is(key, "type", 4) else UNKNOWN_KEY
    if key.size == 9:
        return ID + CHANGE_ID if json_is(key, "change_id", 9) \
            else ID + TIMESTAMP if json_is(key, "timestamp", 9) else UNKNOWN_KEY
    if key.size == 14:
        return ID + PREV_CHANGE_ID if json_is(key, "prev_change_id", 14) else UNKNOWN_KEY
    return INSTRUMENT if json_is(key, "instrument_name", 15) else UNKNOWN_KEY


cdef inline const char* _read_field(const char* at, const char* end, const JsonText* key, BookFields* fields,
                                    int* trouble) noexcept nogil:
    cdef int known = _known_key(key)
    if known == UNKNOWN_KEY:
        return json_skip(at, end)
    fields.faulty |= fields.seen >> known & 1
    fields.seen |= 1 << known
    if known <= ASKS:
        return _read_levels(at, end, known, fields, trouble)
    if known == TYPE:
        return _read_type(at, end, fields)
    if known == INSTRUMENT:
        return _read_instrument(at, end, fields)
    return _read_id(at, end, &fields.ids[known - ID], fields)


cdef const char* _read_object(const char* at, const char* end, Reading* reading, int where) noexcept nogil:
    """The members of an object. at: behind the brace that opens it."""
    cdef JsonText key
    at = json_space(at, end)
    if at < end and at[0] == c"}":
        return at + 1
    while True:
        at = json_key(json_space(at, end), end, &key)
        if at == NULL:
            return NULL
        at = _read_member(at, end, &key, reading, where)
        if at == NULL:
            return NULL
        at = json_space(at, end)
        if at == end or at[0] != c",":
            return at + 1 if at < end and at[0] == c"}" else NULL
        at += 1


cdef inline const char* _read_member(const char* at, const char* end, const JsonText* key, Reading* reading, int where) \
        noexcept nogil:
    if where == DATA:
        return _read_field(at, end, key, &reading.data, &reading.trouble)
    if where == PARAMS and json_is(key, "channel", 7):
        return _read_channel(at, end, reading)
    if where == PARAMS:
        return _read_inner(at, end, reading, DATA) if json_is(key, "data", 4) else json_skip(at, end)
    if json_is(key, "params", 6):
        return _read_inner(at, end, reading, PARAMS)
    return _read_field(at, end, key, &reading.top, &reading.trouble)


cdef inline const char* _read_channel(const char* at, const char* end, Reading* reading) noexcept nogil:
    cdef const char* behind = json_string(at, end, &reading.channel)
    reading.repeated |= reading.seen >> CHANNEL & 1
    reading.seen |= 1 << CHANNEL
    if behind == NULL:
        reading.channel.size = 0
        return json_skip(at, end)
    return behind


cdef const char* _read_inner(const char* at, const char* end, Reading* reading, int where) noexcept nogil:
    """The value of `params` or `data`."""
    reading.repeated |= reading.seen >> where & 1
    reading.seen |= 1 << where
    if at == end or at[0] != c"{":
        return json_skip(at, end)
    if where == DATA:
        reading.has_data = True
        _begin(&reading.data)
    return _read_object(at + 1, end, reading, where)


cdef int read_message(const char* data, size_t size, Reading* reading) noexcept nogil:
    """FINE, or why it cannot be believed."""
    cdef const char* end = data + size
    cdef const char* at = json_space(data, end)
    begin_edits(&reading.top)
    reading.seen = 0
    reading.channel.size = 0
    reading.has_data = reading.repeated = False
    reading.trouble = NOT_JSON
    if at < end and at[0] == c"{":
        at = _read_object(at + 1, end, reading, TOP)
    else:
        at = json_skip(at, end)
    return FINE if at != NULL and json_space(at, end) == end else reading.trouble


# ---- judging what was read ----


cdef inline bint _is_book_channel(const JsonText* channel) noexcept nogil:
    return 5 <= channel.size < SIZE_MAX and memcmp(channel.at, b"book.", 5) == 0


cdef inline bint _is_channel_of(const JsonText* channel, const char* name, size_t size) noexcept nogil:
    """`book.NAME`, or that and more behind a dot."""
    cdef size_t whole = 5 + size
    if not _is_book_channel(channel) or channel.size < whole or memcmp(channel.at + 5, name, size) != 0:
        return False
    return channel.size == whole or channel.at[whole] == c"."


cdef inline bint _concerns(const Reading* reading, const BookFields* fields, const char* name, size_t size) noexcept nogil:
    """Its name counts, then its channel, whatever is left of it there, and then what it holds."""
    cdef bint is_in_channel = _is_channel_of(&reading.channel, name, size)
    if fields.instrument.size and not json_is(&fields.instrument, name, size):
        return False
    if is_in_channel or not fields.seen & (1 << BIDS | 1 << ASKS | 1 << ID + CHANGE_ID | 1 << ID + PREV_CHANGE_ID):
        return is_in_channel
    return fields.instrument.size or not _is_book_channel(&reading.channel)


cdef bint _has_actions(const BookFields* fields) noexcept nogil:
    cdef size_t place
    for place in range(fields.first_edit, fields.end_edit):
        if _edits[place].action != BARE:
            return True
    return False


cdef bint _settle_kind(BookFields* fields, bint is_valid) noexcept nogil:
    """What it is where it does not say so. False where a valid book cannot tell.

    The snapshots of old captures have actions and no type; to a valid book it is as likely a change that lost both its
    type and what it follows.
    """
    if fields.kind != UNSAID:
        return fields.kind != OTHER_KIND
    fields.kind = SNAPSHOT if fields.ids[PREV_CHANGE_ID] < 0 else CHANGE
    return fields.kind == CHANGE or not (is_valid and _has_actions(fields))


cdef int judge(const Reading* reading, BookFields* fields, const char* name, size_t size, bint is_valid) noexcept nogil:
    if not _concerns(reading, fields, name, size):
        return NOT_ABOUT_IT
    if reading.repeated or fields.faulty or not _settle_kind(fields, is_valid) or fields.ids[CHANGE_ID] < 0:
        return BAD_FORM
    if not (fields.seen >> BIDS & 1 and fields.seen >> ASKS & 1):
        return BAD_FORM
    return BAD_FORM if fields.kind == CHANGE and fields.ids[PREV_CHANGE_ID] < 0 else FINE
