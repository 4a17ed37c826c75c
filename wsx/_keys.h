/* A process-wide pool of unpredictable mask keys (RFC 6455 5.3, 10.3), filled by the kernel and dropped in a forked
 * child, so that no two processes ever send the same keys. Guarded by the caller's GIL. */
#ifndef WSX_KEYS_H
#define WSX_KEYS_H

#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#include <bcrypt.h>
#pragma comment(lib, "bcrypt")
#else
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/random.h>
#endif

#define WSX_POOL_BYTES 16384

static uint8_t wsx_pool[WSX_POOL_BYTES];
static size_t wsx_pool_used = WSX_POOL_BYTES;

static unsigned long wsx_forks; /* forks between this process and the one that loaded the module */

static void wsx_pool_drop(void)
{
    wsx_pool_used = WSX_POOL_BYTES;
    wsx_forks++;
}

static void wsx_pool_watch_forks(void)
{
#if !defined(_WIN32)
    pthread_atfork(NULL, NULL, wsx_pool_drop);
#endif
}

/* 0, or -1 where the kernel gives no entropy. */
static int wsx_pool_refill(void)
{
#if defined(_WIN32)
    if (BCryptGenRandom(NULL, wsx_pool, WSX_POOL_BYTES, BCRYPT_USE_SYSTEM_PREFERRED_RNG))
        return -1;
#elif defined(__linux__)
    size_t have = 0;
    while (have < WSX_POOL_BYTES) {
        ssize_t got = getrandom(wsx_pool + have, WSX_POOL_BYTES - have, 0);
        if (got > 0)
            have += (size_t)got;
        else if (got < 0 && errno != EINTR)
            return -1;
    }
#else
    for (size_t have = 0; have < WSX_POOL_BYTES; have += 256)
        if (getentropy(wsx_pool + have, 256))
            return -1;
#endif
    wsx_pool_used = 0;
    return 0;
}

static inline int wsx_next_key(uint8_t key[4])
{
    if (wsx_pool_used == WSX_POOL_BYTES && wsx_pool_refill())
        return -1;
    memcpy(key, wsx_pool + wsx_pool_used, 4);
    wsx_pool_used += 4;
    return 0;
}

#endif
