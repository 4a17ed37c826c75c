"""Numbers in words, as a person reads them. Not here: which numbers (report.py)."""

from wsx._telemetry import Histogram


def percentiles(histogram: Histogram) -> str:
    """Percentiles of a histogram of nanoseconds."""
    if not histogram.count:
        return "not measured"
    values = ", ".join(f"p{percent:g} {duration(histogram.percentile(percent))}" for percent in (50, 90, 99))
    return f"{values}, max {duration(histogram.max)} ({histogram.count:,})"


def duration(nanoseconds: int) -> str:
    """A latency with three significant digits: 85.2 µs, 1.25 ms."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"


def price(value: float | None) -> str:
    """A price, or "-" where none is known."""
    return "-" if value is None else f"{value:,}"


def number(value: float, exponent: int) -> str:
    """A price or an amount with the decimals of its exponent: 76,912.50 for -2."""
    return f"{value:,.{max(-exponent, 0)}f}"


def size(count: float) -> str:
    """Bytes in decimal units: 12.5 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
