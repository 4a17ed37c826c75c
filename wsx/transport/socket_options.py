"""The named socket options, set where the system has them. Not here: what they mean (config.py)."""

import socket

from wsx.config import SocketOptions


def apply_options(sock: socket.socket, options: SocketOptions) -> None:
    """Set `options` on a TCP socket; an option that this system does not know is left out."""
    timeout_ms = None if options.user_timeout is None else round(options.user_timeout * 1000)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", int(options.nodelay)),
        (socket.IPPROTO_TCP, "TCP_QUICKACK", int(options.quickack)),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", int(options.keepalive)),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", timeout_ms),
        (socket.SOL_SOCKET, "SO_RCVBUF", options.receive_buffer),
        (socket.SOL_SOCKET, "SO_SNDBUF", options.send_buffer),
    ):
        if value is not None and hasattr(socket, name):
            sock.setsockopt(level, getattr(socket, name), value)
