"""wsx: a request and its answer, awaited one after the other.

Variants: `rpc` asks through `JsonRpc`; `raw` sends the same text and takes the next message, without looking at it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter_ns

import wsx
from bench.peers import Phase, Target

TEXT = '{"jsonrpc":"2.0","id":12345,"method":"public/test","params":{}}'


@asynccontextmanager
async def roundtrip(target: Target) -> AsyncIterator[Phase]:
    """The next request leaves once the answer to the last is there."""
    async with wsx.connect(target.url, ssl=target.tls) as client:
        requests = wsx.JsonRpc(client) if target.variant == "rpc" else None

        async def ask(count: int) -> list[int]:
            marks = [perf_counter_ns()]
            for _ in range(count):
                if requests is None:
                    await client.send(TEXT)
                    await client.recv()
                else:
                    await requests.request("public/test")
                marks.append(perf_counter_ns())
            return marks

        yield lambda count: asyncio.ensure_future(ask(count))
