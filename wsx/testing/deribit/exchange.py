"""The local exchange: a server that speaks the exchange's protocol, with a market of its own.

One floor, many sockets: the market runs on the server's loop, and everybody sees the same books.
Not here: one socket (session.py), the market (floor.py), who hears what (hub.py), what goes wrong (script.py).
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import orjson

from wsx._message import Message
from wsx.testing.checked import number, whole
from wsx.testing.deribit.account import DEMO, Account, AccountState
from wsx.testing.deribit.account_methods import ACCOUNT_METHODS
from wsx.testing.deribit.auth import Tokens
from wsx.testing.deribit.auth_methods import AUTH_METHODS
from wsx.testing.deribit.basic_methods import BASIC_METHODS
from wsx.testing.deribit.channels import find_channel
from wsx.testing.deribit.credits import Credits
from wsx.testing.deribit.floor import Floor, Notice
from wsx.testing.deribit.hub import Hub
from wsx.testing.deribit.instruments import all_listed
from wsx.testing.deribit.market_methods import MARKET_METHODS
from wsx.testing.deribit.script import Script
from wsx.testing.deribit.session import Session
from wsx.testing.deribit.settings import Settings
from wsx.testing.deribit.subscription_methods import SUBSCRIPTION_METHODS
from wsx.testing.market_listing import Instrument
from wsx.testing.server import LocalServer
from wsx.transport.server_end import ServerEnd
from wsx.transport.server_handshake import Request

METHODS = BASIC_METHODS | AUTH_METHODS | SUBSCRIPTION_METHODS | ACCOUNT_METHODS | MARKET_METHODS
PATH = "/ws/api/v2"
_TICK = 0.005  # seconds between two turns of the market, and the longest that one takes
_MOST_BEHIND = 0.1  # seconds of the market that a loop which was held up makes good
_INTERVALS = {"100ms": 0.1, "agg2": 1.0}


def _system_us() -> int:
    return time.time_ns() // 1000


class DeribitExchange(LocalServer):
    """`async with DeribitExchange(seed=7, rate=500) as exchange: connect(exchange.url)`.

    seed: of the market and the tokens. rate: things that happen in the market in a second, each of which a client that
    has subscribed to everything hears one to five times; None: nothing happens but by `step` and `end_interval`.
    instruments: what is listed; by default nothing that ends within two weeks of the clock's time.
    accounts: who may log in. clock: unix time in microseconds. Everything else: a field of `Settings`.
    host, port, tls, close_timeout: as for `LocalServer`. Raises ValueError for a number that makes no sense.

    script: what goes wrong, see script.py.
    sessions: all sockets so far, the oldest first, open or not.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        rate: float | None = 500.0,
        instruments: Sequence[Instrument] | None = None,
        accounts: Iterable[Account] = (DEMO,),
        clock: Callable[[], int] = _system_us,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        close_timeout: float = 2.0,
        **settings: Any,
    ) -> None:
        super().__init__(host, port, tls=tls, check=self._check, close_timeout=close_timeout)
        self.settings = Settings(**settings)
        self._skew = 0.0
        self.in_maintenance = False
        self.script = Script()
        self.sessions: list[Session] = []
        self._clock, self._rate = clock, None if rate is None else number("rate", rate, above=0)
        self.floor = Floor(seed, all_listed(self.now_ms()) if instruments is None else instruments, self.now_ms())
        self.hub = Hub(self.floor)
        self.credits = Credits()  # of those who have not logged in
        self._accounts = {account.client_id: AccountState(account) for account in accounts}
        self.tokens = Tokens([one.account for one in self._accounts.values()], seed, self.settings.expires_in)
        self._by_connection: dict[ServerEnd, Session] = {}
        self._jitter = random.Random(seed)
        self._market: asyncio.Task[None] | None = None

    # ---- for a test -------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return super().url.removesuffix("/") + PATH

    @property
    def skew(self) -> float:
        """Seconds by which the exchange's clock is wrong. Setting it raises ValueError for what is no time."""
        return self._skew

    @skew.setter
    def skew(self, seconds: float) -> None:
        self._skew = number("skew", seconds)

    @property
    def requests(self) -> Counter[str]:
        """How many requests came in by method, over all sockets."""
        return sum((session.requests for session in self.sessions), Counter())

    @property
    def notifications(self) -> Counter[str]:
        """How many notifications were sent by channel, over all sockets."""
        return sum((session.notifications for session in self.sessions), Counter())

    @property
    def change_ids(self) -> dict[str, int]:
        """The change id that each book channel said last."""
        return dict(self.hub.change_ids)

    def step(self, count: int = 1) -> None:
        """Let `count` things happen in the market, now; raw channels say them at once."""
        for _ in range(count):
            self.floor.step(self.now_ms())

    def say(self, channel: str, data: Any, *, account: str | None = None) -> None:
        """Say something on a channel that says nothing by itself.

        account: the client_id of whose private channel it is: nobody else hears it. Raises ValueError for a channel
        that does not exist or speaks by itself, an account that does not, and one that is not named or named in vain;
        TypeError for data that is no JSON.
        """
        found = find_channel(channel, self.floor)
        if found is None or found.kind != "silent":
            raise ValueError(f"channel must be one that says nothing by itself, such as user.lock, not {channel!r}")
        if account is not None and account not in self._accounts:
            raise ValueError(f"account must be one of {', '.join(self._accounts)}, not {account!r}")
        if found.private != (account is not None):
            raise ValueError(f"{channel!r} is {'private: name its' if found.private else 'public: name no'} account")
        plain = orjson.loads(orjson.dumps(data))
        self.floor.happened(self.now_ms(), notices=[Notice(channel, plain, account)])

    def end_interval(self, interval: str = "100ms") -> None:
        """Let the channels of an interval, "100ms" or "agg2", say what has gathered. Raises ValueError for another."""
        if interval not in _INTERVALS:
            raise ValueError(f"interval must be one of {', '.join(_INTERVALS)}, not {interval!r}")
        self.hub.end_interval(interval, self.now_ms())

    async def stop_market(self) -> None:
        """Let nothing happen by itself any more, as with `rate=None`. Raises what the market failed with."""
        market, self._market = self._market, None
        if market is not None:
            market.cancel()
            await asyncio.wait([market])
            if not market.cancelled():
                market.result()  # raises what ended it before its time

    def begin_maintenance(self, code: int = 1001) -> None:
        """Say so on `platform_state`, then send everybody away; who comes is refused with 503 until it is over.

        During maintenance nothing more happens: what is said may be what a rule begins another one at.
        """
        whole("code", code, low=0, high=65535)
        if self.in_maintenance:
            return
        self.in_maintenance = True
        self.say("platform_state", {"maintenance": True})
        for session in list(self._by_connection.values()):
            session.outlet.close(code, "maintenance")

    def end_maintenance(self) -> None:
        """Let clients in again."""
        self.in_maintenance = False

    # ---- for sessions and methods -----------------------------------------------------------------------------------

    def now_us(self) -> int:
        """The exchange's clock: unix time in microseconds."""
        return self._clock() + round(self.skew * 1_000_000)

    def now_ms(self) -> int:
        """The same in milliseconds."""
        return self.now_us() // 1000

    def state_of(self, account: Account) -> AccountState:
        """What has changed about an account."""
        return self._accounts[account.client_id]

    def jitter(self) -> float:
        """Seconds that a worker takes for the next answer."""
        return self._jitter.uniform(0.0, self.settings.jitter) if self.settings.jitter else 0.0

    # ---- LocalServer ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._rate is not None:
            self._market = asyncio.create_task(self._run(self._rate))
        return self

    async def close(self) -> None:
        """Close the market, then as `LocalServer`. Raises what the market failed with."""
        try:
            await self.stop_market()
        finally:
            await super().close()

    def opened(self, connection: ServerEnd) -> None:
        session = Session(self, connection, len(self.sessions), METHODS)
        self.sessions.append(session)
        self._by_connection[connection] = session

    def received(self, connection: ServerEnd, message: Message) -> None:
        self._by_connection[connection].receive(message.data)

    def closed(self, connection: ServerEnd) -> None:
        self._by_connection.pop(connection).end()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _check(self, request: Request) -> int | None:
        if request.resource.partition("?")[0] != PATH:
            return 404
        if self.in_maintenance:
            return 503
        return 429 if len(self._by_connection) >= self.settings.max_connections else None

    def _catch_up(self, due: int) -> int:
        """Let what is due happen, but leave the loop to the sockets in time; gives how much of it did."""
        end = time.monotonic() + _TICK
        done = 0
        while done < due and time.monotonic() < end:
            self.step()
            done += 1
        return done

    async def _run(self, rate: float) -> None:
        """The market's days: what is due happens, a little at a time; the sockets have their turn in between."""
        loop = asyncio.get_running_loop()
        done_until = loop.time()
        ends = {interval: done_until + seconds for interval, seconds in _INTERVALS.items()}
        behind = False
        while True:
            await asyncio.sleep(0 if behind else _TICK)
            now = loop.time()
            done_until = max(done_until, now - _MOST_BEHIND)
            due = int((now - done_until) * rate)
            done = self._catch_up(due)
            done_until, behind = done_until + done / rate, done < due
            self._end_intervals(ends, now)

    def _end_intervals(self, ends: dict[str, float], now: float) -> None:
        """Those whose time is over; ends: when the time of each is."""
        for interval, end in ends.items():
            if end <= now:
                self.end_interval(interval)
                ends[interval] = max(end + _INTERVALS[interval], now)
