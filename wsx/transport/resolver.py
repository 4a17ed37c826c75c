"""Names to addresses, without the default executor: a stuck look-up must not hold up the end of the program.

Not here: which address is tried first (aiohappyeyeballs, picows.py).
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import threading
from typing import TypeAlias

AddrInfo: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


async def resolve(host: str, port: int, *, local: bool = False) -> list[AddrInfo]:
    """The stream addresses of `host`, as `socket.getaddrinfo` gives them. local: an address to bind to.

    Raises OSError (`socket.gaierror`) where there are none. Cancelling leaves the look-up to a daemon thread.
    """
    if (literal := _literal(host, port)) is not None:
        return [literal]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[AddrInfo]] = loop.create_future()
    flags = socket.AI_PASSIVE if local else 0
    thread = threading.Thread(target=_look_up, args=(loop, answer, host, port, flags), daemon=True, name="wsx-dns")
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread for the look-up: {error}") from error
    return await answer


def _literal(host: str, port: int) -> AddrInfo | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 6:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def _look_up(
    loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[list[AddrInfo]]", host: str, port: int, flags: int
) -> None:
    result: list[AddrInfo] | OSError
    try:
        result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)  # type: ignore[assignment]
    except OSError as error:
        result = error
    except UnicodeError as error:  # no name at all, such as a label of more than 63 characters
        result = socket.gaierror(socket.EAI_NONAME, f"not a host name: {error}")
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(_deliver, answer, result)


def _deliver(answer: "asyncio.Future[list[AddrInfo]]", result: list[AddrInfo] | OSError) -> None:
    if answer.done():
        return
    if isinstance(result, OSError):
        answer.set_exception(result)
    else:
        answer.set_result(result)
