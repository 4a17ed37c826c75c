"""Who was slow: this process, the line, or the peer? What was measured when a connection went wrong, in words.

    ask_socket(socket) ──▶ SocketState ─┐
    lag, callbacks, silence ────────────┴▶ phrases ──▶ phrases, each with its number

Not here: deciding that something is wrong (heartbeat.py, data_watch.py), the words around it (explanation.py).
"""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TCP_INFO = 11  # <linux/tcp.h>; its first 104 bytes have not changed since Linux 2.6
_TCP_INFO_BYTES = 104
_FIONREAD = 0x541B  # <asm-generic/ioctls.h>
_NOTICEABLE_NS = 50_000_000  # a loop that is later than this, or a callback that is longer, is worth a word


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketState:
    """What the kernel knew. unread_bytes: came and were not read. unacked: segments sent that the peer's machine has
    not acknowledged. retransmits: of the oldest of them, so far. rtt_ns: of TCP. since_ack_ns: since an
    acknowledgement came."""

    unread_bytes: int
    unacked: int
    retransmits: int
    rtt_ns: int
    since_ack_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What this process knew. lag_ns: how late its loop ran at worst lately. callback_ns: the longest that the
    callbacks of one read took. silent_ns: since the last frame came. socket: None where nobody can tell."""

    lag_ns: int = 0
    callback_ns: int = 0
    silent_ns: int = 0
    socket: SocketState | None = None


def ask_socket(sock: Any) -> SocketState | None:
    """What the kernel knows of a TCP socket; None where it does not say (only Linux does), or the socket is gone."""
    if sys.platform != "linux" or sock is None:
        return None
    import fcntl  # not on every system

    try:
        info = sock.getsockopt(6, _TCP_INFO, _TCP_INFO_BYTES)
        (unread,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _FIONREAD, b"\0\0\0\0"))
    except (OSError, ValueError):
        return None
    words = struct.unpack("@8B24I", info)
    return SocketState(
        unread_bytes=unread, unacked=words[12], retransmits=words[2], rtt_ns=words[23] * 1000,
        since_ack_ns=words[20] * 1_000_000,
    )  # fmt: skip


def phrases(measured: Measured) -> tuple[str, ...]:
    """The measurements as phrases, this process first, then the line and the peer. Pure."""
    return (*_about_this_process(measured), *_about_the_line(measured))


def _about_this_process(measured: Measured) -> Iterator[str]:
    if measured.lag_ns >= _NOTICEABLE_NS:
        yield f"this process was slow: its event loop ran up to {_seconds(measured.lag_ns)} late"
    if measured.callback_ns >= _NOTICEABLE_NS:
        yield f"this process was slow: callbacks held the loop for up to {_seconds(measured.callback_ns)} at a time"
    if measured.socket is not None and measured.socket.unread_bytes:
        yield f"this process was slow: {measured.socket.unread_bytes} bytes had come and waited unread in the socket"


def _about_the_line(measured: Measured) -> Iterator[str]:
    yield f"the last frame came {_seconds(measured.silent_ns)} before"
    state = measured.socket
    if state is None:
        return
    if state.unacked:
        yield (
            f"the line or the peer's machine is gone: {state.unacked} segments are not acknowledged, sent again"
            f" {state.retransmits} times, the last acknowledgement came {_seconds(state.since_ack_ns)} before"
        )
    else:
        yield (
            "the peer's machine has acknowledged everything that was sent: if somebody hangs there, it is the program"
        )
    yield f"TCP's own round trip is {state.rtt_ns / 1e6:.3f} ms"


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.3f} s"
