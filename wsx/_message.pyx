"""One received message. It owns its bytes: valid for as long as you hold it.

Not tracked by the garbage collector (it can hold no cycle) and taken from a freelist, because one is made per message.
Not here: how it came about (_assembler.pyx), where it waits (_inbox.pyx).
"""

cimport cython
from cpython.buffer cimport PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memset

from wsx._envelope cimport FOUND, Fields, Span, scan_envelope
from wsx._frame cimport BINARY, TEXT
from wsx._json cimport parse, parse_bytes

from wsx._json import decode_into, member_into

cdef extern from "_mask.h" nogil:
    ctypedef struct wsx_utf8_state:
        uint8_t needed
    int wsx_utf8_feed(wsx_utf8_state* state, const uint8_t* data, size_t size)
    int wsx_copy_ascii(uint8_t* dst, const uint8_t* src, size_t size)

cdef extern from *:
    """
    #include <structmember.h>

    /* `data` and `gap` are shown as slots: the interpreter reads those at their offset, without a call, where a
     * property of Cython's costs more than all that wsx itself does for a message. */
    #define WSX_OFFSET(object, field) ((char *)&(object)->field - (char *)(object))

    static PyMemberDef wsx_slots[] = {
        {"data", T_OBJECT_EX, 0, READONLY, NULL},
        {"gap", T_OBJECT_EX, 0, READONLY, NULL},
    };

    static int wsx_add_slot(PyTypeObject *type, int number, Py_ssize_t offset)
    {
        PyObject *slot;
        int status;
        wsx_slots[number].offset = offset;
        slot = PyDescr_NewMember(type, &wsx_slots[number]);
        if (!slot)
            return -1;
        status = PyDict_SetItemString(type->tp_dict, wsx_slots[number].name, slot);
        Py_DECREF(slot);
        PyType_Modified(type);
        return status;
    }
    #define wsx_add_slots(message) \
        (wsx_add_slot(Py_TYPE(message), 0, WSX_OFFSET(message, data)) \
         || wsx_add_slot(Py_TYPE(message), 1, WSX_OFFSET(message, gap)) ? -1 : 0)
    """
    int wsx_add_slots(Message message) except -1


@cython.final
@cython.freelist(512)
@cython.no_gc
cdef class Message:
    """A text or binary message (RFC 6455 5.6).

    data: the payload, copied once from the socket's buffer. opcode: 1 text, 2 binary.
    received_ns: monotonic time at which its read was handed over. epoch: number of the connection, from 1.
    gap: what was missed just before this message, or None. last_in_batch: nothing more had been read at that time.
    Supports the buffer protocol, `len()` and `bytes()`.
    """

    # Not __cinit__: messages from the wire are made by new_message, which skips arguments.
    def __init__(self, bytes data not None=b"", *, bint text=True):
        self.data = data
        self.opcode = TEXT if text else BINARY
        self.last_in_batch = True

    @property
    def text(self):
        """The payload as str. UnicodeDecodeError for a binary message that is not UTF-8."""
        return self.data.decode()

    def json(self, *, type=None):
        """The whole message parsed by orjson, or by msgspec into `type`; parsed anew at each call.

        Whole numbers are exact, whatever their size. Raises ValueError where it is not JSON, has a number without a
        finite value or does not fit `type`; ImportError for a `type` without msgspec.
        """
        return parse(self.data) if type is None else decode_into(self.data, type)

    def data_json(self, *, type=None):
        """`params.data` of a JSON-RPC notification, else `result` of an answer: nothing else of it is parsed.

        Raises as `json`, and ValueError where there is neither.
        """
        cdef Fields fields
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(self.data)
        cdef Span* payload
        if scan_envelope(start, PyBytes_GET_SIZE(self.data), &fields) != FOUND:
            return _payload_of(self.data, type)
        payload = &fields.data if fields.data.start else &fields.result
        if payload.start == NULL:
            raise ValueError(_NO_PAYLOAD)
        if type is None:
            return parse_bytes(payload.start, payload.size)
        return decode_into(PyBytes_FromStringAndSize(<const char*>payload.start, payload.size), type)

    def __len__(self):
        return len(self.data)

    def __bytes__(self):
        return self.data

    def __getbuffer__(self, Py_buffer* view, int flags):
        # Of the bytes, not of the message: a view then holds what it shows.
        PyObject_GetBuffer(self.data, view, flags)
        Py_DECREF(None)                  # Cython's placeholder, which PyObject_GetBuffer has overwritten

    def __repr__(self):
        kind = "text" if self.opcode == TEXT else "binary"
        return f"<Message {kind}, {len(self.data)} bytes, epoch {self.epoch}>"


cdef str _NO_PAYLOAD = "this message has no payload: neither params.data nor result"


cdef object _payload_of(bytes data, type):
    """The payload of a message that the scan left to a full parse."""
    document = parse(data)
    params = document.get("params") if isinstance(document, dict) else None
    if isinstance(params, dict) and "data" in params:
        return params["data"] if type is None else member_into(data, ("params", "data"), type)
    if isinstance(document, dict) and "result" in document:
        return document["result"] if type is None else member_into(data, ("result",), type)
    raise ValueError(_NO_PAYLOAD)


cdef Message new_message(uint8_t opcode, const uint8_t* data, size_t size):
    """A message that holds a copy of `size` bytes at `data`."""
    cdef Message message = Message.__new__(Message)
    message.data = PyBytes_FromStringAndSize(<const char*>data, size)
    message.opcode = opcode
    return message


cdef Message new_text(const uint8_t* data, size_t size):
    """A text message that holds a copy of `size` bytes at `data`; None where they are no UTF-8."""
    cdef Message message = Message.__new__(Message)
    cdef wsx_utf8_state utf8
    message.data = PyBytes_FromStringAndSize(NULL, size)
    if not wsx_copy_ascii(<uint8_t*>PyBytes_AS_STRING(message.data), data, size):
        memset(&utf8, 0, sizeof(utf8))
        if not wsx_utf8_feed(&utf8, data, size) or utf8.needed:
            return None
    message.opcode = TEXT
    return message


wsx_add_slots(Message())
