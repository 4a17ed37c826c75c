"""Time is an integer that never goes back."""

import time

from wsx.clock import Clock, MonotonicClock


def test_it_never_goes_back():
    clock = MonotonicClock()
    readings = [clock.now_ns() for _ in range(1000)]
    assert readings == sorted(readings)
    assert all(type(reading) is int for reading in readings)


def test_it_is_the_clock_that_the_loop_reads():
    before = time.monotonic_ns()
    reading = MonotonicClock().now_ns()
    assert before <= reading <= time.monotonic_ns()


def test_any_object_with_now_ns_is_a_clock():
    class Stopped:
        def now_ns(self) -> int:
            return 7

    def read(clock: Clock) -> int:
        return clock.now_ns()

    assert read(Stopped()) == 7
