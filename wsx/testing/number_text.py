"""JSON as the exchange writes it, its floats above all. Not here: what is written (market.py)."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import orjson


@lru_cache(maxsize=65536)
def number_text(value: float) -> str:
    """The shortest text that reads back as `value`, in decimal or with an exponent, whichever has fewer characters.

    Decimal where they tie; always with a fraction: 10.0, 1000200.0 as 1.0002e6, 32000.0 as 3.2e4, 0.00028 as 2.8e-4.
    """
    digits, exponent = _digits(value)
    sign = "-" if value < 0 else ""
    scientific = f"{sign}{digits[0]}.{digits[1:] or '0'}e{exponent}"
    plain = sign + _plain(digits, exponent)
    return plain if len(plain) <= len(scientific) else scientific


def wire_text(value: Any) -> str:
    """JSON without white space, keys in the order of the dict, floats as `number_text` has them."""
    return _WRITERS[type(value)](value)


def _object(value: dict[str, Any]) -> str:
    return "{" + ",".join([f'"{key}":{_WRITERS[type(item)](item)}' for key, item in value.items()]) + "}"


def _array(value: Iterable[Any]) -> str:
    return "[" + ",".join([_WRITERS[type(item)](item) for item in value]) + "]"


@lru_cache(maxsize=4096)
def _scalar(value: object) -> str:
    return orjson.dumps(value).decode()


def _digits(value: float) -> tuple[str, int]:
    """The shortest significant digits, and the exponent of the first: 250.0 is ("25", 2)."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    first = len(digits) - len(fraction) - 1
    return (digits.rstrip("0"), first + int(exponent or 0)) if digits else ("0", 0)


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}{digits}"
    digits = digits.ljust(exponent + 2, "0")
    return f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    float: number_text,
    int: str,
    str: _scalar,
    bool: _scalar,
    type(None): _scalar,
    dict: _object,
    list: _array,
}
