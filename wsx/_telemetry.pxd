# Counters of one connection's owner, as one C struct that other extensions increment through `Telemetry.counters`,
# and the histogram of latencies.

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from wsx._clock cimport monotonic_ns

cdef extern from "_bits.h" nogil:
    unsigned int highest_bit "wsx_highest_bit"(uint64_t word) noexcept


cdef struct Counters:                    # every word is 8 bytes and 8-aligned; one writer
    # messages and frames
    uint64_t messages_received
    uint64_t messages_sent
    uint64_t frames_received
    uint64_t frames_sent
    uint64_t bytes_received              # wire bytes of frames, headers included
    uint64_t bytes_sent
    uint64_t pings_received
    uint64_t pings_sent
    uint64_t pongs_received
    uint64_t pongs_sent
    uint64_t pongs_unmatched             # late, or with a payload nobody sent
    # errors by category
    uint64_t errors_connection
    uint64_t errors_protocol
    uint64_t errors_authentication
    uint64_t errors_application
    # queues
    uint64_t inbox_messages              # now
    uint64_t inbox_messages_peak
    uint64_t inbox_bytes                 # now
    uint64_t inbox_bytes_peak
    uint64_t inbox_pauses                # times reading was paused because the inbox was full
    uint64_t messages_dropped            # by a policy of the inbox; among them:
    uint64_t messages_conflated          # a newer one of their key took their place
    uint64_t messages_too_old            # waited longer than max_age
    uint64_t write_buffered_bytes        # now, as of the last write
    uint64_t write_buffered_bytes_peak
    uint64_t sends_backpressured         # refused with Backpressure
    uint64_t sends_rate_limited          # refused with RateLimited
    uint64_t auto_answers                # written at once by a rule, past every queue
    # connection
    uint64_t connections_opened
    uint64_t reconnect_attempts
    uint64_t opening_dns_ns              # stages of the last opening
    uint64_t opening_tcp_ns
    uint64_t opening_tls_ns
    uint64_t opening_upgrade_ns
    uint64_t last_received_ns            # monotonic; any frame
    uint64_t last_message_ns             # monotonic; text and binary only
    uint64_t last_sent_ns                # monotonic; any frame
    uint64_t last_rtt_ns
    # this process
    uint64_t last_callback_ns            # from the beginning of a read until its callbacks had returned
    uint64_t callback_ns_max


cdef enum:
    BUCKETS = 1024                       # 32 to each power of two: exact below 64 ns, open above 2**36 ns (68.7 s)


cdef struct Latencies:                   # a histogram of nanoseconds; all zero when empty
    uint64_t count
    uint64_t min_ns
    uint64_t max_ns
    uint64_t[BUCKETS] buckets


cdef inline Py_ssize_t _bucket(uint64_t latency_ns) noexcept nogil:
    # the position of the highest bit, and the 5 bits that follow it
    cdef unsigned int shift = highest_bit(latency_ns | 32) - 5
    cdef uint64_t bucket = (<uint64_t>shift << 5) + (latency_ns >> shift)
    return bucket if bucket < BUCKETS else BUCKETS - 1


cdef inline void record_latency(Latencies* latencies, uint64_t latency_ns) noexcept nogil:
    if latencies.count == 0 or latency_ns < latencies.min_ns:
        latencies.min_ns = latency_ns
    if latency_ns > latencies.max_ns:
        latencies.max_ns = latency_ns
    latencies.count += 1
    latencies.buckets[_bucket(latency_ns)] += 1


@cython.final
cdef class Histogram:
    cdef Latencies _latencies


cdef struct Header:                      # the beginning of the block; layout version 1, byte order of the machine
    char[8] magic                        # "WSXTELEM"
    uint32_t version
    uint32_t entry_bytes                 # of one Field
    uint64_t size                        # bytes of the whole block
    uint64_t pid
    uint64_t started_monotonic_ns
    uint64_t started_wall_ns             # since 1970
    uint64_t fields_offset               # of the first Field, from the beginning of the block
    uint64_t field_count
    uint64_t process_started             # when the process started, as the system tells it; 0: it does not
    uint64_t ended_wall_ns               # nothing is counted any more; 0: it is


cdef struct Field:                       # what a reader needs to know of one counter
    char[48] name                        # ASCII, filled up with zeros
    uint64_t offset                      # of its 8-byte word, from the beginning of the block
    uint64_t kind                        # 1 counts up, 2 goes up and down, 3 an instant of the monotonic clock in ns,
                                         # 4 a Latencies: its first word is at `offset`


@cython.final
cdef class Telemetry:
    cdef Counters* counters              # never NULL while the object lives
    cdef void* _block                    # Header, Fields, Counters: one piece of memory
    cdef size_t _block_bytes
    cdef Latencies* _round_trips         # NULL until the first is recorded; in shared memory a part of the block
    cdef Py_buffer _memory               # what the block lies in, where that was given
    cdef readonly str client             # whose counters these are, None for nobody's: whom the events of messages name
    cdef readonly uint32_t epoch         # of its newest connection
    cdef object _clock                   # None: the machine's monotonic clock, read without Python
    cdef inline uint64_t now_ns(self) noexcept:
        return monotonic_ns() if self._clock is None else self._ask_clock()
    cdef uint64_t _ask_clock(self) noexcept
    cdef int _use(self, memory) except -1
    cdef int _describe(self, Field* fields, Py_ssize_t histograms) except -1
    cdef int _begin(self, Header* header, uint64_t process_started) except -1
    cpdef void record_rtt(self, uint64_t rtt_ns) noexcept
    cdef uint64_t* _word(self, name) except NULL
