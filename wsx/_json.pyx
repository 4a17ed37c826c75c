"""JSON bytes into Python objects, with no number changed.

orjson parses. A whole number that does not fit in 64 bits becomes a float there, without a word; text that might hold
one (20 digits in a row, or a minus and 19) is therefore parsed a second time by the standard library, which keeps it.
What has no finite value (NaN, 1e400) and what is nested deeper than 1024 is refused. A float is the nearest double, as
everywhere.
Not here: finding a part of a message (_envelope.pyx).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from functools import lru_cache
from importlib import import_module

from orjson import loads as _loads

cdef extern from "_json.h" nogil:
    bint has_long_number "wsx_has_long_number"(const uint8_t* data, size_t size)


cdef object parse(bytes data):
    """The value of a JSON text. Raises ValueError where it is none."""
    value = _loads(data)
    if has_long_number(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)):
        return _parse_exactly(data)
    return value


cdef object parse_bytes(const uint8_t* start, Py_ssize_t size):
    """The value of a part of a message. Raises as `parse`."""
    return parse(PyBytes_FromStringAndSize(<const char*>start, size))


cdef object _parse_exactly(bytes data):
    from json import loads               # slow to import, and rarely needed
    try:
        return loads(data)
    except RecursionError:
        raise ValueError("JSON that holds a number of 19 digits or more is nested too deep to be parsed exactly") from None


def decode_into(bytes data not None, into not None):
    """A JSON text as an object of this type, by msgspec.

    Raises ImportError where the extra `msgspec` is not installed; ValueError (msgspec's) where the text does not fit.
    """
    return _decoder(into)(data)


def member_into(bytes data not None, tuple path not None, into not None):
    """A member of a JSON text as an object of this type: of its bytes, so that no digit is lost. path: keys from outside.

    Raises as `decode_into`; the members are there.
    """
    for key in path:
        data = bytes(_decoder(dict[str, _msgspec().Raw])(data)[key])
    return _decoder(into)(data)


@lru_cache(256)
def _decoder(into):
    return _msgspec().json.Decoder(into).decode


def _msgspec():
    try:
        import_module("msgspec.json")
        return import_module("msgspec")
    except ImportError:
        raise ImportError("parsing into a type needs msgspec: pip install 'wsx[msgspec]'") from None
