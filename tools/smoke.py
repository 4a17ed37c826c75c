"""What an installed wsx must be able to do, wherever it came from: a round trip with a local echo server.

The check of a wheel and of a source distribution. Needs nothing but the installed package; run it from a folder
outside the source tree. It prints where the package lies.
"""

import wsx
from wsx.testing import EchoServer


async def main() -> None:
    """Send one message and have it back."""
    async with EchoServer() as server, wsx.connect(server.url) as client:
        await client.send("there and back")
        message = await client.recv()
        assert message.text == "there and back", message.text


wsx.run(main())
print(f"wsx {wsx.__version__}: a round trip with {wsx.__file__}")
