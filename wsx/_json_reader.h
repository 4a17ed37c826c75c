/* Reading JSON (RFC 8259) where it lies: a pointer goes forward over the bytes and nothing is built. No Python, no allocation.
 *
 * Each reader takes a pointer and the end, and returns the pointer behind what it read, or NULL where that is not JSON.
 * It reads as strictly as a parser that builds objects would: what one of them refuses is refused here. Two things are left
 * to others: whether a text is UTF-8 (RFC 6455 8.1 asks that of whoever receives the message), and repeated keys.
 * Not here: what a key or a value means.
 */
#ifndef WSX_JSON_READER_H
#define WSX_JSON_READER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_bits.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define WSX_SSE2 1
#endif

#define WSX_JSON_DEPTH 64          /* containers within containers that are skipped; deeper is refused */
#define WSX_JSON_SHORT 64          /* bytes that an escaped text may have unescaped and still be compared */
#define WSX_JSON_HUGE 1000000000   /* an exponent beyond every number: the value is not representable */

/* A string's content. Escapes are resolved into `own` where the result is short ASCII; else it equals nothing: size is SIZE_MAX. */
typedef struct {
    const char *at;
    size_t size;
    char own[WSX_JSON_SHORT];
} wsx_json_text;

/* mantissa * 10**exponent, exactly. Zero has exponent 0; a mantissa beyond 18 or 19 digits has exponent WSX_JSON_HUGE. */
typedef struct {
    int64_t mantissa;
    int32_t exponent;
} wsx_decimal;

static inline const char *wsx_json_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* ---- strings ---- */

/* The value of four hexadecimal digits, or -1. */
static inline int wsx_json_hex(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        unsigned char letter = (unsigned char)((c | 0x20) - 'a');
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (letter < 6)
            value = value * 16 + letter + 10;
        else
            return -1;
    }
    return value;
}

/* The character that the escape behind a backslash at p stands for, or -1; *behind: the first byte after it. */
static inline int wsx_json_escape(const char *p, const char *end, const char **behind)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *found;
    if (p >= end)
        return -1;
    *behind = p + 1;
    if (*p == 'u') {
        *behind = p + 5;
        return wsx_json_hex(p + 1, end);
    }
    found = *p ? strchr(letters, *p) : NULL;
    return found ? meanings[found - letters] : -1;
}

/* p is behind the opening quote of a string with a backslash in it. */
static inline const char *wsx_json_escaped_string(const char *p, const char *end, wsx_json_text *out)
{
    size_t size = 0;
    out->at = out->own;
    for (; p < end && *p != '"'; size += size != SIZE_MAX) {
        int character = (unsigned char)*p++;
        if (character < 0x20)
            return NULL;
        if (character == '\\') {
            character = wsx_json_escape(p, end, &p);
            if (character < 0)
                return NULL;
            if (character >= 0x80)
                size = SIZE_MAX;
        }
        if (size < WSX_JSON_SHORT)
            out->own[size] = (char)character;
    }
    out->size = size <= WSX_JSON_SHORT ? size : SIZE_MAX;
    return p < end ? p + 1 : NULL;
}

/* Behind the plain characters at p: at a quote, a backslash, a control character, or the end. */
static inline const char *wsx_json_plain(const char *p, const char *end)
{
#if defined(WSX_SSE2)
    for (; end - p >= 16; p += 16) {    /* the same sixteen at a time; a bit for each that ends the run */
        __m128i block = _mm_loadu_si128((const __m128i *)p);
        __m128i found = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(block, _mm_min_epu8(block, _mm_set1_epi8(0x1f))));
        unsigned bits = (unsigned)_mm_movemask_epi8(found);
        if (bits)
            return p + wsx_highest_bit(bits & (0 - bits));
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* p is at the opening quote. */
static inline const char *wsx_json_string(const char *p, const char *end, wsx_json_text *out)
{
    const char *start = p + 1;
    if (p >= end || *p != '"')
        return NULL;
    p = wsx_json_plain(start, end);
    if (p < end && *p == '\\')
        return wsx_json_escaped_string(start, end, out);
    out->at = start;
    out->size = (size_t)(p - start);
    return p < end && *p == '"' ? p + 1 : NULL;
}

/* A member's key and colon; the result is where its value begins. */
static inline const char *wsx_json_key(const char *p, const char *end, wsx_json_text *key)
{
    p = wsx_json_string(p, end, key);
    if (!p)
        return NULL;
    p = wsx_json_space(p, end);
    return p < end && *p == ':' ? wsx_json_space(p + 1, end) : NULL;
}

static inline int wsx_json_is(const wsx_json_text *text, const char *word, size_t size)
{
    return text->size == size && memcmp(text->at, word, size) == 0;
}

/* ---- numbers ---- */

/* A mantissa of more than 18 digits: trailing zeros are counted and not carried. [p, end) holds digits and at most one point.
 * 0 where it does not fit in 63 bits. */
static inline int wsx_json_long_mantissa(const char *p, const char *end, uint64_t *mantissa, int64_t *exponent)
{
    const uint64_t limit = INT64_MAX;
    int64_t pending = 0;                /* digits that were read and not yet given a place in the mantissa */
    uint64_t m = 0;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (*p == '.')
            continue;
        pending++;
        if (digit == 0)
            continue;
        for (; pending > 0 && m != 0; pending--) {
            if (m > limit / 10)
                return 0;
            m *= 10;
        }
        if (m > limit - digit)
            return 0;
        m += digit;
        pending = 0;
    }
    *mantissa = m;
    *exponent += pending;
    return 1;
}

/* p is behind the e. The exponent is added to *exponent; beyond every number it stays there. */
static inline const char *wsx_json_exponent(const char *p, const char *end, int64_t *exponent)
{
    int64_t value = 0;
    int negative = p < end && *p == '-';
    const char *first;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (first = p; p < end && (unsigned)(*p - '0') < 10; p++) {
        if (value < WSX_JSON_HUGE)
            value = value * 10 + (*p - '0');
    }
    *exponent += negative ? -value : value;
    return p > first ? p : NULL;
}

static inline const char *wsx_json_number(const char *p, const char *end, wsx_decimal *out)
{
    uint64_t m = 0;
    int64_t exponent = 0;
    int negative = p < end && *p == '-', fits = 1;
    const char *first = p += negative;
    for (; p < end && (unsigned)(*p - '0') < 10; p++)
        m = m * 10 + (uint64_t)(*p - '0');
    if (p == first || (*first == '0' && p - first > 1))
        return NULL;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        for (; p < end && (unsigned)(*p - '0') < 10; p++)
            m = m * 10 + (uint64_t)(*p - '0');
        if (p == fraction)
            return NULL;
        exponent = fraction - p;
    }
    if (p - first > 18)
        fits = wsx_json_long_mantissa(first, p, &m, &exponent);
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = wsx_json_exponent(p + 1, end, &exponent);
        if (!p)
            return NULL;
    }
    if (fits && m == 0)
        exponent = 0;
    else if (!fits || exponent > WSX_JSON_HUGE || exponent < -WSX_JSON_HUGE)
        exponent = WSX_JSON_HUGE;
    out->mantissa = negative ? -(int64_t)m : (int64_t)m;
    out->exponent = (int32_t)exponent;
    return p;
}

/* ---- anything ---- */

static inline const char *wsx_json_word(const char *p, const char *end, const char *word, size_t size)
{
    return (size_t)(end - p) >= size && memcmp(p, word, size) == 0 ? p + size : NULL;
}

/* A value that holds no other. p < end. */
static inline const char *wsx_json_skip_scalar(const char *p, const char *end)
{
    wsx_json_text text;
    wsx_decimal number;
    switch (*p) {
    case '"':
        return wsx_json_string(p, end, &text);
    case 't':
        return wsx_json_word(p, end, "true", 4);
    case 'f':
        return wsx_json_word(p, end, "false", 5);
    case 'n':
        return wsx_json_word(p, end, "null", 4);
    default:
        return wsx_json_number(p, end, &number);
    }
}

/* A value at p, whatever it is and holds. */
static inline const char *wsx_json_skip(const char *p, const char *end)
{
    wsx_json_text key;
    uint64_t objects = 0;               /* a bit for each open container, the innermost lowest: 1 for an object */
    int depth = 0;
    for (;;) {
        if (p >= end)
            return NULL;
        if (*p == '{' || *p == '[') {   /* one level down, unless it is empty */
            int is_object = *p == '{';
            p = wsx_json_space(p + 1, end);
            if (p >= end || depth == WSX_JSON_DEPTH)
                return NULL;
            if (*p != (is_object ? '}' : ']')) {
                objects = objects << 1 | (unsigned)is_object;
                depth++;
                if (is_object && !(p = wsx_json_key(p, end, &key)))
                    return NULL;
                continue;
            }
            p++;
        } else if (!(p = wsx_json_skip_scalar(p, end))) {
            return NULL;
        }
        for (; depth > 0; depth--, objects >>= 1) {     /* behind a value: on to the next one, or up */
            p = wsx_json_space(p, end);
            if (p >= end)
                return NULL;
            if (*p == ',') {
                p = wsx_json_space(p + 1, end);
                if ((objects & 1) && !(p = wsx_json_key(p, end, &key)))
                    return NULL;
                break;
            }
            if (*p++ != ((objects & 1) ? '}' : ']'))
                return NULL;
        }
        if (depth == 0)
            return p;
    }
}

#endif
