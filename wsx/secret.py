"""`Secret`: a string that is shown nowhere by accident.

Printing, formatting and logging give `Secret(***)`; pickling is refused. It leaves through `reveal()` alone.
Not here: protection from code that looks for it; whoever runs in this process can call `reveal()`.
"""

from typing import Never, Self, SupportsIndex, final


@final
class Secret:
    """An API key, a token, a password.

    Raises TypeError if `value` is not a str and ValueError if it is empty. Compares by identity: no oracle for guesses.
    """

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a Secret is made from a str, not {type(value).__name__}")
        if not value:
            raise ValueError("a Secret cannot be empty: is the variable it comes from set?")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> str:
        """The value itself: for the wire and for signing, never for a text."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        raise TypeError("a Secret cannot be pickled: it would leave the process in clear")

    def __getstate__(self) -> Never:
        raise TypeError("a Secret does not give away its state")

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError("a Secret cannot be changed")
