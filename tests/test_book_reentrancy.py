"""The order book where a caller's own code, run in the middle of a call, changes the book."""

import contextlib
import gc
import json
import sys
from decimal import Decimal

import pytest

import wsx

X = "BTC-PERPETUAL"


class Number:
    """Changes the book before it says what it stands for."""

    def __init__(self, number, change):
        self.number, self.change = number, change

    def __index__(self):
        self.change()
        return self.number


def deep(numbers=float, levels=200):
    book = wsx.OrderBook(X, numbers=numbers)
    assert book.load([(1000 - place, 1) for place in range(levels)], [(2000 + place, 1) for place in range(levels)])
    return book


def message(change_id, *bids, prev_change_id=None):
    ids = {"change_id": change_id} | ({} if prev_change_id is None else {"prev_change_id": prev_change_id})
    return json.dumps({**ids, "bids": [["new", price, 1] for price in bids], "asks": []}).encode()


CHANGES = {
    "stale": lambda book: book.mark_stale("over"),
    "short": lambda book: book.load([(7, 1)], [(8, 1)]),
    "long": lambda book: book.load(
        [(-place, 1) for place in range(60_000)], [(place, 1) for place in range(1, 60_000)]
    ),
    "finer": lambda book: book.update([("7.12345", "1.001")], []),
}
READS = {
    "bids": lambda book, n: book.bids(n),
    "asks": lambda book, n: book.asks(n),
    "cumulative": lambda book, n: book.cumulative("bids", n),
    "levels": lambda book, n: memoryview(book.levels("asks", n)).tolist(),
}


@pytest.mark.parametrize("numbers", [float, int, Decimal])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", READS)
def test_a_number_of_levels_that_changes_the_book_is_answered_from_the_book_as_it_is_then(read, change, numbers):
    book, other = deep(numbers), deep(numbers)
    shown = READS[read](book, Number(150, lambda: CHANGES[change](book)))
    CHANGES[change](other)
    assert shown == READS[read](other, 150)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("numbers", [float, int, Decimal])
def test_an_amount_that_changes_the_book_is_priced_in_the_book_as_it_is_then(numbers, change):
    book, other = deep(numbers), deep(numbers)
    price = book.vwap("bids", Number(150, lambda: CHANGES[change](book)))
    CHANGES[change](other)
    assert price == other.vwap("bids", 150)


@pytest.mark.parametrize("change", CHANGES)
def test_levels_that_change_the_book_while_they_are_taken_are_applied_to_the_book_as_it_is_then(change):
    book, other = deep(Decimal), deep(Decimal)
    book.update([(3, 4), (Number(5, lambda: CHANGES[change](book)), 6)], [])
    CHANGES[change](other)
    other.update([(3, 4), (5, 6)], [])
    assert (book.state, list(book)) == (other.state, list(other))


def test_a_chain_is_checked_against_the_book_as_its_levels_left_it():
    book = wsx.OrderBook(X)
    book.load([], [], change_id=5)
    inner = Number(1, lambda: book.update([], [], change_id=6, prev_change_id=5))
    assert not book.update([(inner, 1)], [], change_id=6, prev_change_id=5)
    assert book.stale_cause == "duplicate"


def test_an_id_that_changes_the_book_is_an_id_all_the_same():
    book = wsx.OrderBook(X)
    assert book.load([(1, 1)], [], change_id=Number(5, lambda: book.mark_stale("over"))) and book.change_id == 5


def test_a_checksum_may_apply_messages_to_its_own_book():
    book = wsx.OrderBook(X, checksum=lambda book: book.apply(message(7, 3, prev_change_id=6)))
    assert book.load([(1, 1)], [], change_id=6, checksum=True)
    assert (book.change_id, book.bids()) == (7, [(3.0, 1.0), (1.0, 1.0)])
    assert not book.update([(2, 1)], [], change_id=8, checksum=True) and book.stale_cause == "out of order"


def test_a_checksum_without_end_ends_with_a_stale_book():
    book = wsx.OrderBook(X, checksum=lambda book: book.update([], [], checksum=1))
    with pytest.raises(RecursionError):
        book.load([(1, 1)], [], checksum=1)
    assert (book.state, book.depth) == ("stale", (0, 0))


class TestTrouble:
    """What may go wrong while a book says why it is stale."""

    def test_an_error_that_cannot_be_shown_leaves_the_book_stale(self):
        class Mute(Exception):
            def __repr__(self):
                raise LookupError("no words")

        def levels():
            yield 1, 1
            raise Mute

        book = deep()
        with pytest.raises(LookupError):
            book.update(levels(), [])
        assert (book.state, book.stale_cause, book.depth) == ("stale", "refused", (0, 0))

    def test_a_checksum_is_printed_only_after_its_book_is_stale(self):
        seen = []

        class Checksum:
            def __ne__(self, other):
                return True

            def __format__(self, how):
                seen.append((book.state, book.bids()))
                raise LookupError("no words")

        book = wsx.OrderBook(X, checksum=lambda book: 1)
        with pytest.raises(LookupError):
            book.load([(1, 1)], [], checksum=Checksum())
        assert seen == [("stale", [])] and (book.state, book.stale_cause) == ("stale", "refused")

    def test_levels_whose_checksum_nothing_computes_were_not_taken_and_the_book_is_stale(self):
        book = deep()
        with pytest.raises(ValueError, match="give OrderBook the function"):
            book.update([(1, 1)], [], checksum=5)
        assert (book.state, book.stale_cause) == ("stale", "refused")


@contextlib.contextmanager
def collecting(callback):
    """The garbage collector runs wherever it can, and calls back each time."""

    def call(phase, info):
        if phase == "stop":
            callback()

    before = gc.get_threshold()
    gc.callbacks.append(call)
    gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(call)


WHOLE_READS = READS | {
    "best_bid": lambda book, n: book.best_bid,
    "best_ask": lambda book, n: book.best_ask,
    "vwap": lambda book, n: book.vwap("bids", 40),
    "iteration": lambda book, n: list(book),
}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the garbage collector runs between instructions only")
class TestGarbageCollector:
    @pytest.mark.parametrize("numbers", [float, int, Decimal])
    @pytest.mark.parametrize("read", WHOLE_READS)
    def test_what_is_shown_is_the_book_at_one_moment(self, read, numbers):
        small, large = [(place, 100 + place) for place in (1, 2)], [(place, 1) for place in range(3, 70)]
        books = [small, large, [(f"{price}.5", amount) for price, amount in large]]
        possible = []
        for levels in books:
            book = wsx.OrderBook(X, numbers=numbers)
            book.load(levels, [(90 + price, amount) for price, amount in small])
            possible.append(WHOLE_READS[read](book, 60))
        turn = iter(range(10**9))

        def change():
            book.mark_stale("its scale begins anew")
            book.load(books[next(turn) % 3], [(90 + price, amount) for price, amount in small])

        with collecting(change):
            shown = [WHOLE_READS[read](book, 60) for _ in range(500)]
        assert next(turn) > 0 and all(one in possible for one in shown)

    def test_a_message_that_is_not_believed_is_never_seen_half_applied(self):
        seen, book = set(), wsx.OrderBook(X, numbers=Decimal)
        with collecting(lambda: seen.add((book.state, len(book.bids())))):
            for _ in range(50):
                assert book.load([(3, 1), (2, 1), (1, 1)], [])
                assert not book.update([(5, 1), (6, 1), (7, -1)], [])
                assert not book.bids()
        assert seen <= {("empty", 0), ("valid", 3), ("stale", 0)} and ("stale", 0) in seen

    @pytest.mark.parametrize("wrong", [b"{", message(9, prev_change_id=8), message(2, prev_change_id=1)[:-1] + b"]"])
    def test_a_book_that_is_loaded_while_it_becomes_stale_is_one_or_the_other(self, wrong):
        book, seen = deep(Decimal, levels=3), []
        with collecting(lambda: book.load([(1, 1)], [], change_id=1)):
            for _ in range(300):
                assert not book.apply(wrong)
                seen.append((book.state, book.depth))
        assert set(seen) <= {("stale", (0, 0)), ("valid", (1, 0))}
