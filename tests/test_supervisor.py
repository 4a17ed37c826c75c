"""A supervisor over simulated time and over real sockets: who is restarted, when it gives up, and that nothing is left."""

import asyncio
import contextlib

import pytest

import wsx
from wsx import errors, telemetry
from wsx.connection_registry import ConnectionRegistry
from wsx.restart_policy import Intensity, Restart
from wsx.supervisor import ChildSpec, ChildState, ChildStatus, Supervisor
from wsx.testing import Door, EchoServer, LocalServer, MemoryServer, SimulatedLoop, connect_in_memory

SECOND = 1_000_000_000


def run(main):
    """What `main` returns, on a simulated loop; at its end no task and no timer is left."""

    async def checked():
        result = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.get_running_loop().pending_timers() == []
        return result

    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(7)) as runner:
        return runner.run(checked())


def supervisor(*specs, **options):
    return Supervisor(*specs, surroundings=asyncio.get_running_loop().surroundings, **options)


class Peer:
    """A child without a client's own life: it ends when it is told to."""

    def __init__(self, log, name="peer"):
        self.log, self.name = log, name
        self.ended = asyncio.get_running_loop().create_future()

    async def __aenter__(self):
        self.log.append(f"open {self.name}")
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def wait_closed(self):
        await asyncio.shield(self.ended)

    async def close(self):
        self.log.append(f"close {self.name}")
        if not self.ended.done():
            self.ended.set_result(None)

    def end(self, error=None):
        self.error = error
        self.ended.set_result(None)


@contextlib.contextmanager
def heard(name):
    """The events of this name, as (name, fields)."""
    seen = []
    telemetry.attach(name, lambda event, fields: seen.append((event, dict(fields))), "test-supervisor")
    try:
        yield seen
    finally:
        telemetry.detach("test-supervisor")


async def sleep_for_ever():
    await asyncio.sleep(10**6)


class TestPolicy:
    @pytest.mark.parametrize(
        ("restart", "in_order", "after_an_error"),
        [(Restart.PERMANENT, True, True), (Restart.TRANSIENT, False, True), (Restart.TEMPORARY, False, False)],
    )
    def test_each_kind_says_which_ends_are_restarted(self, restart, in_order, after_an_error):
        assert restart.wanted(None) is in_order
        assert restart.wanted(OSError()) is after_an_error

    def test_two_restarts_in_ten_seconds_are_taken_and_the_third_is_not(self):
        intensity = Intensity(2, 10)
        assert intensity.allow("a", 0)
        assert intensity.allow("b", 9 * SECOND)
        assert not intensity.allow("c", 10 * SECOND - 1)
        assert [(end.attempt, end.at_ns, end.error) for end in intensity.history] == [
            (1, 0, "a"), (2, 9 * SECOND, "b"), (3, 10 * SECOND - 1, "c"),
        ]  # fmt: skip

    def test_what_is_older_than_the_window_does_not_count(self):
        intensity = Intensity(2, 10)
        assert all(intensity.allow("a", at * 5 * SECOND) for at in range(100))
        assert intensity.recent(99 * 5 * SECOND) == 2
        assert intensity.recent(1000 * SECOND) == 0

    def test_no_restart_at_all_can_be_asked_for(self):
        assert not Intensity(0, 1).allow("a", 0)

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [((True, 1), TypeError), ((1.5, 1), TypeError), ((1, "1"), TypeError), ((1, True), TypeError),
         ((-1, 1), ValueError), ((1, 0), ValueError), ((1, float("nan")), ValueError), ((1, 86_401), ValueError)],
    )  # fmt: skip
    def test_what_is_no_count_and_no_duration_is_refused(self, arguments, error):
        with pytest.raises(error):
            Intensity(*arguments)


class TestSpecification:
    @pytest.mark.parametrize(
        ("arguments", "options", "error"),
        [
            ((7, print), {}, TypeError),
            (("", print), {}, TypeError),
            (("a", None), {}, TypeError),
            (("a", print), {"restart": "sometimes"}, ValueError),
            (("a", print), {"shutdown": 0}, ValueError),
        ],
    )
    def test_what_cannot_be_is_refused_where_it_is_written(self, arguments, options, error):
        with pytest.raises(error):
            ChildSpec(*arguments, **options)

    def test_a_restart_is_a_word_or_its_name(self):
        assert ChildSpec("a", print, restart="transient").restart == Restart.TRANSIENT


class TestOrder:
    def test_children_start_in_order_and_stop_in_reverse(self):
        async def main():
            log = []
            specs = [ChildSpec(name, lambda name=name: Peer(log, name)) for name in "abc"]
            async with supervisor(*specs) as family:
                assert log == ["open a", "open b", "open c"]
                assert [child.name for child in family.children] == ["a", "b", "c"]
                assert family.child("b").name == "b"
            assert log[3:] == ["close c", "close b", "close a"]

        run(main)

    def test_a_first_start_that_fails_is_raised_and_what_had_started_is_stopped(self):
        async def main():
            log = []

            def refuse():
                raise OSError("no such venue")

            with pytest.raises(OSError, match="no such venue"):
                async with supervisor(ChildSpec("a", lambda: Peer(log)), ChildSpec("b", refuse)):
                    raise AssertionError("never entered")
            assert log == ["open peer", "close peer"]

        run(main)

    def test_what_is_no_child_is_named(self):
        async def main():
            with pytest.raises(TypeError, match=r"factory of 'a' gave a object.*wait_closed"):
                async with supervisor(ChildSpec("a", lambda: contextlib.nullcontext(object()))):
                    raise AssertionError("never entered")

        run(main)

    def test_a_child_that_hangs_on_is_cancelled_again(self, caplog):
        async def main():
            async def stubborn():
                try:
                    await sleep_for_ever()
                finally:
                    await asyncio.sleep(3600)

            loop = asyncio.get_running_loop()
            async with supervisor(ChildSpec("a", stubborn, shutdown=2)):
                await asyncio.sleep(1)
            assert loop.time() == pytest.approx(3)

        run(main)
        assert "'a' of 'supervisor' has not ended within shutdown=2 s" in caplog.text

    def test_a_child_that_takes_its_end_for_the_end_of_its_work_is_not_restarted(self):
        async def main():
            async def quiet():
                with contextlib.suppress(asyncio.CancelledError):
                    await sleep_for_ever()

            async with supervisor(ChildSpec("a", quiet)) as family:
                await asyncio.sleep(1)
            assert family.children == (ChildStatus("a", ChildState.ENDED, 0, None),)

        run(main)

    def test_cancelling_it_stops_the_children_in_order(self):
        async def main():
            log = []

            async def desk():
                async with supervisor(ChildSpec("a", lambda: Peer(log, "a")), ChildSpec("b", lambda: Peer(log, "b"))):
                    await sleep_for_ever()

            task = asyncio.create_task(desk())
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert log[2:] == ["close b", "close a"]

        run(main)

    def test_cancelling_it_while_a_child_starts_leaves_nothing(self):
        async def main():
            log = []

            class Slow(Peer):
                async def __aenter__(self):
                    await asyncio.sleep(100)

            async def desk():
                async with supervisor(ChildSpec("a", lambda: Peer(log)), ChildSpec("b", lambda: Slow(log))):
                    raise AssertionError("never entered")

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(desk(), 5)
            assert log == ["open peer", "close peer"]

        run(main)

    def test_cancelling_it_twice_ends_what_hangs_on(self):
        async def main():
            async def stubborn():
                try:
                    await sleep_for_ever()
                finally:
                    await asyncio.sleep(3600)

            async def desk():
                async with supervisor(ChildSpec("a", stubborn, shutdown=100)):
                    await sleep_for_ever()

            task = asyncio.create_task(desk())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.get_running_loop().time() == pytest.approx(2)

        run(main)

    def test_what_the_body_raises_comes_out_as_it_is(self):
        async def main():
            log = []
            with pytest.raises(KeyError, match="mine"):
                async with supervisor(ChildSpec("a", lambda: Peer(log))):
                    raise KeyError("mine")
            assert log == ["open peer", "close peer"]

        run(main)


class TestRestarts:
    @pytest.mark.parametrize(
        ("restart", "error", "lives"),
        [("permanent", None, 2), ("permanent", OSError(), 2), ("transient", None, 1), ("transient", OSError(), 2),
         ("temporary", OSError(), 1)],
    )  # fmt: skip
    def test_a_child_is_restarted_as_its_specification_says(self, restart, error, lives):
        async def main():
            log = []
            async with supervisor(ChildSpec("a", lambda: Peer(log), restart=restart)) as family:
                family.child("a").end(error)
                await asyncio.sleep(1)
                assert log.count("open peer") == lives
                state = ChildState.RUNNING if lives == 2 else ChildState.ENDED
                assert family.children == (ChildStatus("a", state, lives - 1, error),)
                assert (family.child("a") is None) == (lives == 1)

        run(main)

    def test_one_child_is_restarted_and_the_others_are_left_alone(self):
        async def main():
            log = []
            specs = [ChildSpec(name, lambda name=name: Peer(log, name)) for name in "ab"]
            with heard("supervisor") as seen:
                async with supervisor(*specs, name="desk") as family:
                    before, error = family.child("a"), ValueError("x")
                    family.child("b").end(error)
                    await asyncio.sleep(1)
                    assert family.child("a") is before
                    assert log == ["open a", "open b", "close b", "open b"]
            [(event, fields)] = seen
            assert event == "supervisor.restarted"
            assert {**fields, "at_ns": 0} == {
                "at_ns": 0, "supervisor": "desk", "child": "b", "restarts": 1, "error": error,
            }  # fmt: skip

        run(main)

    def test_work_that_is_a_coroutine_is_restarted_when_it_ends(self):
        async def main():
            times = []

            async def work():
                times.append(asyncio.get_running_loop().time())
                await asyncio.sleep(30)

            async with supervisor(ChildSpec("a", work)):
                await asyncio.sleep(100)
            assert len(times) == 4
            assert all(30 <= later - earlier <= 30.4 for earlier, later in zip(times, times[1:]))

        run(main)

    def test_a_coroutine_may_give_a_child_which_is_closed_at_the_end(self):
        async def main():
            log = []

            async def open_peer():
                await asyncio.sleep(1)
                return Peer(log)

            async with supervisor(ChildSpec("a", open_peer)) as family:
                assert family.child("a") is None  # what is awaited has started when it began
                await asyncio.sleep(2)
                family.child("a").end(OSError())
                await asyncio.sleep(2)
            assert log == ["close peer", "close peer"]

        run(main)

    def test_a_child_whose_own_wait_is_cancelled_is_restarted(self):
        async def main():
            log = []
            async with supervisor(ChildSpec("a", lambda: Peer(log))) as family:
                family.child("a").ended.cancel()
                await asyncio.sleep(1)
                [status] = family.children
                assert isinstance(status.error, asyncio.CancelledError)
                assert (status.state, status.restarts) == (ChildState.RUNNING, 1)

        run(main)

    def test_restarts_wait_longer_the_more_there_were(self):
        async def main():
            times = []

            async def fail():
                times.append(asyncio.get_running_loop().time())
                raise OSError

            async with supervisor(ChildSpec("a", fail), max_restarts=6, backoff=wsx.Backoff(initial=1, cap=60)):
                await asyncio.sleep(20)
            return [later - earlier for earlier, later in zip(times, times[1:])]

        waits = run(main)
        assert all(wait <= 2**number for number, wait in enumerate(waits))
        assert sum(waits) > 3

    def test_waiting_for_all_to_end_ends_with_the_last(self):
        async def main():
            async def work(seconds):
                await asyncio.sleep(seconds)

            specs = [ChildSpec(f"{n}", lambda n=n: work(n), restart="temporary") for n in (1, 5, 3)]
            async with supervisor(*specs) as family:
                await family.wait_closed()
            return asyncio.get_running_loop().time()

        assert run(main) == pytest.approx(5)


class TestGivingUp:
    def test_one_restart_too_many_stops_all_and_is_raised(self):
        async def main():
            log = []
            with heard("supervisor") as seen, pytest.raises(errors.RestartsExceeded) as caught:
                async with supervisor(
                    ChildSpec("a", lambda: Peer(log, "a")), ChildSpec("b", lambda: Peer(log, "b")),
                    name="desk", max_restarts=2, within=60,
                ) as family:  # fmt: skip
                    for number in range(3):
                        family.child("b").end(OSError(111, f"secret {number}"))
                        await asyncio.sleep(1)
                    await sleep_for_ever()
            assert log[-1] == "close a" and log.count("open b") == 3
            return caught.value, seen

        error, seen = run(main)
        assert error.supervisor == "desk" and error.why == "more than 2 restarts within 60 s"
        assert [end.attempt for end in error.history] == [1, 2, 3]
        assert all(end.error == "b: ConnectionRefusedError: Connection refused (errno 111)" for end in error.history)
        assert isinstance(error.__cause__, OSError)
        assert [event for event, _ in seen] == ["supervisor.restarted", "supervisor.restarted", "supervisor.gave_up"]
        assert "restarting does not help" in wsx.explain(error) and "b: ConnectionRefusedError" in wsx.explain(error)

    def test_a_child_that_ends_while_another_starts_can_make_it_give_up(self):
        async def main():
            async def fail():
                raise OSError

            class Slow(Peer):
                async def __aenter__(self):
                    await asyncio.sleep(100)

            with pytest.raises(errors.RestartsExceeded):
                async with supervisor(ChildSpec("a", fail), ChildSpec("b", lambda: Slow([]))):
                    raise AssertionError("never entered")

        run(main)

    def test_the_body_and_the_children_can_fail_together(self):
        async def main():
            async def fail():
                raise OSError

            with pytest.raises(ExceptionGroup) as caught:
                async with supervisor(ChildSpec("a", fail), max_restarts=0):
                    try:
                        await sleep_for_ever()
                    finally:
                        raise KeyError("mine")
            assert {type(error) for error in caught.value.exceptions} == {KeyError, errors.RestartsExceeded}

        run(main)

    def test_an_inner_one_that_gives_up_is_restarted_by_the_outer(self):
        async def main():
            lives = []

            async def fail():
                lives.append(asyncio.get_running_loop().time())
                await asyncio.sleep(1)
                raise OSError

            def inner():
                return supervisor(ChildSpec("deep", fail), name="inner", max_restarts=0)

            with pytest.raises(errors.RestartsExceeded) as caught:
                async with supervisor(ChildSpec("inner", inner), name="outer", max_restarts=1) as outer:
                    assert isinstance(outer.child("inner"), Supervisor)
                    await sleep_for_ever()
            assert len(lives) == 2
            assert caught.value.supervisor == "outer"
            assert isinstance(caught.value.__cause__, errors.RestartsExceeded)

        run(main)


class TestPersons:
    def test_an_opening_that_is_refused_for_its_credentials_waits_for_a_person(self, caplog):
        async def main():
            statuses = [None, 401, None]
            server = MemoryServer(Door(check=lambda request: statuses.pop(0)))
            surroundings = asyncio.get_running_loop().surroundings

            def client():
                return connect_in_memory(server, surroundings=surroundings, reconnect=False)

            async with supervisor(ChildSpec("a", client)) as family:
                server.connections[0].abort()
                await asyncio.sleep(3600)
                [status] = family.children
                assert (status.state, status.restarts) == (ChildState.HALTED, 1)
                assert isinstance(status.error, errors.HandshakeRejected)
                assert statuses == [None]
                family.resume("a")
                await asyncio.sleep(1)
                assert family.child("a").state is wsx.State.OPEN

        run(main)
        assert "'a' of 'supervisor' needs a person, then resume('a')" in caplog.text

    @pytest.mark.parametrize(("code", "state"), [(1008, "halted"), (3000, "halted"), (1011, "running")])
    def test_a_client_that_does_not_reconnect_is_restarted_unless_its_close_code_needs_a_person(self, code, state):
        async def main():
            server = MemoryServer(Door())
            surroundings = asyncio.get_running_loop().surroundings
            spec = ChildSpec("a", lambda: connect_in_memory(server, surroundings=surroundings, reconnect=False))
            async with supervisor(spec) as family:
                server.connections[0].close(code)
                await asyncio.sleep(10)
                assert family.children[0].state == state

        run(main)

    def test_a_client_that_is_halted_is_left_alone_and_resumed_by_name(self):
        async def main():
            server = MemoryServer(Door())
            surroundings = asyncio.get_running_loop().surroundings
            async with supervisor(
                ChildSpec("a", lambda: connect_in_memory(server, surroundings=surroundings, reconnect=True))
            ) as family:
                client = family.child("a")
                server.connections[0].close(1008)
                await asyncio.sleep(3600)
                assert client.state is wsx.State.HALTED
                assert family.children == (ChildStatus("a", ChildState.RUNNING, 0, None),)
                family.resume("a")
                await client.wait_open()
                assert family.child("a") is client

        run(main)

    def test_a_halted_child_can_be_stopped(self):
        async def main():
            made = []

            async def refuse():
                made.append(1)
                raise errors.AuthenticationFailed("13004")

            async with supervisor(ChildSpec("a", refuse), ChildSpec("b", lambda: Peer([]))) as family:
                await asyncio.sleep(1)
                await family.stop("a")
                assert [child.state for child in family.children] == [ChildState.ENDED, ChildState.RUNNING]
                family.resume("b")  # that has nothing to resume
            assert made == [1]

        run(main)

    def test_children_can_be_started_and_stopped_later(self):
        async def main():
            log = []
            async with supervisor() as family:
                await family.start(ChildSpec("a", lambda: Peer(log, "a")))
                with pytest.raises(ValueError, match="a child 'a' of 'supervisor' is there already"):
                    await family.start(ChildSpec("a", lambda: Peer(log, "a")))
                await family.stop("a")
                assert log == ["open a", "close a"]
                await family.start(ChildSpec("a", lambda: Peer(log, "again")))
                for call in (family.child, family.resume):
                    with pytest.raises(KeyError):
                        call("nobody")
            assert log == ["open a", "close a", "open again", "close again"]

        run(main)

    def test_a_supervisor_that_is_not_entered_starts_nobody(self):
        async def main():
            family = supervisor()
            with pytest.raises(RuntimeError, match="'supervisor' is not running; start children inside"):
                await family.start(ChildSpec("a", lambda: Peer([])))
            assert family.children == ()

        run(main)

    def test_one_that_is_stopped_before_it_has_started_ends_the_wait_for_it(self):
        async def main():
            async with supervisor() as family:
                starting = asyncio.ensure_future(family.start(ChildSpec("a", lambda: Peer([]))))
                await asyncio.sleep(0)
                await family.stop("a")
                with pytest.raises(asyncio.CancelledError):
                    await starting
                assert family.children == ()

        run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
class TestRealClients:
    def test_a_client_that_is_closed_by_its_server_is_restarted_and_entered_in_the_registry(self, loop):
        async def main():
            registry = ConnectionRegistry()
            async with EchoServer() as server:
                spec = ChildSpec("ticks", lambda: wsx.connect(server.url, reconnect=False))
                async with Supervisor(spec, registry=registry) as family:
                    first = registry.get("ticks")
                    assert first is family.child("ticks")
                    [connection] = server.connections
                    connection.close(1011)
                    await first.wait_closed()
                    assert isinstance(first.error, errors.ConnectionClosed)
                    while registry.get("ticks") in (first, None):
                        await asyncio.sleep(0.01)
                    await family.child("ticks").send("x")
                    assert (await family.child("ticks").recv()).text == "x"
                assert len(registry) == 0 and not server.connections

        wsx.run(asyncio.wait_for(main(), 20), loop=loop)

    def test_a_client_that_lives_on_by_itself_is_not_restarted(self, loop):
        async def main():
            async with (
                EchoServer() as server,
                Supervisor(ChildSpec("a", lambda: wsx.connect(server.url, reconnect=True))) as family,
            ):
                client = family.child("a")
                server.connections[0].abort()
                while client.epoch == 1:
                    await asyncio.sleep(0.01)
                assert family.children[0].restarts == 0 and client.error is None

        wsx.run(asyncio.wait_for(main(), 20), loop=loop)

    def test_a_transient_client_that_its_user_closes_stays_closed(self, loop):
        async def main():
            async with LocalServer() as server:
                spec = ChildSpec("a", lambda: wsx.connect(server.url), restart="transient")
                async with Supervisor(spec) as family:
                    await family.child("a").close()
                    await family.wait_closed()
                    assert family.children == (ChildStatus("a", ChildState.ENDED, 0, None),)

        wsx.run(asyncio.wait_for(main(), 20), loop=loop)
