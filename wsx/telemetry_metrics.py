"""What each counter of `client.telemetry.snapshot()` means: exporters' common part.

Not here: counting (_telemetry.pyx), events (telemetry.py), a format to export to (telemetry_prometheus.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """How a number moves, which says how those of several clients go together."""

    COUNTER = "counter"  # only grows: added up
    LEVEL = "level"  # what there is now: added up
    PEAK = "peak"  # the most there was: the largest
    DURATION = "duration"  # nanoseconds that something took: the longest
    SHORTEST = "shortest"  # nanoseconds, the shortest; 0 where there is none
    INSTANT = "instant"  # nanoseconds of the monotonic clock, 0 for never: the latest


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a snapshot. unit: what is counted, "bytes" or "messages" for example; "ns" is nanoseconds."""

    kind: Kind
    unit: str
    text: str


def _counters(unit: str, **texts: str) -> dict[str, Metric]:
    return {name: Metric(Kind.COUNTER, unit, text) for name, text in texts.items()}


def _levels(unit: str, **texts: str) -> dict[str, Metric]:
    """A level and its peak."""
    levels = {name: Metric(Kind.LEVEL, unit, text) for name, text in texts.items()}
    peaks = {f"{name}_peak": Metric(Kind.PEAK, unit, f"the most of: {text}") for name, text in texts.items()}
    return levels | peaks


def _nanoseconds(kind: Kind, **texts: str) -> dict[str, Metric]:
    return {name: Metric(kind, "ns", text) for name, text in texts.items()}


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        **_counters("messages", messages_received="messages taken in", messages_sent="messages sent"),
        **_counters("frames", frames_received="frames taken in", frames_sent="frames sent"),
        **_counters("bytes", bytes_received="bytes of frames taken in, headers included", bytes_sent="the same, sent"),
        **_counters(
            "frames",
            pings_received="PINGs of the peer",
            pings_sent="PINGs sent",
            pongs_received="PONGs taken in",
            pongs_sent="PONGs sent",
            pongs_unmatched="PONGs that came late or that nobody asked for",
        ),
        **_counters(
            "errors",
            errors_connection="errors of the connection",
            errors_protocol="errors of the peer's protocol",
            errors_authentication="errors of authentication",
            errors_application="errors of the application, its callbacks' included",
        ),
        **_levels("messages", inbox_messages="messages that wait to be read"),
        **_levels("bytes", inbox_bytes="bytes that wait to be read"),
        **_counters("pauses", inbox_pauses="times that reading was paused because the inbox was full"),
        **_counters(
            "messages",
            messages_dropped="messages dropped by the inbox, for whatever reason",
            messages_conflated="messages dropped because a newer one of their key took their place",
            messages_too_old="messages dropped because they had waited for longer than max_age",
        ),
        **_levels("bytes", write_buffered_bytes="bytes in the write buffer, as of the last write"),
        **_counters(
            "sends",
            sends_backpressured="sends refused with Backpressure",
            sends_rate_limited="sends refused with RateLimited",
        ),
        **_counters("answers", auto_answers="answers written at once by a rule, to a heartbeat for example"),
        **_counters("connections", connections_opened="connections opened"),
        **_counters("attempts", reconnect_attempts="attempts to open a connection again"),
        **_nanoseconds(
            Kind.DURATION,
            opening_dns_ns="resolving the name, at the last opening",
            opening_tcp_ns="connecting, at the last opening",
            opening_tls_ns="the TLS handshake, at the last opening",
            opening_upgrade_ns="the upgrade request, at the last opening",
        ),
        **_nanoseconds(
            Kind.INSTANT,
            last_received_ns="the last frame of any kind came",
            last_message_ns="the last message came",
            last_sent_ns="the last frame of any kind was sent",
        ),
        **_nanoseconds(
            Kind.DURATION,
            last_rtt_ns="the last round trip of a PING",
            last_callback_ns="the callbacks of the last read of the socket",
            callback_ns_max="the callbacks of the read whose callbacks took longest",
        ),
        **_counters("round trips", rtt_ns_count="round trips measured"),
        **_nanoseconds(Kind.SHORTEST, rtt_ns_min="the shortest round trip"),
        **_nanoseconds(
            Kind.DURATION,
            rtt_ns_p50="half of the round trips were not longer",
            rtt_ns_p90="90 % of the round trips were not longer",
            rtt_ns_p99="99 % of the round trips were not longer",
            rtt_ns_max="the longest round trip",
        ),
    }
)


def together(snapshots: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Several clients' snapshots as one, each number by its kind; {} for none.

    A percentile is the largest of any one client: those of different clients cannot be added.
    """
    columns: dict[str, list[int]] = {}
    for snapshot in snapshots:
        for name, value in snapshot.items():
            columns.setdefault(name, []).append(value)
    return {name: _joined(METRICS[name].kind, values) for name, values in columns.items()}


def _joined(kind: Kind, values: list[int]) -> int:
    if kind in (Kind.COUNTER, Kind.LEVEL):
        return sum(values)
    if kind is Kind.SHORTEST:
        return min(filter(None, values), default=0)
    return max(values)
