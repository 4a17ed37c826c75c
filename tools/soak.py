"""Runs a client for a while against a local server behind the fault proxy, and says what was lost, and what it cost.

    make soak MINUTES=10                             # a fault every 20 s
    python tools/soak.py --minutes 2 --every 5 --seed 7

The server numbers its messages, whether anybody listens or not: a number that does not come is a lost message, and each
loss has to be said in band, by `message.gap`. The exit code is 0 where that holds, the client came back from every
fault, and neither memory nor descriptors nor tasks have grown; otherwise 1.
"""

import argparse
import asyncio
import gc
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import wsx
from wsx.testing import FaultProxy, FaultScript, LocalServer, ServerEnd, Step

MOST_GROWTH = 16 << 20  # bytes, of the whole process over the whole run: far above the allocator's own to and fro
MESSAGES_PER_SECOND = 500
CONFIG = wsx.Config(reconnect=wsx.Backoff(initial=0.05, cap=2), ping_interval=0.5, ping_timeout=0.5, close_timeout=0.5)

# What is done, and what is done when half of the time until the next fault has passed.
FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cut": (("cut",), ()),
    "reset": (("reset",), ()),
    "half_close": (("half_close",), ()),
    "stall": (("stall",), ("heal",)),
    "black_hole": (("black_hole",), ("reset", "heal")),  # bytes are missing: the stream cannot go on
    "refuse": (("refuse", "cut"), ("accept",)),
    "split": (("split",), ("heal",)),
}


@dataclass
class Tally:
    """What came of what was numbered. said, silent: messages that did not come, with a gap that says so or without."""

    received: int = 0
    said: int = 0
    silent: int = 0
    again: int = 0  # delivered twice, or out of order
    newest: int | None = None

    def count(self, number: int, *, gap: bool) -> None:
        """A message was delivered; gap: it carries a gap."""
        self.received += 1
        if self.newest is not None and number <= self.newest:
            self.again += 1
            return
        missed = 0 if self.newest is None else number - self.newest - 1
        if gap:
            self.said += missed
        else:
            self.silent += missed
        self.newest = number


@dataclass
class Report:
    """One run. outages: seconds from the end of each connection to the next open one. grown, before, after: at the
    beginning and the end of the run."""

    tally: Tally = field(default_factory=Tally)
    faults: int = 0
    outages: list[float] = field(default_factory=list)
    state: str = ""
    grown_bytes: int = 0
    descriptors: tuple[int, int] = (0, 0)
    tasks: tuple[int, int] = (0, 0)

    def lines(self) -> Iterator[str]:
        """For a person."""
        outages, tally = sorted(self.outages), self.tally
        yield f"faults               {self.faults}"
        yield f"messages received    {tally.received}"
        yield f"lost, and said so    {tally.said}"
        yield f"lost in silence      {tally.silent}"
        yield f"twice or misplaced   {tally.again}"
        yield f"reconnects           {len(outages)}"
        if outages:
            yield f"reconnect time       median {statistics.median(outages) * 1000:.1f} ms, max {outages[-1]:.3f} s"
        yield f"memory growth        {self.grown_bytes / 1024:.0f} KiB"
        yield f"descriptors          {self.descriptors[0]} before, {self.descriptors[1]} after"
        yield f"tasks                {self.tasks[0]} before, {self.tasks[1]} after"

    def wrong(self) -> list[str]:
        """What a good run does not have."""
        found = {
            "messages were lost in silence": self.tally.silent > 0,
            "messages came twice or misplaced": self.tally.again > 0,
            "no message came": self.tally.received == 0,
            f"the client was {self.state} at the end": self.state != "open",
            "memory has grown": self.grown_bytes > MOST_GROWTH,
            "descriptors are left": self.descriptors[1] > self.descriptors[0],
            "tasks are left": self.tasks[1] > self.tasks[0],
        }
        return [what for what, is_so in found.items() if is_so]


def make_script(seed: int, seconds: float, every: float) -> FaultScript:
    """A fault every `every` seconds, drawn by the seed; what lasts is over before the next, and before the end."""
    dice = random.Random(seed)
    steps = []
    for slot in range(1, max(int(seconds / every), 2)):
        begin, end = FAULTS[dice.choice(sorted(FAULTS))]
        steps += [Step(slot * every, command) for command in begin]
        steps += [Step((slot + 0.5) * every, command) for command in end]
    return FaultScript(tuple(steps), seed)


async def run(seconds: float, every: float, seed: int) -> Report:
    """One run, from its first message to the end of everything that it opened."""
    report = Report(faults=max(int(seconds / every), 2) - 1)
    async with LocalServer() as server, wsx.connect(server.url):
        pass  # what a loop opens once and keeps is there now
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    async with LocalServer() as server:
        speaking = asyncio.create_task(_speak(server))
        async with FaultProxy("127.0.0.1", server.port, script=make_script(seed, seconds, every), seed=seed) as proxy:
            await _listen(proxy.via(server.url), seconds, every, report)
        speaking.cancel()
    await asyncio.sleep(0.1)
    gc.collect()
    report.descriptors, report.tasks = (descriptors, _descriptors()), (tasks, len(asyncio.all_tasks()))
    return report


async def _speak(server: LocalServer) -> None:
    """A number every now and then, to whoever is there."""
    number, begin = 0, time.monotonic()
    while True:
        await asyncio.sleep(0.01)
        while number < (time.monotonic() - begin) * MESSAGES_PER_SECOND:
            number += 1
            for connection in server.connections:
                _say(connection, str(number))


def _say(connection: ServerEnd, words: str) -> None:
    if connection.wire.writer.buffered > 1 << 20:
        connection.abort()  # it does not read
    else:
        connection.send(words)


async def _listen(url: str, seconds: float, every: float, report: Report) -> None:
    """The client's life: what it gets is counted, and memory is compared with that of after the first two faults."""
    watch = _Outages(report.outages)
    async with wsx.connect(url, on_event=watch.told, config=CONFIG) as client:
        reading = asyncio.create_task(_read(client, report.tally))
        warm = min(2.5 * every, seconds / 2)
        await asyncio.sleep(warm)
        before = _resident_bytes()
        await asyncio.sleep(seconds - warm)
        report.grown_bytes = _resident_bytes() - before
        await asyncio.wait_for(client.wait_open(), 10)
        report.state = str(client.state)
    await reading


async def _read(client: wsx.Client, tally: Tally) -> None:
    async for message in client:
        tally.count(int(message.text), gap=message.gap is not None)


class _Outages:
    """Listens to how long the client was without a connection."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds, self._since_ns = seconds, 0

    def told(self, event: wsx.events.Event) -> None:
        if isinstance(event, wsx.events.Closed):
            self._since_ns = event.at_ns
        elif isinstance(event, wsx.events.Opened) and event.epoch > 1:
            self._seconds.append((event.at_ns - self._since_ns) / 1e9)


def _resident_bytes() -> int:
    """Of this process; where the system does not tell, the most it has ever had."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _descriptors() -> int:
    folder = next((Path(name) for name in ("/proc/self/fd", "/dev/fd") if Path(name).exists()), None)
    return 0 if folder is None else len(list(folder.iterdir()))


def conclude(report: Report) -> int:
    """Print the report, its verdict last: 0 where it is good."""
    wrong = report.wrong()
    print(*report.lines(), "bad: " + "; ".join(wrong) if wrong else "good", sep="\n")
    return bool(wrong)


def _main(arguments: list[str]) -> int:
    """Run as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=20, help="seconds from one fault to the next")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the faults")
    options = parser.parse_args(arguments)
    print(f"seed                 {options.seed}")
    return conclude(wsx.run(run(options.minutes * 60, options.every, options.seed)))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
