# Counters of one connection's owner, as one C struct that other extensions increment through `Telemetry.counters`.

from libc.stdint cimport int64_t, uint32_t, uint64_t


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
    uint64_t write_buffered_bytes        # now, as of the last write
    uint64_t write_buffered_bytes_peak
    uint64_t sends_backpressured         # refused with Backpressure
    uint64_t sends_rate_limited          # refused with RateLimited
    # connection
    uint64_t connections_opened
    uint64_t opening_dns_ns              # stages of the last opening
    uint64_t opening_tcp_ns
    uint64_t opening_tls_ns
    uint64_t opening_upgrade_ns
    uint64_t last_received_ns            # monotonic; any frame
    uint64_t last_message_ns             # monotonic; text and binary only
    uint64_t last_sent_ns                # monotonic; any frame
    uint64_t last_rtt_ns


cdef class Telemetry:
    cdef Counters* counters              # never NULL while the object lives
    cdef void record_rtt(self, uint64_t rtt_ns) noexcept
