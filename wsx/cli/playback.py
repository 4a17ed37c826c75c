"""`wsx demo --capture` and `--url`: a client on somebody's messages, watched, counted, and checked against what was sent.

Nothing is asked of the far end but a subscription, and its end is the end: nothing reconnects here.
Everything runs on one loop, the local server and the display included: the latencies are those of a busy process.
Not here: options (commands.py), where messages come from (source.py), sessions at an exchange (demo.py).
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack

import orjson

from wsx.cli.beginning import beginning
from wsx.cli.display import Display
from wsx.cli.follower import follow, ping, show
from wsx.cli.playback_watch import PlaybackWatch
from wsx.cli.source import Plan, open_source
from wsx.cli.stop import Stop
from wsx.cli.words import price, size
from wsx.client import Client, connect
from wsx.config import Config

_CLOSE_TIMEOUT = 0.5
_GOOD, _LOST = 0, 1


async def run_playback(plan: Plan, display: Display) -> int:
    """Run it to its end; the exit code. Raises CannotBegin."""
    watch, verdict = PlaybackWatch(), (_GOOD, "")
    with Stop() as stop:
        async with AsyncExitStack() as stack:
            client = await _begin(stack, plan, watch)
            with display:
                end = _until_the_end(client, watch)
                await follow(end, ping(client, watch.round_trip_ns.record), show(display, watch.report))
            verdict = judge(watch, client)
    code, words = stop.judge(*verdict)
    display.conclude(_summary(watch), words, good=code == _GOOD)
    return code


async def _begin(stack: AsyncExitStack, plan: Plan, watch: PlaybackWatch) -> Client:
    """Open the source, and a client of it. Raises CannotBegin."""
    with beginning():
        watch.source = source = await stack.enter_async_context(open_source(plan))
        config = Config(ssl=source.ssl, close_timeout=_CLOSE_TIMEOUT, reconnect=False)
        return await stack.enter_async_context(connect(source.url, on_message=watch.on_message, config=config))


async def _until_the_end(client: Client, watch: PlaybackWatch) -> None:
    source = watch.source
    with contextlib.suppress(ConnectionError):  # the end of the connection is judged, not raised
        if source.request is not None:
            await client.send(source.request)
    try:
        async with asyncio.timeout(source.limit):
            await client.wait_closed()
    except TimeoutError:
        watch.left = True


# ---- afterwards -----------------------------------------------------------------------------------------------------


def judge(watch: PlaybackWatch, client: Client) -> tuple[int, str]:
    """The exit code, and why: nothing lost, nothing changed, and an end in good order."""
    faults = [*_losses(watch), *_refusals(watch)]
    if not watch.left and client.close_code != 1000:
        faults.append(f"the connection ended early: {client.close_code} {client.close_reason}".rstrip())
    if faults:
        return _LOST, "; ".join(faults)
    if watch.source.sent is None:
        return _GOOD, "the connection stayed up for as long as was asked for" if watch.left else "the server closed"
    return _GOOD, "every message that was sent was received, in order, byte for byte"


def _losses(watch: PlaybackWatch) -> Iterator[str]:
    """What a local server sent and the client did not get."""
    sent, received = watch.source.sent, watch.received
    if sent is None:
        return
    if sent.messages != watch.source.expected:
        yield f"the server sent {sent.messages:,} of {watch.source.expected:,} messages"
    if received.messages != sent.messages:
        yield f"{sent.messages - received.messages:,} messages were lost"
    elif received.digest != sent.digest:
        yield "the messages that were received are not those that were sent"


def _refusals(watch: PlaybackWatch) -> Iterator[str]:
    """What an endpoint did not subscribe to: it answers with the channels that it accepts."""
    if not watch.source.channels:
        return
    answer = orjson.loads(watch.answer) if watch.answer is not None else {}
    accepted = answer.get("result", [])
    taken = set(accepted) if isinstance(accepted, list) else set()
    missing = [channel for channel in watch.source.channels if channel not in taken]
    if missing:
        yield f"not subscribed: {', '.join(missing)} ({answer.get('error', 'no such channel' if answer else 'no answer')})"


def _summary(watch: PlaybackWatch) -> list[tuple[str, str]]:
    received, sent = watch.received, watch.source.sent
    lines = [("source", watch.source.title)]
    if sent is not None:
        lines += [("sent", f"{sent.messages:,} messages, digest {sent.digest}")]
    lines += [("received", f"{received.messages:,} messages, digest {received.digest}")]
    if sent is not None:
        lines += [("sent and not received", f"{sent.messages - received.messages:,}")]
    rate = received.messages / watch.elapsed
    lines += [("volume", f"{size(received.bytes)} in {watch.elapsed:.1f} s, {rate:,.0f} messages/s")]
    lines += [("by channel", watch.kinds())]
    lines += [
        (name, f"last {price(prices.last)}, {price(prices.bid)} / {price(prices.ask)}")
        for name, prices in watch.board.prices().items()
    ]
    return lines + list(watch.latencies().items())
