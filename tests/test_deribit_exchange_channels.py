"""What the local exchange says on its channels, and what it answers about its market."""

import asyncio
import datetime
import itertools
import time

import orjson
import pytest
from exchange_client import connected, played, trading

from wsx.testing import Account, DeribitExchange
from wsx.testing.deribit.candles import bars_of
from wsx.testing.deribit.channels import Channel
from wsx.testing.deribit.feeds import make_feed
from wsx.testing.deribit.floor import Floor, Notice
from wsx.testing.deribit.instruments import CURRENCIES, all_listed, belongs_to, describe
from wsx.testing.market_listing import Instrument

START = 1_789_344_931_552_815
LISTED = all_listed(time.time_ns() // 1_000_000)
NAMES = [one.name for one in LISTED]
PERP, FUTURE, OPTION, PUT, EMPTY = NAMES[0], *NAMES[4:]
RAW_REFUSED = {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized"}


class Ticking:
    """A clock that goes on by itself, in ms a call."""

    def __init__(self, step_ms):
        self.now_us, self.step_us = START, int(step_ms * 1000)

    def __call__(self):
        self.now_us += self.step_us
        return self.now_us


class Book:
    """Applies notifications as strictly as a client may."""

    def __init__(self, snapshot):
        assert snapshot["type"] == "snapshot" and "prev_change_id" not in snapshot
        self.bids, self.asks = ({price: amount for _, price, amount in snapshot[side]} for side in ("bids", "asks"))
        assert [action for side in ("bids", "asks") for action, *_ in snapshot[side]] == ["new"] * len(
            self.bids | self.asks
        )
        assert list(self.bids) == sorted(self.bids, reverse=True) and list(self.asks) == sorted(self.asks)
        self.change_id = snapshot["change_id"]

    def apply(self, data):
        assert data["type"] == "change" and data["prev_change_id"] == self.change_id < data["change_id"]
        assert data["bids"] or data["asks"]
        self.change_id = data["change_id"]
        for levels, edits in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for action, price, amount in edits:
                assert (price in levels) == (action != "new") and (amount == 0) == (action == "delete")
                levels.pop(price) if action == "delete" else levels.update({price: amount})
        assert max(self.bids) < min(self.asks)


async def followed(client, channel, book=None):
    """A book of all notifications that have come on a channel."""
    await client.quiet()
    data = [data for name, data in client.notices if name == channel]
    client.notices = [notice for notice in client.notices if notice[0] != channel]
    if book is None:
        book, data = Book(data[0]), data[1:]
    for change in data:
        book.apply(change)
    return book


def real_book(exchange, name):
    listing = exchange.floor.listings[name]
    return tuple(
        {listing.price(ticks): listing.amount(lots) for ticks, lots in levels.items()}
        for levels in (listing.book.bids, listing.book.asks)
    )


# ---- subscribing --------------------------------------------------------------------------------------------------


@played
async def test_the_result_lists_what_exists_in_reverse_order():
    async with trading() as (_, client):
        channels = [f"ticker.{PERP}.100ms", "book.NOPE.100ms", f"book.{PERP}.50ms", f"trades.{PERP}.100ms"]
        channels += [f"book.{PERP}.none.50.100ms", f"book.{PERP}.100ms", f"quote.{PERP}"]
        expected = [f"trades.{PERP}.100ms", f"ticker.{PERP}.100ms", f"quote.{PERP}", f"book.{PERP}.100ms"]
        assert await client.subscribe(*channels) == expected
        assert await client.subscribe("book.NOPE.100ms") == []


@pytest.mark.parametrize(
    "channel",
    [
        *(f"{kind}.{PERP}.{interval}" for kind in ("book", "trades", "ticker", "perpetual") for interval in ("agg2",)),
        f"book.{PERP}.none.1.100ms",
        f"book.{PERP}.250.20.agg2",
        "trades.future.BTC.100ms",
        "trades.any.any.agg2",
        "trades.option_combo.USDC.100ms",
        f"incremental_ticker.{PERP}",
        f"quote.{OPTION}",
        f"chart.trades.{PERP}.1D",
        "deribit_price_index.btc_usd",
        "deribit_price_ranking.eth_usd",
        "deribit_price_statistics.btc_usd",
        "deribit_volatility_index.btc_usd",
        "estimated_expiration_price.btc_usd",
        "markprice.options.btc_usd",
        "instrument.state.any.any",
        "platform_state",
        "platform_state.public_methods_state",
        "announcements",
    ],
)
@played
async def test_a_public_channel_is_taken_and_given_back(channel):
    async with trading() as (exchange, client):
        assert await client.subscribe(channel) == [channel]
        assert await client.result("public/unsubscribe", {"channels": [channel, "quote.X"]}) == [channel]
        assert await client.result("public/unsubscribe", {"channels": [channel]}) == []
        assert exchange.sessions[0].hearing.channels == {}


@pytest.mark.parametrize(
    "channel",
    [
        "",
        "nothing.BTC",
        "book",
        f"book.{PERP}",
        f"book.{PERP}.none.10.raw",
        f"book.{PERP}.3.10.100ms",
        "book.NOPE.none.10.100ms",
        "trades.NOPE.100ms",
        "trades.nope.BTC.100ms",
        "trades.future.DOGE.100ms",
        "trades.future.BTC.1s",
        f"perpetual.{OPTION}.100ms",
        "perpetual.NOPE.100ms",
        "quote.NOPE",
        f"quote.{PERP}.raw",
        f"chart.trades.{PERP}.2",
        f"chart.{PERP}",
        "deribit_price_index.doge_usd",
        "markprice.futures.btc_usd",
        "instrument.state.any",
        "announcements.more",
        "platform_state.more",
        "user",
        "user.nothing",
        "user.orders.NOPE.raw",
        f"user.orders.{PERP}",
        "user.trades.any.DOGE.raw",
    ],
)
@played
async def test_a_channel_that_does_not_exist_is_passed_over(channel):
    async with trading(login=True) as (_, client):
        assert await client.subscribe(channel, method="private/subscribe") == []


@played
async def test_private_channels_are_for_private_calls():
    async with trading(login=True) as (_, client):
        channels = [f"user.orders.{PERP}.raw", "user.changes.any.any.100ms", "user.portfolio.btc", "user.lock"]
        expected = sorted([*channels, "platform_state"], reverse=True)
        assert await client.subscribe(*channels, "platform_state", method="private/subscribe") == expected
        assert await client.result("private/unsubscribe", {"channels": ["user.lock"]}) == ["user.lock"]
        assert await client.result("private/unsubscribe_all") == "ok"
        assert await client.subscribe(*channels) == []
        labelled = {"channels": ["user.lock"], "label": "x" * 16}
        assert await client.result("private/subscribe", labelled) == ["user.lock"]
        error = await client.error("private/subscribe", labelled | {"label": "x" * 17})
        assert error["data"] == {"reason": "too long", "param": "label"}


@pytest.mark.parametrize("kind", ["book", "trades", "ticker", "perpetual"])
@played
async def test_raw_data_is_for_clients_that_have_logged_in(kind):
    async with trading() as (_, client):
        assert (
            await client.error("public/subscribe", {"channels": ["platform_state", f"{kind}.{PERP}.raw"]})
            == RAW_REFUSED
        )
        assert (await client.error("private/subscribe", {"channels": []}))["code"] == 13009
        await client.login()
        assert await client.subscribe(f"{kind}.{PERP}.raw") == [f"{kind}.{PERP}.raw"]


@played
async def test_a_live_channel_is_acknowledged_again_without_a_second_snapshot():
    async with trading() as (_, client):
        channel = f"book.{PERP}.100ms"
        for _ in range(2):
            assert await client.subscribe(channel, channel) == [channel]
        await client.quiet()
        assert [name for name, _ in client.notices] == [channel]
        await client.result("public/unsubscribe_all")
        await client.subscribe(channel)
        await client.quiet()
        assert [data["type"] for _, data in client.notices] == ["snapshot", "snapshot"]


@played
async def test_500_channels_fit_into_one_call():
    async with trading() as (_, client):
        assert await client.subscribe(*[f"book.N{number}.100ms" for number in range(500)]) == []


def test_a_channel_that_has_nothing_to_say_is_silent_when_asked():
    floor = Floor(0, LISTED, 0)
    assert make_feed(Channel("announcements", "silent"), floor).take(0) is None


# ---- private channels ---------------------------------------------------------------------------------------------

ORDERS = f"user.orders.{PERP}.raw"
TWO = (Account(client_id="one", client_secret="1"), Account(client_id="two", client_secret="2"))


async def logged_in_as(client, account, *channels, **params):
    """Log in, and hear private channels."""
    await client.login(client_id=account.client_id, client_secret=account.client_secret)
    listed = await client.result("private/subscribe", {"channels": list(channels)} | params)
    assert listed == sorted(channels, reverse=True)


@played
async def test_an_account_hears_its_own_private_channels_alone_on_all_its_sockets():
    async with trading(accounts=TWO) as (exchange, first), connected(exchange) as again, connected(exchange) as other:
        for client, account in ((first, TWO[0]), (again, TWO[0]), (other, TWO[1])):
            await logged_in_as(client, account, ORDERS, "user.lock")
        exchange.say(ORDERS, {"order_id": "1"}, account="one")
        exchange.say("user.lock", {"locked": True}, account="two")
        for client in (first, again, other):
            await client.quiet()
        assert first.notices == again.notices == [(ORDERS, {"order_id": "1"})]
        assert other.notices == [("user.lock", {"locked": True})]
        assert exchange.notifications == {ORDERS: 2, "user.lock": 1} == exchange.hub.notifications


@played
async def test_a_socket_that_logs_in_as_somebody_else_hears_nothing_of_the_one_before():
    async with trading(accounts=TWO) as (exchange, client):
        await logged_in_as(client, TWO[0], ORDERS, "platform_state")
        await client.login(client_id="two", client_secret="2")
        exchange.say(ORDERS, {"order_id": "1"}, account="one")
        exchange.say(ORDERS, {"order_id": "2"}, account="two")
        exchange.say("platform_state", {"locked": False})
        await client.quiet()
        assert client.notices == [("platform_state", {"locked": False})]
        await logged_in_as(client, TWO[1], ORDERS)
        exchange.say(ORDERS, {"order_id": "3"}, account="two")
        assert await client.notice(ORDERS) == {"order_id": "3"}


@played
async def test_a_subscription_belongs_to_the_token_it_was_asked_with():
    async with trading(accounts=TWO) as (exchange, client):
        token = (await client.login(client_id="one", client_secret="1", scope="session:s"))["access_token"]
        await logged_in_as(client, TWO[1], ORDERS)
        await client.result("private/subscribe", {"channels": [ORDERS], "access_token": token})
        exchange.say(ORDERS, {"order_id": "2"}, account="two")
        exchange.say(ORDERS, {"order_id": "1"}, account="one")
        await client.quiet()
        assert client.notices == [(ORDERS, {"order_id": "1"})]
        assert await client.result("private/unsubscribe", {"channels": [ORDERS]}) == [ORDERS]
        assert exchange.sessions[0].hearing.channels == {}


@played
async def test_the_label_of_a_subscription_is_on_what_its_private_channels_say():
    async with trading(login=True) as (exchange, client), connected(exchange) as other:
        await other.login()
        label = 'a "label" é'
        await client.result("private/subscribe", {"channels": [ORDERS, "platform_state"], "label": label})
        await other.subscribe(ORDERS, method="private/subscribe")
        for _ in range(2):
            exchange.say(ORDERS, {"order_id": "1"}, account="demo")
            exchange.say("platform_state", {"locked": False})
            await client.quiet()
            await client.subscribe(ORDERS, method="private/subscribe")  # without a label
        await other.quiet()
        said = [orjson.loads(message)["params"] for message in client.received if b"subscription" in message]
        private = {"channel": ORDERS, "data": {"order_id": "1"}}
        public = {"channel": "platform_state", "data": {"locked": False}}
        assert said == [private | {"label": label}, public, private, public]
        assert all(b"label" not in message for message in other.received) and len(other.notices) == 2


@pytest.mark.parametrize(
    ("channel", "account", "text"),
    [
        ("user.lock", None, "'user.lock' is private: name its account"),
        ("platform_state", "demo", "'platform_state' is public: name no account"),
        ("user.lock", "nobody", "account must be one of demo, not 'nobody'"),
        ("user.nothing", "demo", "not 'user.nothing'"),
        (f"book.{PERP}.raw", None, "says nothing by itself"),
    ],
)
def test_what_cannot_be_said_is_refused(channel, account, text):
    with pytest.raises(ValueError, match=text):
        DeribitExchange(rate=None).say(channel, {}, account=account)


@played
async def test_what_is_said_is_json():
    async with trading(login=True) as (exchange, client):
        await client.subscribe("user.lock", method="private/subscribe")
        exchange.say("user.lock", {"a": (1, 2.5, None, True, "é"), "b": float("nan")}, account="demo")
        assert await client.notice("user.lock") == {"a": [1, 2.5, None, True, "é"], "b": None}
        with pytest.raises(TypeError, match="not JSON serializable"):
            exchange.say("user.lock", object(), account="demo")


# ---- the floor ----------------------------------------------------------------------------------------------------


@played
async def test_what_somebody_else_does_on_the_floor_reaches_every_channel_in_one_piece():
    """As a matching engine does it: an order takes the best ask, and its owner hears of it."""
    async with trading(login=True) as (exchange, client):
        floor = exchange.floor
        listing = floor.listings[PERP]
        channels = [f"{kind}.{PERP}.raw" for kind in ("book", "trades", "ticker")]
        channels += [f"quote.{PERP}", f"book.{PERP}.100ms", f"chart.trades.{PERP}.1", "trades.any.any.100ms", ORDERS]
        await client.subscribe(*channels, method="private/subscribe")
        await client.quiet()
        client.notices.clear()
        ticks = listing.book.best_ask
        lots = listing.book.asks[ticks]
        listing.book.set_level("asks", ticks, 0)
        now_ms = exchange.now_ms()
        trade = floor.fill(listing, "buy", ticks, lots, now_ms)
        order = {"order_id": "1", "order_state": "filled"}
        floor.happened(now_ms, listing, trades=[trade], notices=[Notice(ORDERS, order, "demo")])
        exchange.end_interval()
        await client.quiet()
        heard = dict(client.notices)
        assert heard.keys() == set(channels) and len(client.notices) == len(channels)
        assert [name for name, _ in client.notices].index(ORDERS) == 5  # behind the raw channels
        change = [["delete", listing.price(ticks), 0.0]]
        assert heard[f"book.{PERP}.raw"]["asks"] == heard[f"book.{PERP}.100ms"]["asks"] == change
        assert heard[f"trades.{PERP}.raw"] == heard["trades.any.any.100ms"] == [trade]
        assert heard[f"quote.{PERP}"]["best_ask_price"] > listing.price(ticks) == trade["price"]
        assert heard[f"ticker.{PERP}.raw"]["last_price"] == trade["price"] and heard[ORDERS] == order
        found = await client.result("public/get_last_trades_by_instrument", {"instrument_name": PERP, "count": 1})
        assert found["trades"] == [trade]


# ---- books --------------------------------------------------------------------------------------------------------


@played
async def test_every_channel_of_a_book_has_a_chain_of_its_own_and_ends_at_the_same_book():
    async with trading(login=True) as (exchange, client):
        channels = [f"book.{PERP}.{interval}" for interval in ("raw", "100ms", "agg2")]
        await client.subscribe(*channels)
        chains = {channel: [] for channel in channels}
        for turn in range(6):
            exchange.step(60)
            exchange.end_interval("100ms")
            if turn % 3 == 2:
                exchange.end_interval("agg2")
        await client.quiet()
        for name, data in client.notices:
            chains[name].append((data.get("prev_change_id"), data["change_id"]))
        books = [await followed(client, channel) for channel in channels]
        assert [len(chains[channel]) for channel in channels[1:]] == [7, 3]
        assert len(chains[channels[0]]) > 50
        assert len({chains[channel][-1] for channel in channels}) == 3
        for book in books:
            assert (book.bids, book.asks) == real_book(exchange, PERP)
        assert len({book.change_id for book in books}) == 1 == len(set(exchange.change_ids.values()))


@played
async def test_whoever_comes_between_two_intervals_gets_a_snapshot_that_the_next_change_fits():
    async with trading() as (exchange, client), connected(exchange) as late:
        channel = f"book.{PERP}.100ms"
        await client.subscribe(channel)
        exchange.step(80)
        await late.subscribe(channel)
        book = await followed(late, channel)
        assert (book.bids, book.asks) != real_book(exchange, PERP)
        exchange.end_interval()
        early = await followed(client, channel)
        await followed(late, channel, book)
        assert (book.bids, book.asks, book.change_id) == (early.bids, early.asks, early.change_id)
        assert (book.bids, book.asks) == real_book(exchange, PERP)


@played
async def test_an_interval_in_which_nothing_changed_says_nothing():
    async with trading() as (exchange, client):
        await client.subscribe(f"book.{PERP}.100ms", f"book.{PERP}.none.10.100ms", f"ticker.{PERP}.100ms")
        await client.subscribe(f"trades.{PERP}.100ms", f"incremental_ticker.{PERP}", f"chart.trades.{PERP}.1")
        await client.quiet()
        before = len(client.notices)
        exchange.end_interval("100ms")
        exchange.end_interval("agg2")
        await client.quiet()
        assert len(client.notices) == before


@pytest.mark.parametrize(
    ("name", "group", "size"), [(PERP, "none", 0.5), (PERP, "5", 5), ("ETH-PERPETUAL", "25", 0.25)]
)
@played
async def test_a_grouped_book_is_whole_each_time_and_adds_up(name, group, size):
    async with trading() as (exchange, client):
        channel = f"book.{name}.{group}.10.100ms"
        await client.subscribe(channel)
        first = await client.notice(channel)
        assert list(first) == ["timestamp", "change_id", "instrument_name", "bids", "asks"]
        exchange.step(100)
        exchange.end_interval()
        data = await client.notice(channel)
        assert data["change_id"] == exchange.floor.listings[name].change_id > first["change_id"]
        bids, asks = real_book(exchange, name)
        for side, levels, away in (("bids", bids, -1), ("asks", asks, 1)):
            shown = data[side]
            assert 0 < len(shown) <= 10
            assert [price for price, _ in shown] == sorted((price for price, _ in shown), reverse=away < 0)
            price, amount = shown[0]
            assert (price / size) == pytest.approx(round(price / size))
            inside = [one for at, one in levels.items() if 0 <= (price - at) * away < size]
            assert amount == pytest.approx(sum(inside))


@played
async def test_a_grouped_book_of_an_option_counts_in_ticks():
    async with trading() as (_, client):
        await client.subscribe(f"book.{OPTION}.5.20.agg2")
        data = await client.notice(f"book.{OPTION}.5.20.agg2")
        assert all((price / 0.0025) == pytest.approx(round(price / 0.0025)) for price, _ in data["bids"] + data["asks"])


@played
async def test_a_book_may_be_empty_and_everything_else_says_so():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(f"book.{EMPTY}.raw", f"ticker.{EMPTY}.raw", f"quote.{EMPTY}", f"chart.trades.{EMPTY}.1")
        snapshot = await client.notice(f"book.{EMPTY}.raw")
        assert snapshot["bids"] == snapshot["asks"] == []
        ticker = await client.notice(f"ticker.{EMPTY}.raw")
        assert ticker["best_bid_price"] == ticker["best_ask_price"] == ticker["best_bid_amount"] == 0.0
        assert ticker["last_price"] is None and set(ticker["stats"].values()) == {None}
        quote = await client.notice(f"quote.{EMPTY}")
        assert quote["best_bid_price"] is None and quote["best_ask_price"] is None and quote["best_bid_amount"] == 0.0
        summary = await client.result("public/get_book_summary_by_instrument", {"instrument_name": EMPTY})
        assert (summary[0]["mid_price"], summary[0]["bid_price"], summary[0]["last"]) == (None, None, None)
        trades = await client.result("public/get_last_trades_by_instrument", {"instrument_name": EMPTY})
        assert trades == {"trades": [], "has_more": False}
        exchange.step(100)
        await client.quiet()
        assert client.notices == []


@played
async def test_a_deep_book_comes_in_one_large_frame_and_stays_deep():
    deep = Instrument(name="BTC-PERPETUAL", kind="perpetual", price=76_914.0, tick=0.5, lot=10, share=1, depth=1000)
    async with trading(login=True, instruments=[deep]) as (exchange, client):
        await client.subscribe(f"book.{PERP}.raw")
        exchange.step(100)
        book = await followed(client, f"book.{PERP}.raw")
        assert max(len(message) for message in client.received) > 40_000
        assert (book.bids, book.asks) == real_book(exchange, PERP) and len(book.bids) >= 1000


# ---- the other channels -------------------------------------------------------------------------------------------


@played
async def test_trades_count_up_and_all_their_channels_tell_the_same_ones():
    async with trading(login=True) as (exchange, client):
        one, many, gathered = f"trades.{PERP}.raw", "trades.future.BTC.raw", "trades.any.any.100ms"
        await client.subscribe(one, many, gathered)
        exchange.step(300)
        exchange.end_interval()
        await client.quiet()
        told = {name: [] for name in (one, many, gathered)}
        for name, data in client.notices:
            assert isinstance(data, list) and data
            told[name] += data
        sequence = [trade["trade_seq"] for trade in told[one]]
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence))) and len(sequence) > 5
        assert [trade for trade in told[many] if trade["instrument_name"] == PERP] == told[one]
        assert {trade["instrument_name"] for trade in told[many]} == {PERP, FUTURE}
        assert [trade for trade in told[gathered] if trade in told[many]] == told[many]
        assert len([name for name, _ in client.notices if name == gathered]) == 1
        remembered = await client.result("public/get_last_trades_by_instrument", {"instrument_name": PERP, "count": 3})
        assert remembered["trades"] == told[one][:-4:-1] and remembered["has_more"]


@played
async def test_tickers_and_quotes_agree_with_the_book():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(f"book.{PERP}.raw", f"ticker.{PERP}.raw", f"quote.{PERP}", f"ticker.{PERP}.100ms")
        exchange.step(300)
        exchange.end_interval()
        book = await followed(client, f"book.{PERP}.raw")
        best = (max(book.bids), book.bids[max(book.bids)], min(book.asks), book.asks[min(book.asks)])
        for channel in (f"ticker.{PERP}.raw", f"quote.{PERP}", f"ticker.{PERP}.100ms"):
            data = [data for name, data in client.notices if name == channel]
            names = ("best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount")
            assert tuple(data[-1][name] for name in names) == best
            assert len(data) == 2 if channel.endswith("100ms") else len(data) > 10


@played
async def test_an_incremental_ticker_adds_up_to_the_ticker():
    async with trading() as (exchange, client), connected(exchange) as late:
        channel = f"incremental_ticker.{PERP}"
        await client.subscribe(channel)
        snapshot = await client.notice(channel)
        assert snapshot.pop("type") == "snapshot"
        exchange.step(100)
        await late.subscribe(channel)
        assert await late.notice(channel) == {"type": "snapshot"} | snapshot
        exchange.end_interval("agg2")
        change = await client.notice(channel)
        assert change.pop("type") == "change" and len(change) < len(snapshot)
        full = await client.result("public/ticker", {"instrument_name": PERP})
        assert snapshot | change | {"timestamp": 0} == full | {"timestamp": 0}


@played
async def test_a_perpetual_says_its_index_and_interest():
    async with trading() as (exchange, client):
        await client.subscribe(f"perpetual.{PERP}.100ms")
        assert list(await client.notice(f"perpetual.{PERP}.100ms")) == ["timestamp", "interest", "index_price"]
        exchange.step(200)
        exchange.end_interval()
        data = await client.notice(f"perpetual.{PERP}.100ms")
        assert data["index_price"] == exchange.floor.indices["btc_usd"]


@played
async def test_a_candle_grows_with_each_trade_and_another_begins_with_its_time():
    async with trading(login=True, clock=Ticking(200)) as (exchange, client):
        await client.subscribe(f"chart.trades.{PERP}.1", f"trades.{PERP}.raw")
        exchange.step(900)
        await client.quiet()
        candles = [data for name, data in client.notices if name.startswith("chart.")]
        trades = [trade for name, data in client.notices if name.startswith("trades.") for trade in data]
        assert len(candles) == len(trades) > 20
        ticks = [candle["tick"] for candle in candles]
        assert ticks == [trade["timestamp"] // 60_000 * 60_000 for trade in trades] and len(set(ticks)) > 2
        for candle, trade in zip(candles, trades):
            assert candle["low"] <= candle["open"] <= candle["high"] and candle["close"] == trade["price"]
            assert list(candle) == ["volume", "tick", "open", "low", "high", "cost", "close"]
        for before, after in itertools.pairwise(candles):
            if before["tick"] == after["tick"]:
                assert after["volume"] > before["volume"] and after["cost"] > before["cost"]


@pytest.mark.parametrize(
    ("channel", "keys"),
    [
        ("deribit_price_index.btc_usd", {"timestamp", "price", "index_name"}),
        (
            "deribit_price_statistics.btc_usd",
            {"index_name", "low24h", "high24h", "change24h", "high_volatility"},
        ),
        ("deribit_volatility_index.btc_usd", {"timestamp", "volatility", "index_name"}),
        ("estimated_expiration_price.btc_usd", {"seconds", "price", "is_estimated"}),
    ],
)
@played
async def test_an_index_channel_speaks_at_once_and_every_second(channel, keys):
    async with trading() as (exchange, client):
        await client.subscribe(channel)
        assert set(await client.notice(channel)) == keys
        exchange.end_interval("agg2")
        assert set(await client.notice(channel)) == keys


@played
async def test_rankings_and_mark_prices_are_lists():
    async with trading() as (_, client):
        await client.subscribe("deribit_price_ranking.btc_usd", "markprice.options.btc_usd")
        ranking = await client.notice("deribit_price_ranking.btc_usd")
        assert set(ranking[0]) == {"identifier", "enabled", "original_price", "price", "weight", "timestamp"}
        marks = await client.notice("markprice.options.btc_usd")
        assert {mark["instrument_name"] for mark in marks} == {OPTION, EMPTY, PUT}
        assert set(marks[0]) == {"instrument_name", "mark_price", "iv", "timestamp"}


# ---- requests -----------------------------------------------------------------------------------------------------


@played
async def test_instruments_are_listed_by_currency_and_kind():
    async with trading() as (_, client):

        async def names(**params):
            return [one["instrument_name"] for one in await client.result("public/get_instruments", params)]

        assert await names(currency="any") == NAMES
        assert await names(currency="BTC", kind="future") == [PERP, FUTURE]
        assert await names(currency="USDC") == ["ETH_USDC-PERPETUAL", "BTC_USDC"]
        assert await names(currency="BTC", kind="spot") == ["BTC_USDC"]
        assert await names(currency="any", expired=True) == []
        one = await client.result("public/get_instrument", {"instrument_name": OPTION})
        assert (one["strike"], one["option_type"]) == (80000.0, "call")
        assert await client.error("public/get_instrument", {"instrument_name": "NOPE"}) == {
            "code": 13020,
            "message": "not_found",
        }
        assert [coin["currency"] for coin in await client.result("public/get_currencies")] == list(CURRENCIES)


def test_an_instrument_is_described_by_its_name():
    decimal = Instrument(name="XRP_USDC-3JUN27-0d625-P", kind="option", price=0.05, tick=0.0001, lot=1000, share=1)
    facts = describe(decimal, 5, START // 1000)
    assert (facts["strike"], facts["option_type"], facts["instrument_type"]) == (0.625, "put", "linear")
    assert (facts["base_currency"], facts["quote_currency"], facts["price_index"]) == ("XRP", "USDC", "xrp_usdc")
    assert facts["expiration_timestamp"] == 1812009600000
    assert belongs_to(decimal, "option", "USDC") and not belongs_to(decimal, "option", "BTC")


WEEK_MS = 7 * 86_400_000


@pytest.mark.parametrize("day", [12_000, 20_501, 20_611, 20_612, 20_783, 20_784, 20_900, 30_000, 36_000, 47_000])
@played
async def test_nothing_that_is_listed_has_ended_on_whatever_date_the_exchange_opens(day):
    now_ms = day * 86_400_000 + 9 * 3_600_000
    async with trading(clock=lambda: now_ms * 1000) as (_, client):
        for one in await client.result("public/get_instruments", {"currency": "any"}):
            assert one["creation_timestamp"] < now_ms + 2 * WEEK_MS <= one["expiration_timestamp"]
            if one["kind"] in ("future", "option") and "PERPETUAL" not in one["instrument_name"]:
                assert one["expiration_timestamp"] < now_ms + 16 * WEEK_MS
                end = datetime.datetime.fromtimestamp(one["expiration_timestamp"] / 1000, datetime.UTC)
                assert (end.hour, end.weekday(), end.month % 3) == (8, 4, 0)  # a Friday, 08:00, at a quarter's end
                assert (end + datetime.timedelta(days=7)).month != end.month
                name = f"BTC-{end.day}{end:%b%y}".upper()
                assert one["instrument_name"].startswith(name)


@pytest.mark.parametrize("date", ["", "DEC26", "25DEZ26", "32DEC26", "²5DEC26", "25DEC2x", "PERPETUAL"])
def test_an_end_that_is_no_date_is_refused(date):
    wrong = Instrument(name=f"BTC-{date}-80000-C", kind="option", price=0.05, tick=0.0005, lot=0.1, share=1)
    with pytest.raises(ValueError, match="day"):
        DeribitExchange(rate=None, instruments=[wrong])


@played
async def test_the_greeks_of_calls_and_puts_are_believable():
    kinds = [("C", 60_000), ("C", 78_400), ("C", 100_000), ("P", 60_000), ("P", 78_400), ("P", 100_000)]
    common = {"kind": "option", "price": 0.05, "tick": 0.0005, "lot": 0.1, "share": 1, "underlying": 78_400.0}
    made = [Instrument(name=f"BTC-25DEC26-{strike}-{side}", **common) for side, strike in kinds]
    async with trading(instruments=made, clock=lambda: START) as (_, client):
        found = {}
        for kind, one in zip(kinds, made, strict=True):
            found[kind] = (await client.result("public/ticker", {"instrument_name": one.name}))["greeks"]
        calls, puts = [found[kind] for kind in kinds[:3]], [found[kind] for kind in kinds[3:]]
        for call, put in zip(calls, puts, strict=True):
            assert -1 < put["delta"] < 0 < call["delta"] < 1
            assert call["delta"] - put["delta"] == pytest.approx(1, abs=1e-4)  # one of each is the future
            assert call["gamma"] == put["gamma"] > 0 and call["vega"] == put["vega"] > 0 > call["theta"] == put["theta"]
            assert call["rho"] > 0 > put["rho"]
        for deltas in ([one["delta"] for one in calls], [one["delta"] for one in puts]):
            assert deltas == sorted(deltas, reverse=True) and len(set(deltas)) == 3
        assert 0.5 < calls[1]["delta"] < 0.6 and max(calls, key=lambda one: one["vega"]) == calls[1]


@pytest.mark.parametrize("clock_us", [START, 1_798_185_599_000_000, 1_798_185_600_000_000, 1_900_000_000_000_000])
@played
async def test_an_option_has_greeks_to_its_end_and_beyond(clock_us):
    odd = {"kind": "option", "price": 0.05, "tick": 0.0005, "lot": 0.1, "share": 1}
    made = [Instrument(name=f"BTC-25DEC26-{strike}-{side}", **odd) for strike in (0, 1, "0d5", 10**9) for side in "CP"]
    async with trading(instruments=made, clock=lambda: clock_us) as (_, client):
        for one in made:
            ticker = await client.result("public/ticker", {"instrument_name": one.name})
            assert -1 <= ticker["greeks"]["delta"] <= 1 and ticker["underlying_price"] > 0


@played
async def test_an_order_book_is_the_ticker_with_levels():
    async with trading() as (exchange, client):
        book = await client.result("public/get_order_book", {"instrument_name": PERP, "depth": 10})
        assert len(book["bids"]) == len(book["asks"]) == 10
        assert book["bids"][0] == [book["best_bid_price"], book["best_bid_amount"]]
        assert book["change_id"] == exchange.floor.listings[PERP].change_id
        assert len((await client.result("public/get_order_book", {"instrument_name": PERP}))["bids"]) == 5
        ticker = await client.result("public/ticker", {"instrument_name": PERP})
        assert set(book) == set(ticker) | {"change_id", "bids", "asks"}


@played
async def test_the_index_price_is_the_one_of_the_tickers():
    async with trading() as (_, client):
        for name, index in ((PERP, "btc_usd"), (OPTION, "btc_usd"), ("ETH_USDC-PERPETUAL", "eth_usdc")):
            price = await client.result("public/get_index_price", {"index_name": index})
            ticker = await client.result("public/ticker", {"instrument_name": name})
            assert price["index_price"] == price["estimated_delivery_price"] == ticker["index_price"]


@played
async def test_summaries_are_of_a_currency_or_an_instrument():
    async with trading() as (_, client):
        by_currency = await client.result("public/get_book_summary_by_currency", {"currency": "BTC", "kind": "future"})
        assert [one["instrument_name"] for one in by_currency] == [PERP, FUTURE]
        by_name = await client.result("public/get_book_summary_by_instrument", {"instrument_name": PERP})
        assert by_name[0] | {"creation_timestamp": 0} == by_currency[0] | {"creation_timestamp": 0}
        assert by_name[0]["bid_price"] < by_name[0]["mid_price"] < by_name[0]["ask_price"]


@played
async def test_trades_are_found_by_sequence_by_time_and_by_currency():
    async with trading(clock=Ticking(1)) as (exchange, client):
        exchange.step(600)
        known = list(exchange.floor.trades[PERP])
        ask = "public/get_last_trades_by_instrument"
        bounds = {"instrument_name": PERP, "start_seq": known[3]["trade_seq"], "end_seq": known[7]["trade_seq"]}
        found = await client.result(ask, bounds | {"sorting": "asc"})
        assert found == {"trades": known[3:8], "has_more": False}
        assert (await client.result(ask, bounds | {"count": 2}))["trades"] == known[4:2:-1]
        times = {"start_timestamp": known[3]["timestamp"], "end_timestamp": known[-2]["timestamp"]}
        found = await client.result(
            f"{ask}_and_time", {"instrument_name": PERP, "count": 1000, "sorting": "asc"} | times
        )
        assert found["trades"] == [
            trade for trade in known if times["start_timestamp"] <= trade["timestamp"] <= times["end_timestamp"]
        ]
        for method in ("public/get_last_trades_by_currency", "public/get_last_trades_by_currency_and_time"):
            params = {"currency": "BTC", "kind": "future", "count": 1000, "sorting": "asc"}
            trades = (await client.result(method, params))["trades"]
            assert [trade for trade in trades if trade["instrument_name"] == PERP] == known
            identities = [int(trade["trade_id"]) for trade in trades]
            assert identities == sorted(identities)


@played
async def test_chart_data_has_a_bar_for_each_time_between_the_trades():
    async with trading() as (_, client):
        params = {"instrument_name": PERP, "resolution": "1", "start_timestamp": 0, "end_timestamp": 1 << 50}
        data = await client.result("public/get_tradingview_chart_data", params)
        assert data["status"] == "ok"
        assert [b - a for a, b in itertools.pairwise(data["ticks"])] == [60_000] * (len(data["ticks"]) - 1)
        assert len({len(data[name]) for name in ("ticks", "open", "high", "low", "close", "volume", "cost")}) == 1
        nothing = await client.result("public/get_tradingview_chart_data", params | {"end_timestamp": 1})
        assert (nothing["status"], nothing["ticks"]) == ("no_data", [])


def test_bars_count_the_coin_and_its_price():
    trades = [
        {"timestamp": 61_000, "price": 100.0, "amount": 50.0},
        {"timestamp": 62_000, "price": 200.0, "amount": 50.0},
        {"timestamp": 190_000, "price": 80.0, "amount": 8.0},
    ]
    inverse = [
        (bar.tick, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.cost)
        for bar in bars_of(trades, 60_000, inverse=True)
    ]
    assert inverse == [
        (60_000, 100.0, 200.0, 100.0, 200.0, 0.75, 100.0),
        (120_000, 200.0, 200.0, 200.0, 200.0, 0.0, 0.0),
        (180_000, 80.0, 80.0, 80.0, 80.0, 0.1, 8.0),
    ]
    assert [(bar.volume, bar.cost) for bar in bars_of(trades[:2], 60_000, inverse=False)] == [(100.0, 15_000.0)]


def test_a_clock_that_jumps_makes_no_candles_without_number():
    trades = [{"timestamp": at, "price": 100.0, "amount": 1.0} for at in (0, 9_999 * 60_000, 10**12, 10**12 + 60_000)]
    bars = bars_of(trades[:2], 60_000, inverse=True)
    assert len(bars) == 10_000 and bars[0].tick == 0
    assert [bar.tick for bar in bars_of(trades, 60_000, inverse=True)] == [10**12 // 60_000 * 60_000, 10**12 + 20_000]


@played
async def test_a_market_in_which_nobody_trades_is_still_and_one_with_a_name_twice_is_none():
    still = Instrument(name="BTC-PERPETUAL", kind="perpetual", price=76_914.0, tick=0.5, lot=10, share=0)
    for instruments in ([], [still]):
        async with trading(instruments=instruments, rate=1000) as (exchange, client):
            exchange.step(10)
            listed = await client.result("public/get_instruments", {"currency": "any"})
            assert [one["instrument_name"] for one in listed] == [one.name for one in instruments]
    with pytest.raises(ValueError, match="there twice"):
        DeribitExchange(instruments=[still, still])


def test_a_price_too_low_for_its_book_is_refused():
    low = {"name": "BTC-PERPETUAL", "kind": "perpetual", "tick": 0.5, "lot": 10}
    with pytest.raises(ValueError, match="price must be more than 40 ticks, twice the depth, not 20"):
        Instrument(price=20, share=1, **low)
    assert Instrument(price=20, share=0, **low) and Instrument(price=20.5, share=1, **low)


@played
async def test_numbers_have_the_text_forms_of_the_wire():
    async with trading(login=True) as (exchange, client):
        await client.subscribe(*[f"book.{one.name}.raw" for one in LISTED], "trades.any.any.raw")
        exchange.step(500)
        await client.quiet()
        text = b"".join(client.received)
        for form in (b".0e3", b"e4,", b",10.0]", b"0.05", b'"delete",', b",0.0]"):
            assert form in text
        trades = [trade for name, data in client.notices if name.startswith("trades.") for trade in data]
        assert all(trade["starbase_match_id"] > 2**53 for trade in trades)
        assert b'"starbase_match_id":%d,' % trades[0]["starbase_match_id"] in text


@played
async def test_a_market_that_was_held_up_does_not_make_good_for_ever():
    async with trading(login=True, rate=2000) as (exchange, client):
        await client.subscribe(f"book.{PERP}.raw")
        time.sleep(0.6)  # noqa: ASYNC251 - the loop is to be held up
        before = exchange.floor.listings[PERP].change_id
        await asyncio.sleep(0.01)
        assert exchange.hub.notifications[f"book.{PERP}.raw"] < 400
        assert exchange.floor.listings[PERP].change_id > before
