"""The params of a request, read one by one: what does not fit is refused as the exchange refuses it.

Not here: which method takes which (the tables of methods).
"""

from collections.abc import Sequence
from typing import Any

from wsx.testing.deribit.wire import Refusal


class Params:
    """Each reader raises Refusal (-32602) with the reason and the name of the param; without a default it must be there."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        value = self._value(name, default)
        return value if isinstance(value, str) else self._refuse("wrong format", name)

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.text(name, default)
        return value if value in choices else self._refuse("invalid value", name)

    def integer(self, name: str, default: int | None = None, *, low: int | None = None, high: int | None = None) -> int:
        """low, high: the bounds, both allowed."""
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self._refuse("wrong format", name)
        if low is not None and value < low:
            self._refuse(f"value must be >= {low}", name)
        if high is not None and value > high:
            self._refuse(f"value must be <= {high}", name)
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        return value if isinstance(value, bool) else self._refuse("wrong format", name)

    def texts(self, name: str, *, at_most: int) -> list[str]:
        """A list of strings."""
        value = self._value(name, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._refuse("wrong format", name)
        if len(value) > at_most:
            self._refuse(f"at most {at_most} items", name)
        return list(value)

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name, default)
        return self._refuse("value required", name) if value is None else value

    def _refuse(self, reason: str, name: str) -> Any:
        raise Refusal("Invalid params", data={"reason": reason, "param": name})
