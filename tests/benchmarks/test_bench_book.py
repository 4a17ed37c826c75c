"""What one change of an order book costs, from the message's bytes, beside parsing it and beside Python's own book.

Every round applies 1000 changes in one Python loop: the table's microseconds a round are nanoseconds a change.
It shows the made-up market's changes near the best price; a change far from it moves more of the array.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

import wsx

pytest.importorskip("sortedcontainers")

import orjson

from bench.book import INSTRUMENT, SortedBook, round_and_round

pytestmark = pytest.mark.benchmark(group="a book change (us a round are ns a change)", warmup=True)

CHANGES = 1000


def apply_often(apply: Callable[[bytes], object], following: Callable[[], bytes]) -> None:
    for _ in repeat(None, CHANGES):
        apply(following())


def test_a_change_applied(benchmark: Any) -> None:
    book = wsx.OrderBook(INSTRUMENT)
    benchmark(apply_often, book.apply, round_and_round(book).__next__)
    assert book.state == "valid"


def test_a_change_parsed_by_orjson(benchmark: Any) -> None:
    benchmark(apply_often, orjson.loads, round_and_round().__next__)


def test_a_change_parsed_and_kept_in_sorted_dicts(benchmark: Any) -> None:
    book = SortedBook()
    benchmark(apply_often, book.apply, round_and_round(book).__next__)


def test_a_snapshot_of_2000_levels_a_side(benchmark: Any) -> None:
    levels = ",".join(f'["new",{{}}{price}.5,{price * 10}.0]' for price in range(1, 2001))
    bids, asks = levels.format(*repeat("-", 2000)), levels.format(*repeat("", 2000))
    message = f'{{"type":"snapshot","change_id":1,"bids":[{bids}],"asks":[{asks}]}}'.encode()
    assert benchmark(wsx.OrderBook(INSTRUMENT).apply, message)


def test_the_best_bid(benchmark: Any) -> None:
    book = wsx.OrderBook(INSTRUMENT)
    book.load([(76914.5, 10)], [])
    benchmark(lambda: [book.best_bid for _ in repeat(None, CHANGES)])
