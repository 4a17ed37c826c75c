"""Which clients there are: by name, by number, by endpoint, and how they are together.

A registry holds clients weakly: one that was collected is gone from it, and so is one that has closed. Every look-up is one step, however many clients there are. Any thread may ask (an exporter
scrapes from its own), and a client may be collected in any.
Not here: how one client is (health.py), keeping clients alive (supervisor.py).
"""

import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from wsx.endpoint import parse_url
from wsx.health import Health
from wsx.telemetry_metrics import together


class _Counters(Protocol):
    """What has counters: `Telemetry`."""

    def snapshot(self) -> dict[str, int]:
        """Every counter by its name."""


class Registered(Protocol):
    """What a registry asks of a client. One that has `call_when_closed(callback)` is taken out when it closes."""

    name: str

    @property
    def telemetry(self) -> _Counters:
        """The client's counters."""

    def health(self) -> Health:
        """How the client is."""


_Client = TypeVar("_Client", bound=Registered)


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[_Client]):
    """What a registry knows of a client.

    number: from 1, never given twice. endpoint: the URL without its query, or "". metadata: yours to change.
    """

    number: int
    name: str
    endpoint: str
    metadata: dict[str, Any]
    _identity: int
    _reference: "weakref.ref[_Client]"

    @property
    def client(self) -> _Client | None:
        """The client, or None once it was collected."""
        return self._reference()


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """How the clients of a registry are together.

    total, ready: how many there are, and how many of them are ready. states: state -> how many. score: the lowest, 100
    without clients. worst: the name of a client with that score. unready: the names of those that are not ready.
    """

    total: int
    ready: int
    states: Mapping[str, int]
    score: int
    worst: str | None
    unready: tuple[str, ...]


class ConnectionRegistry(Generic[_Client]):
    """Clients by name, number and endpoint."""

    _collected: deque[int]  # numbers of clients that were collected, until they are taken out

    def __init__(self) -> None:
        self._numbers = count(1)
        self._entries: dict[int, Entry[_Client]] = {}
        self._by_name: dict[str, Entry[_Client]] = {}
        self._by_endpoint: dict[str, dict[int, Entry[_Client]]] = {}
        self._by_identity: dict[int, Entry[_Client]] = {}  # id() of the client
        self._collected = deque()
        self._lock = RLock()

    # ---- coming and going -------------------------------------------------------------------------------------------

    def add(
        self, client: _Client, *, name: str | None = None, endpoint: str = "", metadata: Mapping[str, Any] | None = None
    ) -> Entry[_Client]:
        """Enter a client until it closes. name: by default its own. endpoint: its URL, of which the query is not kept.

        Raises ValueError if the name is taken, if the client is entered already, or for a URL that wsx does not open.
        """
        name = client.name if name is None else name
        display = parse_url(endpoint).display if endpoint else ""
        with self._lock:
            self._forget_collected()
            self._check(client, name)
            number = next(self._numbers)
            reference = weakref.ref(client, _noting(self._collected, number))
            entry = Entry(number, name, display, dict(metadata or {}), id(client), reference)
            self._entries[number] = self._by_name[name] = self._by_identity[id(client)] = entry
            neighbours = self._by_endpoint.get(display) or {}
            neighbours[number] = entry
            self._by_endpoint[display] = neighbours  # also if a client's __del__ has discarded the others just now
        if hasattr(client, "call_when_closed"):
            client.call_when_closed(partial(self._closed, number))
        return entry

    def discard(self, client: _Client) -> None:
        """Take a client out. Does nothing for one that is not entered."""
        with self._lock:
            entry = self.entry(client)
            if entry is not None:
                self._remove(entry.number)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def get(self, name: str) -> _Client | None:
        """The client of this name."""
        return self._client(self._by_name.get(name))

    def by_number(self, number: int) -> _Client | None:
        """The client that `add` gave this number."""
        return self._client(self._entries.get(number))

    def by_endpoint(self, endpoint: str) -> list[_Client]:
        """The clients of this URL, whatever its query, in the order of their coming. Raises ValueError for no URL."""
        with self._lock:
            entries = list(self._by_endpoint.get(parse_url(endpoint).display, {}).values())
        return [client for entry in entries if (client := entry.client) is not None]

    def entry(self, client: _Client) -> Entry[_Client] | None:
        """What is known of this client, its metadata for example; None for one that is not entered."""
        entry = self._by_identity.get(id(client))
        return entry if entry is not None and entry.client is client else None

    def items(self) -> Iterator[tuple[str, _Client]]:
        """Name and client, of those that are entered now and still are when their turn comes."""
        with self._lock:
            self._forget_collected()
            entries = list(self._entries.values())
        for entry in entries:
            client = entry.client
            if client is not None and entry.number in self._entries:
                yield entry.name, client

    def __iter__(self) -> Iterator[_Client]:
        return (client for _, client in self.items())

    def __contains__(self, client: _Client) -> bool:
        return self.entry(client) is not None

    def __len__(self) -> int:
        with self._lock:
            self._forget_collected()
            return len(self._entries)

    # ---- all together -----------------------------------------------------------------------------------------------

    def health(self) -> FleetHealth:
        """How all clients are, which asks each of them: in their own thread, or they raise WrongThread."""
        healths = {name: client.health() for name, client in self.items()}
        unready = tuple(name for name, health in healths.items() if not health.ready)
        worst = min(healths, key=lambda name: healths[name].score, default=None)
        return FleetHealth(
            total=len(healths),
            ready=len(healths) - len(unready),
            states=Counter(health.state for health in healths.values()),
            score=100 if worst is None else healths[worst].score,
            worst=worst,
            unready=unready,
        )

    def telemetry(self) -> dict[str, int]:
        """The counters of all clients as one snapshot; empty without clients.

        What counts up or waits now is added up; of peaks, times and instants the largest is shown, of `rtt_ns_min` the
        smallest. A percentile is the worst of any one client.
        """
        return together(client.telemetry.snapshot() for client in self)

    # ---- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _client(entry: Entry[_Client] | None) -> _Client | None:
        return None if entry is None else entry.client

    def _check(self, client: _Client, name: str) -> None:
        known = self.entry(client)
        if known is not None:
            raise ValueError(f"this client is entered already, as {known.name!r}")
        if name in self._by_name:
            raise ValueError(f"the name {name!r} is taken; give the client a name of its own, or add(client, name=...)")

    def _closed(self, number: int) -> None:
        with self._lock:
            self._remove(number)

    def _remove(self, number: int) -> None:
        entry = self._entries.pop(number, None)
        if entry is None:  # discarded before it closed or was collected
            return
        del self._by_name[entry.name], self._by_identity[entry._identity]
        neighbours = self._by_endpoint[entry.endpoint]
        del neighbours[number]
        if not neighbours:
            self._by_endpoint.pop(entry.endpoint, None)

    def _forget_collected(self) -> None:
        """Take out those that were collected. Their callbacks only noted it: they come in the middle of anything."""
        while self._collected:
            self._remove(self._collected.popleft())


def _noting(collected: deque[int], number: int) -> Callable[[object], None]:
    """What is called when a client was collected. It holds on to neither the registry nor the entry."""
    return lambda _: collected.append(number)
