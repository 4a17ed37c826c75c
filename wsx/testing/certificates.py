"""Certificates for local `wss://` servers: a throw-away authority, and the contexts of both sides.

Not here: how a client checks certificates by default (wsx/transport/tls.py).
"""

import ssl

_NAMES = ("localhost", "127.0.0.1", "::1")


class Authority:
    """A certificate authority that lives as long as this object; nothing is written to a disk that stays.

    Raises ImportError, naming the extra, where trustme is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ImportError("tls=True makes certificates with trustme: pip install 'wsx[testing]'") from None
        self._authority = trustme.CA()

    def server_context(self, *names: str) -> ssl.SSLContext:
        """For a server on loopback, or one that is reached by `names` (host names or addresses)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._authority.issue_cert(*dict.fromkeys((*_NAMES, *names))).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._authority.configure_trust(context)
        return context
