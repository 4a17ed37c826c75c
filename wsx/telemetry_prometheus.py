"""Clients' counters for Prometheus: a collector of `prometheus_client` (extra "prometheus").

    prometheus_client.REGISTRY.register(Collector(registry))      # registry: a ConnectionRegistry

Each number of a snapshot is one metric with the label `client`: `wsx_messages_received_total`, `wsx_inbox_messages`.
Times are in seconds, as Prometheus asks for: `rtt_ns_p99` is `wsx_rtt_p99_seconds`. An exporter asks from a thread of
its own; the clients do nothing for it.
Not here: what each number means (telemetry_metrics.py), counting (_telemetry.pyx), serving them (prometheus_client).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from wsx.telemetry_metrics import METRICS, Kind, Metric

_NS = 1_000_000_000


class Clients(Protocol):
    """Which clients there are: a ConnectionRegistry."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Name and client, of each."""


class Collector:
    """What `prometheus_client.CollectorRegistry.register` takes. clients: asked anew at each scrape."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def describe(self) -> Iterator[Family]:
        """The metrics without samples: a registry learns their names without asking a client."""
        yield from (_family(name, metric) for name, metric in METRICS.items())
        yield from _state_families().values()

    def collect(self) -> Iterator[Family]:
        """The metrics with a sample of each client."""
        clients = list(self._clients.items())
        snapshots = [(name, client.telemetry.snapshot()) for name, client in clients]
        for name, metric in METRICS.items():
            family = _family(name, metric)
            for client, snapshot in snapshots:
                family.add_metric([client], snapshot[name] / _NS if metric.unit == "ns" else snapshot[name])
            yield family
        yield from _states(clients)


def _family(name: str, metric: Metric) -> Any:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    shown = f"{name.replace('_ns', '')}_seconds" if metric.unit == "ns" else name
    clock = ", seconds of the monotonic clock" if metric.kind is Kind.INSTANT else ""
    return kind(f"wsx_{shown}", f"{metric.text} ({metric.unit}{clock})".replace("(ns", "(seconds"), labels=["client"])


def _state_families() -> dict[str, Any]:
    return {
        "open": GaugeMetricFamily("wsx_open", "1 while messages can be sent, else 0", labels=["client"]),
        "rate_limit": GaugeMetricFamily(
            "wsx_rate_limit_utilisation", "used part of each bucket, 0 to 1", labels=["client", "bucket"]
        ),
    }


def _states(clients: list[tuple[str, Any]]) -> Iterable[Any]:
    families = _state_families()
    for name, client in clients:
        families["open"].add_metric([name], float(client.state == "open"))
        for bucket, used in _utilisation(client.config.rate_limit).items():
            families["rate_limit"].add_metric([name, bucket], used)
    return families.values()


def _utilisation(limit: Any) -> Mapping[str, float]:
    """Of a TokenBucket, a RateLimiter or None."""
    used = getattr(limit, "utilisation", {})
    return {"rate_limit": used} if isinstance(used, float) else used
