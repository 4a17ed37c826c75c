"""What a look-up costs among 1,000 and among 100,000 clients: the same, if it is one step.

Every round makes 1000 calls in one Python loop: the table's microseconds a round are nanoseconds a call. The clients are
small objects of this file's, spread over 100 endpoints; it shows nothing about iterating, which takes a step a client.
Among more clients a call is a little dearer for the processor's caches, not for the number of steps.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

from wsx._telemetry import Telemetry
from wsx.connection_registry import ConnectionRegistry
from wsx.health import Health, HealthInputs, Thresholds, assess

pytestmark = pytest.mark.benchmark(group="the registry (us a round are ns a call)", warmup=True)

CALLS = 1000
TELEMETRY = Telemetry()


class Member:
    telemetry = TELEMETRY

    def __init__(self, name: str) -> None:
        self.name = name

    def health(self) -> Health:
        return assess(HealthInputs(state="open", since_ns=0), Thresholds(), 0)


Registry = ConnectionRegistry[Member]


@pytest.fixture(scope="module", params=[1_000, 100_000])
def filled(request: Any) -> tuple[Registry, list[Member]]:
    registry: Registry = ConnectionRegistry()
    members = [Member(f"client-{number}") for number in range(request.param)]
    for number, member in enumerate(members):
        registry.add(member, endpoint=f"wss://host-{number % 100}/ws")
    assert len(registry) == request.param
    return registry, members


def call_often(function: Callable[[Any], object], argument: Any) -> None:
    for _ in repeat(None, CALLS):
        function(argument)


def test_by_name(benchmark: Any, filled: tuple[Registry, list[Member]]) -> None:
    registry, members = filled
    benchmark(call_often, registry.get, "client-500")
    assert registry.get("client-500") is members[500]


def test_by_number(benchmark: Any, filled: tuple[Registry, list[Member]]) -> None:
    registry, members = filled
    benchmark(call_often, registry.by_number, 501)
    assert registry.by_number(501) is members[500]


def test_by_client(benchmark: Any, filled: tuple[Registry, list[Member]]) -> None:
    registry, members = filled
    benchmark(call_often, registry.entry, members[500])
    assert members[500] in registry


def test_by_an_endpoint_of_one_client(benchmark: Any, filled: tuple[Registry, list[Member]]) -> None:
    registry, _ = filled
    alone = Member("alone")
    registry.add(alone, endpoint="wss://alone/ws")
    benchmark(call_often, registry.by_endpoint, "wss://alone/ws")
    assert registry.by_endpoint("wss://alone/ws") == [alone]
    registry.discard(alone)


def test_coming_and_going(benchmark: Any, filled: tuple[Registry, list[Member]]) -> None:
    registry, members = filled
    passing = Member("passing")

    def come_and_go(endpoint: str) -> None:
        registry.add(passing, endpoint=endpoint)
        registry.discard(passing)

    benchmark(call_often, come_and_go, "wss://host-0/ws")
    assert len(registry) == len(members)
