"""Numbers that make sense: a setting that is none is named at once, not where it is used.

Not here: which setting may be what (the classes that have them).
"""

import math


def number(name: str, value: float, *, low: float | None = None, above: float | None = None) -> float:
    """`value`, which is finite and from `low`, or above `above`. Raises ValueError that names it, TypeError for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if low is not None and value < low:
        raise ValueError(f"{name} must be from {low:g}, not {value!r}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above:g}, not {value!r}")
    return value


def whole(name: str, value: int, *, low: int, high: int | None = None) -> int:
    """The same for an int, from `low` to `high`."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be from {low}{'' if high is None else f' to {high}'}, not {value!r}")
    return value
