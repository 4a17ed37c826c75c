/* Finding where a JSON value ends (RFC 8259) without looking at what is in it: no Python, no allocation.
 *
 * 64 bytes at a time become three sets of bits: quotes that no backslash escapes, opening and closing brackets. A prefix
 * XOR over the quotes tells what lies inside strings; the brackets outside of them are counted. The kinds of brackets are
 * not compared: in valid JSON they match, and nothing is claimed about the rest.
 */
#ifndef WSX_JSON_H
#define WSX_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define WSX_JSON_SSE2 1
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define WSX_JSON_NEON 1
#endif

#define WSX_BLOCK 64

typedef struct {
    uint64_t quotes;      /* escaped or not */
    uint64_t backslashes;
    uint64_t opens;       /* { and [ */
    uint64_t closes;      /* } and ] */
} wsx_marks;

static inline unsigned wsx_lowest_bit(uint64_t word)
{
#if defined(_MSC_VER)
    unsigned long position = 0;
    _BitScanForward64(&position, word);
    return (unsigned)position;
#else
    return (unsigned)__builtin_ctzll(word);
#endif
}

static inline int wsx_count_bits(uint64_t word)
{
    word = word - ((word >> 1) & UINT64_C(0x5555555555555555));
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (int)((word * UINT64_C(0x0101010101010101)) >> 56);
}

/* The four sets of one block of 64 bytes. 0x20 is what { } and [ ] differ in. */
static inline void wsx_mark(const uint8_t *block, wsx_marks *marks)
{
#if defined(WSX_JSON_SSE2)
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), fold = _mm_set1_epi8(0x20);
    const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    memset(marks, 0, sizeof(*marks));
    for (int i = 0; i < WSX_BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(block + i));
        __m128i folded = _mm_or_si128(bytes, fold);
        marks->quotes |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quote)) << i;
        marks->backslashes |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslash)) << i;
        marks->opens |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, open)) << i;
        marks->closes |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, close)) << i;
    }
#elif defined(WSX_JSON_NEON)
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t weight = vld1q_u8(weights), fold = vdupq_n_u8(0x20);
    uint8x16_t bytes[4], folded[4];
    for (int i = 0; i < 4; i++) {
        bytes[i] = vld1q_u8(block + 16 * i);
        folded[i] = vorrq_u8(bytes[i], fold);
    }
#define WSX_SET(from, byte)                                                                                            \
    vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(                                                                     \
        vpaddq_u8(vpaddq_u8(vandq_u8(vceqq_u8(from[0], vdupq_n_u8(byte)), weight),                                     \
                            vandq_u8(vceqq_u8(from[1], vdupq_n_u8(byte)), weight)),                                    \
                  vpaddq_u8(vandq_u8(vceqq_u8(from[2], vdupq_n_u8(byte)), weight),                                     \
                            vandq_u8(vceqq_u8(from[3], vdupq_n_u8(byte)), weight))),                                   \
        vdupq_n_u8(0))), 0)
    marks->quotes = WSX_SET(bytes, '"');
    marks->backslashes = WSX_SET(bytes, '\\');
    marks->opens = WSX_SET(folded, '{');
    marks->closes = WSX_SET(folded, '}');
#undef WSX_SET
#else
    memset(marks, 0, sizeof(*marks));
    for (int i = 0; i < WSX_BLOCK; i++) {
        marks->quotes |= (uint64_t)(block[i] == '"') << i;
        marks->backslashes |= (uint64_t)(block[i] == '\\') << i;
        marks->opens |= (uint64_t)((block[i] | 0x20) == '{') << i;
        marks->closes |= (uint64_t)((block[i] | 0x20) == '}') << i;
    }
#endif
}

/* Bits that a backslash before them escapes. carry: the last byte of the block before was such a backslash. */
static inline uint64_t wsx_escaped(uint64_t backslashes, unsigned *carry)
{
    uint64_t escaped = *carry, left = backslashes & ~escaped;
    *carry = 0;
    while (left) {
        unsigned at = wsx_lowest_bit(left);
        if (at == WSX_BLOCK - 1) {
            *carry = 1;
            break;
        }
        escaped |= UINT64_C(2) << at;
        left &= ~(UINT64_C(3) << at);
    }
    return escaped;
}

/* Bit i: the XOR of bits 0 to i. */
static inline uint64_t wsx_prefix_xor(uint64_t word)
{
    for (int shift = 1; shift < WSX_BLOCK; shift *= 2)
        word ^= word << shift;
    return word;
}

#define WSX_NESTED wsx_after_nested_anywhere
#define WSX_TARGET
#define WSX_MARK wsx_mark
#define WSX_COUNT wsx_count_bits
#define WSX_PREFIX_XOR wsx_prefix_xor
#include "_json_nested.h"

#if defined(__x86_64__) && defined(__GNUC__)

#define WSX_WIDE __attribute__((target("avx2,popcnt,pclmul,bmi")))

WSX_WIDE static inline void wsx_mark_wide(const uint8_t *block, wsx_marks *marks)
{
    const __m256i quote = _mm256_set1_epi8('"'), backslash = _mm256_set1_epi8('\\'), fold = _mm256_set1_epi8(0x20);
    const __m256i open = _mm256_set1_epi8('{'), close = _mm256_set1_epi8('}');
    __m256i low = _mm256_loadu_si256((const __m256i *)block), high = _mm256_loadu_si256((const __m256i *)(block + 32));
    __m256i low_folded = _mm256_or_si256(low, fold), high_folded = _mm256_or_si256(high, fold);
#define WSX_SET(low, high, byte)                                                                                       \
    ((uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, byte)) |                                          \
     (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, byte)) << 32)
    marks->quotes = WSX_SET(low, high, quote);
    marks->backslashes = WSX_SET(low, high, backslash);
    marks->opens = WSX_SET(low_folded, high_folded, open);
    marks->closes = WSX_SET(low_folded, high_folded, close);
#undef WSX_SET
}

WSX_WIDE static inline uint64_t wsx_prefix_xor_wide(uint64_t word)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)word), _mm_set1_epi8((char)0xFF), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define WSX_NESTED wsx_after_nested_wide
#define WSX_TARGET WSX_WIDE
#define WSX_MARK wsx_mark_wide
#define WSX_COUNT (int)__builtin_popcountll
#define WSX_PREFIX_XOR wsx_prefix_xor_wide
#include "_json_nested.h"

static inline int wsx_is_wide(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("pclmul") &&
           __builtin_cpu_supports("bmi");
}

#else

#define wsx_after_nested_wide wsx_after_nested_anywhere

static inline int wsx_is_wide(void)
{
    return 0;
}

#endif

/* Where the object or array that begins at `at` has its last bracket, plus one; NULL where it has none before `end`.
 * wide: what wsx_is_wide said. */
static inline const uint8_t *wsx_after_nested(const uint8_t *at, const uint8_t *end, int wide)
{
    return wide ? wsx_after_nested_wide(at, end) : wsx_after_nested_anywhere(at, end);
}

/* The closing quote of the string whose contents begin at `at`; NULL where there is none before `end`.
 * escapes: set to 1 where there is a backslash in it, else left alone. */
static inline const uint8_t *wsx_closing_quote(const uint8_t *at, const uint8_t *end, int *escapes)
{
#if defined(WSX_JSON_SSE2)
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i either = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        unsigned found = (unsigned)_mm_movemask_epi8(either);
        if (!found) {
            at += 16;
            continue;
        }
        at += wsx_lowest_bit(found);
        if (*at == '"')
            return at;
        *escapes = 1;
        at += 2;
    }
#endif
    for (; at < end; at++) {
        if (*at == '"')
            return at;
        if (*at == '\\') {
            *escapes = 1;
            at++;
        }
    }
    return NULL;
}

/* Is there a run of digits that may be a whole number beyond 64 bits: of 20 or more, or of 19 behind a minus? What comes
 * behind a point is no whole number. Every 19th byte is looked at, and its neighbours where it is a digit. */
static inline int wsx_has_long_number(const uint8_t *data, size_t size)
{
    for (size_t probe = 18; probe < size; probe += 19) {
        size_t first = probe, after = probe;
        while (after < size && (unsigned)(data[after] - '0') < 10)
            after++;
        if (after == probe)
            continue;
        while (first > 0 && (unsigned)(data[first - 1] - '0') < 10)
            first--;
        uint8_t before = first > 0 ? data[first - 1] : 0;
        if (before != '.' && after - first >= (size_t)(before == '-' ? 19 : 20))
            return 1;
        probe = after;
    }
    return 0;
}

#endif
