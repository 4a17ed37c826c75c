"""The order book: its rules one by one, then everything at once against the model (book_model.py)."""

import ctypes
import io
import itertools
import json
import os
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from book_model import BookModel, follow
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wsx
from wsx.testing import Market

X = "BTC-PERPETUAL"


def book_of(*messages, **options):
    book = wsx.OrderBook(X, **options)
    for message in messages:
        book.apply(message)
    return book


def snapshot(change_id=10, bids=((100, 1), (99, 2)), asks=((101, 3), (102, 4)), **more):
    sides = {"bids": [["new", *level] for level in bids], "asks": [["new", *level] for level in asks]}
    return encoded({"type": "snapshot", "instrument_name": X, "change_id": change_id, **sides, **more})


def change(prev_change_id=10, change_id=11, bids=(), asks=(), **more):
    ids = {"prev_change_id": prev_change_id, "change_id": change_id}
    sides = {"bids": list(bids), "asks": list(asks)}
    return encoded({"type": "change", "instrument_name": X, **ids, **sides, **more})


def encoded(data):
    return json.dumps(data).encode()


def shown(book):
    return book.state, book.bids(), book.asks()


def is_stale(book, cause):
    empty = book.best_bid is None and book.best_ask is None and not book.bids() and not book.asks()
    return (book.state, book.stale_cause) == ("stale", cause) and empty and book.depth == (0, 0)


class TestChain:
    def test_a_new_book_is_empty_and_a_snapshot_makes_it_valid(self):
        book = wsx.OrderBook(X)
        assert shown(book) == ("empty", [], []) and book.change_id is None and book.stale_reason is None
        assert book.apply(snapshot(timestamp=1700))
        assert shown(book) == ("valid", [(100.0, 1.0), (99.0, 2.0)], [(101.0, 3.0), (102.0, 4.0)])
        assert (book.best_bid, book.best_ask) == ((100.0, 1.0), (101.0, 3.0))
        assert (book.change_id, book.timestamp, book.depth) == (10, 1700, (2, 2))

    def test_a_change_that_continues_the_chain_is_applied(self):
        book = book_of(snapshot())
        assert book.apply(
            change(bids=[["delete", 100, 0.0], ["new", 98.5, 7], ["change", 99, 5]], asks=[["new", 100.5, 1]])
        )
        assert shown(book) == (
            "valid",
            [(99.0, 5.0), (98.5, 7.0)],
            [(100.5, 1.0), (101.0, 3.0), (102.0, 4.0)],
        )
        assert (book.change_id, book.timestamp) == (11, None)

    def test_a_change_without_levels_continues_the_chain(self):
        book = book_of(snapshot())
        assert book.apply(change(10, 20)) and book.change_id == 20
        assert book.apply(change(20, 30)) and book.depth == (2, 2)

    def test_a_gap_makes_the_book_stale_at_once(self):
        book = book_of(snapshot())
        assert not book.apply(change(12, 13))
        assert is_stale(book, "gap")
        assert book.stale_reason == "change 13 follows 12, but the book is at 10: something was missed"
        assert book.change_id == 10

    def test_a_stale_book_ignores_changes_until_the_next_snapshot(self):
        book = book_of(snapshot(), change(12, 13))
        for message in (change(13, 14), change(10, 11), change(14, 15)):
            assert not book.apply(message)
            assert is_stale(book, "gap")
        assert book.apply(snapshot(5))
        assert (book.state, book.stale_cause, book.stale_reason, book.change_id) == ("valid", None, None, 5)
        assert book.apply(change(5, 6))

    def test_a_message_that_comes_twice_is_told_from_a_gap(self):
        book = book_of(snapshot(), change(10, 11))
        assert not book.apply(change(10, 11))
        assert is_stale(book, "duplicate") and book.stale_reason == "change 11 came again"

    def test_a_message_that_comes_late_is_told_from_a_gap(self):
        book = book_of(snapshot(), change(10, 20), change(20, 30))
        assert not book.apply(change(10, 20))
        assert is_stale(book, "out of order") and "20 came after 30" in book.stale_reason

    def test_a_snapshot_older_than_the_book_makes_it_stale(self):
        book = book_of(snapshot(10), change(10, 20))
        assert not book.apply(snapshot(10))
        assert is_stale(book, "out of order")
        assert book.apply(snapshot(10))

    def test_a_snapshot_replaces_a_valid_book(self):
        book = book_of(snapshot(10), snapshot(12, bids=[(50, 1)], asks=[]))
        assert shown(book) == ("valid", [(50.0, 1.0)], []) and book.change_id == 12

    def test_a_change_before_any_snapshot_makes_the_book_stale(self):
        book = book_of(change())
        assert is_stale(book, "no snapshot")

    @pytest.mark.parametrize("before", [[], [snapshot(), change(1, 2)]], ids=["empty", "stale"])
    def test_a_change_that_follows_nothing_begins_a_newly_listed_book(self, before):
        book = book_of(*before)
        assert book.apply(change(0, 7, bids=[["new", 3, 1]]))
        assert shown(book) == ("valid", [(3.0, 1.0)], []) and book.change_id == 7

    def test_a_change_that_follows_nothing_is_a_gap_in_a_valid_book(self):
        assert is_stale(book_of(snapshot(), change(0, 12)), "gap")

    def test_a_snapshot_with_id_0_is_followed_by_a_change_of_it(self):
        book = book_of(snapshot(0, bids=[], asks=[]))
        assert book.state == "valid"
        assert book.apply(change(0, 7, bids=[["new", 3, 1]])) and book.bids() == [(3.0, 1.0)]

    def test_a_snapshot_may_say_what_it_follows(self):
        assert book_of(snapshot(), snapshot(12, prev_change_id=3)).state == "valid"

    def test_a_caller_can_say_that_the_book_is_stale(self):
        book = book_of(snapshot())
        book.mark_stale("connection lost")
        assert is_stale(book, "told") and book.stale_reason == "connection lost"
        book.mark_stale("reconnecting", cause="reconnect")
        assert is_stale(book, "reconnect")
        assert book.apply(snapshot(2))


class TestContradictions:
    @pytest.mark.parametrize("price", [98, 98.001, 100.5])
    def test_the_delete_of_a_level_that_is_not_there_makes_the_book_stale(self, price):
        book = book_of(snapshot(), change(bids=[["change", 99, 9], ["delete", price, 3]]))
        assert is_stale(book, "unknown level")
        assert book.stale_reason == f"delete of bids {price} in 11, where the book has no level"

    @pytest.mark.parametrize("action", ["new", "change"])
    @pytest.mark.parametrize("price", [101, 100.5])
    def test_new_and_change_set_an_amount_whether_the_level_was_there_or_not(self, action, price):
        assert book_of(snapshot(), change(asks=[[action, price, 9]])).best_ask == (price, 9.0)

    @pytest.mark.parametrize("amount", [0, -1, -0.0, "-1e-9"])
    @pytest.mark.parametrize("level", [["new", 98], ["change", 98], ["change", 99], ["new", 99]], ids=str)
    def test_an_amount_of_zero_or_less_makes_the_book_stale(self, amount, level):
        message = change(bids=[[*level, "AMOUNT"]]).replace(b'"AMOUNT"', str(amount).encode())
        assert is_stale(book_of(snapshot(), message), "bad amount")

    @pytest.mark.parametrize("amount", [0, -5])
    def test_an_amount_of_zero_or_less_spoils_a_snapshot(self, amount):
        assert is_stale(book_of(snapshot(asks=[(101, 1), (102, amount)])), "bad amount")

    @pytest.mark.parametrize("price", [101, 101.5, 103])
    def test_a_book_whose_best_bid_is_not_below_its_best_ask_is_stale(self, price):
        assert is_stale(book_of(snapshot(), change(bids=[["new", price, 1]])), "crossed")
        assert is_stale(book_of(snapshot(bids=[(price, 1)])), "crossed")

    def test_a_book_may_be_crossed_within_a_message(self):
        book = book_of(snapshot(), change(bids=[["new", 101, 1]], asks=[["delete", 101, 0]]))
        assert book.best_bid == (101.0, 1.0) and book.best_ask == (102.0, 4.0)

    def test_a_level_twice_in_a_snapshot_makes_the_book_stale(self):
        assert is_stale(book_of(snapshot(bids=[(100, 1), (99, 1), (100.0, 1)])), "level twice")
        assert is_stale(book_of(snapshot(asks=[(101, 1), (101, 2)])), "level twice")

    @pytest.mark.parametrize("action", ["change", "delete"])
    def test_a_snapshot_holds_new_levels_only(self, action):
        message = snapshot().replace(b'["new", 99', b'["%s", 99' % action.encode())
        assert is_stale(book_of(message), "unknown level")

    def test_prices_may_be_negative(self):
        book = book_of(snapshot(bids=[(-2.5, 1), (-1, 2)], asks=[(0, 3), (-0.5, 4)]))
        assert book.bids() == [(-1.0, 2.0), (-2.5, 1.0)] and book.asks() == [(-0.5, 4.0), (0.0, 3.0)]
        assert book.apply(change(bids=[["delete", -2.5, 0], ["new", -4.0e-7, 1]], asks=[["delete", -0.5, 0]]))
        assert book.bids() == [(-4.0e-7, 1.0), (-1.0, 2.0)]


class TestForm:
    def notification(self, data, channel=f"book.{X}.raw"):
        envelope = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"%s","data":%s}}'
        return envelope % (channel.encode(), data)

    def test_a_whole_notification_is_as_good_as_its_data(self):
        book = book_of(self.notification(snapshot()))
        assert book.apply(self.notification(change(bids=[["delete", 100, 0]]))) and book.best_bid == (99.0, 2.0)
        data_first = b' {"params" : {"data" : %s , "channel":"x"} , "method":null} ' % change(11, 12)
        assert book.apply(data_first) and book.change_id == 12

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, wsx.Message])
    def test_a_message_may_be_any_bytes(self, kind):
        book = wsx.OrderBook(X)
        assert book.apply(kind(snapshot())) and book.best_bid == (100.0, 1.0)

    @pytest.mark.parametrize("wrong", ["text", None, 7, [1]])
    def test_what_is_not_bytes_is_a_type_error(self, wrong):
        book = book_of(snapshot())
        with pytest.raises(TypeError):
            book.apply(wrong)
        assert book.state == "valid"

    @pytest.mark.parametrize(
        "message",
        [
            b'{"jsonrpc":"2.0","id":5,"result":["book.BTC-PERPETUAL.raw"]}',
            b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',
            b'{"method":"subscription","params":{"channel":"trades.x","data":[{"price":1.5,"type":7}]}}',
            b'{"method":"subscription","params":{"channel":"ticker.x","data":{"timestamp":"?","best_bid_price":0.5}}}',
            b"[]",
            b'[{"bids":[],"asks":[]}]',
            b'"bids"',
            b" 12.5e3 ",
            b"null",
            b"{ }",
            b'{"params":{}}',
            b'{"params":[1,{"data":{"bids":[]}}],"data":{"bids":[]}}',
            change().replace(b"BTC-PERPETUAL", b"ETH-PERPETUAL"),
            snapshot(99).replace(b"BTC-PERPETUAL", b"BTC-PERPETUALX"),
            snapshot(99, bids=[("?", 1)]).replace(b"BTC-PERPETUAL", b"B"),
        ],
    )
    def test_what_is_not_about_this_book_changes_nothing(self, message):
        book = book_of(snapshot())
        assert not book.apply(message)
        assert (book.state, book.change_id, book.depth) == ("valid", 10, (2, 2))

    def test_grouped_books_replace_everything(self):
        grouped = b'{"timestamp":5,"instrument_name":"%s","change_id":%d,"bids":%s,"asks":[[161,20]]}'
        book = book_of(grouped % (X.encode(), 9, b"[[159,1],[160,40]]"))
        assert shown(book) == ("valid", [(160.0, 40.0), (159.0, 1.0)], [(161.0, 20.0)])
        assert book.apply(grouped % (X.encode(), 12, b"[[158.5,2]]")) and book.bids() == [(158.5, 2.0)]
        assert book.apply(grouped % (X.encode(), 12, b"[]")) and book.bids() == []
        assert not book.apply(grouped % (X.encode(), 11, b"[]")) and is_stale(book, "out of order")

    def test_old_messages_do_not_say_their_type(self):
        book = book_of(b'{"change_id":3,"bids":[["new",5,1],["new",4,1]],"asks":[]}')
        assert book.apply(b'{"prev_change_id":3,"change_id":4,"bids":[["delete",5]],"asks":[["new",5,1]]}')
        assert shown(book) == ("valid", [(4.0, 1.0)], [(5.0, 1.0)])

    @pytest.mark.parametrize("amount", ["0", "0.0", "7", "-3", "null", '"?"', "[{}]"])
    def test_a_delete_goes_by_its_action_whatever_its_amount(self, amount):
        message = change(bids=[["delete", 100, "AMOUNT"]]).replace(b'"AMOUNT"', amount.encode())
        assert book_of(snapshot(), message).bids() == [(99.0, 2.0)]

    def test_keys_come_in_any_order_and_unknown_ones_are_skipped(self):
        data = {"asks": [], "bids": [["change", 99, 8]], "extra": [{"a": [1, {}]}, "\\"], "change_id": 11}
        data |= {"z": True, "prev_change_id": 10, "type": "change", "timestamp": None, "n": [[], {}, -1e-5, False]}
        assert book_of(snapshot(), json.dumps(data, indent=2).encode()).bids()[1] == (99.0, 8.0)

    def test_null_is_as_good_as_nothing(self):
        message = change(timestamp=None, instrument_name=None).replace(b'"change"', b"null")
        assert book_of(snapshot(), message).change_id == 11
        assert book_of(snapshot(prev_change_id=None, asks=[])).state == "valid"

    def test_escapes_say_what_they_stand_for(self):
        message = change(bids=[["delete", 100, 0]])
        for word in (b"bids", b"type", b"change", b"delete", b"prev_change_id", X.encode()):
            message = message.replace(b'"%s"' % word, b'"%s"' % b"".join(b"\\u%04x" % letter for letter in word), 1)
        assert book_of(snapshot(), message).bids() == [(99.0, 2.0)]
        assert wsx.OrderBook("a/b\tc").apply(b'{"instrument_name":"a\\/b\\tc","change_id":1,"bids":[],"asks":[]}')

    @pytest.mark.parametrize("name", ["\\u00e4", "\\ud83d\\ude00", "x" * 63 + "\\n" + "x", "\\u0042" * 65])
    def test_a_long_or_foreign_escaped_name_is_another_instruments(self, name):
        message = snapshot(99).replace(X.encode(), name.encode())
        assert not book_of(snapshot()).apply(message)

    @pytest.mark.parametrize(
        "fault",
        [
            {"bids": 5},
            {"bids": "[]"},
            {"bids": None},
            {"bids": None, "asks": None},
            {"bids": {"new": [98, 1]}},
            {"asks": {}},
            {"asks": [5]},
            {"asks": [[]]},
            {"asks": [[101]]},
            {"asks": [[101, 1]]},
            {"asks": [["new", 101]]},
            {"asks": [["new", 101, 1, 1]]},
            {"asks": [["new", "101", 1]]},
            {"asks": [["new", 101, "1"]]},
            {"asks": [["new", 101, None]]},
            {"asks": [["new", None, 1]]},
            {"asks": [["renew", 101, 1]]},
            {"asks": [[None, 101, 1]]},
            {"asks": [["delete"]]},
            {"asks": [["delete", 101, 0, 0]]},
            {"asks": [["new", 101, 1], 7, ["new", 102, 1]]},
            {"change_id": None},
            {"change_id": "11"},
            {"change_id": 11.5},
            {"change_id": -11},
            {"change_id": 2**63},
            {"change_id": True},
            {"prev_change_id": None},
            {"prev_change_id": [10]},
            {"timestamp": "now"},
            {"type": "delta"},
            {"type": 1},
            {"instrument_name": 5},
            {"instrument_name": [X]},
        ],
        ids=str,
    )
    def test_a_field_of_another_form_makes_the_book_stale(self, fault):
        message = encoded(json.loads(change()) | fault)
        assert is_stale(book_of(snapshot(), self.notification(message)), "malformed")
        assert is_stale(book_of(snapshot(), message), "malformed")

    @pytest.mark.parametrize(
        "missing",
        [
            *(["bids"], ["asks"], ["change_id"], ["prev_change_id"]),
            *(["bids", "asks"], ["bids", "change_id"], ["change_id", "prev_change_id"], ["type", "prev_change_id"]),
            *(["bids", "asks", "type"], ["bids", "asks", "change_id"], ["bids", "asks", "instrument_name"]),
        ],
        ids="-".join,
    )
    def test_a_missing_field_makes_the_book_stale(self, missing):
        message = json.loads(change(bids=[["new", 98, 1]]))
        message = encoded({key: value for key, value in message.items() if key not in missing})
        assert is_stale(book_of(snapshot(), message), "malformed")
        assert is_stale(book_of(snapshot(), self.notification(message)), "malformed")

    @pytest.mark.parametrize("missing", ["type", "timestamp", "instrument_name"])
    def test_what_a_change_is_understood_without_may_be_missing(self, missing):
        message = json.loads(change(bids=[["new", 98, 1]], timestamp=7))
        del message[missing]
        assert book_of(snapshot(), self.notification(encoded(message))).depth == (3, 2)

    @pytest.mark.parametrize("data", ["{}", "[]", "null", "5", '"x"', '{"x":1}', f'{{"instrument_name":"{X}"}}'])
    def test_a_message_of_the_books_channel_without_a_book_makes_it_stale(self, data):
        for before in ([], [snapshot()]):
            assert is_stale(book_of(*before, self.notification(data.encode())), "malformed")
            grouped = self.notification(data.encode(), f"book.{X}.none.10.100ms")
            assert is_stale(book_of(*before, grouped), "malformed")

    @pytest.mark.parametrize("params", [b'{"channel":"book.%s.raw"}', b'{"data":{},"channel":"book.%s.raw","x":5}'])
    def test_a_notification_that_lost_its_data_makes_the_book_stale(self, params):
        assert is_stale(book_of(snapshot(), b'{"params":%s}' % params % X.encode()), "malformed")
        escaped = X.encode().replace(b"-", b"\\u002d")
        assert is_stale(book_of(snapshot(), b'{"params":%s}' % params % escaped), "malformed")

    @pytest.mark.parametrize(
        "channel", ["book.ETH-PERPETUAL.raw", f"book.{X}X.raw", f"book.{X[:-1]}.raw", f"xbook.{X}.raw", "book", "", "b"]
    )
    def test_a_message_of_another_channel_without_a_book_changes_nothing(self, channel):
        for data in (b"{}", b"null", b"[]", b'{"type":"change","timestamp":5}'):
            assert book_of(snapshot(), self.notification(data, channel)).state == "valid"

    def test_the_name_in_a_message_counts_before_its_channel(self):
        book = book_of(snapshot(), self.notification(change().replace(b"BTC", b"ETH")))
        assert (book.state, book.change_id) == ("valid", 10)
        assert book.apply(self.notification(change(), "book.ETH-PERPETUAL.raw"))

    def test_a_message_without_a_name_is_its_channels(self):
        data = json.loads(change(bids=[["new", 98, 1]]))
        del data["instrument_name"]
        book = book_of(snapshot(), self.notification(encoded(data), "book.ETH-PERPETUAL.raw"))
        assert (book.state, book.change_id) == ("valid", 10)
        assert book.apply(self.notification(encoded(data))) and book.change_id == 11

    def test_a_message_with_two_channels_makes_the_book_stale(self):
        message = self.notification(change()).replace(b'"channel"', b'"channel":"book.ETH-PERPETUAL.raw","channel"')
        assert is_stale(book_of(snapshot(), message), "malformed")

    def test_an_old_snapshot_is_believed_where_the_book_is_not_valid(self):
        old = b'{"change_id":%d,"bids":[["new",5,1],["new",4,1]],"asks":[]}'
        book = book_of(old % 3)
        assert book.depth == (2, 0)
        assert not book.apply(old % 4) and is_stale(book, "malformed")
        assert book.apply(old % 4) and book.change_id == 4

    @pytest.mark.parametrize("key", ["bids", "asks", "type", "change_id", "prev_change_id", "timestamp"])
    def test_a_field_that_comes_twice_makes_the_book_stale(self, key):
        message = change(timestamp=1)[:-1] + b',"%s":%s}' % (key.encode(), encoded(json.loads(change()).get(key)))
        assert is_stale(book_of(snapshot(), message), "malformed")

    @pytest.mark.parametrize(
        "envelope", [b'{"params":{"data":%s,"data":null}}', b'{"params":{"data":%s},"params":{}}'], ids=str
    )
    def test_an_envelope_with_two_contents_makes_the_book_stale(self, envelope):
        assert is_stale(book_of(snapshot(), envelope % change()), "malformed")

    def test_whole_numbers_are_whole_in_any_text_form(self):
        book = book_of(snapshot(1).replace(b'"change_id": 1', b'"change_id": 1.20e2'))
        assert book.change_id == 120
        assert book.apply(change(120.0, 9007199254740993)) and book.change_id == 9007199254740993


CHANGE = change(bids=[["new", 98.5, 1.5e-3]], asks=[["delete", 102, 0]], extra=["\\u00e9\n", {"a": [None, True, -1.5]}])


class TestMalformed:
    @pytest.mark.parametrize("size", range(len(CHANGE)))
    def test_a_truncated_message_makes_the_book_stale(self, size):
        assert is_stale(book_of(snapshot(), CHANGE[:size]), "malformed")
        assert is_stale(book_of(snapshot(), TestForm().notification(CHANGE)[: -size - 1]), "malformed")

    @pytest.mark.parametrize("extra", [b"]", b"}", b",", b"0", b"\x00", b"{}"])
    def test_something_behind_the_message_makes_the_book_stale(self, extra):
        assert is_stale(book_of(snapshot(), CHANGE + extra), "malformed")

    @pytest.mark.parametrize(
        "number",
        [
            "01",
            "00",
            "-01",
            "+1",
            ".5",
            "1.",
            "-.5",
            "-",
            "1e",
            "1e+",
            "1.e5",
            "1.5e-",
            "0x1",
            "NaN",
            "Infinity",
            "-Infinity",
            "1_0",
            "١",
            "nul",
            "tru",
            "falsee",
            "nulll",
        ],
    )
    @pytest.mark.parametrize("place", ['["new",98,%s]', '["new",%s,1]', '["delete",100,%s]', "%s"])
    def test_what_is_no_json_value_makes_the_book_stale(self, number, place):
        message = change(bids=["LEVEL"]).replace(b'"LEVEL"', (place % number).encode())
        assert is_stale(book_of(snapshot(), message), "malformed")

    @pytest.mark.parametrize("text", ['"\\x"', '"\\u12"', '"\\u12g4"', '"\\', '"\t"', '"\x1f"', '"\\u', '"a'])
    def test_what_is_no_json_string_makes_the_book_stale(self, text):
        for message in (b'{"bids":[],"asks":[],"a":%s}', b"{%s:1}", b'{"type":%s}', b"[%s]", b"%s"):
            assert is_stale(book_of(snapshot(), message % text.encode()), "malformed")

    @pytest.mark.parametrize(
        "text",
        ["{", "[", "{]", "[}", "[1}", '{"a":1]', "[1,]", '{"a":1,}', "[,]", "{1:2}", '{"a"}', '{"a" 1}', "[1 2]"],
    )
    @pytest.mark.parametrize("place", ['{"x":%s}', '{"params":%s}', '{"params":{"data":%s}}', "%s", '{"bids":[%s]}'])
    def test_brackets_that_do_not_fit_make_the_book_stale(self, text, place):
        assert is_stale(book_of(snapshot(), (place % text).encode()), "malformed")

    def test_nesting_is_followed_to_a_limit_and_no_further(self):
        deep = [b"[" * depth + b"]" * depth for depth in (64, 65, 100_000)]
        assert book_of(snapshot(), b'{"x":%s}' % deep[0]).state == "valid"
        assert is_stale(book_of(snapshot(), b'{"x":%s}' % deep[1]), "malformed")
        assert is_stale(book_of(snapshot(), b'{"x":%s}' % deep[2]), "malformed")
        assert is_stale(book_of(snapshot(), b'{"x":' * 100_000), "malformed")

    def test_a_stale_book_stays_stale_and_says_the_latest_reason(self):
        book = book_of(snapshot(), change(1, 2), b"{")
        assert is_stale(book, "malformed")


EXACT = [
    ("10.0", "10"),
    ("25004", "25004"),
    ("1.0002e6", "1000200"),
    ("3.2e4", "32000"),
    ("2.8e-4", "0.00028"),
    ("1E+5", "100000"),
    ("0.1", "0.1"),
    ("123456789.123456789", "123456789.123456789"),
    ("9223372036854775807", "9223372036854775807"),
    ("922337203685477580.7", "922337203685477580.7"),
    ("0.000000000000000001", "1E-18"),
    ("1.00000000000000000000000000000", "1"),
    ("100000000000000000000000000000e-29", "1"),
    ("0.00000000000000000000000000000012e31", "1.2"),
    ("1e18", "1000000000000000000"),
    ("12.50e-1", "1.25"),
]
TOO_MUCH = ["9223372036854775808", "1e19", "1e400", "1e99999999999", "0.0000000000000000001", "1e-19", "1e-400"]
TOO_MUCH += ["0.12345678901234567891", "12345678901234567890.5", "12345678901234567890123e-1000000000", "1e-9999999999"]


class TestNumbers:
    @pytest.mark.parametrize(("text", "exact"), EXACT)
    def test_every_text_form_is_taken_exactly(self, text, exact):
        for side, sign in (("bids", ""), ("asks", ""), ("bids", "-"), ("asks", "-")):
            levels = {"bids": "[]", "asks": "[]", side: f"[[{sign}{text},{text}]]"}
            message = '{{"change_id":1,"bids":{bids},"asks":{asks}}}'.format(**levels).encode()
            book = book_of(message, numbers=Decimal)
            assert getattr(book, side)() == [(Decimal(sign + exact), Decimal(exact))]
            assert getattr(book_of(message), side)() == [(float(sign + exact), float(exact))]

    @pytest.mark.parametrize("text", TOO_MUCH)
    @pytest.mark.parametrize("level", ["[{},1]", "[-{},1]", "[1,{}]"])
    def test_a_number_that_does_not_fit_makes_the_book_stale(self, text, level):
        message = f'{{"change_id":1,"bids":[],"asks":[{level.format(text)}]}}'.encode()
        book = book_of(message)
        assert is_stale(book, "overflow")
        assert book.apply(snapshot())

    @pytest.mark.parametrize("zero", ["0", "-0", "0.0", "0e5", "0.000e-400", "-0.0E+99999999999", "0e400"])
    def test_zero_is_zero_in_every_text_form(self, zero):
        message = f'{{"change_id":1,"bids":[],"asks":[[{zero},1]]}}'.encode()
        assert book_of(message, numbers=Decimal).best_ask == (0, 1)

    def test_a_finer_number_makes_the_scale_finer_and_changes_none(self):
        book = book_of(snapshot(), numbers=int)
        assert (book.best_bid, book.price_exponent, book.amount_exponent) == ((100, 1), 0, 0)
        book.apply(change(bids=[["new", 99.75, 0.125]]))
        assert (book.price_exponent, book.amount_exponent) == (-2, -3)
        assert book.bids() == [(10000, 1000), (9975, 125), (9900, 2000)]
        assert book.asks() == [(10100, 3000), (10200, 4000)]
        book.apply(change(11, 12, bids=[["delete", 99.75, 0]]))
        assert (book.price_exponent, book.best_bid) == (-2, (10000, 1000))

    @pytest.mark.parametrize("level", [(1e-18, 1), (98, 1e-18)])
    def test_a_scale_too_fine_for_what_is_there_makes_the_book_stale(self, level):
        book = book_of(snapshot(bids=[(100, 100)]), change(bids=[["new", *level]]))
        assert is_stale(book, "overflow") and "63 bits" in book.stale_reason
        assert book.apply(snapshot()) and (book.price_exponent, book.amount_exponent) == (0, 0)

    @given(st.integers(1, 2**63 - 1), st.integers(0, 18))
    def test_floats_are_correctly_rounded(self, mantissa, decimals):
        price = f"{mantissa}e-{decimals}".encode()
        book = book_of(b'{"change_id":1,"bids":[[%s,%s]],"asks":[]}' % (price, price))
        assert book.best_bid == (float(price), float(price))

    @given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?\Z"))
    @example("0." + "0" * 40 + "1e41")
    def test_any_number_is_exact_or_refused(self, text):
        model, book = BookModel(X), wsx.OrderBook(X, numbers=Decimal)
        message = f'{{"change_id":1,"bids":[[{text},1]],"asks":[]}}'.encode()
        assert book.apply(message) == model.apply(message)
        assert book.bids() == model.levels("bids")
        if book.state == "valid":
            assert book.best_bid == (Decimal(text), 1)

    @given(st.text("0123456789.eE+- ", max_size=12))
    def test_what_is_no_number_is_refused(self, text):
        model, book = BookModel(X), wsx.OrderBook(X, numbers=Decimal)
        message = f'{{"change_id":1,"bids":[[{text},1]],"asks":[]}}'.encode()
        assert book.apply(message) == model.apply(message)
        assert (book.stale_cause, book.bids()) == (model.cause, model.levels("bids"))


class TestViews:
    book = book_of(snapshot(bids=[(100, 1), (99.5, 2), (98, 4)], asks=[(101, 3)]))

    def test_the_best_levels_come_first_and_no_more_than_asked_for(self):
        assert self.book.bids(2) == [(100.0, 1.0), (99.5, 2.0)]
        assert self.book.bids(0) == [] and self.book.asks(5) == [(101.0, 3.0)]
        with pytest.raises(ValueError, match="0 or more"):
            self.book.bids(-1)

    def test_iterating_gives_every_level_with_its_side(self):
        levels = [("bids", 100.0, 1.0), ("bids", 99.5, 2.0), ("bids", 98.0, 4.0), ("asks", 101.0, 3.0)]
        assert list(self.book) == levels

    def test_an_iteration_goes_on_over_the_book_as_it_was(self):
        book = book_of(snapshot())
        levels = iter(book)
        book.apply(change(bids=[["delete", 100, 0]]))
        assert next(levels) == ("bids", 100.0, 1.0) and len(list(levels)) == 3

    def test_cumulative_amounts_add_up_from_the_best(self):
        assert self.book.cumulative("bids") == [(100.0, 1.0), (99.5, 3.0), (98.0, 7.0)]
        assert self.book.cumulative("bids", 1) == [(100.0, 1.0)] and self.book.cumulative("asks", 0) == []
        large = [(price, 2**63 - 1) for price in (3, 2, 1)]
        assert book_of(snapshot(bids=large), numbers=int).cumulative("bids")[2] == (1, 3 * (2**63 - 1))

    def test_vwap_is_the_average_price_of_an_amount(self):
        assert self.book.vwap("bids", 1) == 100.0
        assert self.book.vwap("bids", 2) == 99.75
        assert self.book.vwap("bids", 7) == (100 + 2 * 99.5 + 4 * 98) / 7
        assert self.book.vwap("bids", Decimal("0.001")) == 100.0
        assert self.book.vwap("bids", "7.0001") is None and self.book.vwap("asks", 3) == 101.0

    @given(
        st.lists(st.tuples(st.integers(1, 2**62), st.integers(1, 2**62)), min_size=1, unique_by=lambda level: level[0])
    )
    @example([(3, 2**53 + 1), (2, 2**53 + 1), (1, 2**61 + 1)])
    def test_sums_and_averages_are_rounded_once(self, mantissas):
        levels = [(Decimal(price).scaleb(-3), Decimal(amount).scaleb(-5)) for price, amount in sorted(mantissas)[::-1]]
        book = wsx.OrderBook("x")
        book.load(levels, [("9223372036854775.807", "0.00001")])
        total = sum(Fraction(amount) for _, amount in levels)
        paid = sum(Fraction(price) * Fraction(amount) for price, amount in levels)
        assert book.cumulative("bids")[-1] == (float(levels[-1][0]), float(total))
        assert book.vwap("bids", Decimal(int(total * 10**5)).scaleb(-5)) == float(paid / total)

    def test_vwap_is_shown_as_the_books_numbers(self):
        message = snapshot(bids=[(0.3, 1), (0.1, 0.5)], asks=[])
        exact = book_of(message, numbers=Decimal).vwap("bids", Decimal("1.25"))
        assert isinstance(exact, Decimal) and exact == Decimal("0.26")
        assert book_of(message, numbers=int).vwap("bids", 15) == (3 * 10 + 1 * 5) / 15
        assert book_of(message).vwap("bids", 1.25) == 0.26

    @pytest.mark.parametrize("amount", [0, -1, "0.0", float("nan"), float("inf"), "x", "1 ", ""])
    def test_vwap_of_no_amount_is_refused(self, amount):
        with pytest.raises(ValueError, match="number|above 0"):
            self.book.vwap("bids", amount)

    @pytest.mark.parametrize("exponent", ["99999999", "999999999999999999", "400", "-400", "-99999999"])
    @pytest.mark.parametrize("kind", [str, Decimal])
    @pytest.mark.parametrize("numbers", [float, Decimal])
    def test_vwap_of_an_amount_beyond_all_floats_is_refused_at_once(self, exponent, kind, numbers):
        with pytest.raises(ValueError, match="above 0 and within"):
            book_of(snapshot(), numbers=numbers).vwap("bids", kind(f"1e{exponent}"))

    @pytest.mark.parametrize(
        "text", ["1e" + "9" * 30, "9" * 10_000, "0." + "3" * 10_000, "1" + "0" * 10_000 + "e-10000"]
    )
    def test_vwap_of_an_amount_with_very_many_digits_is_refused(self, text):
        with pytest.raises(ValueError, match="above 0 and within"):
            self.book.vwap("bids", text)

    @pytest.mark.parametrize("amount", [10**4299, 10**5000, -(10**5000)], ids=int.bit_length)
    def test_vwap_of_a_very_long_integer_is_refused(self, amount):
        with pytest.raises(ValueError, match="digits|above 0"):
            self.book.vwap("bids", amount)

    def test_vwap_takes_every_float_and_decimals_of_many_digits(self):
        assert self.book.vwap("bids", 1.7976931348623157e308) is None and self.book.vwap("bids", "1e300") is None
        smallest = 5e-324
        assert self.book.vwap("bids", smallest) == self.book.vwap("bids", Decimal(smallest)) == 100.0
        assert self.book.vwap("bids", Decimal(1) / 3) == 100.0

    @pytest.mark.parametrize("call", ["vwap", "cumulative", "levels"])
    def test_a_side_is_bids_or_asks(self, call):
        with pytest.raises(ValueError, match='"bids" or "asks"'):
            getattr(self.book, call)("buy", 1)

    def test_levels_are_an_array_of_floats_that_keeps_what_it_shows(self):
        book = book_of(snapshot(bids=[(100, 1), (99.5, 2)]))
        levels = book.levels("bids")
        view = memoryview(levels)
        assert (view.shape, view.format, view.readonly, len(levels)) == ((2, 2), "d", True, 2)
        book.apply(change(bids=[["delete", 100, 0], ["change", 99.5, 7]]))
        book.mark_stale("over")
        del levels, book
        assert view.tolist() == [[100.0, 1.0], [99.5, 2.0]]

    def test_levels_of_an_exact_book_are_mantissas(self):
        for numbers in (int, Decimal):
            book = book_of(snapshot(asks=[(100.5, 2), (101, 0.25)]), numbers=numbers)
            view = memoryview(book.levels("asks", 2))
            assert (view.format, view.tolist()) == ("q", [[1005, 200], [1010, 25]])

    def test_an_array_may_be_short_or_empty_and_is_never_written(self):
        assert memoryview(self.book.levels("bids", 1)).tolist() == [[100.0, 1.0]]
        assert memoryview(self.book.levels("bids", 0)).shape == (0, 2) and bytes(wsx.OrderBook(X).levels("asks")) == b""
        with pytest.raises(TypeError, match="read-write"):
            io.BytesIO(b"x").readinto(self.book.levels("bids"))

    def test_an_array_is_not_given_to_whom_it_would_be_transposed(self):
        view = ctypes.create_string_buffer(256)
        get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
        levels, strides = ctypes.py_object(self.book.levels("bids")), 0x10 | 0x08
        for order in (0x20 | strides, 0x80 | strides):  # of rows, of either
            assert get(levels, view, order) == 0
            release(view)
        with pytest.raises(BufferError, match="C-contiguous"):
            get(levels, view, 0x40 | strides)

    def test_numpy_reads_an_array_without_a_copy(self):
        numpy = pytest.importorskip("numpy")
        levels = self.book.levels("bids")
        array = numpy.asarray(levels)
        assert array.tolist() == [[100.0, 1.0], [99.5, 2.0], [98.0, 4.0]] and not array.flags.owndata
        assert numpy.asarray(self.book.levels("asks", 0)).shape == (0, 2)

    def test_a_book_says_what_it_is(self):
        assert repr(book_of(snapshot())) == f"<OrderBook {X} valid: (100.0, 1.0) / (101.0, 3.0)>"
        assert repr(wsx.OrderBook(X)) == f"<OrderBook {X} empty: no message yet>"
        assert "stale: a change came before any snapshot" in repr(book_of(change()))

    def test_its_numbers_are_one_of_three_kinds(self):
        with pytest.raises(ValueError, match="float, int or Decimal"):
            wsx.OrderBook(X, numbers=str)
        assert wsx.OrderBook[Decimal].__args__ == (Decimal,)
        assert (wsx.OrderBook(X).numbers, wsx.OrderBook(X, numbers=int).numbers) == (float, int)


class TestGivenLevels:
    def test_levels_are_loaded_and_updated_in_any_number_type(self):
        book = wsx.OrderBook("x", numbers=Decimal)
        assert book.load([("1.10", 2), (Decimal("1.2"), 0.1)], [[3, "4e-1", "more"]], change_id=5, timestamp=7)
        assert book.bids() == [(Decimal("1.2"), Decimal("0.1")), (Decimal("1.1"), 2)]
        assert (book.asks(), book.change_id, book.timestamp) == ([(3, Decimal("0.4"))], 5, 7)
        assert book.update([(1.2, 0)], [("2.5", 1)], change_id=6, prev_change_id=5)
        assert (book.best_bid, book.best_ask, book.change_id) == ((Decimal("1.1"), 2), (Decimal("2.5"), 1), 6)
        assert book.update([], []) and (book.change_id, book.timestamp) == (6, None)

    def test_a_number_is_what_it_is_however_it_shows_itself(self):
        class Named:
            def __repr__(self):
                return "a name"

            def __str__(self):
                return "7"

            def encode(self):
                return b"7"

        kinds = [type(kind.__name__, (Named, kind), {}) for kind in (int, float, str, Decimal)]
        book = wsx.OrderBook("x")
        assert book.load([(kinds[0]("5"), kinds[3]("1.5"))], [(kinds[1](6.5), kinds[2]("2"))])
        assert (book.bids(), book.asks(), book.vwap("asks", kinds[0](2))) == ([(5.0, 1.5)], [(6.5, 2.0)], 6.5)

    def test_amount_0_removes_a_level_whether_it_is_there_or_not(self):
        book = wsx.OrderBook("x")
        book.load([(1, 1), (2, 1)], [])
        assert book.update([(2, "0.00"), (5, 0)], [(7, 0)]) and book.bids() == [(1.0, 1.0)]

    def test_the_callers_chain_is_checked_where_it_gives_one(self):
        book = wsx.OrderBook("x")
        book.load([], [], change_id=5)
        assert not book.update([], [], change_id=9, prev_change_id=8)
        assert is_stale(book, "gap")
        assert not book.update([(1, 1)], []) and is_stale(book, "gap")
        assert book.load([(1, 1)], []) and book.change_id is None

    def test_an_update_before_anything_was_loaded_makes_the_book_stale(self):
        book = wsx.OrderBook("x")
        assert not book.update([(1, 1)], [], prev_change_id=0) and is_stale(book, "no snapshot")

    @pytest.mark.parametrize(
        ("levels", "cause"),
        [
            ([(1, -1)], "bad amount"),
            ([(9, 1)], "crossed"),
            ([("1e-19", 1)], "overflow"),
            ([(2**63, 1)], "overflow"),
        ],
    )
    def test_what_contradicts_the_book_makes_it_stale(self, levels, cause):
        book = wsx.OrderBook("x")
        book.load([(1, 1)], [(8, 1)])
        assert not book.update(levels, []) and is_stale(book, cause)

    @pytest.mark.parametrize(
        ("number", "shown"),
        [
            ("1e99999999", "1E+99999999"),
            (Decimal("-1e-99999999"), "-1E-99999999"),
            (10**4000, "1E+4000"),
            ("123456789012345678901234", "(beyond 63 bits)"),
            ("9" * 100_000, "(beyond 63 bits)"),
            ("1e" + "9" * 100_000, "(beyond 63 bits)"),
        ],
        ids=lambda value: str(value)[:12],
    )
    def test_a_number_beyond_every_scale_makes_the_book_stale_at_once(self, number, shown):
        book = wsx.OrderBook("x")
        for level, told in (((number, 2), f"bids {shown} in"), ((2, number), f"amount {shown}: more digits")):
            book.load([(1, 1)], [])
            assert not book.update([level], []) and is_stale(book, "overflow")
            assert told in book.stale_reason

    def test_a_reason_without_an_id_says_so(self):
        book = wsx.OrderBook("x")
        assert not book.load([(1, 1), (1, 2)], [])
        assert book.stale_reason == "a level came twice in a message without an id"
        book.load([], [])
        assert not book.update([], [], prev_change_id=4) and book.stale_cause == "gap"
        assert book.stale_reason == (
            "a change without an id follows 4, but the book is one without an id: something was missed"
        )

    def test_loading_amount_0_makes_the_book_stale(self):
        book = wsx.OrderBook("x")
        assert not book.load([(1, 0)], []) and is_stale(book, "bad amount")

    @pytest.mark.parametrize(
        ("levels", "error"),
        [
            ([("one", 1)], ValueError),
            ([(1, float("nan"))], ValueError),
            ([(Decimal("Infinity"), 1)], ValueError),
            ([(" 1", 1)], ValueError),
            ([(1,)], ValueError),
            ([(None, 1)], TypeError),
            (5, TypeError),
        ],
    )
    def test_what_is_no_level_raises_and_leaves_the_book_stale(self, levels, error):
        book = wsx.OrderBook("x")
        book.load([(1, 1)], [])
        with pytest.raises(error):
            book.update([(2, 2)], levels)
        assert is_stale(book, "refused") and error.__name__ in book.stale_reason

    @pytest.mark.parametrize(
        ("change_id", "error"),
        [(-1, ValueError), (2**63, OverflowError), ("5", TypeError), (5.0, TypeError), (Decimal(5), TypeError)],
    )
    def test_what_is_no_id_raises(self, change_id, error):
        with pytest.raises(error):
            wsx.OrderBook("x").load([], [], change_id=change_id)

    def test_levels_may_come_from_code_that_uses_other_books(self):
        first, second = book_of(snapshot()), wsx.OrderBook("x")

        def levels():
            for price in (1, 2, 3):
                assert first.apply(change(first.change_id, first.change_id + 1, bids=[["new", price, 1]]))
                yield price, price

        assert second.load(levels(), [])
        assert second.bids() == [(3.0, 3.0), (2.0, 2.0), (1.0, 1.0)] and first.depth == (5, 2)


class TestChecksum:
    def book(self, checksum):
        return wsx.OrderBook("x", checksum=checksum)

    def test_a_checksum_is_computed_from_the_book_as_it_is_then(self):
        book = self.book(lambda book: sum(price for price, _ in book.bids()))
        assert book.load([(1, 1), (2, 1)], [], checksum=3)
        assert book.update([(1, 0)], [], checksum=2)
        assert book.update([(5, 1)], []) and book.state == "valid"

    def test_another_checksum_makes_the_book_stale(self):
        book = self.book(lambda book: 7)
        assert not book.load([(1, 1)], [], checksum=8)
        assert is_stale(book, "checksum") and book.stale_reason == "the exchange's checksum is 8, the book's 7"

    def test_a_checksum_that_raises_leaves_the_book_stale(self):
        book = self.book(lambda book: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            book.load([(1, 1)], [], checksum=8)
        assert is_stale(book, "refused")

    def test_a_checksum_function_may_itself_say_that_the_book_is_stale(self):
        book = self.book(lambda book: book.mark_stale("seen"))
        assert not book.load([(1, 1)], [], checksum=None if book is None else 0)
        assert is_stale(book, "told")

    def test_nothing_computes_a_checksum_where_no_function_was_given(self):
        book = wsx.OrderBook("x")
        with pytest.raises(ValueError, match="OrderBook"):
            book.load([], [], checksum=1)
        with pytest.raises(TypeError, match="called with the book"):
            wsx.OrderBook("x", checksum=5)


SHORT_OF_MEMORY = """
import resource
from wsx import OrderBook

book = OrderBook("x")
book.load([(1, 1)], [])
message = b'{"change_id":9,"asks":[],"bids":[%s]}' % b",".join([b"[1,1]"] * 100_000)
with open("/proc/self/statm") as sizes:
    used = int(sizes.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
try:
    book.apply(message)
except MemoryError as error:
    print(f"{book.state}, {book.stale_cause}: {error}")
"""


class TestBounds:
    def test_a_side_holds_so_many_levels_and_no_more(self):
        full = [(price, 1) for price in range(65_536)]
        book = wsx.OrderBook("x")
        assert book.load([], full) and book.depth == (0, 65_536)
        assert not book.update([], [(70_000, 1)]) and is_stale(book, "too many levels")
        assert not book.load([], [*full, (70_000, 1)]) and is_stale(book, "too many levels")
        assert not book.load(full, [(price + 70_000, 1) for price in range(65_537)])
        assert book.load([(1, 1)], [])

    def test_a_message_holds_so_many_levels_and_no_more(self):
        message = b'{"change_id":1,"asks":[],"bids":[%s]}' % b",".join([b"[1,1]"] * 131_073)
        assert is_stale(book_of(message), "too many levels")

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
    def test_without_memory_for_a_message_the_book_is_stale(self):
        if "asan" in os.environ.get("LD_PRELOAD", ""):
            pytest.skip("the sanitizer needs memory too")
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
        command = [sys.executable, "-c", SHORT_OF_MEMORY]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert result.stdout == "stale, no memory: no memory for the levels of a message; x is stale\n", result.stderr

    def test_a_whole_book_may_come_in_any_order(self):
        prices = [price / 2 for price in range(-3000, 3000)]
        for seed in range(3):
            random.Random(seed).shuffle(prices)
            book = wsx.OrderBook("x")
            book.load([(price, 1) for price in prices if price < 0], [(price, 1) for price in prices if price >= 0])
            assert [price for _, price, _ in book] == sorted(prices, key=lambda price: (price >= 0, abs(price)))

    def test_changes_anywhere_in_a_deep_book_are_applied(self):
        random_ = random.Random(3)
        book, model = wsx.OrderBook("x", numbers=int), dict.fromkeys(range(0, 4000, 2), 1)
        book.load(model.items(), [])
        for amount in range(1, 4000):
            price = random_.randrange(4000)
            assert book.update([(price, amount * (price % 3))], [])
            model[price] = amount * (price % 3)
        assert book.bids() == sorted(((price, size) for price, size in model.items() if size), reverse=True)


# ---- against the model ----


def channels(folder):
    """The book messages of each file and channel."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            message = json.loads(line)
            is_told = isinstance(message, dict) and message.get("method") == "subscription"
            params = message["params"] if is_told else {"channel": ""}
            if params["channel"].startswith("book."):
                found.setdefault((path.name, params["channel"]), []).append(line)
    return found


def test_every_captured_book_is_followed_as_the_model_does(captures):
    found = channels(captures)
    if not found:
        pytest.skip(f"no book messages in {captures}")
    for (_, channel), messages in found.items():
        follow(messages, channel.split(".")[1])


def is_chained(messages):
    """Does a snapshot come first, and does every change follow the message before it?"""
    data = [json.loads(message)["params"]["data"] for message in messages]
    links = [(before["change_id"], after.get("prev_change_id")) for before, after in itertools.pairwise(data)]
    return data[0].get("type") == "snapshot" and all(told == follows for told, follows in links)


def test_captured_books_whose_messages_follow_each_other_stay_valid(captures):
    found = {key: messages for key, messages in channels(captures).items() if is_chained(messages)}
    if not found:
        pytest.skip(f"no whole books in {captures}")
    for (_, channel), messages in found.items():
        assert follow(messages, channel.split(".")[1]).state == "valid"


@pytest.fixture(scope="module")
def market():
    """Book messages by instrument."""
    found = {}
    for message in Market(seed=5).capture(2, 3000).messages[1:]:
        params = json.loads(message)["params"]
        if params["channel"].startswith("book."):
            found.setdefault(params["data"]["instrument_name"], []).append(message)
    return found


def test_made_up_markets_are_followed_to_the_end(market):
    for instrument, messages in market.items():
        assert follow(messages, instrument).state == "valid"


def test_each_book_takes_its_own_messages_from_a_common_stream(market):
    books = {instrument: wsx.OrderBook(instrument) for instrument in market}
    for messages in market.values():
        for message in messages:
            assert sum(book.apply(message) for book in books.values()) == 1


def test_a_lost_a_repeated_and_a_swapped_message_are_seen_and_the_next_snapshot_heals(market):
    messages = market[X][:30]
    for place in range(1, 29):
        for faulty in (
            messages[:place] + messages[place + 1 :],
            messages[: place + 1] + messages[place:],
            messages[:place] + [messages[place + 1], messages[place]] + messages[place + 2 :],
        ):
            book = follow(faulty, X)
            assert book.state == "stale"
            assert book.apply(messages[0])


PRICES = {
    "bids": ["1", "2", "2.0", "2.5", "3", "3e0", "-1", "-0.5", "0", "1e-9", "28.75E-1"],
    "asks": ["4", "4.25", "5", "0.5e1", "50e-1", "6", "7.125", "7125.0e-3", "1e3"],
}
AMOUNTS = ["1", "1.0", "2.5", "3e2", "1e-3", "10", "10.00", "7"]
ODD_AMOUNTS = ["0", "0.0", "-1", "1e17", "1e30", '"1"', "null", "[]", "01", "{"]
CHANNELS = [f'"book.{X}.raw"', f'"book.{X}"', f'"book.{X}X.raw"', '"book.ETH-PERPETUAL.raw"', '"x"', "null", "5"]
ODD_MEMBERS = [
    '"bids":[]',
    f'"instrument_name":"{X}"',
    '"instrument_name":"ETH-PERPETUAL"',
    '"x":{"y":[1]}',
    '"timestamp":null',
    '"timestamp":1.5',
    '"type":"odd"',
]


def level_texts(random, side, kind):
    """The text of one side; mostly what belongs there."""
    found = []
    actions = ["new"] if kind == "snapshot" else ["new", "new", "change", "delete"]
    for price in {float(price): price for price in random.sample(PRICES[side], random.randint(0, 4))}.values():
        if oddly(random):
            price = random.choice(PRICES["bids" if side == "asks" else "asks"])
        amount = random.choice(ODD_AMOUNTS if oddly(random) else AMOUNTS)
        action = random.choice(["odd", "new", "delete"] if oddly(random) else actions)
        found.append(f"[{price},{amount}]" if (kind == "whole") != oddly(random) else f'["{action}",{price},{amount}]')
    return f"[{','.join(found)}]"


def oddly(random):
    return random.random() < 0.02


def stream(random):
    """Messages that mostly continue the chain, and then do not."""
    last = 4
    for number in range(random.randint(1, 15)):
        kind = random.choice(["snapshot", "whole", "change", "change", "change"] if number else ["snapshot"])
        prev, change_id = last, last + 1
        if oddly(random):
            prev, change_id = random.choice([(0, last + 1), (last + 1, last + 2), (last - 1, last), (last, 0)])
        members = [f'"{side}":{level_texts(random, side, kind)}' for side in ("bids", "asks")]
        members += [f'"change_id":{change_id}'] + ([f'"prev_change_id":{prev}'] if kind == "change" else [])
        members += [f'"type":"{kind}"'] if kind != "whole" and not oddly(random) else []
        members += [random.choice(ODD_MEMBERS)] if oddly(random) else []
        random.shuffle(members)
        del members[: oddly(random) * random.randint(1, 3)]
        data = f"{{{','.join(members)}}}"
        envelope = [f'"channel":{CHANNELS[0] if not oddly(random) else random.choice(CHANNELS)}', f'"data":{data}']
        envelope += [random.choice(envelope)] if oddly(random) else []
        random.shuffle(envelope)
        yield (data if random.random() < 0.5 else f'{{"params":{{{",".join(envelope)}}}}}').encode()
        last = change_id


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=True))
def test_random_streams_are_followed_as_the_model_does(numbers):
    follow(stream(numbers), X)


@st.composite
def good_streams(draw):
    """What an honest exchange sends: a snapshot, then changes of a book that is never crossed."""
    sides = {"bids": {}, "asks": {}}
    messages, last = [], 0
    for number in range(draw(st.integers(1, 25))):
        edits = {"bids": [], "asks": []}
        for _ in range(draw(st.integers(0, 6))):
            side = draw(st.sampled_from(["bids", "asks"]))
            price = draw(st.integers(1, 400)) / 4 * (-1 if side == "bids" else 1)
            amount = draw(st.integers(1, 10**6)) / draw(st.sampled_from([1, 10, 1000]))
            there = price in sides[side]
            if there and number and draw(st.booleans()):
                del sides[side][price]
                edits[side].append(["delete", price, 0.0])
            elif number or not there:
                sides[side][price] = amount
                edits[side].append(["change" if there else "new", price, amount])
        step = draw(st.integers(1, 300))
        ids = {"change_id": last + step} | (
            {"prev_change_id": last, "type": "change"} if number else {"type": "snapshot"}
        )
        last += step
        messages.append(encoded({**edits, **ids}))
    return messages, sides


@settings(max_examples=60, deadline=None)
@given(good_streams())
def test_an_honest_stream_is_followed_to_the_book_it_describes(stream):
    messages, sides = stream
    book = follow(messages, X)
    assert book.state == "valid"
    assert {float(price): float(amount) for price, amount in book.bids()} == sides["bids"]
    assert {float(price): float(amount) for price, amount in book.asks()} == sides["asks"]
