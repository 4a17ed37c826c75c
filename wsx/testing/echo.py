"""A server that sends every message back. Not here: sockets, upgrades and closing (server.py)."""

from typing import Any

from wsx._message import Message
from wsx.testing.server import LocalServer
from wsx.transport.server_end import ServerEnd

_TEXT = 0x1


class EchoServer(LocalServer):
    """Sends every message back, text as text and binary as binary. The arguments are those of `LocalServer`.

    A client that does not read is not read from either: nothing piles up.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        super().__init__(host, port, on_message=_echo, **options)


def _echo(connection: ServerEnd, message: Message) -> None:
    connection.send(message.data, text=message.opcode == _TEXT)
