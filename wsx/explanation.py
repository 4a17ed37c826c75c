"""An error in words for a person: what it means, what wsx does about it, what to try, and what was seen.

Tables again, the words beside the classes, codes and numbers they are for. The words of exceptions that are not wsx's
own are left out: they may hold a secret.
Not here: what wsx really does about an error (error_handler.py).
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from wsx.error_handler import judge
from wsx.errors import (
    AnswerTimeout,
    AuthenticationFailed,
    Backpressure,
    Category,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionLost,
    DataTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    InvalidHandshake,
    InvalidUtf8,
    MessageTooBig,
    NotConnected,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    RateLimitTimeout,
    ReconnectExhausted,
    Recovery,
    RestartsExceeded,
    RestoreFailed,
    RpcError,
    SendTimeout,
    SlowConsumer,
    Stage,
    SubscriptionRefused,
    TooManyPending,
    WrongThread,
    WsxError,
)

_FAILURES_SHOWN = 8  # of the history of attempts


@dataclass(frozen=True, slots=True)
class _Words:
    """meaning: a sentence or two. advice: what to try, likeliest first. done: what wsx did, where that is special."""

    meaning: str
    advice: tuple[str, ...] = ()
    done: str = ""


# ---- what wsx does ---------------------------------------------------------------------------------------------------

_DONE = {
    Recovery.RECONNECT: (
        "It left nothing of the connection open, and opens another by its backoff where reconnecting is on."
        " The first opening, in connect(), is tried once and raises."
    ),
    Recovery.NOTIFY: (
        "It failed the connection with the right close code and tells your code. Where reconnecting is on, it tries"
        " again at the longest backoff; more than three such errors in ten minutes close the client."
    ),
    Recovery.HALT: "It stopped: the client is HALTED, and nothing is tried again until you call client.resume().",
    Recovery.PASS_THROUGH: "It handed the error to your code and did nothing else; the connection is as it was.",
}

# ---- by class, the nearest base counts ------------------------------------------------------------------------------

_CLASSES: dict[type[BaseException], _Words] = {
    WsxError: _Words("wsx could not do what it was asked to."),
    ConnectionFailed: _Words("No connection came about."),
    HandshakeRejected: _Words("The server is there and speaks HTTP, but did not turn this request into a WebSocket."),
    InvalidHandshake: _Words(
        "The answer to the upgrade request is not one that a WebSocket server gives.",
        (
            "check that the URL's host, port and path are those of the WebSocket endpoint",
            "look for a proxy or a captive portal between that answers in the server's place",
        ),
    ),
    ConnectionLost: _Words(
        "The connection ended without a closing handshake: the network, the server's process or something between gave"
        " it up. What was sent last may or may not have arrived.",
        (
            "look up orders whose outcome is unknown; wsx does not send them again",
            "if it happens after a fixed time, something between drops quiet connections: shorten ping_interval",
            "if it happens under load, see whether the server drops clients that read too slowly",
        ),
    ),
    HeartbeatTimeout: _Words(
        "wsx sent a PING and the matching PONG did not come in time. The peer is gone, or so slow that it is no use.",
        (
            "see the evidence for who was slow: a blocked event loop and a slow consumer are told apart from the peer",
            "look for blocking calls in callbacks; they show up as LoopBlocked events",
            "raise ping_timeout where the line is known to be this slow",
        ),
    ),
    DataTimeout: _Words(
        "The peer answered every PING and sent no message for longer than data_timeout: alive, and of no use.",
        (
            "check that the subscriptions were acknowledged: a server may drop them in silence",
            "raise data_timeout where the stream is known to be this quiet, or subscribe to something that is not",
        ),
    ),
    RestoreFailed: _Words(
        "A new connection was open, but a hook, the login or a subscription on it failed, so it was given up.",
        (
            "look at what caused it, below",
            "where it goes on, call what the hook does by hand, to see what the server says",
        ),
    ),
    SlowConsumer: _Words(
        "Messages came faster than this program read them, for so long that what it would have read next was old.",
        (
            "do less per message, or take only the newest of each key",
            "use on_message instead of recv(): it is the fastest way",
            "subscribe to less, or spread the subscriptions over several clients",
            "raise inbox_messages, inbox_bytes or max_pause if bursts are this long and old data is of use",
        ),
    ),
    ReconnectExhausted: _Words(
        "Every attempt that the configuration allows has failed.",
        (
            "see the failures below: the last is the likeliest cause",
            "leave attempts out of Backoff to try without end",
        ),
        "It closed the client; another connect() starts afresh.",
    ),
    ProtocolError: _Words(
        "The peer sent something that RFC 6455 forbids. That is a fault of the server or of something between, such as"
        " a proxy that changes the stream.",
        ("report it to the server's operator with the close code and the text above", "try without the proxy between"),
    ),
    InvalidUtf8: _Words(
        "The peer marked a message as text, and its bytes are not UTF-8.",
        ("report it to the server's operator", "ask whether the stream should be binary"),
    ),
    MessageTooBig: _Words(
        "The peer sent a message above the limit that protects this program's memory.",
        ("raise the limit that the text names if messages of this size are expected", "subscribe to less at once"),
    ),
    AuthenticationFailed: _Words(
        "The server refused the credentials. Trying again with the same ones could lock the account.",
        (
            "check the key, its secret, and that they belong to this environment (test or production)",
            "check that the key is not expired and is allowed from this address",
            "check this machine's clock if requests are signed",
            "call client.resume() once it is mended",
        ),
    ),
    RpcError: _Words(
        "The server understood the request and refused it. Its answer is the outcome: rejected.",
        ("look up the code in the exchange's documentation; error.data may say which argument",),
    ),
    AnswerTimeout: _Words(
        "The request was sent, and its deadline passed without an answer. It may have been carried out, or not.",
        (
            "look up what became of it (an order by its label) before sending it again",
            "give it more time, if the other side is known to be slow; LateAnswer events say by how much",
        ),
        "It keeps its outcome as unknown, and tells a late answer as an event.",
    ),
    OutcomeUnknown: _Words(
        "The request was sent, and the connection ended before its answer came. It may have been carried out, or not.",
        ("look up what became of it (an order by its label) before sending it again",),
        "It keeps its outcome as unknown, and never sends it again.",
    ),
    SubscriptionRefused: _Words(
        "The exchange does not have these channels, or does not give them to this login.",
        (
            "check the channels' names: the instrument may have expired",
            "log in before private and raw channels, with a scope that allows them",
        ),
        "It subscribed to the others, and restores only what was acknowledged.",
    ),
    TooManyPending: _Words(
        "More requests wait for their answers than may. Either they are asked faster than the other side answers, or it"
        " has stopped answering.",
        ("await answers before asking more", "raise most_pending"),
        "It sent nothing.",
    ),
    NotConnected: _Words(
        "There was no open connection to send on. No byte of the message has left this process: it is safe to send it"
        " again.",
        ("await client.wait_open() before sending", "decide whether the message is still wanted; wsx keeps none back"),
    ),
    ConnectionClosed: _Words(
        "The connection was closed, and nothing more can be sent or received on it.",
        ("call connect() again, or leave reconnecting on so that the client lives on",),
    ),
    RestartsExceeded: _Words(
        "What the supervisor watches ended more often than its max_restarts allow: restarting does not help.",
        (
            "see the ends below: the last is the likeliest cause",
            "raise max_restarts, or lower within, if ends so close together are to be expected",
        ),
        "It stopped every child, the newest first, and raised this out of the supervisor.",
    ),
    RateLimitTimeout: _Words(
        "The request waited for tokens of its rate limit, and its deadline came first. Nothing was sent.",
        (
            "ask RateLimiter.when(method) before deciding, and give the request a later deadline",
            "send fewer requests of the lanes before it, or reserve tokens for its own",
        ),
    ),
    RateLimited: _Words(
        "The token bucket did not hold enough tokens. Nothing was sent.",
        ("use await client.send(), which waits for them", "try again after error.retry_after seconds"),
        "It sent nothing, and took no token.",
    ),
    SendTimeout: _Words(
        "The message waited for tokens or for room in the write buffer, and its deadline came first.",
        (
            "look at client.health(): with a full write buffer the peer does not read, with an empty bucket too much is sent",
            "decide whether the message is still wanted, and send it again if so",
        ),
        "It sent nothing of this message, and keeps nothing of it.",
    ),
    Backpressure: _Words(
        "The peer takes data more slowly than this program sends it, and the write buffer is full.",
        ("use await client.send(), which waits for room", "send less", "raise write_limit for longer bursts"),
        "It sent nothing of this message; what was in the buffer is still on its way.",
    ),
    WrongThread: _Words(
        "A client belongs to the thread of its event loop.",
        ("use client.call_threadsafe(function, *args) from other threads",),
        "It refused the call; nothing was done.",
    ),
    ssl.SSLCertVerificationError: _Words(
        "The server's certificate could not be verified, so that nobody knows who is at the other end.",
        ("do not turn verification off: pass an ssl context that trusts the right authority",),
    ),
    ssl.SSLError: _Words(
        "The two sides could not agree on TLS.",
        ("check that the port speaks TLS (wss://) and not plain text (ws://)", "check the TLS versions on both sides"),
    ),
    socket.gaierror: _Words(
        "The host name could not be turned into an address.",
        ("check the name for misspellings", "check this machine's resolver and network"),
    ),
    TimeoutError: _Words(
        "No answer came in time.",
        ("check the network and any firewall that drops packets silently", "raise the timeout that applies"),
    ),
    ConnectionError: _Words("The other end, or something between, refused or ended the connection."),
    OSError: _Words("The operating system refused."),
    asyncio.CancelledError: _Words("The task that waited was cancelled; nothing failed."),
    KeyboardInterrupt: _Words("Somebody pressed Ctrl-C."),
    MemoryError: _Words(
        "There was no memory left.", ("lower inbox_bytes, max_message_size and write_limit", "read faster")
    ),
    BaseException: _Words(
        "This is not an error of wsx: it comes from the program, or from another library.",
        ("see its own text and traceback; its words are not repeated here, because they may hold a secret",),
    ),
}

# ---- by the numbers that errors carry -------------------------------------------------------------------------------

_STAGES = {
    Stage.DNS: _Words("It failed while looking up the host name.", ("check the name", "check this machine's resolver")),
    Stage.TCP: _Words(
        "It failed while connecting to the server's address.", ("check host and port", "check any firewall between")
    ),
    Stage.PROXY: _Words(
        "It failed at the proxy, before the server was reached.", ("check the proxy's address and credentials",)
    ),
    Stage.TLS: _Words(
        "It failed during the TLS handshake, before anything of yours was sent.",
        ("check that the port speaks TLS", "check this machine's clock", "check server_hostname if you have set it"),
    ),
    Stage.UPGRADE: _Words(
        "TCP and TLS are through, but no valid answer to the upgrade request came.",
        ("check that the URL names a WebSocket endpoint", "ask whether the server is up behind its load balancer"),
    ),
}

_STATUSES: tuple[tuple[range, _Words], ...] = (
    (
        range(100, 200),
        _Words("It is still talking about the request, and never agreed to it.", ("look for a proxy between",)),
    ),
    (
        range(200, 300),
        _Words("A plain web page answered.", ("check the path: most endpoints end in something like /ws",)),
    ),
    (range(300, 400), _Words("It points elsewhere; wsx does not follow.", ("use the final URL: see error.headers",))),
    (range(401, 402), _Words("It asks for credentials.", ("check the credentials in headers, then client.resume()",))),
    (
        range(403, 404),
        _Words(
            "It does not let this client in: credentials, address or region.",
            ("check the key's permissions and its allowed addresses", "then call client.resume()"),
        ),
    ),
    (range(404, 405), _Words("There is nothing at this path.", ("check the path of the URL and the API version",))),
    (range(407, 408), _Words("A proxy asks for credentials.", ("check the proxy's credentials",))),
    (
        range(429, 430),
        _Words(
            "This address or account has sent too many requests.",
            ("open fewer connections, and less often", "look for another program behind the same address"),
        ),
    ),
    (range(400, 500), _Words("It finds the request wrong.", ("check headers and subprotocols", "see error.body"))),
    (
        range(502, 505),
        _Words("It is up, and what is behind it is not.", ("look at the exchange's status page",)),
    ),
    (
        range(520, 528),
        _Words("The content network in front cannot reach the server.", ("look at the exchange's status page",)),
    ),
    (range(500, 600), _Words("It failed by itself.", ("look at the exchange's status page", "see error.body"))),
)
_ODD_STATUS = _Words("That is no status of HTTP.", ("look for a proxy between",))

_CLOSE_CODES: tuple[tuple[range, _Words], ...] = (
    (range(1000, 1001), _Words("1000: the peer was done, in good order.")),
    (range(1001, 1002), _Words("1001: the peer goes away: a restart, or a page that was left.")),
    (range(1002, 1003), _Words("1002: the peer says that this side broke the protocol.", ("report it to wsx",))),
    (range(1003, 1004), _Words("1003: the peer does not take this kind of data.", ("send text instead of binary",))),
    (range(1005, 1006), _Words("1005: the peer closed without saying why.")),
    (range(1006, 1007), _Words("1006: the connection ended without a CLOSE.")),
    (range(1007, 1008), _Words("1007: the peer found text that is not UTF-8.", ("check what text=True is sent with",))),
    (
        range(1008, 1009),
        _Words("1008: the peer's policy forbids what was done.", ("check permissions and limits",)),
    ),
    (range(1009, 1010), _Words("1009: a message was too big for the peer.", ("send smaller messages",))),
    (range(1010, 1011), _Words("1010: the peer missed an extension.")),
    (range(1011, 1012), _Words("1011: the peer failed by itself.")),
    (range(1012, 1013), _Words("1012: the peer restarts.")),
    (range(1013, 1014), _Words("1013: the peer is overloaded, and asks to come back later.")),
    (range(1014, 1015), _Words("1014: a gateway got no valid answer from the server behind it.")),
    (range(3000, 3001), _Words("3000: the peer misses credentials.", ("check the credentials",))),
    (range(3003, 3004), _Words("3003: the peer forbids it.", ("check the key's permissions",))),
    (range(3000, 4000), _Words("3xxx: a code that a library has registered.", ("see the server's documentation",))),
    (range(4000, 5000), _Words("4xxx: a code of the server's own.", ("look it up in the server's documentation",))),
)
_ODD_CODE = _Words("That code may not be on the wire at all.", ("look for something between that changes the stream",))

_ERRNOS = {
    errno.ECONNREFUSED: _Words("Nothing listens on that port.", ("check the port, and that the server is up",)),
    errno.ECONNRESET: _Words("The other end, or something between, reset the connection."),
    errno.EPIPE: _Words("The other end had already closed."),
    errno.ETIMEDOUT: _Words("No packet came back.", ("look for a firewall that drops them",)),
    errno.ENETUNREACH: _Words("This machine has no route to that network.", ("check its network, and IPv6",)),
    errno.EHOSTUNREACH: _Words("There is no way to that host.", ("check the network, and VPNs",)),
    errno.EMFILE: _Words(
        "This process has no file descriptor left.", ("raise ulimit -n", "look for sockets left open")
    ),
    errno.ENFILE: _Words("The whole machine has no file descriptor left.", ("raise fs.file-max",)),
    errno.EADDRNOTAVAIL: _Words(
        "No local port is free, or source_address is not of this machine.",
        ("check source_address", "open connections less often, or widen net.ipv4.ip_local_port_range"),
    ),
    errno.EACCES: _Words("This machine forbids it.", ("check its firewall, and the process's permissions",)),
    errno.EPERM: _Words("This machine forbids it.", ("check its firewall, and the process's permissions",)),
    errno.ENOBUFS: _Words("The kernel has no buffer left.", ("lower receive_buffer and send_buffer",)),
}

_GAI_AGAIN = _Words("The resolver did not answer.", ("check that this machine is online, and /etc/resolv.conf",))

_VERIFY_CODES = {  # of OpenSSL
    9: _Words("It is not valid yet.", ("check this machine's clock",)),
    10: _Words("It has expired.", ("tell the server's operator", "check this machine's clock")),
    18: _Words("It is signed by itself.", ("pass an ssl context that trusts this certificate, if it is meant to be",)),
    19: _Words("Its authority is not known here.", ("look for a proxy that inspects TLS", "add the authority")),
    20: _Words(
        "Its authority is not known here, or the server sends an incomplete chain.",
        ("update this machine's roots", "tell the server's operator"),
    ),
    62: _Words("It is for another name.", ("check the host in the URL", "check server_hostname if you have set it")),
    64: _Words("It is for another address.", ("connect by name", "check server_hostname if you have set it")),
}

# ---- explaining -----------------------------------------------------------------------------------------------------


def explain(error: BaseException) -> str:
    """What happened, what wsx does about it, what to try and what was seen, in lines of text. Takes any exception.

    Holds no secret: no header's value, no URL's user info or query, no payload, no stranger's words.
    """
    words = list(_words(error))
    advice = dict.fromkeys(line for part in words for line in part.advice)
    paragraphs = [
        describe(error),
        "What it means: " + " ".join(part.meaning for part in words),
        "What wsx does: " + _what_wsx_does(error, words[0]),
        _listed("What to try:", advice),
        _listed("What was seen:", _evidence(error)),
        _listed("What came before:", _before(error)),
    ]
    return "\n\n".join(filter(None, paragraphs))


def describe(error: BaseException) -> str:
    """The error in one line, its class and what is known to be no secret of its text."""
    name = type(error).__name__
    if isinstance(error, WsxError):
        return f"{name}: {error}"
    if isinstance(error, ssl.SSLError):
        text = getattr(error, "verify_message", None) or getattr(error, "reason", None)  # only OpenSSL sets them
    elif isinstance(error, socket.gaierror):
        text = error.strerror
    else:
        number = error.errno if isinstance(error, OSError) else None
        text = None if number is None else f"{os.strerror(number)} (errno {number})"
    return f"{name}: {text}" if text else name


def _words(error: BaseException) -> Iterator[_Words]:
    """Of its class, then of the numbers it carries, then of what caused it."""
    yield next(_CLASSES[kind] for kind in type(error).__mro__ if kind in _CLASSES)
    if isinstance(error, HandshakeRejected):
        yield next((words for statuses, words in _STATUSES if error.status in statuses), _ODD_STATUS)
    elif isinstance(error, ConnectionFailed) and not isinstance(error, InvalidHandshake):
        yield _STAGES[error.stage]
    elif isinstance(error, ConnectionClosed):
        yield next((words for codes, words in _CLOSE_CODES if error.code in codes), _ODD_CODE)
    elif isinstance(error, OSError) and not isinstance(error, WsxError):
        yield from _words_of_system(error)
    if isinstance(error, WsxError) and isinstance(error.__cause__, OSError):
        yield from _words(error.__cause__)


def _words_of_system(error: OSError) -> Iterator[_Words]:
    if isinstance(error, ssl.SSLCertVerificationError):
        found = _VERIFY_CODES.get(getattr(error, "verify_code", 0))
    elif isinstance(error, ssl.SSLError):
        found = None  # its errno is OpenSSL's
    elif isinstance(error, socket.gaierror):
        found = _GAI_AGAIN if error.errno == socket.EAI_AGAIN else None
    else:
        found = _ERRNOS.get(error.errno or 0)
    if found is not None:
        yield found


def _what_wsx_does(error: BaseException, words: _Words) -> str:
    verdict = judge(error)
    done = words.done or _DONE[verdict.recovery]
    if verdict.retry_after is None or verdict.category is Category.APPLICATION:
        return done
    return f"{done} The server asked to wait {verdict.retry_after:g} s: so long it waits, up to an hour."


def _evidence(error: BaseException) -> list[str]:
    context = error.context if isinstance(error, WsxError) else None
    return list(context.evidence) if context is not None else []


def _before(error: BaseException) -> list[str]:
    """The last events, or for a client that gave up its last failures."""
    lines: list[str] = []
    if isinstance(error, WsxError) and error.context is not None:
        lines += error.context.last_events
    if isinstance(error, ReconnectExhausted | RestartsExceeded):
        shown = error.history[-_FAILURES_SHOWN:]
        lines += [
            f"attempt {failure.attempt}, {(failure.at_ns - shown[-1].at_ns) / 1e9:+.3f} s: {failure.error}"
            for failure in shown
        ]
    return lines


def _listed(title: str, lines: dict[str, None] | list[str]) -> str:
    return "\n  - ".join([title, *lines]) if lines else ""
