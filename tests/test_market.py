"""The made-up market: whatever a client may rely on with the exchange holds here too."""

import itertools
import random
import re
from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsx
from wsx.testing import Market, ReplayServer
from wsx.testing.market_book import MarketBook
from wsx.testing.market_maker import MarketMaker
from wsx.testing.number_text import number_text, wire_text

connect = partial(wsx.connect, reconnect=False)  # an end is an end here


@pytest.fixture(scope="module")
def market():
    return Market(seed=7)


@pytest.fixture(scope="module")
def capture(market):
    return market.capture(seconds=4, messages_per_second=2500)


@pytest.fixture(scope="module")
def notifications(capture):
    """(channel, data) of everything after the answer to the subscription."""
    parsed = [orjson.loads(message) for message in capture.messages[1:]]
    assert all(message["jsonrpc"] == "2.0" and message["method"] == "subscription" for message in parsed)
    return [(message["params"]["channel"], message["params"]["data"]) for message in parsed]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1])
def test_a_market_without_an_end_or_a_rate_is_refused(wrong):
    with pytest.raises(ValueError, match="^seconds must be f"):
        Market().capture(wrong, 1000)
    with pytest.raises(ValueError, match="^messages_per_second must be "):
        Market().capture(1, wrong)


def of_kind(notifications, kind):
    return [data for channel, data in notifications if channel.startswith(kind + ".")]


def by_instrument(notifications, kind):
    found = {}
    for data in of_kind(notifications, kind):
        found.setdefault(data["instrument_name"], []).append(data)
    return found


class Book:
    """Applies messages as a client would, strictly: a surprise is an error."""

    def __init__(self):
        self.sides = {"bids": {}, "asks": {}}
        self.change_id = None

    def apply(self, data):
        assert data.get("prev_change_id") == self.change_id
        assert self.change_id is None or data["change_id"] > self.change_id
        self.change_id = data["change_id"]
        for side, levels in self.sides.items():
            for action, price, amount in data[side]:
                assert (price in levels) == (action != "new")
                assert (amount > 0) == (action != "delete")
                levels[price] = amount
                if action == "delete":
                    del levels[price]

    @property
    def best(self):
        bid, ask = max(self.sides["bids"]), min(self.sides["asks"])
        return bid, self.sides["bids"][bid], ask, self.sides["asks"][ask]


def quoted(data):
    return tuple(data[f"best_{side}_{what}"] for side in ("bid", "ask") for what in ("price", "amount"))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (Market(seed=seed).capture(0.2, 1000) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_answer_to_the_subscription_comes_first_in_the_exchanges_order(market, capture):
    reply = orjson.loads(capture.messages[0])
    assert reply["id"] == 1
    assert reply["result"] == sorted(market.channels, reverse=True)


def test_only_subscribed_channels_speak_and_each_of_them_does(market, notifications):
    assert {channel for channel, _ in notifications} == set(market.channels)


def test_the_rate_is_the_one_that_was_asked_for(capture):
    assert len(capture.messages) == pytest.approx(4 * 2500, rel=0.1)
    assert 3.9 < capture.duration <= 4
    assert list(capture.seconds) == sorted(capture.seconds)


def test_books_chain_agree_with_their_quotes_and_are_never_crossed(notifications):
    books = {}
    for channel, data in notifications:
        name = data["instrument_name"] if isinstance(data, dict) else None
        if channel.startswith("book."):
            book = books.setdefault(name, Book())
            book.apply(data)
            bid, _, ask, _ = book.best
            assert 0 < bid < ask
            assert 20 <= len(book.sides["bids"]) <= 25
        elif channel.startswith(("quote.", "ticker.")) and name in books:
            assert quoted(data) == books[name].best
    assert len(books) == 6


def test_a_quote_is_said_whenever_the_top_of_the_book_changes(notifications):
    books, tops = {}, {}
    for channel, data in notifications:
        if channel.startswith("quote."):
            tops[data["instrument_name"]] = quoted(data)
        elif channel.startswith("book."):
            books.setdefault(data["instrument_name"], Book()).apply(data)
    assert tops == {name: book.best for name, book in books.items()}


def test_trades_count_up_and_are_made_at_the_best_price(notifications):
    books, sequences, identities = {}, {}, []
    for channel, data in notifications:
        if channel.startswith("book."):
            books.setdefault(data["instrument_name"], Book()).apply(data)
        elif channel.startswith("trades."):
            (trade,) = data
            bid, bid_amount, ask, ask_amount = books[trade["instrument_name"]].best
            price, amount = (ask, ask_amount) if trade["direction"] == "buy" else (bid, bid_amount)
            assert trade["price"] == price
            assert 0 < trade["amount"] <= amount
            sequences.setdefault(trade["instrument_name"], []).append(trade["trade_seq"])
            identities.append(int(trade["trade_id"]))
    assert all(last - first + 1 == len(seq) for seq in sequences.values() for first, last in [(seq[0], seq[-1])])
    assert identities == sorted(set(identities))
    assert len(sequences) == 6


def test_a_ticker_says_the_last_trades_price_and_its_extremes(notifications):
    last = {}
    for channel, data in notifications:
        if channel.startswith("trades."):
            last.setdefault(data[0]["instrument_name"], []).append(data[0]["price"])
        elif channel.startswith("ticker.") and data["instrument_name"] in last:
            prices = last[data["instrument_name"]]
            assert data["last_price"] == prices[-1]
            assert data["stats"]["low"] <= min(prices)
            assert data["stats"]["high"] >= max(prices)


def test_prices_stay_close_to_where_they_began_and_move(notifications):
    for name, quotes in by_instrument(notifications, "quote").items():
        bids = [quote["best_bid_price"] for quote in quotes]
        assert len(set(bids)) > 1, name
        assert max(bids) / min(bids) < (1.2 if name.endswith("-C") else 1.01), name


def test_a_cheap_book_keeps_its_depth_above_zero():
    numbers, book = random.Random(1), MarketBook()
    maker = MarketMaker(numbers, book, 42, 20)
    for _ in range(3000):
        maker.trade() if numbers.random() < 0.2 else maker.shake()
        assert min(book.bids) > 0 and book.best_bid < book.best_ask
        assert 20 <= len(book.bids) <= 25 and 20 <= len(book.asks) <= 25


def test_the_worst_levels_go_where_there_are_too_many():
    book = MarketBook()
    maker = MarketMaker(random.Random(1), book, 5000, 20)
    for ticks in range(4000, 4020):
        book.set_level("bids", ticks, 1)
        book.set_level("asks", 10_000 - ticks, 1)
    for _ in range(20):
        maker.shake()
    assert len(book.bids) <= 25 and len(book.asks) <= 25
    assert min(book.bids) > 4005 and max(book.asks) < 10_000 - 4005


def test_what_belongs_to_a_kind_of_instrument_is_there(notifications):
    tickers = {name: data[0] for name, data in by_instrument(notifications, "ticker").items()}
    assert "funding_8h" in tickers["BTC-PERPETUAL"]
    assert "greeks" in tickers["BTC-25DEC26-80000-C"]
    assert set(tickers["BTC-25DEC26-80000-C"]["greeks"]) == {"delta", "gamma", "vega", "theta", "rho"}
    assert not {"greeks", "funding_8h"} & set(tickers["BTC_USDC"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10.0, "10.0"),
        (0.0, "0.0"),
        (100.0, "100.0"),
        (1000.0, "1.0e3"),
        (4040.0, "4040.0"),
        (32_000.0, "3.2e4"),
        (35_130.0, "35130.0"),
        (999_990.0, "999990.0"),
        (1_000_200.0, "1.0002e6"),
        (76_914.5, "76914.5"),
        (0.001, "0.001"),
        (0.00028, "2.8e-4"),
        (-4e-7, "-4.0e-7"),
        (1e22, "1.0e22"),
    ],
)
def test_a_float_has_the_exchanges_text(value, text):
    assert number_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_as_itself(value):
    assert orjson.loads(number_text(value)) == value


def test_recorded_numbers_of_the_newer_text_form_are_written_alike(captures):
    """The books', but for a snapshot that those who kept it printed again. Trades of that day are decimal only."""
    recording = captures / "fastmm_deribit_testnet_20260913_rpc_perp.jsonl"
    if not recording.is_file():
        pytest.skip(f"{recording.name} is not in {captures}")
    lines = recording.read_text().splitlines()
    numbers = [
        number
        for line in lines
        if '"channel":"book.' in line and '"snapshot"' not in line
        for number in re.findall(r"(?<=[\[:,])-?\d+\.\d+(?:e-?\d+)?(?=[,\]}])", line)
    ]
    assert len(numbers) > 50
    assert [number_text(float(number)) for number in numbers] == numbers


def test_json_is_written_without_white_space_and_in_order():
    value = {"b": [1, 2.5, None, True, 'ü"\\'], "a": {}}
    assert wire_text(value) == '{"b":[1,2.5,null,true,"ü\\"\\\\"],"a":{}}'


def test_the_market_plays_over_a_real_socket():
    recorded = Market(seed=3).capture(0.3, 2000)

    async def main():
        server = ReplayServer(recorded, speed=1.0, tls=True)
        async with server, connect(server.url, ssl=server.ssl_context()) as client:
            return [message.data async for message in client]

    assert wsx.run(main()) == list(recorded.messages)


def test_a_market_goes_on_where_it_was():
    market = Market(seed=5)
    first, second = market.capture(0.1, 500), market.capture(0.1, 500)
    changes = [
        orjson.loads(message)["params"]["data"]
        for message in itertools.chain(first.messages[1:], second.messages[1:])
        if b'"channel":"book.BTC-PERPETUAL' in message
    ]
    assert [data["change_id"] for data in changes] == sorted(data["change_id"] for data in changes)
