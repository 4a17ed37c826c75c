"""A book's care for itself: asked for again when its snapshot does not come, and never twice at a time.

Not here: what makes a book stale (faults/test_faults_deribit.py), asking for one (test_deribit_session.py).
"""

import asyncio

import pytest
from deribit_session import PERPETUAL, RAW, change, market, reopened, same_book, say, session, until
from exchange_client import played

from wsx.errors import RpcError
from wsx.events import GapEvent, StaleData
from wsx.events import SubscriptionRefused as SubscriptionRefusedEvent


def gap_at(server):
    """Let the exchange lose a change of the raw book."""
    server.script.add("skip", channel=RAW)
    before = server.change_ids[RAW]
    while server.change_ids[RAW] == before:
        server.step(1)
    last = server.change_ids[RAW]
    while server.change_ids[RAW] == last:
        server.step(1)


def renewals(server):
    return server.requests["private/unsubscribe"], server.requests["private/subscribe"]


class TestCare:
    @played
    async def test_a_lost_snapshot_is_asked_for_again_until_one_comes(self):
        async with session() as (server, exchange, _events):
            exchange.snapshot_timeout = 0.03
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("skip", channel=RAW, nth=3, times=2)  # the next two snapshots
            gap_at(server)
            await until(lambda: same_book(server, book))
            assert renewals(server) == (3, 4)

    @played
    async def test_after_a_reconnect_a_snapshot_that_does_not_come_is_asked_for(self):
        async with session() as (server, exchange, events):
            exchange.snapshot_timeout = 0.03
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("skip", channel=RAW, connection=1)
            exchange.client.reconnect()
            await reopened(exchange, events)
            await until(lambda: same_book(server, book))
            assert renewals(server) == (1, 3)

    @played
    async def test_a_snapshot_that_comes_is_all_that_is_needed(self):
        async with session() as (server, exchange, events):
            exchange.snapshot_timeout = 0.03
            book = await exchange.book(PERPETUAL, "raw")
            exchange.client.reconnect()
            await reopened(exchange, events)
            await until(lambda: same_book(server, book))
            await asyncio.sleep(0.1)
            assert renewals(server) == (0, 2)

    @pytest.mark.parametrize("method", ["private/subscribe", "private/unsubscribe"])
    @played
    async def test_a_renewal_that_is_refused_for_now_is_tried_again(self, method):
        async with session() as (server, exchange, _):
            exchange.snapshot_timeout = 0.03
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("refuse", method=method)
            gap_at(server)
            await until(lambda: book.stale_cause == "not renewed")
            await until(lambda: same_book(server, book))

    @played
    async def test_one_that_the_user_renews_halfway_shows_no_prices_until_it_comes(self):
        async with session() as (server, exchange, events):
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("refuse", method="private/subscribe")
            with pytest.raises(RpcError):
                await exchange.renew(RAW)
            assert (book.state, book.stale_cause, book.bids()) == ("stale", "not subscribed again", [])
            assert [event.stream for event in events.of(StaleData)] == [RAW]
            await until(lambda: same_book(server, book))
            server.step(50)
            await until(lambda: same_book(server, book))
            assert list(server.sessions[0].hearing.channels) == [RAW]

    @played
    async def test_a_snapshot_that_comes_without_an_answer_will_do(self):
        async with session() as (server, exchange, _):
            exchange.adapter.timeout = 0.1
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("silence", method="private/subscribe")
            gap_at(server)
            await until(lambda: same_book(server, book))
            await asyncio.sleep(0.15)
            assert same_book(server, book)

    @pytest.mark.parametrize("late", [0.0, 0.05])
    @played
    async def test_a_gap_right_behind_the_fresh_snapshot_is_renewed_at_once_too(self, late):
        """late: seconds that the answer takes, so that the snapshot comes before it."""
        async with session() as (server, exchange, events):
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("late", method="private/subscribe", seconds=late)
            gap_at(server)
            await until(lambda: renewals(server)[1] == 2)
            say(server, RAW, change(server, prev_change_id=5))
            await until(lambda: same_book(server, book) and renewals(server)[1] == 3)
            assert len(events.of(GapEvent)) == 4  # stale, valid, stale, valid

    @played
    async def test_a_book_that_is_refused_when_it_is_renewed_is_closed_and_named(self):
        async with session() as (server, exchange, events):
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("refuse_channels", method="private/subscribe", channels=RAW)
            gap_at(server)
            (event,) = await events.wait(SubscriptionRefusedEvent)
            assert (event.stream, book.stale_cause) == (RAW, "closed")
            await exchange.get_time()
            assert renewals(server) == (1, 2)
            again = await exchange.book(PERPETUAL, "raw")
            assert again is not book
            assert same_book(server, again)
            await exchange.close_book(again)

    @played
    async def test_closing_it_while_it_is_renewed_ends_the_renewal(self):
        async with session() as (server, exchange, _events):
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("late", method="private/subscribe", seconds=0.05)
            gap_at(server)
            await server_has(server, 2)
            await exchange.close_book(book)
            assert RAW not in exchange.subscriptions
            assert server.sessions[0].hearing.channels == {}
            assert exchange.client.ledger.gaps(RAW)[-1].first_good_ns is not None

    @played
    async def test_a_cut_while_it_is_renewed_leaves_the_rest_to_the_next_connection(self):
        async with session() as (server, exchange, events):
            book = await exchange.book(PERPETUAL, "raw")
            server.script.add("cut_unanswered", method="private/subscribe")
            gap_at(server)
            await reopened(exchange, events)
            await until(lambda: same_book(server, book))


async def server_has(server, subscriptions):
    await until(lambda: server.requests["private/subscribe"] >= subscriptions)


@played
async def test_what_still_comes_while_a_book_is_given_up_touches_it_no_more():
    async with session() as (server, exchange, events):
        book = await exchange.book(PERPETUAL, "raw")
        server.script.add("late", method="private/subscribe", seconds=0.1)
        asking = asyncio.ensure_future(exchange.subscribe(f"quote.{PERPETUAL}", print))
        await until(lambda: server.requests["private/subscribe"] == 2)
        closing = asyncio.ensure_future(exchange.close_book(book))  # waits its turn
        await until(lambda: book.state == "stale")
        for _ in range(3):
            server.step(30)
            await exchange.test()
        assert not closing.done()
        await asyncio.gather(asking, closing)
        assert (book.state, book.stale_cause, events.of(GapEvent)) == ("stale", "closed", [])
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("wsx-book")]
        assert server.requests["private/unsubscribe"] == 1


@played
async def test_a_book_that_was_given_up_by_an_error_leaves_nothing():
    async with session() as (server, exchange, _):
        server.script.add("refuse", method="private/subscribe")
        with pytest.raises(RpcError):
            await exchange.book(PERPETUAL, "raw")
        assert len(exchange.subscriptions) == 0
        server.script.add("cut_unanswered", method="private/subscribe")
        with pytest.raises(Exception, match="connection ended"):
            await exchange.book(PERPETUAL, "raw")


@played
async def test_books_of_two_channels_of_one_instrument_are_two():
    async with session(market()) as (server, exchange, _):
        raw, slow = await exchange.book(PERPETUAL, "raw"), await exchange.book(PERPETUAL)
        assert raw is not slow
        await exchange.close_book(slow)
        assert same_book(server, raw)
