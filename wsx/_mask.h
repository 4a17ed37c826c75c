/* Masking (RFC 6455 5.3) and UTF-8 checking (RFC 3629) over plain bytes: no Python, no allocation.
 *
 * Each fast routine stands beside the byte-by-byte rule that it must equal; tests compare the two.
 */
#ifndef WSX_MASK_H
#define WSX_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define WSX_SSE2 1
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define WSX_NEON 1
#endif

/* The rule itself: octet i of the output is octet i of the input XOR octet (i modulo 4) of the key. */
static inline void wsx_mask_bytewise(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4])
{
    for (size_t i = 0; i < size; i++)
        dst[i] = src[i] ^ key[i & 3];
}

/* dst and src may be the same address; otherwise they do not overlap. */
static inline void wsx_mask(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4])
{
    size_t i = 0;
    uint32_t word;
    memcpy(&word, key, 4);
#if defined(WSX_SSE2)
    const __m128i wide = _mm_set1_epi32((int)word);
    for (; i + 16 <= size; i += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(src + i));
        _mm_storeu_si128((__m128i *)(dst + i), _mm_xor_si128(block, wide));
    }
#elif defined(WSX_NEON)
    const uint8x16_t wide = vreinterpretq_u8_u32(vdupq_n_u32(word));
    for (; i + 16 <= size; i += 16)
        vst1q_u8(dst + i, veorq_u8(vld1q_u8(src + i), wide));
#endif
    for (; i + 4 <= size; i += 4) {
        uint32_t block;
        memcpy(&block, src + i, 4);
        block ^= word;
        memcpy(dst + i, &block, 4);
    }
    wsx_mask_bytewise(dst + i, src + i, size - i, key);
}

/* Bytes at the start of `data` that are ASCII (top bit clear), counted in whole blocks, then bytes. */
static inline size_t wsx_ascii_prefix(const uint8_t *data, size_t size)
{
    size_t i = 0;
#if defined(WSX_SSE2)
    for (; i + 64 <= size; i += 64) {
        const __m128i *block = (const __m128i *)(data + i);
        __m128i any = _mm_or_si128(_mm_or_si128(_mm_loadu_si128(block), _mm_loadu_si128(block + 1)),
                                   _mm_or_si128(_mm_loadu_si128(block + 2), _mm_loadu_si128(block + 3)));
        if (_mm_movemask_epi8(any))
            break;
    }
    for (; i + 16 <= size; i += 16)
        if (_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(data + i))))
            break;
#elif defined(WSX_NEON)
    for (; i + 16 <= size; i += 16)
        if (vmaxvq_u8(vld1q_u8(data + i)) & 0x80)
            break;
#endif
    for (; i + 8 <= size; i += 8) {
        uint64_t block;
        memcpy(&block, data + i, 8);
        if (block & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < size && data[i] < 0x80)
        i++;
    return i;
}

/* memcpy() that says whether every byte is ASCII. No early way out: nearly every text is, and is short. */
static inline int wsx_copy_ascii(uint8_t *dst, const uint8_t *src, size_t size)
{
#if defined(WSX_SSE2)
    if (size >= 16) {
        __m128i any = _mm_loadu_si128((const __m128i *)(src + size - 16)); /* what is left, and some of it again */
        size_t i = 0;
        _mm_storeu_si128((__m128i *)(dst + size - 16), any);
        for (; i + 64 <= size; i += 64) {
            __m128i a = _mm_loadu_si128((const __m128i *)(src + i));
            __m128i b = _mm_loadu_si128((const __m128i *)(src + i + 16));
            __m128i c = _mm_loadu_si128((const __m128i *)(src + i + 32));
            __m128i d = _mm_loadu_si128((const __m128i *)(src + i + 48));
            _mm_storeu_si128((__m128i *)(dst + i), a);
            _mm_storeu_si128((__m128i *)(dst + i + 16), b);
            _mm_storeu_si128((__m128i *)(dst + i + 32), c);
            _mm_storeu_si128((__m128i *)(dst + i + 48), d);
            any = _mm_or_si128(_mm_or_si128(any, _mm_or_si128(a, b)), _mm_or_si128(c, d));
        }
        for (; i + 16 <= size; i += 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)(src + i));
            _mm_storeu_si128((__m128i *)(dst + i), block);
            any = _mm_or_si128(any, block);
        }
        return !_mm_movemask_epi8(any);
    }
#endif
    memcpy(dst, src, size);
    return wsx_ascii_prefix(src, size) == size;
}

/* Where a UTF-8 check stands between two pieces of one text: all zero at its start and at each whole character. */
typedef struct {
    uint8_t needed; /* continuation bytes still to come */
    uint8_t lower;  /* range of the next one: narrower after E0, ED, F0 and F4 (overlong, surrogates, > U+10FFFF) */
    uint8_t upper;
} wsx_utf8_state;

/* One byte of the rule (RFC 3629 section 4): 1 if the text can still be valid. */
static inline int wsx_utf8_step(wsx_utf8_state *state, uint8_t byte)
{
    if (state->needed) {
        if (byte < state->lower || byte > state->upper)
            return 0;
        state->needed--;
        state->lower = 0x80;
        state->upper = 0xBF;
        return 1;
    }
    if (byte < 0x80)
        return 1;
    if (byte < 0xC2 || byte > 0xF4)
        return 0;
    state->needed = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    state->lower = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    state->upper = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return 1;
}

/* Feed one piece: 1 while the text can still be valid, 0 at the first byte that makes it invalid. */
static inline int wsx_utf8_feed(wsx_utf8_state *state, const uint8_t *data, size_t size)
{
    size_t i = 0;
    while (i < size) {
        if (!state->needed && data[i] < 0x80) {
            i += wsx_ascii_prefix(data + i, size - i);
            continue;
        }
        if (!wsx_utf8_step(state, data[i++]))
            return 0;
    }
    return 1;
}

#endif
