"""`wsx demo`: a client on live market data, watched, counted, and checked against what was sent.

Everything runs on one loop, the local server and the display included: the latencies are those of a busy process.
Not here: options (commands.py), where messages come from (source.py), how it looks (display.py).
"""

import asyncio
import contextlib
from collections.abc import Iterator

import orjson

from wsx.cli.display import Display
from wsx.cli.report import price, size
from wsx.cli.source import Plan, Source, open_source
from wsx.cli.watch import Watch
from wsx.client import Client, connect
from wsx.config import Config
from wsx.errors import WsxError

_PING_INTERVAL = 0.1  # seconds between measured round trips
_SHOW_INTERVAL = 0.5
_CLOSE_TIMEOUT = 0.5
_GOOD, _LOST = 0, 1
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


class CannotBegin(Exception):
    """There is no source or no connection; the cause says why."""


async def run_demo(plan: Plan, display: Display) -> int:
    """Run it to its end; the exit code. Raises CannotBegin."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            source = await stack.enter_async_context(open_source(plan))
            watch = Watch(source)
            client = await stack.enter_async_context(_connecting(source, watch))
        except (WsxError, OSError, ValueError) as error:
            raise CannotBegin(f"{type(error).__name__}: {error}") from error
        with display:
            interrupted = await _follow(client, source, watch, display)
            display.show(watch.report())
        code, verdict = (INTERRUPTED, "stopped by Ctrl-C") if interrupted else judge(source, watch, client)
        display.conclude(_summary(source, watch), verdict, good=code == _GOOD)
        return code


def _connecting(source: Source, watch: Watch) -> contextlib.AbstractAsyncContextManager[Client]:
    """No reconnecting: an end is an end here, and its code is part of the verdict."""
    config = Config(ssl=source.ssl, close_timeout=_CLOSE_TIMEOUT, reconnect=False)
    return connect(source.url, on_message=watch.on_message, config=config)


def judge(source: Source, watch: Watch, client: Client) -> tuple[int, str]:
    """The exit code, and why: nothing lost, nothing changed, and an end in good order."""
    faults = [*_losses(source, watch), *_refusals(source, watch)]
    if not watch.left and client.close_code != 1000:
        faults.append(f"the connection ended early: {client.close_code} {client.close_reason}".rstrip())
    if faults:
        return _LOST, "; ".join(faults)
    if source.sent is None:
        return _GOOD, "the connection stayed up for as long as was asked for" if watch.left else "the server closed"
    return _GOOD, "every message that was sent was received, in order, byte for byte"


def _losses(source: Source, watch: Watch) -> Iterator[str]:
    """What a local server sent and the client did not get."""
    sent, received = source.sent, watch.received
    if sent is None:
        return
    if sent.messages != source.expected:
        yield f"the server sent {sent.messages:,} of {source.expected:,} messages"
    if received.messages != sent.messages:
        yield f"{sent.messages - received.messages:,} messages were lost"
    elif received.digest != sent.digest:
        yield "the messages that were received are not those that were sent"


def _refusals(source: Source, watch: Watch) -> Iterator[str]:
    """What an endpoint did not subscribe to: it answers with the channels that it accepts."""
    if not source.channels:
        return
    answer = orjson.loads(watch.answer) if watch.answer is not None else {}
    accepted = answer.get("result", [])
    missing = [channel for channel in source.channels if not isinstance(accepted, list) or channel not in accepted]
    if missing:
        yield f"not subscribed: {', '.join(missing)} ({answer.get('error', 'no such channel' if answer else 'no answer')})"


# ---- while it runs --------------------------------------------------------------------------------------------------


async def _follow(client: Client, source: Source, watch: Watch, display: Display) -> bool:
    """Watch until the end; True where Ctrl-C was the end. The client is closed afterwards."""
    task = asyncio.current_task()
    assert task is not None
    try:
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(_ping(client, watch)), group.create_task(_show(watch, display))]
            await _until_the_end(client, source, watch)
            for helper in helpers:
                helper.cancel()
    except asyncio.CancelledError:
        task.uncancel()
        return True
    finally:
        await client.close()
    return False


async def _until_the_end(client: Client, source: Source, watch: Watch) -> None:
    with contextlib.suppress(ConnectionError):  # the end of the connection is judged, not raised
        if source.request is not None:
            await client.send(source.request)
    try:
        async with asyncio.timeout(source.limit):
            await client.wait_closed()
    except TimeoutError:
        watch.left = True


async def _ping(client: Client, watch: Watch) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            with contextlib.suppress(TimeoutError):
                watch.round_trip_ns.record(round(await client.ping() * 1e9))
            await asyncio.sleep(_PING_INTERVAL)


async def _show(watch: Watch, display: Display) -> None:
    while True:
        await asyncio.sleep(_SHOW_INTERVAL)
        display.show(watch.report())


# ---- afterwards -----------------------------------------------------------------------------------------------------


def _summary(source: Source, watch: Watch) -> list[tuple[str, str]]:
    report, received, sent = watch.report(), watch.received, source.sent
    lines = [("source", source.title)]
    if sent is not None:
        lines += [("sent", f"{sent.messages:,} messages, digest {sent.digest}")]
    lines += [("received", f"{received.messages:,} messages, digest {received.digest}")]
    if sent is not None:
        lines += [("sent and not received", f"{sent.messages - received.messages:,}")]
    rate = received.messages / report.elapsed
    lines += [("volume", f"{size(received.bytes)} in {report.elapsed:.1f} s, {rate:,.0f} messages/s")]
    lines += [("by channel", ", ".join(f"{kind} {count:,}" for kind, count in report.by_kind.items()) or "nothing")]
    lines += [
        (name, f"last {price(prices.last)}, {price(prices.bid)} / {price(prices.ask)}")
        for name, prices in report.prices.items()
    ]
    return lines + list(report.latencies.items())
