"""The order book against dicts of fractions, with every form in which a number can be written.

Here the model is about numbers and levels that a caller gives; the rules of messages are in book_model.py.
"""

import json
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from book_model import follow
from hypothesis import given, settings
from hypothesis import strategies as st

import wsx

NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
LIMIT = 2**63 - 1
X = "BTC-PERPETUAL"


class Stale(Exception):
    pass


class Refused(Exception):
    pass


def read(text):
    """(digits, exponent) of a number as JSON writes it, without zeros at its end."""
    parts = NUMBER.fullmatch(text)
    if not parts:
        raise Refused(text)
    sign, whole, fraction, exponent = parts.groups()
    digits = (whole + (fraction or "")).lstrip("0")
    exponent = int(exponent or 0) - len(fraction or "") + len(digits) - len(digits.rstrip("0"))
    return (int(sign + digits.rstrip("0")), exponent) if digits else (0, 0)


class Model:
    """Sides as dicts of fractions, and how many decimals a price and an amount have by now."""

    def __init__(self):
        self.state = "empty"
        self.begin()

    def begin(self):
        self.sides = {"bids": {}, "asks": {}}
        self.decimals = {"price": 0, "amount": 0}

    def give(self, is_load, bids, asks):
        """True, False for what makes it stale, None for what is refused."""
        try:
            rows = [(side, *map(read, level)) for side, levels in (("bids", bids), ("asks", asks)) for level in levels]
            return self.follow(is_load, rows)
        except (Stale, Refused) as ended:
            self.state = "stale"
            self.begin()
            return None if isinstance(ended, Refused) else False

    def follow(self, is_load, rows):
        if self.state != "valid" and not is_load:
            if self.state == "empty":
                raise Stale
            return False
        if is_load:
            self.sides = {"bids": {}, "asks": {}}
        for side, price, amount in reversed(rows) if is_load else rows:
            self.put(is_load, self.sides[side], self.fit("price", *price), self.fit("amount", *amount))
        if all(self.sides.values()) and max(self.sides["bids"]) >= min(self.sides["asks"]):
            raise Stale
        self.state = "valid"
        return True

    def put(self, is_load, levels, price, amount):
        if amount < 0 or (is_load and (amount == 0 or price in levels)):
            raise Stale
        levels[price] = amount
        if amount == 0:
            del levels[price]

    def fit(self, what, digits, exponent):
        """The number, where it and all others fit into 63 bits with as many decimals as it needs."""
        if digits and not -18 <= exponent <= 18:
            raise Stale
        self.decimals[what] = max(self.decimals[what], -exponent)
        number = digits * Fraction(10) ** exponent
        levels = [level for side in self.sides.values() for level in side.items()]
        held = [level[what == "amount"] for level in levels]
        if any(abs(one) * 10 ** self.decimals[what] > LIMIT for one in [number, *held]):
            raise Stale
        return number


def written(number, form, zeros):
    """The same number in another form."""
    number, exponent = read(number)
    sign = "-" if number < 0 or (number == 0 and form % 2) else ""
    digits, exponent = str(abs(number)) + "0" * (zeros if number else 0), exponent - zeros
    forms = [
        f"{sign}{digits}e{exponent}",
        f"{sign}{digits}E{exponent:+04d}",
        f"{sign}{digits[0]}.{digits[1:] or 0}e{exponent + len(digits) - 1}",
        f"{sign}0.{digits}E{exponent + len(digits)}",
        f"{sign}{Decimal(digits).scaleb(exponent):f}",
        f"{sign}0.00{digits}e+{exponent + len(digits) + 2}"
        if exponent + len(digits) + 2 >= 0
        else f"{sign}{digits}e{exponent}",
    ]
    return forms[form]


ORDINARY = ["1", "2", "2.5", "3", "10", "0.1", "0.00001", "32000", "28.75", "1000200", "-1", "-0.5", "0"]
ODD = ["1e18", "9223372036854775807", "9223372036854775808", "1e-18", "1e-19", "1e19", "1e99999999", "-1e-99999999"]
ODD += [
    "1e" + "9" * 40,
    "0e999999999999",
    "-0.0",
    "-0e-7",
    "0." + "0" * 60 + "1e61",
    "1" + "0" * 60 + "e-60",
    "0.10",
    "1e0",
]
NO_NUMBERS = [
    "+1",
    "01",
    "-01",
    "00",
    "1.",
    ".5",
    "1e",
    "1e+",
    "",
    " 1",
    "1 ",
    "1_0",
    "0x1",
    "NaN",
    "Infinity",
    "-",
    "١",
    "1,5",
]
forms = st.builds(written, st.sampled_from(ORDINARY), st.integers(0, 5), st.integers(0, 25))
texts = st.one_of(forms, forms, forms, forms, forms, forms, st.sampled_from(ODD))
prices = {"bids": texts, "asks": texts.map(lambda text: text if text.startswith("-") or "e" in text else "4" + text)}


def levels(side, numbers=prices):
    return st.lists(st.tuples(numbers[side], texts), max_size=5)


given_messages = st.lists(st.tuples(st.booleans(), levels("bids"), levels("asks")), min_size=1, max_size=8)


@settings(max_examples=500, deadline=None)
@given(given_messages)
def test_given_levels_are_taken_as_the_model_takes_them(messages):
    book, model = wsx.OrderBook("x", numbers=Decimal), Model()
    for message in messages:
        assert (book.load if message[0] else book.update)(*message[1:]) == model.give(*message)
        assert book.state == model.state
        for side in ("bids", "asks"):
            best_first = sorted(model.sides[side].items(), reverse=side == "bids")
            assert [tuple(map(Fraction, level)) for level in getattr(book, side)()] == best_first


@given(st.sampled_from(NO_NUMBERS), st.booleans(), st.sampled_from(["load", "update"]))
def test_what_is_no_number_is_refused_in_every_place(text, is_price, call):
    book, model = wsx.OrderBook("x"), Model()
    book.load([("1", "1")], [])
    level = (text, "1") if is_price else ("1", text)
    assert model.give(call == "load", [level], []) is None
    with pytest.raises(ValueError, match="not a number"):
        getattr(book, call)([level], [])
    assert (book.state, book.stale_cause, book.depth) == ("stale", "refused", (0, 0))


@given(st.sampled_from(ORDINARY), st.integers(0, 5), st.integers(0, 5), st.integers(0, 30), st.integers(0, 30))
def test_a_price_in_another_form_is_the_same_level(number, form, other_form, zeros, other_zeros):
    first, second = written(number, form, zeros), written(number, other_form, other_zeros)
    book = wsx.OrderBook("x", numbers=Decimal)
    assert book.load([], [(first, "1")]) and book.update([], [(second, "2.50")])
    assert book.asks() == [(Decimal(number), Decimal("2.5"))]
    assert book.update([], [(first, "-0.0e5")]) and book.asks() == []
    message = b'{"change_id":%d,"prev_change_id":%d,"bids":[],"asks":[["%s",%s,1]]}'
    assert book.apply(b'{"change_id":1,"bids":[],"asks":[[%s,3]]}' % first.encode())
    assert book.apply(message % (2, 1, b"change", second.encode())) and book.best_ask[1] == 1
    assert book.apply(message % (3, 2, b"delete", first.encode())) and book.asks() == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(levels("bids"), levels("asks")), min_size=1, max_size=6), st.data())
def test_messages_with_every_form_of_number_are_followed_as_the_model_does(sides, data):
    messages = []
    for number, (bids, asks) in enumerate(sides):
        actions = st.sampled_from(["new", "change", "delete"] if number else ["new"])
        rows = [[f'["{data.draw(actions)}",{price},{amount}]' for price, amount in side] for side in (bids, asks)]
        head = f'"change_id":{number},"type":"change","prev_change_id":{number - 1}' if number else '"change_id":0'
        messages.append(f'{{{head},"bids":[{",".join(rows[0])}],"asks":[{",".join(rows[1])}]}}'.encode())
        assert json.loads(messages[-1])
    follow(messages, X)
