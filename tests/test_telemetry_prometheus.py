"""The Prometheus collector, read with that library's own parser."""

import asyncio
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import wsx
from wsx.connection_registry import ConnectionRegistry
from wsx.telemetry_metrics import METRICS, Kind
from wsx.telemetry_prometheus import Collector
from wsx.testing import EchoServer


def samples(text):
    """Name and labels -> value."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def scraped(clients):
    registry = CollectorRegistry()
    registry.register(Collector(clients))
    return samples(generate_latest(registry).decode())


def test_every_number_of_a_snapshot_is_there_for_each_client_in_its_unit():
    async def main():
        clients = ConnectionRegistry()
        async with (
            EchoServer() as server,
            wsx.connect(server.url, name="a", rate_limit=wsx.TokenBucket(10, 10)) as a,
            wsx.connect(server.url, name="b", rate_limit="deribit") as b,
        ):
            clients.add(a)
            clients.add(b)
            await a.send("hello", cost=5)
            await a.recv()
            await a.ping()
            values = scraped(clients)
            return values, a.telemetry.snapshot(), b.telemetry.snapshot()

    values, a, b = wsx.run(main())
    for client, snapshot in (("a", a), ("b", b)):
        for name, metric in METRICS.items():
            shown = f"wsx_{name}" if metric.unit != "ns" else f"wsx_{name.replace('_ns', '')}_seconds"
            shown += "_total" if metric.kind is Kind.COUNTER else ""
            unit = 1e9 if metric.unit == "ns" else 1
            assert values[shown, client] == pytest.approx(snapshot[name] / unit), name
        assert values["wsx_open", client] == 1
    assert values["wsx_messages_sent_total", "a"] == 1
    assert values["wsx_rtt_max_seconds", "a"] == a["rtt_ns_max"] / 1e9
    assert 0.4 < values["wsx_rate_limit_utilisation", "a", "rate_limit"] <= 0.5
    assert any(key[0] == "wsx_rate_limit_utilisation" and "b" in key for key in values)


def test_a_client_that_has_closed_is_gone_from_the_next_scrape():
    async def main():
        clients = ConnectionRegistry()
        async with EchoServer() as server:
            async with wsx.connect(server.url, name="a") as a:
                clients.add(a)
                assert ("wsx_open", "a") in scraped(clients)
            await asyncio.sleep(0)
            return scraped(clients)

    assert not [key for key in wsx.run(main()) if "a" in key[1:]]


def test_names_are_known_before_there_is_a_client_and_differ():
    registry = CollectorRegistry()
    registry.register(Collector(ConnectionRegistry()))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Collector(ConnectionRegistry()))
    names = [family.name for family in Collector(ConnectionRegistry()).describe()]
    assert len(set(names)) == len(names) == len(METRICS) + 2


def test_an_exporter_serves_them_from_its_own_thread():
    async def main():
        clients, registry = ConnectionRegistry(), CollectorRegistry()
        registry.register(Collector(clients))
        server, thread = start_http_server(0, "127.0.0.1", registry)
        try:
            async with EchoServer() as echo, wsx.connect(echo.url, name="a") as client:
                clients.add(client)
                url = f"http://127.0.0.1:{server.server_port}/metrics"
                read = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
                assert samples(read)["wsx_connections_opened_total", "a"] == 1
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    wsx.run(main())
