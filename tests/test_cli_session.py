"""What `wsx demo` and `wsx book` do at an exchange, in this process: the cut, the audit, the verdict, the pictures."""

import asyncio
import contextlib
import io
import os
import signal

import pytest
from cli_venue import BOOK, venue
from rich.console import Console

import wsx
from wsx import OrderBook
from wsx.cli.audit import Audit, _differences
from wsx.cli.beginning import CannotBegin, beginning
from wsx.cli.book import BookPlan, run_book
from wsx.cli.book_view import view
from wsx.cli.commands import _run
from wsx.cli.demo import run_demo
from wsx.cli.display import LineDisplay, LiveDisplay
from wsx.cli.follower import follow
from wsx.cli.market_watch import MarketReport, MarketWatch
from wsx.cli.outage import Outages
from wsx.cli.playback_watch import PlaybackReport
from wsx.cli.prices import Prices
from wsx.cli.stop import Stop
from wsx.cli.tally import Tally
from wsx.cli.venue import open_venue
from wsx.errors import ConnectionLost
from wsx.events import (  # fmt: skip
    Closed,
    Gap,
    GapEvent,
    Halted,
    Opened,
    OpeningTimes,
    Reconnecting,
    SubscriptionRefused,
    SubscriptionRestored,
)
from wsx.message_handler import MessageHandler

QUOTE = "quote.BTC-PERPETUAL"
MS = 1_000_000


def demo(opening, seconds=0.6):
    return run_demo(opening, seconds, LineDisplay())


def book(opening, seconds=0.3):
    return run_book(opening, BookPlan(instrument="BTC-PERPETUAL", seconds=seconds), LineDisplay())


class TestDemo:
    def test_all_is_well(self, run_command):
        code, output = run_command(demo(venue()))
        assert code == 0, output
        assert "nothing was lost" in output

    def test_an_exchange_that_cannot_be_asked_is_watched_the_same_way(self, run_command):
        code, output = run_command(demo(venue(foreign=True)))
        assert code == 0, output
        assert "nothing was lost" not in output  # nobody knows what was sent
        assert "12 channels back" in output

    def test_a_gap_in_a_book_is_told_though_it_was_mended(self, run_command):
        code, output = run_command(
            demo(venue(lambda exchange: exchange.script.add("skip", channel=BOOK, nth=20)), seconds=1)
        )
        assert code == 1
        assert f"{BOOK} had a gap: book: gap" in output
        assert "4 of 4 equal" in output

    def test_a_book_that_is_not_the_exchanges_is_a_failure(self, run_command):
        def prepare(exchange):
            exchange.script.add("skip", channel=BOOK, nth=2, times=None)

        async def main():
            async with venue(prepare) as here, here.connect() as session:
                watch, audit = MarketWatch(), Audit()
                watch.begin(here.title, session)
                await watch.follow_book("BTC-PERPETUAL", "raw")
                await here.exchange.stop_market()
                here.exchange.step(20)
                await audit.look_at_books(watch)
                return audit

        audit = asyncio.run(main())
        assert audit.faults == ["the book of BTC-PERPETUAL is not the exchange's"]

    def test_what_cannot_be_asked_at_the_end_is_said(self, run_command):
        code, output = run_command(
            demo(venue(lambda exchange: exchange.script.add("refuse", method="public/get_order_book", times=None)))
        )
        assert code == 1
        assert "the exchange could not be asked: RpcError" in output

    def test_a_connection_that_does_not_come_back_is_a_failure(self, run_command):
        def prepare(exchange):
            exchange.script.add("maintenance", channel="ticker.*", nth=6)

        code, output = run_command(demo(venue(prepare, foreign=True)))
        assert code == 1
        assert "the connection did not come back" in output
        assert "the book of BTC-PERPETUAL is stale: the connection was lost" in output

    def test_the_live_picture_shows_the_books(self):
        async def main():
            console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
            code = await run_demo(venue(), 1.2, LiveDisplay(console))
            return code, console.file.getvalue()

        code, output = wsx.run(main())
        assert code == 0
        assert "ETH_USDC-PERPETUAL" in output
        assert "spread" in output


class TestVenues:
    def test_the_local_one_has_a_login_and_a_market(self):
        async def main():
            async with open_venue("local") as here:
                return here.interval, here.exchange is not None

        assert asyncio.run(main()) == ("raw", True)

    def test_a_real_one_takes_its_login_from_the_environment(self, monkeypatch):
        async def main():
            async with open_venue("test") as here:
                return here.url, here.interval

        for name in ("DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"):
            monkeypatch.delenv(name, raising=False)
        assert asyncio.run(main()) == ("test", "100ms")
        monkeypatch.setenv("DERIBIT_CLIENT_ID", "me")
        with pytest.raises(ValueError, match="DERIBIT_CLIENT_SECRET is not set"):
            asyncio.run(main())
        monkeypatch.setenv("DERIBIT_CLIENT_SECRET", "word")
        assert asyncio.run(main()) == ("test", "raw")

    def test_what_does_not_answer_in_time_is_said(self):
        with pytest.raises(CannotBegin, match="TimeoutError: no answer came in time"), beginning():
            raise TimeoutError


class TestStop:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize("command", [demo, book])
    def test_it_is_stopped_while_it_begins(self, command, number, code, run_command):
        @contextlib.asynccontextmanager
        async def opening():
            os.kill(os.getpid(), number)
            await asyncio.sleep(10)
            yield

        assert run_command(command(opening()))[0] == code

    @pytest.mark.parametrize("command", [demo, book])
    def test_it_is_stopped_while_it_runs_and_a_second_signal_changes_nothing(self, command, run_command):
        async def main():
            def both():
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)

            asyncio.get_running_loop().call_later(1.0, both)
            return await command(venue(), seconds=None if command is book else 30)

        code, output = run_command(main())
        assert code == 130
        assert "stopped by Ctrl-C" in output
        assert "BTC-PERPETUAL: valid" in output

    def test_what_goes_wrong_by_itself_passes(self):
        async def main():
            with Stop():
                raise LookupError

        with pytest.raises(LookupError):
            asyncio.run(main())

    def test_ctrl_c_before_anything_has_begun_has_its_exit_code(self):
        async def main():
            raise KeyboardInterrupt

        with pytest.raises(SystemExit) as ended:
            _run(main())
        assert ended.value.code == 130

    def test_a_helper_that_fails_ends_the_work_with_its_own_error(self):
        async def fail():
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            asyncio.run(follow(asyncio.sleep(10), fail()))


class TestOutages:
    def lost(self, outages, error=None):
        outages.on_event(Closed(at_ns=10 * MS, epoch=1, code=1001, error=error))
        outages.on_event(Reconnecting(at_ns=10 * MS, epoch=1, attempt=1, delay_seconds=0.0))

    def test_an_orderly_end_is_none(self):
        outages = Outages()
        outages.on_event(Closed(at_ns=10 * MS, epoch=1, code=1000))
        assert outages.all == []

    def test_one_that_lasts_says_why(self):
        outages = Outages()
        self.lost(outages)
        outages.on_event(Reconnecting(at_ns=20 * MS, epoch=1, attempt=2, delay_seconds=0.0))
        outages.on_event(Halted(at_ns=30 * MS, epoch=1, error=ConnectionLost("x")))
        assert [outage.words() for outage in outages.all] == ["closed with 1001: down since then"]

    def test_one_that_is_over_says_how_long_it_was_dark(self):
        outages = Outages()
        self.lost(outages, ConnectionLost("x"))
        outages.on_event(SubscriptionRestored(at_ns=15 * MS, epoch=2, stream="a"))
        outages.on_event(SubscriptionRefused(at_ns=15 * MS, epoch=2, stream="b"))
        outages.on_event(Opened(at_ns=20 * MS, epoch=2, endpoint="", timings=OpeningTimes()))
        (outage,) = outages.all
        assert outage.words() == "ConnectionLost: down 10 ms, blind until now, 1 channels back"
        assert outage.refused == ["b"]
        gap = Gap(stream="", last_good_ns=8 * MS, first_good_ns=24 * MS, cause="x", epoch=1)
        outages.on_event(GapEvent(at_ns=24 * MS, epoch=2, gap=gap))
        assert outage.words() == "ConnectionLost: down 10 ms, blind 16 ms, 1 channels back"
        assert outages.lasting is None
        outages.on_event(SubscriptionRestored(at_ns=30 * MS, epoch=2, stream="c"))  # of no outage
        assert outage.restored == ["a"]

    def test_the_holes_of_single_books_are_told_apart_from_it(self):
        outages = Outages()
        for cause, end in (("book: connection lost", 9), ("book: gap", None), ("book: gap", 9)):
            gap = Gap(stream=BOOK, last_good_ns=8, first_good_ns=end, cause=cause, epoch=1)
            outages.on_event(GapEvent(at_ns=9, epoch=1, gap=gap))
        assert [(gap.cause, gap.first_good_ns) for gap in outages.holes] == [("book: gap", 9)]


OTHER = b'{"params":{"channel":"%s"}}' % BOOK.encode()  # a message that nobody sent


def others(count):
    """So many of them."""
    tally = Tally()
    for _ in range(count):
        tally.note(OTHER)
    return tally


class TestAudit:
    def test_a_session_that_was_never_cut_did_not_show_what_it_should(self):
        audit = Audit()
        audit.look_at_session(MarketWatch())
        assert audit.faults == ["the connection was not cut"]

    def test_what_was_not_restored_and_what_does_not_work_is_named(self):
        watch, audit = MarketWatch(), Audit()
        TestOutages().lost(watch.outages)
        watch.outages.on_event(SubscriptionRefused(at_ns=15 * MS, epoch=2, stream="b"))
        watch.books = [OrderBook("X")]
        audit.look_at_session(watch)
        assert audit.faults == [
            "the connection did not come back",
            "not restored: b",
            "the book of X is empty: None",
        ]

    @pytest.mark.parametrize(
        ("change", "faults"),
        [
            (lambda watch: None, []),
            (lambda watch: watch.received.update({1: watch.received[1] + 1}), ["connection 1: more was received than was sent"]),
            (lambda watch: watch.received.update({1: watch.received[1] - 2}), ["connection 1: 2 messages were lost"]),
            (lambda watch: watch.tallies.update({1: others(watch.tallies[1].messages - 1)}), ["connection 1: 1 messages came in and never reached their callback"]),
            (lambda watch: watch.tallies[1].note(OTHER), ["connection 1: more was received than was sent"]),
            (lambda watch: watch.tallies.update({1: others(watch.tallies[1].messages)}), ["connection 1: the messages that were received are not those that were sent"]),
        ],
    )  # fmt: skip
    def test_each_connection_is_held_against_what_was_sent(self, change, faults):
        async def main():
            async with venue() as here, here.connect() as session:
                watch, audit = MarketWatch(), Audit()
                await here.exchange.stop_market()
                watch.begin(here.title, session)
                await watch.follow_book("BTC-PERPETUAL", "raw")
                here.exchange.step(50)
                await session.get_time()
                watch.count(1)
                change(watch)
                audit.look_at_exchange(watch, here.exchange)
                return audit

        audit = asyncio.run(main())
        assert audit.faults == faults
        assert audit.lines[-1] == ("in the gap", "0 messages sent before the cut never arrived")

    @pytest.mark.parametrize(
        ("heard", "faults"),
        [
            ((0, 1, 2), []),
            ((0, 1, 3), ["connection 1: the messages that were received are not those that were sent"]),
            ((0, 1), ["connection 1: 1 messages came in and never reached their callback"]),
        ],
    )
    def test_what_a_cut_may_swallow_are_the_last_messages_alone(self, heard, faults):
        """Four notifications were sent, and one message less than was sent came in."""

        async def main():
            async with venue() as here, here.connect() as session:
                await here.exchange.stop_market()
                handler, notified = MessageHandler(session.client), []
                handler.on_channel(QUOTE, lambda message: notified.append(message.data))
                await session.subscribe([QUOTE], lambda message: None)
                while len(notified) < 4:
                    here.exchange.step()
                    await session.get_time()
                tally, (sent,) = Tally(), here.exchange.sessions
                for place in heard:
                    tally.note(notified[place])
                assert len(notified) == sent.notifications.total() == 4
                return list(_differences(sent, sent.messages - 1, tally, whole=False))

        assert asyncio.run(main()) == faults


def rendered(report, width, height):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(report)
    return console.file.getvalue().splitlines()


WORDS = {"round trip (ping)": "p50 5.96 ms, p90 11.9 ms, p99 87.5 ms, max 87.5 ms (1,234,567)"}
MOMENT = {
    "title": "wsx demo: an exchange", "state": "connection 12 reconnecting", "elapsed": 12345.6, "messages": 123_456_789,
    "bytes": 12_345_678_901, "messages_per_second": 123_456.7, "bytes_per_second": 123_456_789.0,
    "kinds": "book 123,456,789, trades 123,456,789, ticker 123,456,789, quote 1", "latencies": dict.fromkeys("abcd", "x") | WORDS,
}  # fmt: skip


def full_book():
    book = OrderBook("ETH_USDC-PERPETUAL")
    levels = range(1, 31)
    book.load([(f"{100_000 - n}.55", f"{123_456 * n}.001") for n in levels], [(100_000 + n, f"{n}.5") for n in levels])
    return book


class TestPictures:
    @pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (40, 10)])
    def test_the_demo_fits_its_terminal(self, width, height):
        books = [view(full_book(), 10, 100_000.5), view(OrderBook("X"), 10), view(full_book(), 10)]
        report = MarketReport(books=books, outage="ConnectionLost: " + "x" * 80, **MOMENT)
        lines = rendered(report, width, height)
        assert max(map(len, lines)) <= width
        assert len(lines) <= max(height, 20)
        assert ("total" in "".join(lines)) is False

    def test_wide_terminals_show_the_amounts_up_to_each_level(self):
        report = MarketReport(books=[view(full_book(), 10)] * 2, outage="none", **MOMENT)
        assert "370,368.002" in "".join(rendered(report, 140, 40))
        assert "370,368.002" not in "".join(rendered(report, 80, 40))

    def test_a_stale_book_says_why_and_shows_no_prices(self):
        book = full_book()
        book.mark_stale("told so", cause="told")
        report = MarketReport(books=[view(book, 10, 5.0)], outage="none", **MOMENT)
        text = "".join(rendered(report, 120, 40))
        assert "stale told so" in text
        assert "spread -, mid -" in text
        assert "ETH_USDC-PERPETUAL stale" in report.line()
        assert view(book, 10).best() == "- / -"

    def test_a_book_of_one_side_has_no_spread(self):
        book = OrderBook("X")
        book.load([(5, 1)], [])
        assert view(book, 10).best() == "5 × 1 / -"
        assert view(book, 10).top() == "5/-"
        assert view(book, 10).gauge() == "spread -, mid -"

    @pytest.mark.parametrize("expected", [None, 1000])
    def test_a_capture_shows_its_prices(self, expected):
        prices = {"X": Prices(last=12.5, bid=None, ask=13.0)}
        lines = rendered(PlaybackReport(expected=expected, prices=prices, **MOMENT | {"elapsed": 1.0}), 120, 24)
        assert any("X" in line and "12.5" in line and "-" in line for line in lines)
        assert any("(of 1,000)" in line for line in lines) is (expected is not None)
