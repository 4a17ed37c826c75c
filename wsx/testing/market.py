"""Market data that nobody recorded: several instruments, in the exact message forms of the exchange.

Seeded: the same seed gives the same bytes. Books chain by `prev_change_id` and are never crossed, trades count up by
`trade_seq`, quotes and tickers say what the book says, numbers have the exchange's text forms.
Not here: one instrument's life (market_listing.py), sending the messages (replay.py).
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from wsx.testing.capture import Capture
from wsx.testing.checked import number
from wsx.testing.expiries import quarter_end
from wsx.testing.market_listing import Instrument, Listing, list_instruments
from wsx.testing.number_text import wire_text

_Notification: TypeAlias = tuple[str, Any]  # channel, data

_TRADE_CHANCE, _TICKER_CHANCE = 0.15, 0.12


def listed(now_ms: int) -> tuple[Instrument, ...]:
    """What is traded where nobody says what. Futures and options end at least two weeks after `now_ms` (unix time)."""
    end = quarter_end(now_ms)
    option: dict[str, Any] = {"kind": "option", "tick": 0.0005, "lot": 0.1, "share": 1, "underlying": 78_400.0}
    return (
        Instrument(name="BTC-PERPETUAL", kind="perpetual", price=76_914.0, tick=0.5, lot=10, share=10),
        Instrument(name="ETH-PERPETUAL", kind="perpetual", price=2_973.5, tick=0.05, lot=1, share=7),
        Instrument(name="ETH_USDC-PERPETUAL", kind="perpetual", price=2_973.0, tick=0.05, lot=0.001, share=3),
        Instrument(name="BTC_USDC", kind="spot", price=76_900.0, tick=1, lot=0.0001, share=2),
        Instrument(name=f"BTC-{end}", kind="future", price=78_400.0, tick=2.5, lot=10, share=2),
        Instrument(name=f"BTC-{end}-80000-C", price=0.0515, **option),
    )


class Market:
    """A market that begins at `start_ms` (unix time). seed: the same seed, the same market.

    instruments: by default perpetuals, a spot pair, and a future and an option that end some weeks after the beginning.
    Its messages are those of one socket that has subscribed to book, trades, ticker and quote of each instrument.
    """

    def __init__(
        self, seed: int = 0, instruments: Sequence[Instrument] | None = None, *, start_ms: int = 1_789_344_000_000
    ) -> None:
        self._numbers = random.Random(seed)
        instruments = listed(start_ms) if instruments is None else instruments
        self._listings = list_instruments(instruments, self._numbers)
        self._shares = [instrument.share for instrument in instruments]
        self._start_ms = start_ms
        self._change_id = 118_850_968_930  # one counter over all instruments
        self._trade_id = 267_258_393

    @property
    def channels(self) -> list[str]:
        """What a client subscribes to."""
        names = [listing.instrument.name for listing in self._listings]
        raw = [f"{kind}.{name}.raw" for kind in ("book", "trades", "ticker") for name in names]
        return raw + [f"quote.{name}" for name in names]

    def capture(self, seconds: float, messages_per_second: float) -> Capture:
        """What happens in the next `seconds`, ready to be replayed."""
        due, messages = [], []
        for at, message in self.messages(seconds, messages_per_second):
            due.append(at)
            messages.append(message)
        return Capture(tuple(messages), tuple(due))

    def messages(self, seconds: float, messages_per_second: float) -> Iterator[tuple[float, bytes]]:
        """When each message is sent, in seconds from the start, and the message.

        First the answer to the subscription (id 1), then a snapshot and a ticker of each instrument, then whatever
        happens, at random times that come to `messages_per_second` in the long run. Raises ValueError, where the first
        is asked for, for a number that makes no sense.
        """
        number("seconds", seconds, low=0)
        number("messages_per_second", messages_per_second, above=0)
        yield 0.0, self._reply()
        for notification in self._opening():
            yield 0.0, _message(*notification)
        at = 0.0
        while True:
            (listing,) = self._numbers.choices(self._listings, self._shares)
            event = self._event(listing, self._start_ms + int(at * 1000))
            at += self._numbers.expovariate(messages_per_second / max(len(event), 1))
            if at > seconds:
                break
            for notification in event:
                yield at, _message(*notification)
        self._start_ms += int(seconds * 1000)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _reply(self) -> bytes:
        """The exchange lists what it subscribed to in reverse alphabetical order."""
        at_us = self._start_ms * 1000
        times = {"usIn": at_us, "usOut": at_us + 325, "usDiff": 325, "testnet": False}
        return wire_text({"jsonrpc": "2.0", "id": 1, "result": sorted(self.channels, reverse=True)} | times).encode()

    def _opening(self) -> Iterator[_Notification]:
        for listing in self._listings:
            name = listing.instrument.name
            yield f"ticker.{name}.raw", listing.ticker(self._start_ms)
            yield f"quote.{name}", listing.quote(self._start_ms)
            yield f"book.{name}.raw", listing.snapshot(self._start_ms, self._next_change_id())

    def _event(self, listing: Listing, now_ms: int) -> list[_Notification]:
        """One thing that happens to one instrument, and all that is said about it."""
        name, top = listing.instrument.name, listing.top
        said: list[_Notification] = []
        if self._numbers.random() < _TRADE_CHANCE:
            self._trade_id += 1
            said.append((f"trades.{name}.raw", listing.trade(now_ms, self._trade_id)))
        else:
            listing.maker.shake()
        change = listing.change(now_ms, self._next_change_id())
        if change is not None:
            said.append((f"book.{name}.raw", change))
        if listing.top != top:
            said.append((f"quote.{name}", listing.quote(now_ms)))
        if self._numbers.random() < _TICKER_CHANCE:
            said.append((f"ticker.{name}.raw", listing.ticker(now_ms)))
        return said

    def _next_change_id(self) -> int:
        self._change_id += self._numbers.randint(1, 300)
        return self._change_id


def _message(channel: str, data: Any) -> bytes:
    params = {"channel": channel, "data": data}
    return wire_text({"jsonrpc": "2.0", "method": "subscription", "params": params}).encode()
