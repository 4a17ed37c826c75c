"""What is subscribed, what is unsure, and how many channels go into a message."""

import pytest

from wsx.adapters.base import Limits
from wsx.adapters.subscriptions import Subscriptions, batches


def is_private(channel):
    return channel.startswith("my.")


def test_only_what_was_acknowledged_is_kept_and_the_rest_is_named_in_the_order_of_asking():
    subscriptions = Subscriptions()
    assert subscriptions.settle(["a", "b", "c", "d"], ["d", "b", "never asked for"]) == ["a", "c"]
    assert list(subscriptions) == ["b", "d"]
    assert len(subscriptions) == 2
    assert "b" in subscriptions
    assert "a" not in subscriptions


def test_a_channel_that_is_refused_later_is_kept_no_more():
    subscriptions = Subscriptions()
    subscriptions.settle(["a", "b"], ["a", "b"])
    assert subscriptions.settle(["a"], []) == ["a"]
    assert list(subscriptions) == ["b"]


def test_private_channels_are_restored_before_public_ones_each_in_their_order():
    subscriptions = Subscriptions()
    names = ["x", "my.b", "y", "my.a"]
    subscriptions.settle(names, names)
    subscriptions.forget(["y", "unknown"])
    assert subscriptions.to_restore(is_private) == (["my.b", "my.a"], ["x"])


def test_what_was_asked_for_is_unsure_until_it_is_answered_or_the_connection_is_another():
    subscriptions = Subscriptions()
    subscriptions.ask(["a", "b", "c", "d"])
    subscriptions.settle(["a"], [])
    subscriptions.answered(["b"])
    assert [subscriptions.is_unsure(name) for name in "abcd"] == [False, False, True, True]
    subscriptions.to_restore(is_private)
    assert not subscriptions.is_unsure("c")


class TestBatches:
    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            (Limits(), [["aa", "bb", "cc", "dd", "ee"]]),
            (Limits(channels=2), [["aa", "bb"], ["cc", "dd"], ["ee"]]),
            (Limits(bytes=14), [["aa", "bb"], ["cc", "dd"], ["ee"]]),
            (Limits(bytes=5), [["aa"], ["bb"], ["cc"], ["dd"], ["ee"]]),
        ],
    )
    def test_a_message_holds_as_many_channels_as_it_may(self, limits, expected):
        assert list(batches(["aa", "bb", "cc", "dd", "ee"], limits)) == expected

    def test_no_channels_are_no_message(self):
        assert list(batches([], Limits())) == []

    def test_names_are_measured_in_bytes(self):
        assert list(batches(["é" * 4, "é" * 4], Limits(bytes=21))) == [["é" * 4], ["é" * 4]]

    def test_escapes_count(self):
        for name, escaped in (('a"b', 4), ("a\\b", 4), ("\x01", 6)):
            assert list(batches([name] * 2, Limits(bytes=2 * (escaped + 3)))) == [[name, name]]
            assert list(batches([name] * 2, Limits(bytes=2 * (escaped + 3) - 1))) == [[name], [name]]

    def test_a_name_that_no_message_can_hold_is_refused(self):
        with pytest.raises(ValueError, match="may have 10 bytes, this one has 11"):
            list(batches(["a" * 11], Limits(bytes=13)))
