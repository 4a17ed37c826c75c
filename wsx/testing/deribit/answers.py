"""How answers and notifications go wrong, and the lines in which answers wait.

Not here: which rule acts (script.py), the ends of connections (session.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from wsx.testing.deribit.script import Rule, chosen
from wsx.testing.number_text import wire_text

Answer: TypeAlias = Callable[[], None]  # sends itself when it is time to, and does what comes behind it

_LONG_AGO = 1_000_000  # change ids


class Replies:
    """The answers of one socket: those of one worker keep their order, those of different workers may overtake."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._held: list[Answer] = []

    def put(self, worker: str, answer: Answer, delay: float) -> None:
        """Send it after `delay` seconds, and what was held behind it."""
        line = self._lines.setdefault(worker, _Line())
        held, self._held = self._held, []
        for one in [answer, *held]:
            line.put(one, delay)

    def hold(self, answer: Answer) -> None:
        """Send it behind the next answer."""
        self._held.append(answer)

    def stop(self) -> None:
        """What still waits is never sent."""
        for line in self._lines.values():
            line.stop()


def wrong_answer(
    rules: list[Rule], head: dict[str, Any], body: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The id and the body that rules put in the place of the right ones."""
    for _ in chosen(rules, "no_id"):
        return {}, {"error": {"code": 11050, "message": "bad_request"}}
    for _ in chosen(rules, "wrong_id"):
        asked = head.get("id")
        return {"id": asked + _LONG_AGO if isinstance(asked, int) else f"{asked}-other"}, body
    return head, body


def wrong_data(rules: list[Rule], payload: bytes) -> bytes:
    """A notification as rules change what it says."""
    if not any(chosen(rules, "cross", "stale", "linked", "unlinked")):
        return payload
    message = orjson.loads(payload)
    data = message["params"]["data"]
    for _ in chosen(rules, "stale"):
        data.update({name: data[name] - _LONG_AGO for name in ("change_id", "prev_change_id") if name in data})
    for _ in chosen(rules, "linked"):
        data["prev_change_id"] = data["change_id"] - 1
    for _ in chosen(rules, "unlinked"):
        data.update(type="change", prev_change_id=0)
    for _ in chosen(rules, "cross"):
        _cross(data)
    return wire_text(message).encode()


def copies(rules: list[Rule], payload: bytes) -> list[bytes]:
    """What is sent in the place of one message: none, one or two, whole or not."""
    if any(chosen(rules, "silence", "skip", "cut_unanswered")):
        return []
    if any(chosen(rules, "garble")):
        payload = payload[: len(payload) // 2]
    return [payload] * (2 if any(chosen(rules, "twice")) else 1)


def _cross(data: dict[str, Any]) -> None:
    """An ask at half the price of any level lies below the best bid."""
    levels = [*data.get("bids", ()), *data.get("asks", ())]
    if levels:
        *action, price, amount = levels[0]
        data["asks"].append([*(["new"] if action else []), price / 2, amount or 1.0])


class _Line:
    """The answers of one worker: each may take its time, and those behind it wait, so that they stay in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Answer]] = deque()  # when it is due, and the answer
        self._timer: asyncio.TimerHandle | None = None

    def put(self, answer: Answer, delay: float) -> None:
        """Send an answer after `delay` seconds, and after those before it."""
        due = self._loop.time() + delay
        if self._waiting:
            self._waiting.append((max(due, self._waiting[-1][0]), answer))
        elif delay > 0:
            self._waiting.append((due, answer))
            self._timer = self._loop.call_at(due, self._next)
        else:
            answer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _next(self) -> None:
        _, answer = self._waiting.popleft()
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._next)
        answer()  # may end the connection, and this line with it
