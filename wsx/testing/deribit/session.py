"""One client's socket: what it asks, what it is told, and how far it may go.

A request runs through script, credits, the table of methods and the worker that answers.
Not here: what a method does (the tables of methods), subscriptions (hearing.py), bytes on their way out (outlet.py).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from wsx.testing.deribit.answers import Answer, Replies, copies, wrong_answer
from wsx.testing.deribit.auth import Grant
from wsx.testing.deribit.hearing import Hearing
from wsx.testing.deribit.heartbeat import Heartbeat
from wsx.testing.deribit.method import Method
from wsx.testing.deribit.outlet import SLOW, Outlet
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.script import Rule, chosen
from wsx.testing.deribit.wire import Refusal, Request, answer_text, read_request
from wsx.transport.server_end import ServerEnd

if TYPE_CHECKING:
    from wsx.testing.deribit.exchange import DeribitExchange

_TOO_MANY = 10028


class Session:
    """number: the first is 0. requests: how many came in by method. hearing: its subscriptions.

    cancel_on_disconnect: for this connection. grant: what it logged in with.
    """

    def __init__(
        self, exchange: "DeribitExchange", connection: ServerEnd, number: int, methods: Mapping[str, Method]
    ) -> None:
        self.exchange = exchange
        self.connection = connection
        self.number = number
        self.requests: Counter[str] = Counter()
        self.cancel_on_disconnect = False
        self.grant: Grant | None = None
        self.heartbeat: Heartbeat | None = None
        self.outlet = Outlet(connection, exchange.settings.slow_limit)
        self._methods = methods
        self._loop = asyncio.get_running_loop()
        self.hearing = Hearing(exchange.hub, exchange.script, self.outlet, number, self._afterwards)
        self._replies = Replies()
        self._heard_at = self._loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._watch_idleness()

    # ---- for a test -------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Is it still there?"""
        return not self.outlet.ended

    @property
    def notifications(self) -> Counter[str]:
        """How many notifications it was sent, by channel."""
        return self.hearing.notifications

    @property
    def messages(self) -> int:
        """How many messages it was sent, answers and heartbeats too."""
        return self.outlet.messages

    @property
    def digest(self) -> str:
        """Of all those messages: what `digest_of` gives for what a client received."""
        return self.outlet.digest

    @property
    def notifications_digest(self) -> str:
        """Of its notifications alone: what `digest_of` gives for what a client's callbacks were called with."""
        return self.hearing.digest

    def notifications_digest_after(self, count: int) -> str | None:
        """Of the first `count` of them, for a client whose connection ended before it had them all.

        None where the exchange does not know: it was not so many, or over 4,000 ago.
        """
        return self.hearing.digest_after(count)

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take in one frame of the client's."""
        us_in = self.exchange.now_us()
        self._heard_at = self._loop.time()
        try:
            request = read_request(data)
        except Refusal as refusal:
            self.outlet.send(self._text({}, {"error": refusal.error}, us_in))
            return
        self.requests[request.method] += 1
        rules = self.exchange.script.fired("method", request.method, self.number)
        if any(chosen(rules, "cut_before")):
            self.outlet.cut()
        else:
            self._answer(request, self._body(request, rules), us_in, rules)

    def authorise(self, params: Params, right: str) -> Grant:
        """The grant that a private request goes by. right: "account:read" for instance; "": any.

        Raises Refusal: 13009 without a good token, 13403 where it does not go so far.
        """
        token = params.text("access_token", self.grant.access_token if self.grant is not None else "")
        grant = self.exchange.tokens.find(token, self.number, self._loop.time())
        if grant is None:
            raise Refusal("unauthorized", data={"reason": "invalid_token"})
        name, _, level = right.partition(":")
        if right and grant.rights.get(name) not in ("read_write", level):
            raise Refusal("scope_exceeded")
        return grant

    def logged_in(self) -> Grant | None:
        """The grant of this socket, while it is good."""
        if self.grant is None:
            return None
        return self.exchange.tokens.find(self.grant.access_token, self.number, self._loop.time())

    def end(self) -> None:
        """The connection is gone."""
        self.outlet.detach()
        self.hearing.unsubscribe(list(self.hearing.channels))
        self.beat(None)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._replies.stop()
        self.exchange.tokens.disconnect(self.number)

    def beat(self, interval: float | None) -> None:
        """Begin heartbeats, every so many seconds of the exchange's; None: end them."""
        if self.heartbeat is not None:
            self.heartbeat.stop()
        seconds = (interval or 0.0) * self.exchange.settings.time_scale
        self.heartbeat = None if interval is None else Heartbeat(self.outlet, seconds, self.notifications.total)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _text(self, head: dict[str, Any], body: dict[str, Any], us_in: int) -> bytes:
        return answer_text(head, body, us_in, self.exchange.now_us, testnet=self.exchange.settings.testnet)

    def _body(self, request: Request, rules: list[Rule]) -> dict[str, Any]:
        try:
            return {"result": self._handle(request, rules)}
        except Refusal as refusal:
            return {"error": refusal.error}

    def _handle(self, request: Request, rules: list[Rule]) -> Any:
        if any(chosen(rules, "too_many_requests")) or not self._pay(request.method):
            raise Refusal("too_many_requests")
        for rule in chosen(rules, "refuse"):
            raise Refusal(rule.arguments["code"], rule.arguments["message"], rule.arguments["data"])
        method = self._methods.get(request.method)
        if method is None:
            raise Refusal("Method not found")
        if request.params is None:
            raise Refusal("Missing params")
        params = Params(_without_refused(request.params, rules))
        if method.right is not None:
            self.authorise(params, method.right)
        return method.run(self, params)

    def _pay(self, method: str) -> bool:
        if not self.exchange.settings.credits:
            return True
        grant = self.logged_in()
        pool = self.exchange.credits if grant is None else self.exchange.state_of(grant.account).credits
        return pool.pay(method, int(self._loop.time() * 1e9))

    def _answer(self, request: Request, body: dict[str, Any], us_in: int, rules: list[Rule]) -> None:
        head, body_said = wrong_answer(rules, request.head, body)

        def answer() -> None:
            for payload in copies(rules, self._text(head, body_said, us_in)):
                self.outlet.send(payload)
            self.hearing.open_new(self.exchange.now_ms())
            self._afterwards(rules)
            if self.exchange.settings.terminate and body.get("error", {}).get("code") == _TOO_MANY:
                self.outlet.cut()

        if any(chosen(rules, "swap")):
            self._replies.hold(answer)
        else:
            self._put(request.method, answer, rules)
        self.hearing.open_new(self.exchange.now_ms())  # does not wait for an answer that takes its time

    def _put(self, method: str, answer: Answer, rules: list[Rule]) -> None:
        worker = self._methods[method].worker if method in self._methods else "public"
        delay = self.exchange.jitter() + sum(rule.arguments["seconds"] for rule in chosen(rules, "late"))
        self._replies.put(worker, answer, delay)

    def _afterwards(self, rules: list[Rule]) -> None:
        """What rules do behind a message, once it has left."""
        for rule in rules:
            if rule.do in ("cut", "cut_unanswered"):
                self.outlet.cut()
            elif rule.do == "close":
                self.outlet.close(rule.arguments["code"], rule.arguments["reason"])
            elif rule.do == "too_slow":
                self.outlet.close(*SLOW)
            elif rule.do == "maintenance":
                self.exchange.begin_maintenance(rule.arguments["code"])
            elif rule.do == "skew":
                self.exchange.skew = rule.arguments["seconds"]

    def _watch_idleness(self) -> None:
        """A socket that asks nothing and hears nothing is dropped without a word."""
        limit = self.exchange.settings.idle_timeout
        if limit is None:
            return
        left = self._heard_at + limit * self.exchange.settings.time_scale - self._loop.time()
        busy = bool(self.hearing.channels) or self.heartbeat is not None
        if left <= 0 and not busy:
            self.outlet.cut()
        else:
            wait = left if left > 0 else limit * self.exchange.settings.time_scale
            self._idle_timer = self._loop.call_later(wait, self._watch_idleness)


def _without_refused(params: dict[str, Any], rules: list[Rule]) -> dict[str, Any]:
    """The params of a subscription without the channels that rules refuse."""
    channels = params.get("channels")
    patterns = [rule.arguments["channels"] for rule in chosen(rules, "refuse_channels")]
    if not patterns or not isinstance(channels, list):
        return params
    return params | {"channels": [name for name in channels if not any(fnmatchcase(name, one) for one in patterns)]}
