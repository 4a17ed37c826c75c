"""The order book with messages of other exchanges, in the form in which each documents them; a caller gives the levels.

Checksums are computed here from the texts of the messages, and in the book's function from its numbers.
"""

import json
import random
import zlib
from decimal import Decimal
from itertools import chain, zip_longest

import pytest

import wsx


class Texts:
    """The levels of a book as the texts that were sent last, the best first."""

    def __init__(self):
        self.sides = {"bids": {}, "asks": {}}

    def put(self, side, price, amount):
        if Decimal(amount) == 0:
            self.sides[side].pop(price, None)
        else:
            self.sides[side][price] = amount

    def best(self, side, n=None):
        levels = sorted(self.sides[side].items(), key=lambda level: Decimal(level[0]), reverse=side == "bids")
        return levels[:n]

    def truncate(self, depth):
        self.sides = {side: dict(self.best(side, depth)) for side in self.sides}


def same(book, texts):
    return book.state == "valid" and all(
        getattr(book, side)() == [(Decimal(price), Decimal(amount)) for price, amount in texts.best(side)]
        for side in ("bids", "asks")
    )


def signed(crc):
    return crc - 2**32 if crc >= 2**31 else crc


def plain(number):
    return f"{number.normalize():f}"


# ---- Kraken: the ten best a side, each number without its point and the zeros before it ----


def kraken_checksum(price_decimals, amount_decimals):
    def checksum(book):
        levels = book.asks(10) + book.bids(10)
        text = "".join(
            f"{price.scaleb(price_decimals):.0f}{amount.scaleb(amount_decimals):.0f}" for price, amount in levels
        )
        return zlib.crc32(text.encode())

    return checksum


def kraken_texts(texts):
    levels = texts.best("asks", 10) + texts.best("bids", 10)
    return zlib.crc32("".join(number.replace(".", "").lstrip("0") for level in levels for number in level).encode())


def beyond(book, depth):
    """Kraken does not say that a level went beyond the depth that was asked for."""
    return [[(price, 0) for price, _ in levels[depth:]] for levels in (book.bids(), book.asks())]


class TestKraken:
    ASKS = [
        "0.05005",
        "0.05010",
        "0.05015",
        "0.05020",
        "0.05025",
        "0.05030",
        "0.05035",
        "0.05040",
        "0.05045",
        "0.05050",
    ]
    BIDS = [
        "0.05000",
        "0.04995",
        "0.04990",
        "0.04980",
        "0.04975",
        "0.04970",
        "0.04965",
        "0.04960",
        "0.04955",
        "0.04950",
    ]

    def book(self, depth=10):
        message = {
            side: [[price, "0.00000500", "1582905487.684110"] for price in prices]
            for side, prices in (("as", self.ASKS[:depth]), ("bs", self.BIDS[:depth]))
        }
        book = wsx.OrderBook("XBT/USD", numbers=Decimal, checksum=kraken_checksum(5, 8))
        assert book.load(message["bs"], message["as"])
        return book

    def test_the_checksum_of_the_documentation(self):
        assert self.book().update([], [], checksum=974947235)
        assert not self.book(9).update([], [], checksum=974947235)

    def test_a_stream_of_updates_with_a_depth(self):
        book, texts, draw = self.book(), Texts(), random.Random(4)
        for side, prices in (("asks", self.ASKS), ("bids", self.BIDS)):
            for price in prices:
                texts.put(side, price, "0.00000500")
        for _ in range(300):
            side = draw.choice(["asks", "bids"])
            ticks = draw.randrange(5001, 5060) if side == "asks" else draw.randrange(4940, 5001)
            level = [f"0.0{ticks}", draw.choice(["0.00000000", "0.00000304", "12.50000000"]), "1582905487.439814", "r"]
            texts.put(side, *level[:2])
            texts.truncate(10)
            message = json.loads(
                json.dumps([0, {side[0]: [level], "c": str(kraken_texts(texts))}, "book-10", "XBT/USD"])
            )
            book.update(message[1].get("b", []), message[1].get("a", []))
            assert book.update(*beyond(book, 10), checksum=int(message[1]["c"]))
            assert same(book, texts)

    def test_of_several_updates_of_a_level_in_one_message_the_last_counts(self):
        book = self.book()
        levels = [
            ["0.05001", "1.0", "1"],
            ["0.05001", "0.00000000", "2"],
            ["0.05000", "0.0", "3"],
            ["0.05000", "7.0", "3"],
        ]
        assert book.update(levels, []) and book.best_bid == (Decimal("0.05"), 7)

    def test_levels_that_are_objects_with_numbers(self):
        text = """{"channel":"book","type":"snapshot","data":[{"symbol":"MATIC/USD",
            "bids":[{"price":0.5666,"qty":4831.75496356},{"price":0.5660,"qty":6658.22734739}],
            "asks":[{"price":0.5668,"qty":4410.79769741},{"price":0.567,"qty":4655.4}],"checksum":%d}]}"""
        digits = "5668441079769741567046554000000056664831754963565660665822734739"
        data = json.loads(text % zlib.crc32(digits.encode()))["data"][0]
        sides = [[(level["price"], level["qty"]) for level in data[side]] for side in ("bids", "asks")]
        for numbers in (Decimal, float):
            book = wsx.OrderBook("MATIC/USD", numbers=numbers, checksum=matic_checksum)
            assert book.load(*sides, checksum=data["checksum"])

    def test_levels_that_are_objects_are_refused_as_they_are(self):
        book = self.book()
        with pytest.raises(ValueError, match="not a number: 'price'"):
            book.update([{"price": 0.5666, "qty": 1}], [])
        assert book.stale_cause == "refused"


def matic_checksum(book):
    levels = [
        (Decimal(repr(number)) if book.numbers is float else number for number in level)
        for level in book.asks(10) + book.bids(10)
    ]
    return zlib.crc32("".join(f"{price.scaleb(4):.0f}{amount.scaleb(8):.0f}" for price, amount in levels).encode())


# ---- OKX: 25 levels a side, by turns, as texts with colons; a signed number ----


def interleaved(bids, asks):
    return ":".join(chain.from_iterable(level for pair in zip_longest(bids, asks, fillvalue=()) for level in pair))


def okx_checksum(book):
    bids, asks = ([(plain(price), plain(amount)) for price, amount in side] for side in (book.bids(25), book.asks(25)))
    return signed(zlib.crc32(interleaved(bids, asks).encode()))


class TestOkx:
    def book(self):
        return wsx.OrderBook("BTC-USDT", numbers=Decimal, checksum=okx_checksum)

    def apply(self, book, text):
        message = json.loads(text)
        data = message["data"][0]
        more = {"change_id": data["seqId"], "timestamp": int(data["ts"]), "checksum": data["checksum"]}
        if message["action"] == "snapshot":
            return book.load(data["bids"], data["asks"], **more)
        return book.update(data["bids"], data["asks"], prev_change_id=data["prevSeqId"], **more)

    def message(self, action, bids, asks, ids, checksum):
        data = {
            "asks": asks,
            "bids": bids,
            "ts": "1597026383085",
            "checksum": checksum,
            "prevSeqId": ids[0],
            "seqId": ids[1],
        }
        return json.dumps({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]})

    @pytest.mark.parametrize(
        ("bids", "asks", "checksum"),
        [
            (
                [["3366.1", "7", "0", "3"], ["3366", "6", "3", "4"]],
                [["3366.8", "9", "10", "3"], ["3368", "8", "3", "4"]],
                -1881014294,
            ),
            (
                [["3366.1", "7", "0", "3"]],
                [["3366.8", "9", "10", "3"], ["3368", "8", "3", "4"], ["3372", "8", "3", "4"]],
                831078360,
            ),
        ],
    )
    def test_the_checksums_of_the_documentation(self, bids, asks, checksum):
        book = self.book()
        assert self.apply(book, self.message("snapshot", bids, asks, (-1, 7), checksum))
        assert (
            not self.apply(book, self.message("update", [], [], (7, 8), checksum + 1))
            and book.stale_cause == "checksum"
        )

    def test_a_stream_of_updates(self):
        book, texts, draw = self.book(), Texts(), random.Random(8)
        for number in range(400):
            levels = {"bids": [], "asks": []}
            for _ in range(40 if number == 0 else draw.randrange(4)):
                side = draw.choice(["bids", "asks"])
                price = plain(Decimal(draw.randrange(33000, 33500) + 500 * (side == "asks")) / 10)
                amount = draw.choice(["7", "0.60038921", "100", "12.5", *(["0"] if number else [])])
                if number or price not in texts.sides[side]:
                    texts.put(side, price, amount)
                    levels[side].append([price, amount, "0", "13"])
            crc = signed(zlib.crc32(interleaved(texts.best("bids", 25), texts.best("asks", 25)).encode()))
            action, ids = ("update", (number - 1, number)) if number else ("snapshot", (-1, 0))
            assert self.apply(book, self.message(action, levels["bids"], levels["asks"], ids, crc))
            assert same(book, texts)

    def test_a_message_without_news_and_a_sequence_that_begins_anew(self):
        book = self.book()
        crc = signed(zlib.crc32(b"5:1:6:1"))
        assert self.apply(book, self.message("snapshot", [["5", "1", "0", "1"]], [["6", "1", "0", "1"]], (-1, 10), crc))
        for ids in ((10, 10), (10, 3), (3, 5)):
            assert self.apply(book, self.message("update", [], [], ids, crc)) and book.change_id == ids[1]
        assert not self.apply(book, self.message("update", [], [], (4, 6), crc)) and book.stale_cause == "gap"


# ---- Binance: a whole book by a request, and the updates around it ----


class TestBinance:
    SNAPSHOT = '{"lastUpdateId":160,"bids":[["0.00240000","10.00000000"]],"asks":[["0.00260000","100.00000000"]]}'

    def book(self):
        book = wsx.OrderBook("BNBBTC", numbers=Decimal)
        data = json.loads(self.SNAPSHOT)
        assert book.load(data["bids"], data["asks"], change_id=data["lastUpdateId"])
        return book

    def event(self, first, last, bids=(), asks=(), **more):
        return json.dumps(
            {"e": "depthUpdate", "E": 5, "s": "BNBBTC", "U": first, "u": last, "b": bids, "a": asks, **more}
        )

    def apply(self, book, text, is_first):
        """Whether it is a newer one and was applied."""
        event = json.loads(text)
        if event["u"] <= book.change_id and book.state == "valid":
            return False
        follows = event.get("pu", event["U"] - 1)
        if is_first and event["U"] <= book.change_id + 1:
            follows = book.change_id
        return book.update(event["b"], event["a"], change_id=event["u"], prev_change_id=follows, timestamp=event["E"])

    def test_what_was_buffered_before_the_snapshot_is_taken_from_where_it_is_newer(self):
        book = self.book()
        buffered = [
            self.event(150, 156, [["0.00100000", "1.00000000"]]),
            self.event(
                157, 162, [["0.00240000", "0.00000000"], ["0.00230000", "4.00000000"]], [["0.00270000", "0.00000000"]]
            ),
            self.event(163, 163, asks=[["0.00250000", "3.00000000"]]),
        ]
        assert [self.apply(book, event, is_first=place < 2) for place, event in enumerate(buffered)] == [
            False,
            True,
            True,
        ]
        assert book.bids() == [(Decimal("0.0023"), 4)] and book.best_ask == (Decimal("0.0025"), 3)
        assert not self.apply(book, self.event(165, 166), is_first=False) and book.stale_cause == "gap"

    def test_an_event_that_comes_too_late_after_the_snapshot_is_a_gap(self):
        book = self.book()
        assert not self.apply(book, self.event(162, 170), is_first=True) and book.stale_cause == "gap"

    def test_futures_say_what_they_follow(self):
        book = self.book()
        assert self.apply(book, self.event(155, 165, pu=149), is_first=True)
        assert self.apply(book, self.event(171, 180, pu=165), is_first=False) and book.change_id == 180
        assert not self.apply(book, self.event(190, 195, pu=181), is_first=False) and book.stale_cause == "gap"

    def test_the_removal_of_a_level_that_was_never_shown_is_normal(self):
        book = self.book()
        assert self.apply(book, self.event(161, 161, [["0.00100000", "0.00000000"]]), is_first=True)
        assert book.depth == (1, 1)


# ---- Bybit: whole books and differences in one channel ----


class TestBybit:
    def apply(self, book, text):
        message = json.loads(text)
        data = message["data"]
        ids = {"change_id": data["u"], "timestamp": message["cts"]}
        if message["type"] == "snapshot":
            return book.load(data["b"], data["a"], **ids)
        return book.update(data["b"], data["a"], prev_change_id=data["u"] - 1, **ids)

    def message(self, kind, number, bids, asks):
        data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": number, "seq": 7961638724}
        return json.dumps({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 8, "data": data, "cts": 1672304484976})

    def test_a_restart_begins_the_book_anew_with_a_lower_number(self):
        book = wsx.OrderBook("BTCUSDT", numbers=Decimal)
        assert self.apply(book, self.message("snapshot", 18521288, [["16493.50", "0.006"]], [["16611.00", "0.029"]]))
        assert self.apply(book, self.message("delta", 18521289, [["16493.50", "0"], ["16490.00", "1"]], []))
        assert self.apply(book, self.message("snapshot", 1, [["16400.00", "2"]], [["16500.00", "3"]]))
        assert (book.change_id, book.bids(), book.asks()) == (1, [(16400, 2)], [(16500, 3)])
        assert self.apply(book, self.message("delta", 2, [], [["16500.00", "0"], ["16500.50", "0.5"]]))
        assert book.best_ask == (Decimal("16500.5"), Decimal("0.5")) and book.timestamp == 1672304484976
        assert not self.apply(book, self.message("delta", 4, [], [])) and book.stale_cause == "gap"


# ---- Bitfinex: a level a message, sides by sign, and the checksum in a message of its own ----


def bitfinex_checksum(book):
    bids = [(plain(price), plain(amount)) for price, amount in book.bids(25)]
    asks = [(plain(price), plain(-amount)) for price, amount in book.asks(25)]
    return signed(zlib.crc32(interleaved(bids, asks).encode()))


class TestBitfinex:
    def apply(self, book, text):
        _, *rest = json.loads(text)
        if rest[0] == "cs":
            return book.update([], [], checksum=rest[1])
        whole = isinstance(rest[0][0], list)
        levels = rest[0] if whole else [rest[0]]
        sides = [
            [(price, abs(amount) if count else 0) for price, count, amount in levels if amount * sign > 0]
            for sign in (1, -1)
        ]
        return book.load(*sides) if whole else book.update(*sides)

    def test_levels_that_are_numbers_and_a_checksum_behind_them(self):
        book = wsx.OrderBook("tBTCUSD", numbers=Decimal, checksum=bitfinex_checksum)
        assert self.apply(book, "[17082,[[7254.7,3,3.3],[7254.6,1,0.5],[7254.8,2,-1.25],[7255,1,-20]]]")
        crc = signed(zlib.crc32(b"7254.7:3.3:7254.8:-1.25:7254.6:0.5:7255:-20"))
        assert self.apply(book, f'[17082,"cs",{crc}]')
        for text in ("[17082,[7254.7,0,1]]", "[17082,[7255,0,-1]]", "[17082,[7254.5,1,0.00012]]", "[17082,[7250,0,1]]"):
            assert self.apply(book, text)
        crc = signed(zlib.crc32(b"7254.6:0.5:7254.8:-1.25:7254.5:0.00012"))
        assert self.apply(book, f'[17082,"cs",{crc}]')
        assert not self.apply(book, f'[17082,"cs",{crc ^ 1}]') and book.stale_cause == "checksum"


# ---- Coinbase: changes of both sides in one list ----


class TestCoinbase:
    def test_changes_that_name_their_side(self):
        book = wsx.OrderBook("BTC-USD", numbers=Decimal)
        data = json.loads(
            '{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],"asks":[["10102.55","0.57753524"]]}'
        )
        assert book.load(data["bids"], data["asks"])
        data = json.loads(
            '{"type":"l2update","product_id":"BTC-USD","time":"2019-08-14T20:42:27.265Z","changes":'
            '[["buy","10101.80000000","0.162567"],["sell","10102.55","0.00000000"],["sell","10103.00","2"]]}'
        )
        sides = [[change[1:] for change in data["changes"] if change[0] == side] for side in ("buy", "sell")]
        assert book.update(*sides)
        assert book.bids(1) == [(Decimal("10101.8"), Decimal("0.162567"))] and book.asks() == [(10103, 2)]

    def test_numbered_events(self):
        book = wsx.OrderBook("BTC-USD", numbers=Decimal)
        template = (
            '{"channel":"l2_data","sequence_num":%d,"events":[{"type":"%s","product_id":"BTC-USD","updates":'
            '[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.73","new_quantity":"%s"},'
            '{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"21921.75","new_quantity":"1"}]}]}'
        )
        results = []
        for number, kind, amount in ((4, "snapshot", "0.06317902"), (5, "update", "0"), (7, "update", "1")):
            message = json.loads(template % (number, kind, amount))
            updates = message["events"][0]["updates"]
            sides = [
                [(one["price_level"], one["new_quantity"]) for one in updates if one["side"] == side]
                for side in ("bid", "offer")
            ]
            if kind == "snapshot":
                results.append(book.load(*sides, change_id=number))
            else:
                results.append(book.update(*sides, change_id=number, prev_change_id=number - 1))
        assert results == [True, True, False] and book.stale_cause == "gap"


# ---- what is easily given by mistake ----


@pytest.mark.parametrize(
    "levels", ["75", ["75"], {"75": "12"}, [b"75"], b"75", {"7.5": "1.2"}, [("7.5", "1.2"), "75"]], ids=str
)
def test_a_text_is_no_pair_of_digits(levels):
    book = wsx.OrderBook("x")
    with pytest.raises(TypeError, match="a level is|not iterable"):
        book.load(levels, [])
    assert (book.state, book.stale_cause) == ("stale", "refused")


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        iter,
        lambda levels: dict(levels).items(),
        lambda levels: zip(*zip(*levels, strict=True), strict=True),
    ],
)
def test_levels_come_in_any_iterable(kind):
    book = wsx.OrderBook("x", numbers=Decimal)
    assert book.load(kind([("7.5", "1.2"), ("7.4", "1")]), []) and book.best_bid == (Decimal("7.5"), Decimal("1.2"))
