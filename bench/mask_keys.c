/* One mask key of wsx's pool, timed where it is used: in C, without the bytes object that Python needs.
 *
 *     mask_keys COUNT     prints nanoseconds of CPU time for each key
 */
#define _GNU_SOURCE
#include "../wsx/_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 0;
    uint32_t seen = 0;
    if (count <= 0)
        return fprintf(stderr, "usage: mask_keys COUNT\n"), 2;
    wsx_pool_watch_forks();
    double started = cpu_ns();
    for (long i = 0; i < count; i++) {
        uint32_t key;
        if (wsx_next_key((uint8_t *)&key))
            return 1;
        seen ^= key; /* so that no key is optimised away */
    }
    printf("%.3f %" PRIu32 "\n", (cpu_ns() - started) / (double)count, seen);
    return 0;
}
