"""Clients by name, number and endpoint, while they come, go and are collected."""

import asyncio
import gc
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import wsx
from wsx._telemetry import Telemetry
from wsx.connection_registry import ConnectionRegistry
from wsx.health import Health, HealthInputs, Thresholds, assess
from wsx.testing import EchoServer

URL = "wss://www.deribit.com/ws/api/v2"


class Member:
    """What a registry asks of a client, and nothing else."""

    def __init__(self, name: str = "a", state: str = "open", rtt_ns: int = 0) -> None:
        self.name = name
        self.state = state
        self.rtt_ns = rtt_ns
        self.telemetry = Telemetry()

    def health(self) -> Health:
        return assess(HealthInputs(state=self.state, since_ns=0, rtt_ns=self.rtt_ns), Thresholds(), 10**9)


Registry = ConnectionRegistry[Member]


@pytest.fixture
def registry() -> Registry:
    return ConnectionRegistry()


class TestLookingUp:
    def test_a_client_is_found_by_name_number_and_endpoint(self, registry: Registry) -> None:
        one, other = Member("one"), Member("other")
        first = registry.add(one, endpoint=URL, metadata={"desk": "options"})
        second = registry.add(other, endpoint="wss://test.deribit.com/ws/api/v2")
        assert registry.get("one") is one
        assert registry.by_number(second.number) is other
        assert registry.by_endpoint(URL) == [one]
        assert registry.entry(one) is first
        assert (first.name, first.client, first.endpoint, first.metadata) == ("one", one, URL, {"desk": "options"})
        assert (first.number, second.number, len(registry)) == (1, 2, 2)
        assert one in registry and list(registry) == [one, other]
        assert list(registry.items()) == [("one", one), ("other", other)]

    def test_who_is_not_there_is_not_found(self, registry: Registry) -> None:
        assert registry.get("nobody") is None
        assert registry.by_number(7) is None
        assert registry.by_endpoint(URL) == []
        assert registry.entry(Member()) is None
        assert Member() not in registry
        assert (len(registry), list(registry)) == (0, [])

    def test_clients_of_one_endpoint_are_told_in_the_order_of_their_coming(self, registry: Registry) -> None:
        members = [Member(f"client-{number}") for number in range(4)]
        for member in members:
            registry.add(member, endpoint=URL + "?token=canary")
        registry.discard(members[1])
        assert registry.by_endpoint(URL) == [members[0], members[2], members[3]]
        assert registry.by_endpoint(URL + "?token=another") == registry.by_endpoint(URL)

    def test_what_a_url_carries_in_its_query_is_not_kept(self, registry: Registry) -> None:
        entry = registry.add(member := Member(), endpoint=URL + "?token=canary")
        assert entry.endpoint == URL
        assert "canary" not in repr(entry) + repr(vars(registry))
        assert member in registry

    def test_metadata_is_a_copy_that_can_be_changed(self, registry: Registry) -> None:
        given = {"desk": "options"}
        member = Member()
        registry.add(member, metadata=given)
        given["desk"] = "futures"
        entry = registry.entry(member)
        assert entry is not None and entry.metadata == {"desk": "options"}
        entry.metadata["owner"] = "me"
        again = registry.entry(member)
        assert again is not None and again.metadata["owner"] == "me"


class TestComing:
    def test_a_name_is_given_once_at_a_time(self, registry: Registry) -> None:
        member = Member("deribit")
        registry.add(member)
        with pytest.raises(ValueError, match="the name 'deribit' is taken"):
            registry.add(Member("deribit"))
        other = Member("deribit")
        assert registry.add(other, name="deribit-2").name == "deribit-2"
        assert registry.get("deribit-2") is other

    def test_a_client_is_entered_once(self, registry: Registry) -> None:
        member = Member("deribit")
        registry.add(member)
        with pytest.raises(ValueError, match="entered already, as 'deribit'"):
            registry.add(member, name="another")

    def test_a_refused_client_leaves_no_trace(self, registry: Registry) -> None:
        with pytest.raises(ValueError, match="url cannot be used"):
            registry.add(Member(), endpoint="nonsense")
        assert len(registry) == 0
        assert registry.add(member := Member()).number == 1
        assert member in registry


class TestGoing:
    def test_a_client_that_closed_is_taken_out_and_its_name_is_free(self, registry: Registry) -> None:
        member = Member("deribit")
        registry.add(member, endpoint=URL)
        registry.discard(member)
        registry.discard(member)
        assert (registry.get("deribit"), registry.by_number(1), registry.by_endpoint(URL)) == (None, None, [])
        assert len(registry) == 0
        assert registry.add(member, endpoint=URL).number == 2

    def test_a_client_that_was_collected_is_gone_at_once(self, registry: Registry) -> None:
        entry = registry.add(Member("deribit"), endpoint=URL)
        assert entry.client is None
        assert (registry.get("deribit"), registry.by_number(1), registry.by_endpoint(URL)) == (None, None, [])
        assert (len(registry), list(registry)) == (0, [])
        member = Member("deribit")
        assert registry.add(member).number == 2

    def test_a_registry_does_not_keep_clients_alive_and_clients_do_not_keep_a_registry(self) -> None:
        registry: Registry = ConnectionRegistry()
        member = Member()
        registry.add(member)
        gc.collect()
        gc.disable()
        try:
            del registry
            assert not any(isinstance(thing, ConnectionRegistry) for thing in gc.get_referrers(member))
        finally:
            gc.enable()
        assert gc.collect() == 0

    def test_an_entry_that_outlives_its_client_takes_nobody_else_out(self, registry: Registry) -> None:
        member = Member("deribit")
        entry = registry.add(member)
        registry.discard(member)
        del member
        assert entry.client is None
        successor = Member("deribit")
        registry.add(successor)
        assert registry.get("deribit") is successor
        assert len(registry) == 1

    def test_a_client_may_discard_itself_while_it_is_collected(self, registry: Registry) -> None:
        class Leaving(Member):
            def __del__(self) -> None:
                registry.discard(self)

        for number in range(3):
            registry.add(Leaving(str(number)), endpoint=URL)
        assert len(registry) == 0
        assert registry.by_endpoint(URL) == []


class TestIterating:
    def test_it_goes_over_those_that_were_there_and_still_are(self, registry: Registry) -> None:
        members = {name: Member(name) for name in "abcd"}
        for member in members.values():
            registry.add(member)
        seen = []
        late = Member("late")
        for name in (pair[0] for pair in registry.items()):
            seen.append(name)
            if name == "a":
                registry.discard(members["b"])
                del members["c"]
                registry.add(late)
        assert seen == ["a", "d"]
        assert [name for name, _ in registry.items()] == ["a", "d", "late"]

    def test_one_thread_iterates_while_another_enters_and_discards(self, registry: Registry) -> None:
        staying = [Member(f"staying-{number}") for number in range(50)]
        for member in staying:
            registry.add(member, endpoint=URL)
        stop = threading.Event()

        def come_and_go() -> None:
            for number in range(10**9):
                if stop.is_set():
                    return
                member = Member(f"passing-{number}")
                registry.add(member, endpoint=URL)
                if number % 2:
                    registry.discard(member)

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            for _ in range(200):
                assert [client for client in registry if client.name.startswith("staying")] == staying
                assert set(staying) <= set(registry.by_endpoint(URL))
        finally:
            stop.set()
            thread.join()
        assert len(registry) == 50


class Model(RuleBasedStateMachine):
    """Against plain dicts: whatever comes, goes or is collected, every look-up agrees."""

    members = Bundle("members")

    def __init__(self) -> None:
        super().__init__()
        self.registry: Registry = ConnectionRegistry()
        self.expected: dict[str, list[Any]] = {}  # name -> holder of the one strong reference, endpoint, number

    @rule(target=members, name=st.sampled_from("abcdef"), endpoint=st.sampled_from(["", "ws://a/", "ws://b/"]))
    def add(self, name: str, endpoint: str) -> str:
        if name in self.expected:
            with pytest.raises(ValueError, match="is taken"):
                self.registry.add(Member(name), endpoint=endpoint)
        else:
            member = Member(name)
            self.expected[name] = [member, endpoint, self.registry.add(member, endpoint=endpoint).number]
        return name

    @rule(name=consumes(members))
    def discard(self, name: str) -> None:
        if name in self.expected:
            self.registry.discard(self.expected.pop(name)[0])

    @rule(name=consumes(members))
    def collect(self, name: str) -> None:
        self.expected.pop(name, None)

    @invariant()
    def every_look_up_agrees(self) -> None:
        assert dict(self.registry.items()) == {name: held[0] for name, held in self.expected.items()}
        for name in "abcdef":
            held = self.expected.get(name)
            assert self.registry.get(name) is (held[0] if held else None)
        for endpoint in ("ws://a/", "ws://b/"):
            expected = [member for member, where, _ in self.expected.values() if where == endpoint]
            assert self.registry.by_endpoint(endpoint) == expected
        assert all(self.registry.by_number(number) is member for member, _, number in self.expected.values())
        assert len(self.registry) == len(self.expected)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


class TestTogether:
    def test_the_health_of_all_names_the_worst_and_the_unready(self, registry: Registry) -> None:
        members = [
            Member("well"),
            Member("slow", rtt_ns=2 * 10**9),
            Member("lost", state="reconnecting"),
            Member("halted", state="halted"),
        ]
        for member in members:
            registry.add(member)
        health = registry.health()
        assert (health.total, health.ready, health.score, health.worst) == (4, 2, 0, "halted")
        assert health.states == {"open": 2, "reconnecting": 1, "halted": 1}
        assert health.unready == ("lost", "halted")

    def test_the_health_of_nobody_is_good(self, registry: Registry) -> None:
        health = registry.health()
        assert (health.total, health.ready, health.score, health.worst, health.unready) == (0, 0, 100, None, ())
        assert health.states == {}

    def test_counters_are_added_up(self, registry: Registry) -> None:
        members = [Member("a"), Member("b")]
        for number, member in enumerate(members, 1):
            member.telemetry.add("messages_received", number)
            registry.add(member)
        assert registry.telemetry()["messages_received"] == 3
        registry.discard(members[0])
        assert registry.telemetry()["messages_received"] == 2
        registry.discard(members[1])
        assert registry.telemetry() == {}


def test_real_clients_are_found_and_go() -> None:
    async def main() -> None:
        registry: ConnectionRegistry[Any] = ConnectionRegistry()
        async with EchoServer() as server:
            async with wsx.connect(server.url, name="one") as one, wsx.connect(server.url, name="other") as other:
                registry.add(one, endpoint=server.url)
                registry.add(other, endpoint=server.url)
                await one.send("x")
                await one.recv()
                assert registry.by_endpoint(server.url) == [one, other]
                assert registry.telemetry()["messages_received"] == 1
                assert registry.telemetry()["connections_opened"] == 2
                await other.close()
                await asyncio.sleep(0)
                assert list(registry) == [one]
            await asyncio.sleep(0)
            assert len(registry) == 0

            late = registry.add(one)  # closed already
            assert late.client is one
            await asyncio.sleep(0)
            assert len(registry) == 0

    asyncio.run(main())
