"""What the demo knows at one moment, as plain values and in words. Not here: how it is put on a screen (display.py)."""

from collections.abc import Mapping
from dataclasses import dataclass

from wsx._telemetry import Histogram
from wsx.cli.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A moment. Rates are over the time since the report before; the others since the beginning."""

    title: str
    elapsed: float  # seconds
    messages: int
    bytes: int
    messages_per_second: float
    bytes_per_second: float
    expected: int | None
    by_kind: Mapping[str, int]
    prices: Mapping[str, Prices]
    latencies: Mapping[str, str]  # what was measured -> its percentiles, in words


def percentiles(histogram: Histogram) -> str:
    """Percentiles of a histogram in words."""
    if not histogram.count:
        return "not measured"
    values = ", ".join(f"p{percent:g} {duration(histogram.percentile(percent))}" for percent in (50, 90, 99))
    return f"{values}, max {duration(histogram.max)} ({histogram.count:,} measured)"


def duration(nanoseconds: int) -> str:
    """A latency with three significant digits: 85.2 µs, 1.25 ms."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"


def price(value: float | None) -> str:
    """A price, or "-" where none is known."""
    return "-" if value is None else f"{value:,}"


def size(number: float) -> str:
    """Bytes in decimal units: 12.5 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:.0f} B"
