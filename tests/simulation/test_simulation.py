"""Simulated worlds keep every promise, a seed replays exactly, and each promise is seen where it is broken."""

import asyncio
import os
from dataclasses import replace

import pytest
from history import (
    Answered,
    Asked,
    Depths,
    Dialled,
    Fault,
    GaveUp,
    History,
    Over,
    Restoring,
    SendBegan,
    SendEnded,
    ServerGot,
    Settings,
    Told,
    UserGot,
)
from promises import PROMISES, broken
from simulate import COMMAND, failing, judge, main, report
from world import NS, run_world

import wsx
from wsx.client import Client
from wsx.errors import HeartbeatTimeout
from wsx.events import Closed, Gap, GapEvent, Halted, Opened, OpeningTimes, Reconnecting


def told(event, at, epoch, **fields):
    return Told(at, event(at_ns=at, epoch=epoch, **fields))


def opened(at, epoch):
    return told(Opened, at, epoch, endpoint="ws://localhost/", timings=OpeningTimes())


def reconnecting(at, attempt, delay):
    return told(Reconnecting, at, 1, attempt=attempt, delay_seconds=delay)


GAP = Gap(stream="", last_good_ns=2 * NS, first_good_ns=7 * NS, cause="reconnect", epoch=1)
CONFIG = wsx.Config(ping_interval=1, ping_timeout=1, close_timeout=1)


def good():
    """Two epochs of a client whose server fell silent in the first, by hand: every promise is kept."""
    return History(Settings(CONFIG, wsx.Backoff(initial=1, cap=4)), [
        Dialled(0, 1, connection=1),
        Restoring(0, 1, ()),
        opened(0, 1),
        ServerGot(1, 1, "hook"),
        UserGot(2 * NS, 1, 1, 0),
        SendBegan(2 * NS, "sub"), SendEnded(2 * NS, "sub", "sent", 1), ServerGot(2 * NS, 1, "sub"),
        Depths(2 * NS, {"inbox_messages": (3, 4)}),
        Fault(3 * NS, "stall", 1, "to_client"),
        told(Closed, 5 * NS, 1, code=1006, error=HeartbeatTimeout(1)),
        reconnecting(5 * NS, 1, 0.5),
        SendBegan(5 * NS, "late"), SendEnded(5 * NS, "late", "NotConnected", 1),
        Dialled(6 * NS, 2, connection=2),
        Restoring(6 * NS, 2, ("sub",)),
        opened(6 * NS, 2),
        ServerGot(6 * NS, 2, "hook"), ServerGot(6 * NS, 2, "sub"),
        SendBegan(6 * NS, "user"), SendEnded(6 * NS, "user", "sent", 2), ServerGot(6 * NS, 2, "user"),
        told(GapEvent, 7 * NS, 2, gap=GAP),
        UserGot(7 * NS, 2, 2, 0, GAP, 7 * NS),
        UserGot(7 * NS, 2, 2, 1),
        Asked(8 * NS, "close"),
        told(Closed, 8 * NS, 2, code=1000),
        Answered(8 * NS, "close", 1000),
        Over(9 * NS, "closed", (), (GAP,)),
    ])  # fmt: skip


def without(kind, /, **fields):
    """The good history, less the records that look like this."""
    history = good()
    history.records = [record for record in history.records if not _looks_like(record, kind, fields)]
    return history


def changed(kind, changes, /, **fields):
    """The good history with the first record that looks like this changed."""
    history = good()
    at = next(at for at, record in enumerate(history.records) if _looks_like(record, kind, fields))
    history.records[at] = replace(history.records[at], **changes)
    return history


def added(*records, after=None):
    """The good history with more records before its end, or after the first of this kind."""
    history = good()
    at = -1 if after is None else next(at for at, one in enumerate(history.records) if isinstance(one, after)) + 1
    history.records[at:at] = records
    return history


def _looks_like(record, kind, fields):
    looked = record.event if isinstance(record, Told) and kind is not Told else record
    return isinstance(looked, kind) and all(getattr(looked, name) == value for name, value in fields.items())


PLANTED = {
    "a send without an outcome": ("once", lambda: without(SendEnded, text="user")),
    "a send with two outcomes": ("once", lambda: added(SendEnded(7 * NS, "user", "NotConnected", 2))),
    "a send that raised and left": ("once", lambda: added(ServerGot(7 * NS, 2, "late"))),
    "a send that came in another epoch": ("once", lambda: changed(SendEnded, {"epoch": 1}, text="user")),
    "a send that came twice": ("once", lambda: added(ServerGot(7 * NS, 2, "user"))),
    "a send that was lost": ("arriving", lambda: without(ServerGot, text="user")),
    "a message that came twice": ("in_order", lambda: added(UserGot(7 * NS, 2, 2, 1))),
    "a message that was left out": ("in_order", lambda: changed(UserGot, {"number": 2}, number=1)),
    "a message of another epoch": ("in_order", lambda: changed(UserGot, {"connection": 1, "number": 1}, number=1)),
    "an old epoch after a new one": ("in_order", lambda: added(UserGot(7 * NS, 1, 1, 1))),
    "a message that was changed": ("intact", lambda: changed(UserGot, {"connection": None}, number=1)),
    "a gap that no message carries": ("gaps_said", lambda: changed(UserGot, {"gap": None}, epoch=2)),
    "a gap that no event says": ("gaps_said", lambda: without(GapEvent)),
    "a gap that the ledger does not know": ("gaps_said", lambda: changed(Over, {"gaps": ()})),
    "a gap in the middle": ("gaps_said", lambda: changed(UserGot, {"gap": GAP}, number=1)),
    "a gap that ends too late": ("gaps_said", lambda: changed(UserGot, {"received_ns": 6 * NS}, gap=GAP)),
    "a subscription that is not restored": ("restoring", lambda: without(ServerGot, text="sub", connection=2)),
    "user traffic before the subscription": (
        "restoring",
        lambda: changed(ServerGot, {"text": "user"}, text="sub", connection=2),
    ),
    "a subscription restored twice": ("restoring", lambda: added(ServerGot(7 * NS, 2, "sub"))),
    "an attempt while halted": (
        "staying_halted",
        lambda: added(told(Halted, 8 * NS, 2, error=OSError()), Dialled(8 * NS, 3)),
    ),
    "a dead peer noticed too late": ("noticing", lambda: changed(Fault, {"at_ns": 2 * NS}, kind="stall")),
    "a dead peer that is never given up": ("noticing", lambda: without(Closed, epoch=1)),
    "a cap that is passed": ("bounded", lambda: added(Depths(7 * NS, {"inbox_messages": (5, 4)}))),
    "a delay above the cap": (
        "backing_off",
        lambda: added(reconnecting(5 * NS, 1, 4.5), after=Depths),
    ),
    "an attempt that is not counted": (
        "backing_off",
        lambda: added(reconnecting(5 * NS, 3, 0.1), after=Depths),
    ),
    "an attempt before its time": ("backing_off", lambda: changed(Dialled, {"at_ns": 5 * NS}, epoch=2)),
    "a client that gives up for nothing": ("living_on", lambda: added(GaveUp(8 * NS, "NotConnected"))),
    "a close that takes too long": ("closing", lambda: changed(Answered, {"took_ns": 2 * NS})),
    "an epoch that opens twice": ("ending_once", lambda: added(opened(7 * NS, 2))),
    "an epoch that closes twice": ("ending_once", lambda: added(told(Closed, 8 * NS, 2, code=1000))),
    "an epoch that never closes": ("ending_once", lambda: without(Closed, epoch=2)),
    "a task that is left": ("leaving_nothing", lambda: changed(Over, {"leftovers": ("task",)})),
    "a client that is not closed": ("leaving_nothing", lambda: changed(Over, {"state": "open"})),
    "a run that hangs": ("leaving_nothing", lambda: without(Over)),
}


class TestChecker:
    def test_a_history_that_keeps_every_promise_is_passed(self):
        assert broken(good()) == []

    @pytest.mark.parametrize("planted", PLANTED)
    def test_each_planted_violation_is_seen(self, planted):
        promise, history = PLANTED[planted]
        found = broken(history())
        assert any(line.startswith(f"{promise}:") for line in found), found

    def test_each_promise_is_broken_by_something_that_is_planted(self):
        assert {promise for promise, _ in PLANTED.values()} == {promise.__name__ for promise in PROMISES}


class SendsTwice(Client):
    async def send(self, data, **options):
        await super().send(data, **options)
        await super().send(data, **options)


class ForgetsMessages(Client):
    async def recv(self):
        message = await super().recv()
        return await super().recv() if len(message) % 5 == 0 else message


class NeverGivesUp(Client):
    """Resumes by itself, whatever HALTED means."""

    def __init__(self, session_of):
        super().__init__(session_of)
        session, on_give_up = self._session, self._session.on_give_up
        session.on_give_up = lambda decision: (on_give_up(decision), self.resume())


class TrustsItsPeer(Client):
    """Takes every PING for answered."""

    async def trust(self):
        while self.state is not wsx.State.CLOSED:
            connection = self._session.connection
            if connection is not None:
                connection.heartbeat.pause()
            await asyncio.sleep(0.01)

    def __init__(self, session_of):
        super().__init__(session_of)
        self._trust = self._session._loop.create_task(self.trust())


class ClosesSlowly(Client):
    async def close(self, *arguments):
        await super().close(*arguments)
        await asyncio.sleep(3)


class LeavesTimers(Client):
    async def close(self, *arguments):
        await super().close(*arguments)
        self._session._loop.call_later(1e6, print)


class ForgetsSubscriptions(Client):
    async def subscribe(self, message, **options):
        await self.send(message)


@pytest.mark.parametrize(
    ("planted", "promise"),
    [
        (SendsTwice, "once"),
        (ForgetsMessages, "in_order"),
        (NeverGivesUp, "staying_halted"),
        (TrustsItsPeer, "noticing"),
        (ClosesSlowly, "closing"),
        (LeavesTimers, "leaving_nothing"),
        (ForgetsSubscriptions, "restoring"),
    ],
)
def test_a_client_that_breaks_a_promise_is_found_out_within_a_few_seeds(planted, promise):
    lines = (line for seed in range(150) for line in broken(run_world(seed, planted)))
    assert any(line.startswith(f"{promise}:") for line in lines)


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_a_seed_replays_exactly(seed):
    first, second = run_world(seed), run_world(seed)
    assert [repr(record) for record in first.records] == [repr(record) for record in second.records]


def test_a_failing_seed_is_named_with_the_command_that_replays_it(capsys):
    assert report([(17, ["once: 'user 3' was sent twice"])]) == 1
    shown = capsys.readouterr().out
    assert COMMAND.format(17) in shown and "once: 'user 3'" in shown


def test_many_seeds_are_shown_as_a_count(capsys):
    assert main(["--seeds", "2", "--workers", "1"]) == 0
    assert "0 break a promise" in capsys.readouterr().out


def test_one_seed_is_shown_in_full(capsys):
    assert main(["--seeds", "1", "--from", "0"]) == 0
    shown = capsys.readouterr().out
    assert "Dialled" in shown and "no promise is broken" in shown


def test_delays_are_jittered_in_full():
    """Over many seeds the part of its ceiling that a delay takes is spread evenly from 0 to 1."""
    parts = []
    for seed in range(300):
        history = run_world(seed)
        backoff = history.settings.backoff
        parts += [event.delay_seconds / backoff.ceiling(event.attempt)
                  for event in history.told(Reconnecting)
                  if event.delay_seconds > 0 and event.attempt > 1 and isinstance(event.error, wsx.errors.ConnectionFailed)
                  and not isinstance(event.error, wsx.errors.HandshakeRejected)]  # fmt: skip
    assert len(parts) > 100
    assert all(0 < part < 1 for part in parts)
    tenths = [sum(low / 4 <= part < (low + 1) / 4 for part in parts) / len(parts) for low in range(4)]
    assert all(0.15 < share < 0.35 for share in tenths), tenths


@pytest.mark.parametrize("seed", range(200))
def test_a_world_keeps_every_promise(seed):
    assert judge(seed) == [], COMMAND.format(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_worlds_keep_every_promise():
    bad = list(failing(0, 10_000, workers=os.cpu_count() or 2))
    assert not bad, "\n".join(f"{COMMAND.format(seed)}: {what}" for seed, what in bad)
