"""A server that misbehaves: blocking sockets, one thread a connection, so that every step happens when a test says so.

It shares no code with wsx, and none of its sockets, threads or timers is on the client's loop: what is left there
afterwards is the client's (leftovers.py).
Not here: frames (raw_server.py), servers for users' tests (wsx/testing).
"""

import os
import socket
import struct
import threading
from contextlib import suppress

from raw_server import ClientFrame, accept

SERVERS_INODES = set()  # of every socket made here: they are not the client's


def note(sock):
    """This socket is a server's."""
    SERVERS_INODES.add(os.fstat(sock.fileno()).st_ino)
    return sock


class Peer:
    """The server's side of one connection, in its own thread."""

    def __init__(self, sock, stopped):
        self.sock, self.stopped = sock, stopped
        self.request = self._unread = b""

    def read_request(self):
        """The upgrade request, whole."""
        while b"\r\n\r\n" not in self._unread:
            self._unread += self._more()
        self.request, _, self._unread = self._unread.partition(b"\r\n\r\n")
        self.request += b"\r\n\r\n"
        return self.request

    def upgrade(self, *fields, behind=b""):
        """Read the request and answer with a good 101; `behind`: in the same segment."""
        self.send(accept(self.read_request(), *fields) + behind)

    def send(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def drip(self, data, pause=0.0):
        """One byte a segment. pause: seconds between them."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            if pause and self.stopped.wait(pause):
                return

    def frame(self):
        """The client's next frame. Raises EOFError at the end of the stream."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        key = self._exactly(4) if second & 0x80 else bytes(4)
        repeated = int.from_bytes((key * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(self._exactly(size), "big") ^ repeated).to_bytes(size, "big")
        return ClientFrame(first, key, payload)

    def frames(self):
        """All frames until the client's end."""
        seen = []
        with suppress(EOFError, OSError):
            while True:
                seen.append(self.frame())
        return seen

    def until_gone(self):
        """Read and throw away until the client's end."""
        with suppress(OSError):
            while self.sock.recv(1 << 16):
                pass

    def wait(self, seconds=None):
        """Do nothing, not even read, until the server is stopped. True if it was."""
        return self.stopped.wait(seconds)

    def end(self):
        """FIN: nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST, at once."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, size):
        while len(self._unread) < size:
            self._unread += self._more()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError
        return data


class FaultyServer:
    """`with FaultyServer(serve) as server:`; `serve(peer)` is the life of each connection, its socket closed after it.

    serve: the end of the stream and a reset end it quietly; anything else that it raises is raised when the server is
    left. tls: an ssl.SSLContext. host, port: where it listens; port 0: any. receive_buffer: SO_RCVBUF.
    """

    def __init__(self, serve, *, tls=None, host="127.0.0.1", port=0, receive_buffer=None):
        self._serve, self._tls = serve, tls
        self._address = host, port
        self._receive_buffer = receive_buffer
        self._stopped = threading.Event()
        self._threads, self._sockets, self._errors = [], [], []
        self.count = 0

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = note(socket.create_server(self._address, family=family, backlog=256))
        if self._receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, kind, *_):
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in tuple(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        if self._errors and kind is None:
            raise self._errors[0]

    @property
    def url(self):
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        return f"{'wss' if self._tls else 'ws'}://{host}:{self.port}/"

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:  # no descriptor left, or the end
                self._stopped.wait(0.01)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(note(sock))
            self.count += 1
            self._start(self._live, sock)

    def _live(self, sock):
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
                self._sockets.append(sock)
            self._serve(Peer(sock, self._stopped))
        except (OSError, EOFError):
            pass
        except Exception as error:
            self._errors.append(error)
        finally:
            sock.close()
