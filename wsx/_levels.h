/* One side of an order book: levels in one array, sorted by key with the best at the end, where nearly all changes are.
 *
 * The key is the price of a bid and the negated price of an ask, so that both sides are the same: the best has the greatest.
 * Prices and amounts are integers in the book's two scales. No Python; the array grows and never shrinks.
 * Not here: what a change means and whether it is believed (_book.pyx).
 */
#ifndef WSX_LEVELS_H
#define WSX_LEVELS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WSX_MAX_LEVELS 65536       /* levels a side */
#define WSX_MAX_DECIMALS 18        /* 10**18 is the largest power of ten below 2**63 */

typedef struct {
    int64_t key;
    int64_t amount;
} wsx_level;

typedef struct {
    wsx_level *levels;
    size_t count;
    size_t room;
} wsx_side;

static const int64_t WSX_POWERS[WSX_MAX_DECIMALS + 1] = {
    1LL, 10LL, 100LL, 1000LL, 10000LL, 100000LL, 1000000LL, 10000000LL, 100000000LL, 1000000000LL, 10000000000LL,
    100000000000LL, 1000000000000LL, 10000000000000LL, 100000000000000LL, 1000000000000000LL, 10000000000000000LL,
    100000000000000000LL, 1000000000000000000LL};

#define WSX_LIMIT(power) (INT64_MAX / power)
static const int64_t WSX_LIMITS[WSX_MAX_DECIMALS + 1] = {       /* what may be multiplied by that power */
    WSX_LIMIT(1LL), WSX_LIMIT(10LL), WSX_LIMIT(100LL), WSX_LIMIT(1000LL), WSX_LIMIT(10000LL), WSX_LIMIT(100000LL),
    WSX_LIMIT(1000000LL), WSX_LIMIT(10000000LL), WSX_LIMIT(100000000LL), WSX_LIMIT(1000000000LL), WSX_LIMIT(10000000000LL),
    WSX_LIMIT(100000000000LL), WSX_LIMIT(1000000000000LL), WSX_LIMIT(10000000000000LL), WSX_LIMIT(100000000000000LL),
    WSX_LIMIT(1000000000000000LL), WSX_LIMIT(10000000000000000LL), WSX_LIMIT(100000000000000000LL),
    WSX_LIMIT(1000000000000000000LL)};

/* Multiply by 10**decimals; 0 where the result does not fit. decimals: 0 to WSX_MAX_DECIMALS. */
static inline int wsx_times_power(int64_t *number, int32_t decimals)
{
    int64_t limit = WSX_LIMITS[decimals];
    if (*number > limit || *number < -limit)
        return 0;
    *number *= WSX_POWERS[decimals];
    return 1;
}

/* The index of the first level whose key is not below `key`: its own where it is there. Looks from the best on, in growing steps. */
static inline size_t wsx_side_find(const wsx_side *side, int64_t key)
{
    const wsx_level *levels = side->levels;
    size_t high = side->count, step = 1, low;
    while (step <= high && levels[high - step].key >= key) {
        high -= step;
        step *= 2;
    }
    low = step <= high ? high - step + 1 : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (levels[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

static inline void wsx_side_remove(wsx_side *side, size_t place)
{
    side->count--;
    memmove(side->levels + place, side->levels + place + 1, (side->count - place) * sizeof(wsx_level));
}

/* Room for `count` levels; 0 where there is no memory. */
static inline int wsx_side_reserve(wsx_side *side, size_t count)
{
    size_t room = side->room ? side->room : 32;
    wsx_level *levels;
    if (count <= side->room)
        return 1;
    while (room < count)
        room *= 2;
    levels = (wsx_level *)realloc(side->levels, room * sizeof(wsx_level));
    if (!levels)
        return 0;
    side->levels = levels;
    side->room = room;
    return 1;
}

/* There must be room. */
static inline void wsx_side_insert(wsx_side *side, size_t place, int64_t key, int64_t amount)
{
    wsx_level *at = side->levels + place;
    memmove(at + 1, at, (side->count - place) * sizeof(wsx_level));
    at->key = key;
    at->amount = amount;
    side->count++;
}

static int wsx_level_order(const void *left, const void *right)
{
    int64_t a = ((const wsx_level *)left)->key, b = ((const wsx_level *)right)->key;
    return (a > b) - (a < b);
}

/* Bring levels that came in any order into theirs; 0 where a key is there twice. */
static inline int wsx_side_sort(wsx_side *side)
{
    size_t i = 1;
    while (i < side->count && side->levels[i - 1].key < side->levels[i].key)
        i++;
    if (i >= side->count)
        return 1;
    qsort(side->levels, side->count, sizeof(wsx_level), wsx_level_order);
    for (i = 1; i < side->count && side->levels[i - 1].key < side->levels[i].key; i++)
        ;
    return i >= side->count;
}

/* Multiply every key or every amount by 10**decimals; 0 where one does not fit, and then the side is of no more use. */
static inline int wsx_side_rescale_keys(wsx_side *side, int32_t decimals)
{
    for (size_t i = 0; i < side->count; i++) {
        if (!wsx_times_power(&side->levels[i].key, decimals))
            return 0;
    }
    return 1;
}

static inline int wsx_side_rescale_amounts(wsx_side *side, int32_t decimals)
{
    for (size_t i = 0; i < side->count; i++) {
        if (!wsx_times_power(&side->levels[i].amount, decimals))
            return 0;
    }
    return 1;
}

#endif
