"""Where a connection goes: a `ws://` or `wss://` URL, taken apart (RFC 6455 3, RFC 3986).

A URL's user info and query may hold credentials, so no text made here repeats them.
Not here: resolving the name (transport), what else is configured (config.py).
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Never

_URL = re.compile(r"([^:/?#]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """A parsed URL. Its texts leave out the query; only `resource`, which goes onto the wire, has it.

    secure: TLS. host: ASCII, lower case, an IPv6 address without brackets. resource: path and query, never empty.
    """

    secure: bool
    host: str
    port: int
    resource: str

    @property
    def host_header(self) -> str:
        """The value of Host: the default port is left out (RFC 6455 4.1, RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def scheme(self) -> str:
        return "wss" if self.secure else "ws"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what two URLs of one server share."""
        return f"{self.scheme}://{self.host_header}"

    @property
    def display(self) -> str:
        """The URL without its query: for texts, logs and events."""
        return self.origin + self.resource.partition("?")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether the bytes stay on this machine: 127.0.0.0/8, ::1 or the name localhost."""
        if self.host.rstrip(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __repr__(self) -> str:
        return f"Endpoint({self.display!r})"


def parse_url(url: str) -> Endpoint:
    """Take a URL apart. Raises TypeError if it is not a str, ValueError if it is not one that wsx opens."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    _check_characters(url)
    match = _URL.fullmatch(url)
    if match is None:
        _refuse("it has no '://'; write it as wss://host/path")
    scheme, authority, path, query, fragment = match.groups(default="")
    secure = _is_secure(scheme)
    if fragment:
        _refuse("it has a fragment ('#...'), which RFC 6455 3 does not allow; write '#' in a path or query as %23")
    host, port = _host_and_port(authority, _DEFAULT_PORTS["wss" if secure else "ws"])
    if not (path + query).isascii():
        _refuse("its path or query is not ASCII; percent-encode it (urllib.parse.quote)")
    return Endpoint(secure, host, port, (path or "/") + query)


def parse_host(text: str) -> str:
    """A host as it stands in a URL: lower case, without brackets. Raises ValueError for what is no host."""
    if not text:
        _refuse("it names no host")
    if not text.isascii():
        _refuse("its host is not ASCII; write an international name in its xn-- form")
    return _ipv6(text[1:-1]) if text.startswith("[") else _name_or_ipv4(text.lower())


def _check_characters(url: str) -> None:
    for position, character in enumerate(url):
        if character <= " " or character == "\x7f":
            _refuse(f"it has {character!r} at position {position}; spaces and control characters are not allowed")


def _is_secure(scheme: str) -> bool:
    name = scheme.lower()
    if name in ("http", "https"):
        hint = "wss" if name == "https" else "ws"
        _refuse(f"its scheme is {name}://; a WebSocket is opened with {hint}://")
    if name not in _DEFAULT_PORTS:
        _refuse("its scheme is neither ws:// nor wss://")
    return name == "wss"


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        _refuse("it has user info ('user:password@'); put credentials into headers, for example Authorization")
    match = _HOST_AND_PORT.fullmatch(authority)
    if match is None:
        _refuse("its host cannot be read; an IPv6 address goes into brackets, as in wss://[::1]:8443/")
    host, port = match.groups()
    return parse_host(host), default_port if port is None else _port(port)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        _refuse("its port is not a number from 1 to 65535")
    return int(text)


def _name_or_ipv4(text: str) -> str:
    """What ends in a number is an address: the resolver would read 0x7f.1 and 2130706433 as 127.0.0.1."""
    labels = text.removesuffix(".").split(".")
    if len(text) > 254 or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse("its host is not a valid name or address")
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        return text
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        _refuse("its host ends in a number and is not an IPv4 address; write it as four numbers, as in 192.0.2.1")


def _ipv6(text: str) -> str:
    if "%" in text:
        _refuse("its IPv6 address has a zone ('%...'), which cannot be put into a Host header; use a global address")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        _refuse("what is in brackets is not an IPv6 address")


def _refuse(why: str) -> Never:
    raise ValueError(f"url cannot be used: {why}") from None
