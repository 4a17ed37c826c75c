"""A wsx client for the Autobahn test suite's fuzzing server: echoes every message, and has the report written.

    wstest -m fuzzingserver            # the suite needs Python 2.7
    python tools/autobahn_client.py    # then look at reports/clients/index.html

Runs every case twice: echoing out of the callback, and out of `async for`.
"""

import asyncio
import sys

import wsx

SERVER = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
CASE_SECONDS = 100


async def echo_from_callback(url: str) -> None:
    """One case, answered inline."""

    def on_message(message: wsx.Message) -> None:
        client.send_nowait(message.data, text=message.opcode == 1)

    client = await wsx.connect(url, on_message=on_message, reconnect=False)
    await client.wait_closed()


async def echo_from_loop(url: str) -> None:
    """One case, answered from a reading task."""
    async with wsx.connect(url, reconnect=False) as client:
        async for message in client:
            await client.send(message.data, text=message.opcode == 1)


async def run_cases() -> None:
    """Every case of the suite, then the report."""
    async with wsx.connect(f"{SERVER}/getCaseCount", reconnect=False) as client:
        count = int((await client.recv()).text)
    for agent, echo in (("wsx-callback", echo_from_callback), ("wsx-loop", echo_from_loop)):
        for case in range(1, count + 1):
            try:
                await asyncio.wait_for(echo(f"{SERVER}/runCase?case={case}&agent={agent}"), CASE_SECONDS)
            except wsx.errors.WsxError as error:
                print(f"case {case}: {error}")  # what most cases are about; the report judges
        async with wsx.connect(f"{SERVER}/updateReports?agent={agent}", reconnect=False) as client:
            await client.wait_closed()


if __name__ == "__main__":
    wsx.run(run_cases())
