/* Position of the highest bit that is set: 63 for the top bit, 0 for 1. `word` must not be 0. */
#ifndef WSX_BITS_H
#define WSX_BITS_H

#include <stdint.h>

#if defined(_MSC_VER)

#include <intrin.h>

static inline unsigned wsx_highest_bit(uint64_t word)
{
    unsigned long position = 0;
#if defined(_WIN64)
    _BitScanReverse64(&position, word);
#else
    if (_BitScanReverse(&position, (unsigned long)(word >> 32))) {
        return (unsigned)position + 32;
    }
    _BitScanReverse(&position, (unsigned long)word);
#endif
    return (unsigned)position;
}

#else

static inline unsigned wsx_highest_bit(uint64_t word)
{
    return 63u - (unsigned)__builtin_clzll(word);
}

#endif

#endif
