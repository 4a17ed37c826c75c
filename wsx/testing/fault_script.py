"""Scripts for the fault proxy: commands at their times, written by hand or drawn from a seed.

    FaultScript((Step(0.5, "stall", {"direction": "to_client"}), Step(1.5, "heal"), Step(2.0, "reset")))
    FaultScript.from_seed(7, duration=60, every=5)         # its repr shows every step: print it where a run failed

Not here: what the commands do (fault_proxy.py).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

__all__ = ["FaultScript", "Step"]

_DIRECTIONS = ("to_server", "to_client", "both")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a script. at: seconds after its start. Raises ValueError for a command the proxy does not know."""

    at: float
    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.command not in _COMMANDS:
            raise ValueError(f"command must be one of {', '.join(_COMMANDS)}, not {self.command!r}")
        if not 0 <= self.at < float("inf"):
            raise ValueError(f"at must be seconds from 0, not {self.at!r}")


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Commands in the order of their times. seed: what they were drawn from; None: written by hand."""

    steps: tuple[Step, ...]
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(sorted(self.steps, key=lambda step: step.at)))

    @classmethod
    def from_seed(
        cls, seed: int, *, duration: float = 60.0, every: float = 5.0, commands: Iterable[str] | None = None
    ) -> Self:
        """One fault in every `every` seconds of `duration`; what lasts is healed before the next.

        commands: those to draw from; by default all that do harm. The same arguments give the same script, on any
        machine and with any version of Python. Raises ValueError for a command that cannot be drawn.
        """
        dice = Random(seed)
        names = tuple(_DRAWN if commands is None else commands)
        if not names or not set(names) <= set(_DRAWN):
            raise ValueError(f"commands must be some of {', '.join(_DRAWN)}, not {names!r}")
        slots = (slot * every for slot in range(int(duration / every)))
        return cls(tuple(step for begin in slots for step in _drawn_fault(dice, names, begin, every)), seed)

    async def play(self, proxy: Any) -> None:
        """Command `proxy` step by step. Raises as its commands do."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for step in self.steps:
            await asyncio.sleep(start + step.at - loop.time())
            getattr(proxy, step.command)(**step.arguments)


def _drawn_fault(dice: Random, names: tuple[str, ...], begin: float, length: float) -> list[Step]:
    """One fault in the first half of a slot of time, and its end, if it lasts, in the same slot."""
    # Of all of Random's methods only random() is promised to give the same in every version of Python.
    name = names[int(dice.random() * len(names))]
    at = begin + dice.random() * length / 2
    steps = [Step(at, name, _DRAWN[name](dice))]
    if name in _ENDS:
        steps.append(Step(at + dice.random() * length / 2, _ENDS[name]))
    return steps


def _towards(dice: Random) -> str:
    return _DIRECTIONS[int(dice.random() * len(_DIRECTIONS))]


_DRAWN: dict[str, Callable[[Random], dict[str, Any]]] = {
    "delay": lambda dice: {"seconds": dice.random() * 0.2, "jitter": dice.random() * 0.2},
    "throttle": lambda dice: {"bytes_per_second": 10_000 + dice.random() * 1e6, "direction": _towards(dice)},
    "split": lambda dice: {"max_bytes": 1 + int(dice.random() * 8), "direction": _towards(dice)},
    "corrupt": lambda dice: {"fraction": dice.random() * 0.01, "direction": _towards(dice)},
    "stall": lambda dice: {"direction": _towards(dice)},
    "black_hole": lambda dice: {"direction": _towards(dice)},
    "cut": lambda dice: {},
    "reset": lambda dice: {},
    "half_close": lambda dice: {"direction": _towards(dice)},
    "after": lambda dice: {"count": int(dice.random() * 10_000), "action": "cut"},
    "refuse": lambda dice: {},
}
_ENDS = {**dict.fromkeys(_DRAWN, "heal"), "refuse": "accept"}
for _momentary in ("cut", "reset", "half_close"):
    del _ENDS[_momentary]
_COMMANDS = (*_DRAWN, "heal", "accept")
