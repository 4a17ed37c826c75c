"""The rows of the table: what is measured, who takes part, how often, and what wsx is meant to reach.

Everything here is data; README.md says in words what each row means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Column:
    """A metric with its heading and format; with a `reference`, its ratio to that peer in the same round."""

    metric: str
    heading: str
    form: str = "{:.0f}"
    reference: str | None = None


@dataclass(frozen=True)
class Aim:
    """`metric` of `peer` against `reference`'s: the ratio (or the difference) of the same round, at most `at_most`."""

    metric: str
    peer: str
    reference: str
    at_most: float
    difference: bool = False


@dataclass(frozen=True)
class Row:
    """One row. `peers` run in every round, `context` in every third, with `count // context_share`."""

    name: str
    title: str
    work: str  # "roundtrip", "flood", "idle", "cycles", "calls" or "import"
    count: int
    quick_count: int
    columns: tuple[Column, ...]
    peers: tuple[str, ...]
    context: tuple[str, ...] = ()
    context_share: int = 1
    rounds: int = 9
    quick_rounds: int = 3
    path: str = ""  # of the far end; "" where none is needed
    size: int = 0  # bytes
    tls: bool = False
    aims: tuple[Aim, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


RATIO = "{:.2f}"
REFERENCE = "picows-bytes"
OTHERS = ("websockets", "aiohttp")
ROUNDTRIP_COLUMNS = (
    Column("p50_us", "p50 µs", "{:.1f}"),
    Column("p99_us", "p99 µs", "{:.1f}"),
    Column("p999_us", "p99.9 µs", "{:.1f}"),
    Column("user_ns", "user ns"),
    Column("cpu_ns", "CPU ns"),
    Column("p50_us", "p50 ×", RATIO, REFERENCE),
    Column("p99_us", "p99 ×", RATIO, REFERENCE),
    Column("cpu_ns", "CPU ×", RATIO, REFERENCE),
)
FLOOD_COLUMNS = (
    Column("user_ns", "user ns"),
    Column("system_ns", "system ns"),
    Column("cpu_ns", "CPU ns"),
    Column("wall_ns", "wall ns"),
    Column("user_ns", "user ×", RATIO, REFERENCE),
    Column("cpu_ns", "CPU ×", RATIO, REFERENCE),
    Column("wall_ns", "wall ×", RATIO, REFERENCE),
    Column("user_ns", "user × picows-text", RATIO, "picows-text"),
)
LOOP_COLUMNS = FLOOD_COLUMNS[:-1]
IMPORT_COLUMNS = (
    Column("cpu_ms", "CPU ms", "{:.1f}"),
    Column("wall_ms", "wall ms", "{:.1f}"),
    Column("net_cpu_ms", "CPU ms above bare", "{:.1f}"),
    Column("net_wall_ms", "wall ms above bare", "{:.1f}"),
    Column("net_cpu_ms", "CPU above bare ×", RATIO, "picows"),
    Column("net_wall_ms", "wall above bare ×", RATIO, "picows"),
)
RESIDENT_COLUMNS = (
    Column("resident_bytes", "resident bytes"),
    Column("resident_bytes", "resident ×", RATIO, REFERENCE),
)
HEAP_COLUMNS = (Column("heap_bytes", "heap bytes"), Column("heap_bytes", "heap ×", RATIO, REFERENCE))
CYCLE_COLUMNS = (
    Column("growth_bytes", "resident growth, bytes", "{:.2f}"),
    Column("files_left", "files left"),
    Column("tasks_left", "tasks left"),
    Column("wall_ns", "wall ns"),
    Column("wall_ns", "wall ×", RATIO, REFERENCE),
)


def _roundtrip(name: str, title: str, tls: bool) -> Row:
    return Row(
        name=name,
        title=title,
        work="roundtrip",
        path="/echo",
        size=256,
        tls=tls,
        count=20_000,
        quick_count=4_000,
        columns=ROUNDTRIP_COLUMNS,
        peers=(REFERENCE, "wsx"),
        context=OTHERS,
        context_share=4,
        aims=(Aim("p50_us", "wsx", REFERENCE, 1.05),),
    )


def _flood(name: str, title: str, tls: bool, peers: tuple[str, ...], context: tuple[str, ...], *aims: Aim) -> Row:
    return Row(
        name=name,
        title=title,
        work="flood",
        path="/flood?size=320&wait=1",
        size=320,
        tls=tls,
        count=1_000_000,
        quick_count=150_000,
        columns=FLOOD_COLUMNS if "picows-text" in peers else LOOP_COLUMNS,
        peers=peers,
        context=context,
        context_share=1 if context == ("socket",) else 20,
        aims=aims,
    )


def _idle(name: str, title: str, columns: tuple[Column, ...], *, tls: bool = False, heap: bool = False) -> Row:
    return Row(
        name=name,
        title=title,
        work="idle",
        path="/silent",
        tls=tls,
        count=1_000,
        quick_count=200,
        rounds=3,
        quick_rounds=1,
        columns=columns,
        peers=(REFERENCE, "wsx"),
        environment={"PYTHONMALLOC": "malloc"} if heap else {},
    )


CALLBACK_PEERS = (REFERENCE, "wsx", "picows-text", "wsx-text")
FOR_PEERS = (REFERENCE, "wsx-for", "wsx-recv", "picows-queue")

ROWS: tuple[Row, ...] = (
    _roundtrip("roundtrip", "Round trip of 256 B, ws://", False),
    _roundtrip("roundtrip-tls", "Round trip of 256 B, wss://", True),
    _flood(
        "flood-callback",
        "Flood of 320 B messages into a callback, ws://, for each message",
        False,
        CALLBACK_PEERS,
        ("socket",),
        Aim("user_ns", "wsx", REFERENCE, 0.45),
        Aim("wall_ns", "wsx", REFERENCE, 0.65),
    ),
    _flood(
        "flood-callback-tls",
        "Flood of 320 B messages into a callback, wss://, for each message",
        True,
        CALLBACK_PEERS,
        ("socket",),
        Aim("wall_ns", "wsx", REFERENCE, 0.75),
    ),
    _flood(
        "flood-for",
        "Flood of 320 B messages through a loop, ws://, for each message",
        False,
        FOR_PEERS,
        OTHERS,
        Aim("user_ns", "wsx-for", REFERENCE, 0.6),
    ),
    _flood(
        "flood-for-tls", "Flood of 320 B messages through a loop, wss://, for each message", True, FOR_PEERS, OTHERS
    ),
    Row(
        name="routing",
        title="Changes of 200 books, 600 B each, to the callback of their channel, ws://, for each message",
        work="flood",
        path="/flood?size=600&wait=1&books=200",
        size=600,
        count=500_000,
        quick_count=100_000,
        columns=tuple(replace(column, reference=column.reference and "picows-json") for column in LOOP_COLUMNS),
        peers=("picows-json", "wsx-routed", "wsx-routed-data"),
        aims=(Aim("user_ns", "wsx-routed", "picows-json", 0.15),),
    ),
    Row(
        name="books",
        title="Changes of 200 books, each applied to its book, ws://, for each message",
        work="flood",
        path="/flood?recording=1&wait=1",
        count=500_000,
        quick_count=100_000,
        columns=tuple(replace(column, reference=column.reference and "picows-sorted") for column in LOOP_COLUMNS),
        peers=("picows-sorted", "wsx-books"),
        aims=(Aim("user_ns", "wsx-books", "picows-sorted", 1 / 8),),
    ),
    Row(
        name="rpc",
        title="A JSON-RPC request and its answer, awaited, ws://",
        work="roundtrip",
        path="/rpc",
        count=20_000,
        quick_count=4_000,
        columns=tuple(replace(column, reference=column.reference and "wsx-raw") for column in ROUNDTRIP_COLUMNS),
        peers=("wsx-raw", "wsx-rpc"),
        aims=(Aim("p50_us", "wsx-rpc", "wsx-raw", 1.1),),
    ),
    Row(
        name="reconnect",
        title="A connection that is cut: open again, a hook answered and three subscriptions restored, ws:// (aim: 50 ms)",
        work="roundtrip",
        path="/cut",
        count=200,
        quick_count=50,
        rounds=1,
        quick_rounds=1,
        columns=(Column("p50_us", "p50 µs"), Column("p99_us", "p99 µs"), Column("cpu_ns", "CPU ns")),
        peers=("wsx-restored", "wsx-bare"),
        aims=(Aim("p50_us", "wsx-restored", "wsx-bare", 20_000, difference=True),),
    ),
    Row(
        name="token-bucket",
        title="Asking a rate limiter, for each call, the timing loop included",
        work="calls",
        count=1_000_000,
        quick_count=200_000,
        columns=(Column("cpu_ns", "ns", "{:.1f}"), Column("cpu_ns", "× clock", RATIO, "clock")),
        peers=("loop", "clock", "wsx", "wsx-refused", "aiolimiter"),
        aims=(Aim("cpu_ns", "wsx", "clock", 20, difference=True), Aim("cpu_ns", "wsx", "aiolimiter", 1 / 20)),
    ),
    Row(
        name="book",
        title="A change of a book of 2,000 levels a side, applied from its bytes, for each change, the timing loop included",
        work="calls",
        count=200_000,
        quick_count=50_000,
        columns=(
            Column("cpu_ns", "ns"),
            Column("cpu_ns", "× orjson", RATIO, "orjson"),
            Column("cpu_ns", "× orjson-sorted", RATIO, "orjson-sorted"),
        ),
        peers=("loop", "wsx", "orjson", "orjson-sorted"),
        aims=(Aim("cpu_ns", "wsx", "orjson-sorted", 0.15), Aim("cpu_ns", "wsx", "orjson", 0.5)),
    ),
    Row(
        name="mask-key",
        title="One mask key, for each call, the timing loop included (aim: 12 ns in C)",
        work="calls",
        count=1_000_000,
        quick_count=200_000,
        columns=(Column("cpu_ns", "ns", "{:.1f}"),),
        peers=("loop", "wsx-c", "wsx", "os.urandom", "secrets"),
    ),
    Row(
        name="import",
        title="A fresh interpreter that imports one package",
        work="import",
        count=1,
        quick_count=1,
        rounds=15,
        quick_rounds=5,
        columns=IMPORT_COLUMNS,
        peers=("bare", "picows", "wsx"),
        context=OTHERS,
        aims=(Aim("net_cpu_ms", "wsx", "picows", 1.1),),
    ),
    _idle("idle", "Resident memory of an idle connection, ws://", RESIDENT_COLUMNS),
    _idle("idle-tls", "Resident memory of an idle connection, wss://", RESIDENT_COLUMNS, tls=True),
    _idle("idle-heap", "Allocated memory of an idle connection, ws://, PYTHONMALLOC=malloc", HEAP_COLUMNS, heap=True),
    Row(
        name="cycles",
        title="Connecting and closing, ws://, for each cycle after 1,000 that warm up",
        work="cycles",
        path="/silent",
        count=10_000,
        quick_count=1_000,
        rounds=1,
        quick_rounds=1,
        columns=CYCLE_COLUMNS,
        peers=(REFERENCE, "wsx"),
    ),
)
