/* The monotonic clock in nanoseconds, read without the interpreter.
 *
 * On Linux and macOS this is the timeline of Python's time.monotonic_ns(), and so of asyncio's loop.time().
 * On Windows it is the performance counter, which CPython's monotonic clock uses from 3.13 on; before that
 * it counts from another origin there, so values of the two must not be mixed.
 */
#ifndef WSX_CLOCK_H
#define WSX_CLOCK_H

#include <stdint.h>

#define WSX_NS_PER_SECOND UINT64_C(1000000000)

#if defined(_WIN32)

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

static inline uint64_t wsx_monotonic_ns(void)
{
    static uint64_t frequency = 0; /* ticks per second, fixed at boot: threads that race here store the same value */
    LARGE_INTEGER reading;
    uint64_t ticks;
    if (frequency == 0) {
        QueryPerformanceFrequency(&reading);
        frequency = (uint64_t)reading.QuadPart;
    }
    QueryPerformanceCounter(&reading);
    ticks = (uint64_t)reading.QuadPart;
    return ticks / frequency * WSX_NS_PER_SECOND + ticks % frequency * WSX_NS_PER_SECOND / frequency;
}

#elif defined(__APPLE__)

#include <mach/mach_time.h>

static inline uint64_t wsx_monotonic_ns(void)
{
    mach_timebase_info_data_t base; /* nanoseconds per tick; the system library keeps it after the first call */
    uint64_t ticks = mach_absolute_time();
    mach_timebase_info(&base);
    return ticks / base.denom * base.numer + ticks % base.denom * base.numer / base.denom;
}

#else

#include <time.h>

static inline uint64_t wsx_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists and `now` is ours */
    return (uint64_t)now.tv_sec * WSX_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

#endif

#endif
