"""Counters and latencies of one connection's owner, in plain memory.

A Telemetry is one block: a header, a table that names every counter with its place, and the counters. A reader that
knows the header alone can decode it. Other extensions write through `Telemetry.counters`; one writer, aligned
64-bit words, no consistency promised across words. Latencies are counted in buckets of a logarithmic scale.
The block is in memory of its own, or in memory that other processes share, where the latencies are part of it.
Not here: exporters, health, which event changes which counter, files (telemetry_file.py), reading (telemetry_reader.py).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsUnsignedLongLong
from libc.math cimport ceil
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from wsx._clock cimport monotonic_ns

from os import getpid
from time import time_ns


# ---- latencies ----

cdef uint64_t _middle_ns(Py_ssize_t bucket) noexcept nogil:
    """The middle of a bucket, which is at most 1/64 away from every latency in it."""
    cdef int shift = max((bucket >> 5) - 1, 0)
    cdef uint64_t lowest_ns = <uint64_t>(bucket - (shift << 5)) << shift
    return lowest_ns + ((<uint64_t>1 << shift) - 1) // 2


cdef uint64_t _percentile_ns(const Latencies* latencies, double percent) noexcept nogil:
    """The latency with `percent` of all at or below it (nearest rank); 0 if there are none."""
    cdef uint64_t rank = max(<uint64_t>ceil(percent * latencies.count / 100), <uint64_t>1)
    cdef uint64_t seen = 0
    cdef Py_ssize_t bucket
    if rank == 1:
        return latencies.min_ns
    if rank >= latencies.count:
        return latencies.max_ns
    for bucket in range(BUCKETS):
        seen += latencies.buckets[bucket]
        if seen >= rank:
            break
    return min(max(_middle_ns(bucket), latencies.min_ns), latencies.max_ns)


cdef void _merge(Latencies* into, const Latencies* other) noexcept nogil:
    cdef Py_ssize_t bucket
    if other.count == 0:
        return
    into.min_ns = min(into.min_ns, other.min_ns) if into.count else other.min_ns
    into.max_ns = max(into.max_ns, other.max_ns)
    into.count += other.count
    for bucket in range(BUCKETS):
        into.buckets[bucket] += other.buckets[bucket]


@cython.final
cdef class Histogram:
    """A histogram of latencies in nanoseconds: 8 KiB, percentiles within 1.6 % up to 68 s, whatever is recorded.

    Longer latencies share the last bucket; `max` is exact also then.
    """

    def load(self, latencies) -> None:
        """Take over the counts in the bytes of a C struct `Latencies`. Raises ValueError for too few or too many."""
        cdef Py_buffer view
        PyObject_GetBuffer(latencies, &view, PyBUF_SIMPLE)
        try:
            if view.len != sizeof(Latencies):
                raise ValueError(f"latencies are {sizeof(Latencies)} bytes, not {view.len}")
            memcpy(&self._latencies, view.buf, sizeof(Latencies))
        finally:
            PyBuffer_Release(&view)

    def record(self, latency_ns) -> None:
        """Count one latency (nanoseconds, int). Raises TypeError, or OverflowError if it is not 0 to 2**64 - 1."""
        record_latency(&self._latencies, PyLong_AsUnsignedLongLong(latency_ns))

    def percentile(self, percent) -> int:
        """Nanoseconds that `percent` (0 to 100) of the latencies do not exceed, by nearest rank; 0 when empty.

        Raises ValueError if `percent` is not 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent must be 0 to 100, got {percent}")
        return _percentile_ns(&self._latencies, percent)

    def merge(self, Histogram other not None) -> None:
        """Add everything that `other` has counted."""
        _merge(&self._latencies, &other._latencies)

    @property
    def count(self) -> int:
        """Latencies recorded."""
        return self._latencies.count

    @property
    def min(self) -> int:
        """The shortest latency in nanoseconds, exact; 0 when empty."""
        return self._latencies.min_ns

    @property
    def max(self) -> int:
        """The longest latency in nanoseconds, exact; 0 when empty."""
        return self._latencies.max_ns


# ---- counters ----

cdef enum:
    VERSION = 1
    COUNTER = 1
    GAUGE = 2
    INSTANT = 3
    HISTOGRAM = 4


cdef tuple _counter_names():
    """Every field of Counters, in its order, which is the order of their words."""
    cdef Counters counters
    memset(&counters, 0, sizeof(counters))
    cdef dict values = counters
    return tuple(values)


cdef tuple _NAMES = _counter_names()
cdef dict _INDEX = {name: index for index, name in enumerate(_NAMES)}
cdef dict _KINDS = {
    "inbox_messages": GAUGE,
    "inbox_messages_peak": GAUGE,
    "inbox_bytes": GAUGE,
    "inbox_bytes_peak": GAUGE,
    "write_buffered_bytes": GAUGE,
    "write_buffered_bytes_peak": GAUGE,
    "opening_dns_ns": GAUGE,
    "opening_tcp_ns": GAUGE,
    "opening_tls_ns": GAUGE,
    "opening_upgrade_ns": GAUGE,
    "last_rtt_ns": GAUGE,
    "last_callback_ns": GAUGE,
    "callback_ns_max": GAUGE,
    "last_received_ns": INSTANT,
    "last_message_ns": INSTANT,
    "last_sent_ns": INSTANT,
}
cdef str _ROUND_TRIPS = "rtt_ns"             # the table's name for them
cdef size_t _NAME_BYTES = sizeof(Field) - 2 * sizeof(uint64_t)
cdef size_t _PRIVATE_BYTES = sizeof(Header) + len(_NAMES) * sizeof(Field) + sizeof(Counters)

SHARED_BYTES = _PRIVATE_BYTES + sizeof(Field) + sizeof(Latencies)    # of memory that a Telemetry shares

if sizeof(Counters) != len(_NAMES) * sizeof(uint64_t):
    raise ImportError("every field of Counters must be one word of 8 bytes")
if max(map(len, _NAMES)) >= _NAME_BYTES:
    raise ImportError(f"the name of every field of Counters must be shorter than {_NAME_BYTES} bytes")


@cython.final
cdef class Telemetry:
    """The counters of one connection's owner. `bytes(telemetry)` or `memoryview(telemetry)` is the block itself.

    clock: tells the time instead of the machine's monotonic clock (clock.py), for a simulation.
    memory: writable, zeroed, at least SHARED_BYTES: where the block shall lie, to be read by other processes; kept as
    long as this lives. process_started: written into the header for them.
    Raises MemoryError, BufferError and ValueError. One writer; the view is read-only and shows the counters as they move.
    """

    def __cinit__(self, clock=None, memory=None, uint64_t process_started=0) -> None:
        self._clock = clock
        if memory is None:
            self._block, self._block_bytes = calloc(1, _PRIVATE_BYTES), _PRIVATE_BYTES
            if self._block is NULL:
                raise MemoryError
        else:
            self._use(memory)
        self._describe(<Field*>(<Header*>self._block + 1), 0 if memory is None else 1)
        self._begin(<Header*>self._block, process_started)

    cdef int _use(self, memory) except -1:
        PyObject_GetBuffer(memory, &self._memory, PyBUF_WRITABLE)
        if self._memory.len < SHARED_BYTES:
            raise ValueError(f"shared telemetry needs {SHARED_BYTES} bytes of memory, not {self._memory.len}")
        self._block, self._block_bytes = self._memory.buf, SHARED_BYTES
        return 0

    cdef int _describe(self, Field* fields, Py_ssize_t histograms) except -1:
        """Fill in the table of fields, and place what it describes behind it."""
        cdef Header* header = <Header*>self._block
        header.fields_offset, header.field_count = sizeof(Header), len(_NAMES) + histograms
        self.counters = <Counters*>(fields + header.field_count)
        cdef size_t offset = <char*>self.counters - <char*>self._block
        for index, name in enumerate(_NAMES):
            _set_field(&fields[index], name, offset + index * sizeof(uint64_t), _KINDS.get(name, COUNTER))
        if histograms:
            self._round_trips = <Latencies*>(self.counters + 1)
            _set_field(&fields[len(_NAMES)], _ROUND_TRIPS, offset + sizeof(Counters), HISTOGRAM)
        return 0

    cdef int _begin(self, Header* header, uint64_t process_started) except -1:
        """Fill in the rest of the header."""
        memcpy(header.magic, b"WSXTELEM", sizeof(header.magic))
        header.version, header.entry_bytes, header.size = VERSION, sizeof(Field), self._block_bytes
        header.pid, header.started_monotonic_ns, header.started_wall_ns = getpid(), self.now_ns(), time_ns()
        header.process_started = process_started
        return 0

    def __dealloc__(self) -> None:
        if self._memory.buf is not NULL:
            PyBuffer_Release(&self._memory)
        else:
            free(self._block)
            free(self._round_trips)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self._block, self._block_bytes, 1, flags)

    def belong_to(self, str client not None, uint32_t epoch) -> None:
        """Say whose counters these are: `message.received` and `message.sent` (telemetry.py) are told from now on."""
        self.client, self.epoch = client, epoch

    def end(self) -> None:
        """Tell readers of the block that nothing is counted any more."""
        (<Header*>self._block).ended_wall_ns = time_ns()

    cpdef void record_rtt(self, uint64_t rtt_ns) noexcept:
        """Count a round trip (nanoseconds), and keep it as `last_rtt_ns`. The histogram is allocated here, once."""
        self.counters.last_rtt_ns = rtt_ns
        if self._round_trips is NULL:
            self._round_trips = <Latencies*>calloc(1, sizeof(Latencies))
            if self._round_trips is NULL:    # out of memory: the latest round trip is all there is to keep
                return
        record_latency(self._round_trips, rtt_ns)

    def add(self, name, amount=1) -> None:
        """Raise the counter `name` by `amount`, an int. For Python code: extensions write to `counters`.

        Raises KeyError, TypeError, or OverflowError if `amount` is not 0 to 2**64 - 1.
        """
        self._word(name)[0] += PyLong_AsUnsignedLongLong(amount)

    def store(self, name, value) -> None:
        """Set the counter `name` to `value`, an int. For Python code: extensions write to `counters`.

        Raises KeyError, TypeError, or OverflowError if `value` is not 0 to 2**64 - 1.
        """
        self._word(name)[0] = PyLong_AsUnsignedLongLong(value)

    cdef uint64_t _ask_clock(self) noexcept:
        return self._clock.now_ns()

    cdef uint64_t* _word(self, name) except NULL:
        """Where the counter `name` is."""
        cdef size_t index = _INDEX[name]
        return <uint64_t*>self.counters + index

    def snapshot(self) -> dict:
        """Every counter by its name, then `rtt_ns_count` and `rtt_ns_min`, `_p50`, `_p90`, `_p99`, `_max` (0: none yet)."""
        cdef dict values = self.counters[0]
        values.update(_round_trip_values(self._round_trips))
        return values


cdef int _set_field(Field* field, str name, uint64_t offset, uint64_t kind) except -1:
    encoded = name.encode("ascii")
    memcpy(field.name, <const char*>encoded, len(encoded))
    field.offset, field.kind = offset, kind
    return 0


cdef dict _round_trip_values(const Latencies* round_trips):
    if round_trips is NULL:
        return dict.fromkeys(("rtt_ns_count", "rtt_ns_min", "rtt_ns_p50", "rtt_ns_p90", "rtt_ns_p99", "rtt_ns_max"), 0)
    return {
        "rtt_ns_count": round_trips.count,
        "rtt_ns_min": round_trips.min_ns,
        "rtt_ns_p50": _percentile_ns(round_trips, 50),
        "rtt_ns_p90": _percentile_ns(round_trips, 90),
        "rtt_ns_p99": _percentile_ns(round_trips, 99),
        "rtt_ns_max": round_trips.max_ns,
    }
