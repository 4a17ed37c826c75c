# Reading JSON where it lies (_json_reader.h): a pointer goes forward, NULL where the bytes are not JSON. Nothing is built.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t


cdef extern from "_json_reader.h" nogil:
    const int32_t JSON_HUGE "WSX_JSON_HUGE"   # the exponent of what is beyond every number

    ctypedef struct JsonText "wsx_json_text":
        const char* at
        size_t size                      # SIZE_MAX where it holds escapes and is no short ASCII word

    ctypedef struct Decimal64 "wsx_decimal":
        int64_t mantissa
        int32_t exponent                 # of ten; beyond every scale where the mantissa does not fit

    const char* json_space "wsx_json_space"(const char* at, const char* end) noexcept
    const char* json_string "wsx_json_string"(const char* at, const char* end, JsonText* text) noexcept
    const char* json_key "wsx_json_key"(const char* at, const char* end, JsonText* key) noexcept
    bint json_is "wsx_json_is"(const JsonText* text, const char* word, size_t size) noexcept
    const char* json_number "wsx_json_number"(const char* at, const char* end, Decimal64* number) noexcept
    const char* json_skip "wsx_json_skip"(const char* at, const char* end) noexcept
