"""An order book in C arrays, kept up from the bytes of the exchange's messages.

One message, one pass: its levels are read into a scratch, exactly and in no scale yet; only when all of it was JSON of
the right form and continues the chain does the first level change. The book is therefore either what the exchange
says it is, or says that it is not: after a gap, a contradiction or a number that does not fit it is stale, shows
nothing, and ignores changes until the next snapshot. Nothing here repairs, guesses or skips.

What contradicts the book makes it stale: a delete of a level that is not there, an amount of zero or less, a level
twice in a snapshot, a best bid not below the best ask after a whole message. A `new` for a level that is there and a
`change` for one that is not set its amount, which is the total either way. Prices may be negative (spreads have such),
amounts not.

Numbers are int64 mantissas in two scales, one for prices and one for amounts, which become finer when a finer number
comes and begin anew when the book has become stale.
What runs Python may change the book: a caller's number, its checksum, whatever the garbage collector calls. Arguments
are therefore C values before the arrays are looked at, and what is shown is made from a copy.
Not here: subscribing again after a gap, and saying it (the adapter does); reading messages
(_book_message.pyx), one side's array (_levels.h).
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_F_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from wsx._book_message cimport (
    ASKS,
    BAD_FORM,
    BARE,
    BIDS,
    CHANGE,
    CHANGE_ID,
    DELETE,
    FINE,
    NEW,
    NO_MEMORY,
    NOT_ABOUT_IT,
    NOT_JSON,
    PREV_CHANGE_ID,
    READ_FAULTS,
    SET,
    SNAPSHOT,
    TIMESTAMP,
    TOO_MANY,
    BookFields,
    Edit,
    Reading,
    begin_edits,
    edits,
    fitted,
    judge,
    new_edit,
    read_message,
)
from wsx._json_reader cimport JSON_HUGE, Decimal64, json_number
from wsx._levels cimport (
    MAX_DECIMALS,
    MAX_LEVELS,
    POWERS,
    BookSide,
    Level,
    side_find,
    side_insert,
    side_remove,
    side_rescale_amounts,
    side_rescale_keys,
    side_reserve,
    side_sort,
)
from wsx._message cimport Message

from decimal import Decimal
from operator import index
from types import GenericAlias

cdef enum:                               # what a number is
    PRICE, AMOUNT

cdef enum:
    EMPTY, VALID, STALE

cdef enum:                               # why a book becomes stale, beside what reading ends with
    NO_SNAPSHOT = READ_FAULTS
    NOT_NEXT, OLDER, UNKNOWN_LEVEL, TWICE, BAD_AMOUNT, CROSSED, TOO_FINE

_STATES = ("empty", "valid", "stale")
_SIDES = ("bids", "asks")
_FAULTS = {                              # cause, reason
    NOT_JSON: ("malformed", "a message was not JSON, or nested too deeply"),
    BAD_FORM: ("malformed", "a message lacked a field, had one twice, or one of another type"),
    NO_SNAPSHOT: ("no snapshot", "a change came before any snapshot"),
    OLDER: ("out of order", "snapshot {change_id} came after {last}"),
    UNKNOWN_LEVEL: ("unknown level", "{action} of {side} {price} in {change_id}, where the book has no level"),
    TWICE: ("level twice", "a level came twice in {change_id}"),
    BAD_AMOUNT: ("bad amount", "{side} {price} in {change_id} with an amount of {amount}"),
    CROSSED: ("crossed", "after {change_id} the best bid was not below the best ask"),
    TOO_FINE: ("overflow", "{side} {price} in {change_id}, amount {amount}: more digits than 63 bits hold"),
    TOO_MANY: ("too many levels", "{change_id} goes beyond the {most} levels that a side may have"),
    NO_MEMORY: ("no memory", "no memory for the levels of a message"),
}
_LONGEST_AMOUNT = 1000                   # characters: what a float holds, written out exactly, is shorter
_ACTIONS = ("new", "change", "delete", "level", "set")

cdef const char* _INT64 = "q"            # formats of a buffer
cdef const char* _FLOAT64 = "d"


# ---- numbers ----


cdef double _double(int64_t mantissa, int32_t decimals) except? -1:
    """Correctly rounded: the division of two numbers that a double holds exactly, or of two Python integers."""
    if -(1LL << 53) <= mantissa <= 1LL << 53:
        return <double>mantissa / <double>POWERS[decimals]
    return <object>mantissa / <object>POWERS[decimals]


cdef object _scaled(object mantissa, int32_t decimals, type numbers):
    """mantissa * 10**-decimals as one of `numbers`; any Python integer."""
    if numbers is int:
        return mantissa
    return Decimal(f"{mantissa}E-{decimals}") if numbers is Decimal else mantissa / <object>POWERS[decimals]


cdef str _plain(const Decimal64* number):
    if number.exponent == JSON_HUGE:
        return "(beyond 63 bits)"
    return str(Decimal(f"{number.mantissa}E{number.exponent}"))


cdef bytes _text_of(object number):
    """A number that a caller gives, as exact text. A float stands for its shortest decimal. Raises TypeError."""
    if isinstance(number, str):
        return str.encode(number)
    if isinstance(number, float):
        return float.__repr__(number).encode()
    if isinstance(number, Decimal):
        return Decimal.__str__(number).encode()
    return str(int(index(number))).encode()


cdef int _parse(bytes text, Decimal64* number) except -1:
    """Raises ValueError for what is not a number as JSON writes it."""
    cdef const char* at = PyBytes_AS_STRING(text)
    cdef const char* end = at + PyBytes_GET_SIZE(text)
    if json_number(at, end, number) != end:
        raise ValueError(f"not a number: {text.decode()!r}")
    return 0


cdef tuple _ratio(bytes text):
    """A number as a fraction; (0, 1) for what no float holds, whose fraction would take forever. Raises ValueError."""
    cdef Decimal64 number
    _parse(text, &number)
    cdef double about = float(text)
    if len(text) > _LONGEST_AMOUNT or about == 0 or not isfinite(about):
        return 0, 1
    return Decimal(text.decode()).as_integer_ratio()


cdef list _rows(uint8_t side, object levels):
    """(side, price, amount) of what a caller gives, as text. The caller's code runs here and not after."""
    return [_row(side, level) for level in levels]


cdef tuple _row(uint8_t side, object level):
    if isinstance(level, (str, bytes)):
        raise TypeError(f"a level is (price, amount), got {level!r}")  # not its first two characters
    price, amount, *_ = level
    return side, _text_of(price), _text_of(amount)


cdef size_t _how_many(object n) except? 0:
    """So many levels at most. The caller's code runs here."""
    wanted = MAX_LEVELS if n is None else index(n)
    if wanted < 0:
        raise ValueError(f"a number of levels is 0 or more, got {n}")
    return min(wanted, <object>MAX_LEVELS)


cdef int64_t _checked_id(object number) except? -2:
    """-1 for None. Raises ValueError or OverflowError for what is no id."""
    cdef int64_t checked = -1 if number is None else index(number)
    if checked < 0 and number is not None:
        raise ValueError(f"an id or a time is 0 or more, got {number}")
    return checked


cdef inline int64_t _price(int side, const Level* level) noexcept nogil:
    return level.key if side == BIDS else -level.key


cdef int _insert(BookSide* side, size_t place, const Level* level) noexcept nogil:
    if side.count == MAX_LEVELS:
        return TOO_MANY
    if not side_reserve(side, side.count + 1):
        return NO_MEMORY
    side_insert(side, place, level.key, level.amount)
    return FINE


cdef str _id_text(int64_t number, str before, str what):
    return f"{before}{number}" if number >= 0 else f"{what} without an id"


cdef tuple _broken_chain(const BookFields* fields, int64_t last):
    """(cause, reason) of a change that does not follow the one before."""
    cdef int64_t change_id = fields.ids[CHANGE_ID]
    change = _id_text(change_id, "change ", "a change")
    if 0 <= change_id == last:
        return "duplicate", f"{change} came again"
    if 0 <= change_id < last:
        return "out of order", f"{change} came after {last}"
    here = _id_text(last, "at ", "one")
    return "gap", f"{change} follows {fields.ids[PREV_CHANGE_ID]}, but the book is {here}: something was missed"


cdef int _checked_side(object side) except -1:
    if side not in _SIDES:
        raise ValueError(f'side is "bids" or "asks", got {side!r}')
    return _SIDES.index(side)


@cython.final
cdef class Levels:
    """Levels of one side as they were at one moment: an array of two columns, price and amount, the best level first.

    Read it through the buffer protocol, `numpy.asarray(levels)` or `memoryview(levels)`, without a copy: float64 from a
    book that shows floats, else int64 mantissas. It is its own copy of the book's numbers and never changes.
    """

    def __cinit__(self):
        self._data = b""
        self._shape[1] = 2
        self._strides[0], self._strides[1] = 16, 8

    cdef int64_t* _mantissas(self) noexcept:
        return <int64_t*>PyBytes_AS_STRING(self._data)

    cdef int _make_floats(self) except -1:
        cdef int64_t* mantissas = self._mantissas()
        cdef Py_ssize_t place
        cdef double number
        for place in range(2 * self._shape[0]):
            number = _double(mantissas[place], self._decimals[place % 2])
            memcpy(mantissas + place, &number, sizeof(number))
        self._integers = False
        return 0

    def __len__(self):
        return self._shape[0]

    def __getbuffer__(self, Py_buffer* view, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE or flags & PyBUF_F_CONTIGUOUS == PyBUF_F_CONTIGUOUS:
            raise BufferError("Levels are read-only and C-contiguous")
        view.buf = PyBytes_AS_STRING(self._data)
        view.obj = self
        view.len = PyBytes_GET_SIZE(self._data)
        view.readonly = True
        view.itemsize = 8
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = <char*>(_INT64 if self._integers else _FLOAT64)
        view.ndim = 2
        view.shape = self._shape
        view.strides = self._strides
        view.suboffsets = NULL
        view.internal = NULL


cdef object _paid(Levels copied, object wanted, object finer):
    """What the first levels that hold so much cost; None where all do not. Amounts are multiplied by `finer`."""
    cdef const int64_t* mantissas = copied._mantissas()
    cdef Py_ssize_t row
    missing, paid = wanted, <object>0
    for row in range(copied._shape[0]):
        taken = min(missing, <object>mantissas[2 * row + 1] * finer)
        paid += taken * mantissas[2 * row]
        missing -= taken
        if not missing:
            return paid
    return None


@cython.final
cdef class OrderBook:
    """The book of one instrument.

    instrument: its name as messages give it; those of another are ignored. numbers: what prices and amounts are shown as:
    `float` (correctly rounded), `Decimal` (exact) or `int` (the mantissas: times 10**price_exponent and
    10**amount_exponent). checksum: what computes the book's checksum from the book, for exchanges that send one.

    state: "empty" before the first message, "valid", or "stale", and then `stale_cause` says why in a word or two and
    `stale_reason` in a sentence. Only a valid book shows levels. `change_id` stays that of the last message applied.
    """

    def __cinit__(self, str instrument not None, *, type numbers not None=float, checksum=None):
        if numbers not in (float, int, Decimal):
            raise ValueError(f"numbers is float, int or Decimal, got {numbers!r}")
        if checksum is not None and not callable(checksum):
            raise TypeError(f"checksum is called with the book, got {checksum!r}")
        self.instrument = instrument
        self.numbers = numbers
        self._checksum = checksum
        self._stale = ("no memory", "no memory to say why")  # until a reason has been made
        self._name = instrument.encode()
        self._ids[CHANGE_ID] = self._ids[PREV_CHANGE_ID] = self._ids[TIMESTAMP] = -1

    def __dealloc__(self):
        free(self._sides[BIDS].levels)
        free(self._sides[ASKS].levels)

    @classmethod
    def __class_getitem__(cls, item):
        """`OrderBook[Decimal]` in annotations: what its numbers are."""
        return GenericAlias(cls, item)

    # ---- messages ----

    def apply(self, data) -> bool:
        """Apply a message: the whole notification, or the object in its `params.data`; bytes-like or a `Message`.

        True where the book is valid and was changed by it. False leaves a valid book as it was where the message is
        not about this instrument's book (`state` says "valid" still), and a stale one stale; what cannot be believed
        makes it stale. Rules: the exchange's `book` channels, changes and whole books. Raises TypeError, MemoryError.
        """
        cdef Py_buffer view
        if isinstance(data, Message):
            data = (<Message>data).data
        if isinstance(data, bytes):
            return self.apply_bytes(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) != 0
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.apply_bytes(<const char*>view.buf, view.len) != 0
        finally:
            PyBuffer_Release(&view)

    cdef int apply_bytes(self, const char* data, size_t size) except -1:
        cdef Reading reading
        cdef int fault = read_message(data, size, &reading)
        cdef BookFields* fields = &reading.data if reading.has_data else &reading.top
        if fault == FINE:
            fault = judge(&reading, fields, PyBytes_AS_STRING(self._name), len(self._name), self._state == VALID)
        if fault == NOT_ABOUT_IT:
            return 0
        if fault != FINE:
            return self._fail(fault, fields)
        if fields.ids[PREV_CHANGE_ID] == 0 and self._state != VALID:
            fields.kind = SNAPSHOT       # the first change of a newly listed book
        if fields.kind == SNAPSHOT and self._state == VALID and fields.ids[CHANGE_ID] < self._ids[CHANGE_ID]:
            return self._fail(OLDER, fields)
        return self._follow(fields)

    def load(self, bids, asks, *, change_id=None, timestamp=None, checksum=None) -> bool:
        """Begin anew with these levels, whatever was before: a snapshot of any exchange. True where it is valid then.

        bids, asks: (price, amount) each, in any order, as int, float (its shortest decimal), Decimal or str, taken
        exactly; what else a level holds is left aside. change_id: what the next `prev_change_id` must be. timestamp: in
        milliseconds. checksum: what the exchange says; another than the book's own makes it stale.
        Raises ValueError or TypeError for what is no number, and what the checksum's function raises: stale too.
        """
        return self._given(SNAPSHOT, bids, asks, (change_id, None, timestamp), checksum)

    def update(self, bids, asks, *, change_id=None, prev_change_id=None, timestamp=None, checksum=None) -> bool:
        """Set these levels to these amounts, those with amount 0 being removed, all as one message; see `load`.

        prev_change_id: the `change_id` of the message before; where it is not, the book becomes stale. Without one
        nothing is checked. Ignored while the book is stale; before the first `load` it makes the book stale.
        """
        return self._given(CHANGE, bids, asks, (change_id, prev_change_id, timestamp), checksum)

    def mark_stale(self, str reason not None, *, str cause not None="told") -> None:
        """Say that the book is no longer right: the connection was lost, a channel's own sequence had a gap."""
        self._go_stale(cause, reason)

    # ---- what it is ----

    @property
    def state(self) -> str:
        return _STATES[self._state]

    @property
    def stale_cause(self):
        return self._stale[0] if self._state == STALE else None

    @property
    def stale_reason(self):
        return self._stale[1] if self._state == STALE else None

    @property
    def change_id(self):
        return None if self._ids[CHANGE_ID] < 0 else self._ids[CHANGE_ID]

    @property
    def timestamp(self):
        """Milliseconds, as the exchange gave them with the last message that was applied; None where it gave none."""
        return None if self._ids[TIMESTAMP] < 0 else self._ids[TIMESTAMP]

    @property
    def price_exponent(self) -> int:
        return -self._decimals[PRICE]

    @property
    def amount_exponent(self) -> int:
        return -self._decimals[AMOUNT]

    @property
    def depth(self):
        """How many levels there are: (bids, asks)."""
        return self._sides[BIDS].count, self._sides[ASKS].count

    @property
    def best_bid(self):
        """(price, amount), or None where there is no bid."""
        return self._best(BIDS)

    @property
    def best_ask(self):
        """(price, amount), or None where there is no ask."""
        return self._best(ASKS)

    def bids(self, n=None) -> list:
        """The best `n` bids, or all, as (price, amount), the best first. Raises ValueError where `n` is negative."""
        return self._shown_levels(self._copied(BIDS, _how_many(n)))

    def asks(self, n=None) -> list:
        """The best `n` asks, or all, as (price, amount), the best first. Raises ValueError where `n` is negative."""
        return self._shown_levels(self._copied(ASKS, _how_many(n)))

    def __iter__(self):
        """(side, price, amount) of every level at this moment: the bids, then the asks, the best first."""
        cdef Levels bids = self._copied(BIDS, MAX_LEVELS)
        cdef Levels asks = self._copied(ASKS, MAX_LEVELS)
        levels = [("bids", price, amount) for price, amount in self._shown_levels(bids)]
        return iter(levels + [("asks", price, amount) for price, amount in self._shown_levels(asks)])

    def cumulative(self, side, n=None) -> list:
        """(price, amount up to and with this price) of the best `n` levels of "bids" or "asks", or of all."""
        cdef Levels copied = self._copied(_checked_side(side), _how_many(n))
        cdef const int64_t* mantissas = copied._mantissas()
        cdef Py_ssize_t row
        shown, total = [], <object>0
        for row in range(copied._shape[0]):
            total += mantissas[2 * row + 1]
            price = self._shown(mantissas[2 * row], copied._decimals[PRICE])
            shown.append((price, _scaled(total, copied._decimals[AMOUNT], self.numbers)))
        return shown

    def vwap(self, side, amount):
        """The average price of taking `amount` from "bids" or "asks"; None where that side does not hold so much.

        A book of `int` takes the amount's mantissa and gives the price's as a float. Computed exactly, rounded once.
        Raises ValueError where the amount is not above 0.
        """
        cdef int number = _checked_side(side)
        wanted, finer = self._wanted(amount)
        cdef Levels copied = self._copied(number, MAX_LEVELS)
        if self.numbers is not int:
            wanted *= <object>POWERS[copied._decimals[AMOUNT]]
        paid = _paid(copied, wanted, finer)
        return None if paid is None else self._average(paid, wanted, copied._decimals[PRICE])

    def levels(self, side, n=None) -> Levels:
        """The best `n` levels of "bids" or "asks", or all, as an array that numpy reads without a copy; see `Levels`."""
        cdef Levels array = self._copied(_checked_side(side), _how_many(n))
        if self.numbers is float:
            array._make_floats()
        return array

    def __repr__(self):
        best = f"{self.best_bid} / {self.best_ask}" if self._state == VALID else self.stale_reason or "no message yet"
        return f"<OrderBook {self.instrument} {self.state}: {best}>"

    # ---- the rules ----

    cdef int _follow(self, const BookFields* fields) except -1:
        """A message of the right form. 1 where the book is valid and was changed by it."""
        cdef int fault
        if fields.kind == CHANGE and self._state == STALE:
            return 0
        fault = self._load(fields) if fields.kind == SNAPSHOT else self._change(fields)
        if fault == FINE and self._crossed():
            fault = CROSSED
        if fault != FINE:
            return self._fail(fault, fields)
        if fields.kind == SNAPSHOT or fields.ids[CHANGE_ID] >= 0:
            self._ids[CHANGE_ID] = fields.ids[CHANGE_ID]
        self._ids[TIMESTAMP] = fields.ids[TIMESTAMP]
        self._state = VALID
        return 1

    cdef int _load(self, const BookFields* fields) noexcept nogil:
        """Every level of a whole book. From the last one on, because the best come first and are kept last."""
        cdef const Edit* given = edits()
        cdef size_t place = fields.end_edit
        cdef int fault
        self._sides[BIDS].count = self._sides[ASKS].count = 0
        while place > fields.first_edit:
            place -= 1
            fault = self._append(&given[place])
            if fault != FINE:
                self._blamed = given[place]
                return fault
        return FINE if side_sort(&self._sides[BIDS]) and side_sort(&self._sides[ASKS]) else TWICE

    cdef int _append(self, const Edit* edit) noexcept nogil:
        cdef BookSide* side = &self._sides[edit.side]
        cdef Level level
        cdef int fault
        if edit.action != NEW and edit.action != BARE:
            return UNKNOWN_LEVEL
        fault = self._scale(edit, &level)
        if fault != FINE:
            return fault
        return BAD_AMOUNT if level.amount <= 0 else _insert(side, side.count, &level)

    cdef int _change(self, const BookFields* fields) noexcept nogil:
        cdef const Edit* given = edits()
        cdef size_t place
        cdef int fault
        if self._state == EMPTY:
            return NO_SNAPSHOT
        if fields.ids[PREV_CHANGE_ID] >= 0 and fields.ids[PREV_CHANGE_ID] != self._ids[CHANGE_ID]:
            return NOT_NEXT
        for place in range(fields.first_edit, fields.end_edit):
            fault = self._edit(&given[place])
            if fault != FINE:
                self._blamed = given[place]
                return fault
        return FINE

    cdef int _edit(self, const Edit* edit) noexcept nogil:
        cdef BookSide* side = &self._sides[edit.side]
        cdef Level level
        cdef size_t place
        cdef int fault = self._scale(edit, &level)
        if fault != FINE:
            return fault
        place = side_find(side, level.key)
        if place < side.count and side.levels[place].key == level.key:
            return self._edit_present(edit, place, level.amount)
        return self._edit_absent(edit, place, &level)

    cdef inline int _edit_present(self, const Edit* edit, size_t place, int64_t amount) noexcept nogil:
        if edit.action == DELETE or (edit.action == SET and amount == 0):
            side_remove(&self._sides[edit.side], place)
            return FINE
        if edit.action == BARE:
            return BAD_FORM
        if amount <= 0:
            return BAD_AMOUNT
        self._sides[edit.side].levels[place].amount = amount
        return FINE

    cdef inline int _edit_absent(self, const Edit* edit, size_t place, const Level* level) noexcept nogil:
        if edit.action == SET and level.amount == 0:
            return FINE                  # many exchanges remove what was never shown
        if edit.action == BARE:
            return BAD_FORM
        if edit.action == DELETE:
            return UNKNOWN_LEVEL
        return BAD_AMOUNT if level.amount <= 0 else _insert(&self._sides[edit.side], place, level)

    cdef inline int _scale(self, const Edit* edit, Level* level) noexcept nogil:
        """The level in the book's scales, which become finer where they must."""
        cdef int fault = self._fit(&edit.price, PRICE, &level.key)
        if fault != FINE:
            return fault
        if edit.side == ASKS:
            level.key = -level.key
        level.amount = 0
        return FINE if edit.action == DELETE else self._fit(&edit.amount, AMOUNT, &level.amount)

    cdef inline int _fit(self, const Decimal64* number, int what, int64_t* out) noexcept nogil:
        cdef int32_t finer = fitted(number, self._decimals[what], out)
        if finer == 0:
            return FINE
        if not self._refine(what, finer):
            return TOO_FINE
        return FINE if fitted(number, self._decimals[what], out) == 0 else TOO_FINE

    cdef bint _refine(self, int what, int32_t decimals) noexcept nogil:
        """Make a scale finer by so many decimals; False where the book does not fit into that."""
        cdef int side
        if self._decimals[what] + decimals > MAX_DECIMALS:
            return False
        self._decimals[what] += decimals
        for side in range(2):
            if what == PRICE and not side_rescale_keys(&self._sides[side], decimals):
                return False
            if what == AMOUNT and not side_rescale_amounts(&self._sides[side], decimals):
                return False
        return True

    cdef inline bint _crossed(self) noexcept nogil:
        cdef BookSide* bids = &self._sides[BIDS]
        cdef BookSide* asks = &self._sides[ASKS]
        return bids.count and asks.count and bids.levels[bids.count - 1].key >= -asks.levels[asks.count - 1].key

    # ---- becoming stale ----

    cdef int _fail(self, int fault, const BookFields* fields) except -1:
        """The book is stale for this fault. 0, or MemoryError."""
        self._drop()                     # first: naming the reason makes Python objects
        if fault == NOT_NEXT:
            cause, reason = _broken_chain(fields, self._ids[CHANGE_ID])
        else:
            cause, reason = _FAULTS[fault]
            reason = reason.format(**self._circumstances(fields))
        self._go_stale(cause, reason)
        if fault == NO_MEMORY:
            raise MemoryError(f"{reason}; {self.instrument} is stale")
        return 0

    cdef dict _circumstances(self, const BookFields* fields):
        return {
            "change_id": _id_text(fields.ids[CHANGE_ID], "", "a message"),
            "last": self._ids[CHANGE_ID],
            "side": _SIDES[self._blamed.side],
            "action": _ACTIONS[self._blamed.action],
            "price": _plain(&self._blamed.price),
            "amount": _plain(&self._blamed.amount),
            "most": MAX_LEVELS,
        }

    cdef void _drop(self) noexcept nogil:
        """Show nothing from now on."""
        self._state = STALE
        self._sides[BIDS].count = self._sides[ASKS].count = 0
        self._decimals[PRICE] = self._decimals[AMOUNT] = 0

    cdef int _go_stale(self, str cause, str reason) except -1:
        self._drop()
        self._stale = (cause, reason)
        self._drop()                     # the tuple may have set off the garbage collector, and that a load
        return 0

    # ---- levels given by a caller ----

    cdef bint _given(self, uint8_t kind, object bids, object asks, tuple ids, object checksum) except -1:
        try:
            if checksum is not None and self._checksum is None:
                raise ValueError("to compare a checksum, give OrderBook the function that computes the book's")
            rows = _rows(BIDS, bids) + _rows(ASKS, asks)
            if not self._follow_given(kind, rows, [_checked_id(number) for number in ids]):
                return False
            return checksum is None or self._agrees(checksum)
        except BaseException as error:
            self._go_stale("refused", "levels could not be taken")
            self._go_stale("refused", f"levels could not be taken: {error!r}")  # the error's own words may fail
            raise

    cdef int _follow_given(self, uint8_t kind, list rows, list ids) except -1:
        cdef BookFields fields
        cdef int trouble = FINE
        cdef uint8_t action = NEW if kind == SNAPSHOT else SET
        begin_edits(&fields)
        fields.kind = kind
        fields.ids[CHANGE_ID], fields.ids[PREV_CHANGE_ID], fields.ids[TIMESTAMP] = ids
        for side, price, amount in rows:
            _stage(&fields, side, action, price, amount, &trouble)
        return self._follow(&fields) if trouble == FINE else self._fail(trouble, &fields)

    cdef bint _agrees(self, object expected) except -1:
        actual = self._checksum(self)
        if self._state == VALID and actual != expected:
            self._drop()
            self._go_stale("checksum", f"the exchange's checksum is {expected}, the book's {actual}")
        return self._state == VALID

    # ---- showing numbers ----

    cdef Levels _copied(self, int number, size_t most):
        """The best levels of a side, `most` or fewer, as mantissas. No Python runs between its first look and its last."""
        cdef Levels copied = Levels.__new__(Levels)
        cdef const BookSide* side = &self._sides[number]
        cdef Py_ssize_t rows = min(most, side.count)
        copied._data = PyBytes_FromStringAndSize(NULL, 16 * rows)
        copied._decimals[PRICE], copied._decimals[AMOUNT] = self._decimals[PRICE], self._decimals[AMOUNT]
        copied._shape[0] = rows
        copied._integers = True
        cdef int64_t* mantissas = copied._mantissas()
        cdef const Level* level
        cdef Py_ssize_t row
        for row in range(rows):
            level = &side.levels[side.count - 1 - row]
            mantissas[2 * row], mantissas[2 * row + 1] = _price(number, level), level.amount
        return copied

    cdef object _shown(self, int64_t mantissa, int32_t decimals):
        if self.numbers is float:
            return _double(mantissa, decimals)
        return _scaled(mantissa, decimals, self.numbers)

    cdef tuple _best(self, int side):
        cdef size_t count = self._sides[side].count
        cdef int32_t price_decimals = self._decimals[PRICE]
        cdef int32_t amount_decimals = self._decimals[AMOUNT]
        cdef Level level
        if count == 0:
            return None
        level = self._sides[side].levels[count - 1]
        return self._shown(_price(side, &level), price_decimals), self._shown(level.amount, amount_decimals)

    cdef list _shown_levels(self, Levels copied):
        cdef const int64_t* mantissas = copied._mantissas()
        cdef int32_t price = copied._decimals[PRICE]
        cdef int32_t amount = copied._decimals[AMOUNT]
        cdef Py_ssize_t row
        return [
            (self._shown(mantissas[2 * row], price), self._shown(mantissas[2 * row + 1], amount))
            for row in range(copied._shape[0])
        ]

    cdef tuple _wanted(self, object amount):
        """An amount and what to multiply the levels' by, both being integers then."""
        wanted, finer = (index(amount), 1) if self.numbers is int else _ratio(_text_of(amount))
        if wanted <= 0:
            raise ValueError(f"an amount is above 0 and within what a float can be, got {amount!r}")
        return wanted, finer

    cdef object _average(self, object paid, object wanted, int32_t decimals):
        if self.numbers is int:
            return paid / wanted
        whole = wanted * <object>POWERS[decimals]
        return Decimal(paid) / Decimal(whole) if self.numbers is Decimal else paid / whole


cdef int _stage(BookFields* fields, uint8_t side, uint8_t action, bytes price, bytes amount, int* trouble) except -1:
    """Put a caller's level into the scratch. Raises ValueError."""
    cdef Edit* edit = new_edit(fields, trouble)
    if edit == NULL:
        return 0
    edit.side, edit.action = side, action
    _parse(price, &edit.price)
    return _parse(amount, &edit.amount)
