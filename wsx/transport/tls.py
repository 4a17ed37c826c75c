"""TLS for outgoing connections: the default context, and its failures in words.

Not here: the handshake itself, which the event loop's transport does.
"""

import contextlib
import functools
import ssl


@functools.cache
def default_context() -> ssl.SSLContext:
    """Verified TLS 1.2+ with the system's roots; made once, because loading the roots takes milliseconds.

    Raises OSError where the file of the roots cannot be read.
    """
    context = ssl.create_default_context()
    roots = ssl.get_default_verify_paths().cafile
    if roots is not None and not context.cert_store_stats()["x509"]:
        # OpenSSL said nothing when it could not read them, and this context would be kept: for lack of descriptors, say.
        with contextlib.suppress(ssl.SSLError):  # an empty file; the directory of roots may still hold some
            context.load_verify_locations(roots)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def describe_failure(error: Exception) -> str:
    """What went wrong in a TLS handshake, as a person would say it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was refused: {error.verify_message}"
    reason = getattr(error, "reason", None) or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return "the server does not speak TLS on this port; it answered in plain text (ws:// instead of wss://?)"
    if "UNSUPPORTED_PROTOCOL" in reason or "PROTOCOL_VERSION" in reason:
        return f"the server offers no TLS version that is accepted here, 1.2 or newer ({reason})"
    if "CERTIFICATE_REQUIRED" in reason:
        return f"the server wants a certificate of this client's: load it into an ssl.SSLContext, pass ssl= ({reason})"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed: {reason or error}"
    return f"the connection was cut during the TLS handshake: {error}"
