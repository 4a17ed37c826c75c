"""One run of a simulated world: a client, its user, its server and a network that misbehaves, all by one seed.

    history = run_world(seed)      the same seed gives the same history, byte for byte

Time is simulated, so that a minute passes in milliseconds; both ends run the real codec over memory.
Not here: what must be true of a history (promises.py).
"""

import asyncio
import contextlib
import logging
import random
from functools import partial

from history import (
    Answered,
    Asked,
    Blocked,
    Depths,
    Dialled,
    Fault,
    GaveUp,
    Healed,
    History,
    Over,
    Restoring,
    SendBegan,
    SendEnded,
    ServerGot,
    Settings,
    Told,
    UserGot,
    sealed,
    unsealed,
)

import wsx
from wsx.client import Client, Connecting
from wsx.errors import ConnectionFailed, Stage, WsxError
from wsx.testing import Door, MemoryServer, NothingLeftToWaitFor, SimulatedLoop
from wsx.transport.memory import _Stream

NS = 1_000_000_000
SMALLEST_FRAME = 16  # bytes: of a numbered message
CLOSE_CODES = (1000, 1001, 1002, 1008, 1009, 1011, 1012, 1013, 3000, 4000)
STATUSES = (401, 403, 429, 500, 503)


class Line(_Stream):
    """One direction of a connection: late, in odd pieces, and now and then stalled, black-holed or corrupting."""

    stalled = swallowing = False
    corrupting = 0
    latency = 0.001

    def __init__(self, world, *arguments):
        super().__init__(*arguments)
        self._rng = world.rng

    def write(self, data):
        if self.swallowing:
            return
        if self.corrupting:
            data = bytearray(data)
            for _ in range(self.corrupting):
                data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
            self.corrupting = 0
        super().write(data)

    def end(self):
        if not self.swallowing:
            super().end()

    def cut(self):
        """A reset comes through whatever holds the bytes back."""
        self.stalled = self.swallowing = False
        super().cut()

    def release(self):
        self.stalled = self.swallowing = False
        self._plan()

    def _plan(self):
        if self._planned or self._paused or self.stalled or not (self._waiting or self._ended):
            return
        self._planned = True
        self._loop.call_later(self._rng.random() * self.latency, self._deliver)

    def _deliver(self):
        if self.stalled:
            self._planned = False
            return
        super()._deliver()


class Server(MemoryServer):
    """Numbers its connections, and the messages on each; refuses, answers and closes as the world wishes."""

    def __init__(self, world):
        self.world, self.count = world, 0
        capacity = world.rng.choice((1 << 10, 1 << 14))
        super().__init__(
            Door(on_message=self._got, check=self._status, close_timeout=1), self._opened,
            capacity=capacity, read_bytes=world.read_bytes,
        )  # fmt: skip

    def _new_stream(self, loop):
        return Line(self.world, loop, self._capacity, self._read_bytes)

    def _status(self, request):
        if self.world.calm or self.world.rng.random() > 0.15:
            return None
        return self.world.rng.choice(STATUSES)

    def _opened(self, end):
        world = self.world
        self.count += 1
        end.number, end.sent, end.mute = self.count, 0, False
        end.lines = {"to_server": end.wire._incoming, "to_client": end.wire._outgoing}
        for line in end.lines.values():
            line.latency = world.latency
        end.on_control = partial(self._control, end, end.on_control)
        self._speak(end)

    def _control(self, end, answer, opcode, payload):
        if not (end.mute and opcode == 0x9):
            answer(opcode, payload)

    def _got(self, end, message):
        text = unsealed(message.data)
        self.world.note(ServerGot, end.number, text)
        if text is not None and text.startswith("hook") and self.world.rng.random() < 0.9:
            with contextlib.suppress(ConnectionResetError):
                end.send(sealed(f"answer {end.number}"))

    def _speak(self, end):
        """A burst of messages now and then, for as long as the connection and the world last."""
        world = self.world
        if not end.open or world.over:
            return
        for _ in range(world.rng.choice((1, 1, 1, 2, 5, world.burst))):
            if not end.wire.writer.buffered:
                with contextlib.suppress(ConnectionResetError):
                    self._say(end)
        asyncio.get_running_loop().call_later(world.rng.expovariate(world.rate), self._speak, end)

    def _say(self, end):
        """One numbered message, in one frame or two."""
        rng = self.world.rng
        words = sealed(f"{end.number}:{end.sent}:{'x' * rng.choice((0, 9, 200))}")
        end.sent += 1
        if rng.random() < 0.1:
            end.send_frame(0x1, words[:4].encode(), fin=False)
            end.send_frame(0x0, words[4:].encode())
        else:
            end.send(words)


class World:
    """All of it. client_class: another one plants a violation."""

    def __init__(self, seed, client_class=Client):
        self.rng = rng = random.Random(f"world {seed}")
        self.client_class = client_class
        self.calm, self.over = rng.random() < 0.9, False  # the first opening is seldom disturbed
        self.read_bytes = rng.choice((11, 200, 1024, 1024, 65536, 65536))
        self.latency = rng.choice((0.0001, 0.005, 0.1))
        self.burst, self.rate = rng.choice((10, 60)), rng.choice((0.5, 2, 5))
        self.ends_at = rng.uniform(1, 8)  # seconds
        self.slow = rng.choice((0, 0, 0.05, 1.5))  # what the user takes over a message, seconds
        self.client = None
        self.subscribed = {}
        self.sends = 0
        self.hanging = []
        self.tasks = {}  # in the order of their beginning
        self.config = self.make_config()
        messages = self.read_bytes // SMALLEST_FRAME + 1
        self.history = History(Settings(self.config, self.config.reconnect, messages))

    def make_config(self):
        rng = self.rng
        initial = rng.choice((0.05, 0.5))
        backoff = wsx.Backoff(
            initial=initial, cap=initial * rng.choice((1, 8, 40)), stable_after=rng.choice((1, 5, 30)),
            attempts=rng.choice((None, None, 2)), protocol_errors=(rng.choice((1, 3)), 600.0),
        )  # fmt: skip
        return wsx.Config(
            reconnect=backoff,
            connect_timeout=rng.choice((0.5, 3)), close_timeout=rng.choice((0.2, 2)),
            ping_interval=rng.choice((0.5, 3)), ping_timeout=rng.choice((0.3, 2)),
            data_timeout=rng.choice((None, None, 4)), write_limit=rng.choice((512, 1 << 16)),
            inbox_messages=rng.choice((4, 32, 4096)), max_message_size=1 << 12,
            inbox_policy=rng.choice(("pause", "pause", "disconnect")), max_pause=rng.choice((0.5, 5)),
            on_open=[self.hook], name="simulated",
        )  # fmt: skip

    def note(self, kind, *fields):
        self.history.records.append(kind(self.loop.now_ns(), *fields))

    # ---- the network ------------------------------------------------------------------------------------------------

    async def dial(self, opening):
        """Slow, refusing or healthy; then the memory server's own."""
        epoch, rng = opening.sink.epoch, self.rng
        before = self.server.count
        try:
            async with asyncio.timeout_at(opening.deadline):
                await asyncio.sleep(0 if self.calm else rng.choice((0, 0.01, 0.01, 1, 5)))
                if not self.calm and rng.random() < 0.15:
                    raise ConnectionFailed(Stage.TCP, "refused")
                return await self.server.dial(opening)
        except TimeoutError:
            raise ConnectionFailed(Stage.TCP, "too late") from None
        finally:
            self.note(Dialled, epoch, self.server.count if self.server.count > before else None)

    async def misbehave(self):
        """One fault after the other."""
        while self.loop.time() < self.ends_at:
            await asyncio.sleep(self.rng.expovariate(0.8))
            self.rng.choice(self.FAULTS)(self)

    def _end(self):
        ends = self.server.connections
        return self.rng.choice(ends) if ends else None

    def cut(self):
        if end := self._end():
            self.note(Fault, "cut", end.number)
            end.abort()

    def reset(self):
        """Both directions end; what is on its way is lost."""
        if end := self._end():
            self.note(Fault, "reset", end.number)
            for line in end.lines.values():
                line.cut()

    def stall(self):
        self._deaden("stall", swallow=False)

    def black_hole(self):
        self._deaden("black_hole", swallow=True)

    def _deaden(self, kind, swallow):
        if end := self._end():
            direction = self.rng.choice(tuple(end.lines))
            line = end.lines[direction]
            self.note(Fault, kind, end.number, direction)
            line.stalled, line.swallowing = True, line.swallowing or swallow  # what is lost stays lost
            if not swallow and self.rng.random() < 0.6:
                self.spawn(self._heal(end, line))

    async def _heal(self, end, line):
        await asyncio.sleep(self.rng.expovariate(0.5))
        if not line.swallowing:
            self.note(Healed, end.number)
            line.release()

    def mute(self):
        if end := self._end():
            self.note(Fault, "mute", end.number, "pongs")
            end.mute = True

    def half_close(self):
        """The reader sees the end; what the writer goes on to write is lost, and it does not know."""
        if end := self._end():
            direction = self.rng.choice(tuple(end.lines))
            self.note(Fault, "half_close", end.number, direction)
            end.lines[direction].end()
            end.lines[direction].swallowing = True

    def corrupt(self):
        """Some bits of the next frame. PONGs repeat a payload that no seed chose, so there are none after that."""
        if end := self._end():
            self.note(Fault, "corrupt", end.number, "to_client")
            self.note(Fault, "mute", end.number, "pongs")
            end.lines["to_client"].corrupting = self.rng.choice((1, 3))
            end.mute = True

    def close_from_server(self):
        if end := self._end():
            code = self.rng.choice(CLOSE_CODES)
            self.note(Fault, "close", end.number, str(code))
            end.close(code)

    def block(self):
        """The loop's own code holds it, or the machine sleeps."""
        for_ns = round(self.rng.choice((0.1, 1, 7, 600)) * NS)
        self.note(Blocked, for_ns)
        self.loop._time.now_ns += for_ns

    FAULTS = (cut, cut, reset, stall, stall, black_hole, mute, half_close, corrupt, close_from_server, block)

    # ---- the user ---------------------------------------------------------------------------------------------------

    async def hook(self, route):
        """Prepares each connection: says hello, sometimes wants an answer, sometimes fails."""
        dice = self.rng.random()
        if dice < 0.5:
            route.send(sealed("hook"))
        else:
            await route.request(sealed("hook"), lambda message: b"answer" in message.data, timeout=2)
        if dice < 0.03:
            raise OSError("the hook failed")
        self.note(Restoring, route.epoch, tuple(self.subscribed))

    def got(self, message):
        """A message was delivered, inline or to a reader."""
        text = unsealed(message.data)
        connection = number = None
        if text is not None and text.startswith("answer"):
            connection = int(text.split()[1])
        elif text is not None:
            connection, number = map(int, text.split(":")[:2])
        self.note(UserGot, message.epoch, connection, number, message.gap, message.received_ns)

    def called_back(self, message):
        self.got(message)
        self.meddle()

    def told(self, event):
        self.note(Told, event)
        self.meddle()

    def meddle(self):
        """What a user's code does from inside a callback, now and then: anything."""
        if self.client is not None and not self.calm and self.rng.random() < 0.03:
            self.rng.choice(
                (self.block, self.fail, self.spawn_close, self.call_reconnect, self.call_resume, self.call_send)
            )()

    def fail(self):
        raise ValueError("the user's own")

    def spawn_close(self):
        self.spawn(self.close())

    def call_send(self):
        text = self._text("user")
        self.note(SendBegan, text)
        try:
            self.client.send_nowait(sealed(text))
            outcome = "sent"
        except WsxError as error:
            outcome = type(error).__name__
        self.note(SendEnded, text, outcome, self.client.epoch)

    async def read(self):
        """Read until the client is closed, slowly or not; now and then a wait is given up."""
        while True:
            try:
                if self.rng.random() < 0.2:
                    async with asyncio.timeout(self.rng.random()):
                        self.got(await self.client.recv())
                else:
                    self.got(await self.client.recv())
            except (WsxError, OSError) as error:  # its own patience; a halt, after which it goes on; or the end
                if self.client.state is wsx.State.CLOSED and type(error) is not TimeoutError:
                    return
                await asyncio.sleep(0.01)
            if self.slow and self.rng.random() < 0.3:
                await asyncio.sleep(self.rng.random() * self.slow)

    async def act(self):
        """One thing after the other, until the world ends."""
        while self.loop.time() < self.ends_at:
            await asyncio.sleep(self.rng.expovariate(3))
            action = self.rng.choice(self.ACTIONS)
            task = self.spawn(action(self))
            if self.rng.random() < 0.2:
                self.loop.call_later(self.rng.expovariate(self.rng.choice((5, 500))), task.cancel)
            self.note(Depths, self.client._session._queues())

    async def _send(self, text, way):
        """way(text) sends it; what became of it."""
        self.note(SendBegan, text)
        outcome = "sent"
        try:
            result = way(sealed(text))
            if result is not None:
                await result
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (WsxError, KeyError) as error:
            outcome = type(error).__name__
        finally:
            self.note(SendEnded, text, outcome, self.client.epoch)
        return outcome == "sent"

    def _text(self, kind):
        self.sends += 1
        return f"{kind} {self.sends} {'y' * self.rng.choice((0, 100, 1500))}"

    async def send(self):
        await self._send(self._text("user"), self.client.send)

    async def send_nowait(self):
        await self._send(self._text("user"), self.client.send_nowait)

    async def flood(self):
        for _ in range(20):
            await self._send(self._text("user"), self.client.send)

    async def subscribe(self):
        text = self._text("subscribe")
        if await self._send(text, self.client.subscribe):
            self.subscribed[text] = None

    async def unsubscribe(self):
        if not self.subscribed:
            return
        old = self.rng.choice(list(self.subscribed))
        if self.client.state is wsx.State.OPEN or self.rng.random() < 0.5:
            del self.subscribed[old]
            new = self._text("unsubscribe")
            await self._send(new, lambda text: self.client.unsubscribe(text, subscription=sealed(old)))

    async def ping(self):
        with contextlib.suppress(WsxError, TimeoutError):
            await self.client.ping()

    async def wait_open(self):
        with contextlib.suppress(WsxError):
            await self.client.wait_open()

    def call_reconnect(self):
        self.note(Asked, "reconnect")
        with contextlib.suppress(WsxError):
            self.client.reconnect()

    def call_resume(self):
        if self.client.state is wsx.State.HALTED:
            self.note(Asked, "resume")
        self.client.resume()

    async def reconnect(self):
        self.call_reconnect()

    async def resume(self):
        self.call_resume()

    async def close(self):
        """Seldom before the end: it ends everything."""
        if self.rng.random() < 0.05:
            await self._close()

    async def _close(self):
        since_ns = self.loop.now_ns()
        self.note(Asked, "close")
        await self.client.close()
        self.note(Answered, "close", self.loop.now_ns() - since_ns)

    async def look(self):
        self.client.health()
        self.client.ledger.was_blind(self.loop.now_ns())

    ACTIONS = (
        *(send,) * 6, *(send_nowait,) * 6, flood, subscribe, subscribe, unsubscribe, ping, wait_open, reconnect, resume,
        close, look,
    )  # fmt: skip

    # ---- the run ----------------------------------------------------------------------------------------------------

    def spawn(self, work):
        task = self.loop.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    async def live(self):
        """Everything at once, then the end in good order; what is left is noted."""
        self.loop = asyncio.get_running_loop()
        self.server = Server(self)
        callback = self.called_back if self.rng.random() < 0.4 else None
        self.client = await self._open(callback)
        if self.client is not None:
            await self._live(callback)
        await self._end_all()
        gaps = () if self.client is None else self.client.ledger.gaps()
        self.note(Over, self._state(), (*self.hanging, *self._leftovers()), gaps)

    async def _open(self, callback):
        """The first opening may fail, or be given up at any moment."""
        surroundings = self.loop.surroundings
        connecting = PlantedConnecting(
            self.dial, "ws://localhost/", callback, self.told, self.config, surroundings, self.client_class
        )
        patience = self.rng.random() * 0.1 if self.rng.random() < 0.1 else None
        with contextlib.suppress(WsxError, OSError):
            async with asyncio.timeout(patience):
                return await connecting
        return None

    async def _live(self, callback):
        reader = self.spawn(self.read()) if callback is None else None
        self.calm = False
        await asyncio.gather(self.misbehave(), self.act())
        self.calm = True
        if self.client.state is wsx.State.CLOSED and not any(asked.what == "close" for asked in self.history.of(Asked)):
            self.note(GaveUp, type(self.client.error).__name__)
        await self._close()
        if reader is not None:
            await reader
        await asyncio.sleep(self.config.ping_timeout + 1)  # within which every call of the user has ended by itself
        self.hanging = [name for name in map(_name, self.tasks) if name != "_heal"]

    async def _end_all(self):
        """The network heals, and everybody goes home within a minute."""
        self.calm = self.over = True
        for task in tuple(self.tasks):
            task.cancel()
        for end in self.server._ends:
            for line in end.lines.values():
                line.release()
            end.abort()
        await asyncio.sleep(60)

    def _state(self):
        return "none" if self.client is None else str(self.client.state)

    def _leftovers(self):
        yield from (f"task {name}" for name in sorted(map(_name, asyncio.all_tasks() - {asyncio.current_task()})))
        yield from (f"timer {timer}".split(" at ")[0] for timer in self.loop.pending_timers())
        yield from (f"connection {end.number}" for end in self.server._ends if not end._gone.done())
        if self.client is not None and len(self.client._session.inbox):
            yield f"{len(self.client._session.inbox)} messages in the inbox"


def _name(task):
    return task.get_coro().__name__


class PlantedConnecting(Connecting):
    """`connect`, for a client of another class."""

    def __init__(self, *arguments):
        *arguments, self._client_class = arguments
        super().__init__(*arguments)

    async def _connect(self):
        from wsx.session import Session

        arguments = self._config, self._url, self._dial, self._callbacks
        client = self._client_class(lambda use: Session(*arguments, use, self._surroundings))
        await client._session.open_first()
        return client


def run_world(seed, client_class=Client):
    """The history of this seed."""
    world = World(seed, client_class)
    with _silence(), asyncio.Runner(loop_factory=lambda: SimulatedLoop(seed)) as runner:
        try:
            runner.run(world.live())
        except NothingLeftToWaitFor as error:
            world.note(Over, "hangs", (str(error),))
    return world.history


@contextlib.contextmanager
def _silence():
    """What wsx logs of a world's faults is in its history too."""
    log = logging.getLogger("wsx")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
