"""TLS for outgoing connections: the default context, and failures as a person would say them."""

import functools
import os
import resource
import ssl

import pytest
import trustme

from wsx.transport.tls import default_context, describe_failure

PLAIN = "the server does not speak TLS on this port; it answered in plain text (ws:// instead of wss://?)"
VERSION = "the server offers no TLS version that is accepted here, 1.2 or newer"


class TestDefaultContext:
    def test_it_verifies_with_the_systems_roots_from_tls_1_2_on(self):
        context = default_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()

    def test_it_is_made_once(self):
        assert default_context() is default_context()

    def test_it_offers_http_1_1_alone(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        assert b"\x00\x09\x08http/1.1" in hello  # RFC 7301 3.1: a list of one
        assert b"\x02h2" not in hello


@pytest.fixture
def roots(monkeypatch, tmp_path):
    """Where the system's roots are for one test: a file that is not there yet, and nothing else."""
    path = tmp_path / "roots.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    default_context.cache_clear()
    yield path
    default_context.cache_clear()


def how_many():
    return default_context().cert_store_stats()["x509"]


class TestRoots:
    def test_a_file_of_roots_is_read(self, roots):
        trustme.CA().cert_pem.write_to_path(roots)
        assert how_many() == 1

    def test_a_file_without_any_is_no_error_because_a_directory_may_hold_some(self, roots):
        roots.write_text("# nothing\n")
        assert how_many() == 0

    def test_no_file_at_all_is_none_either(self, roots):
        assert how_many() == 0

    def test_a_file_that_cannot_be_read_now_is_told_and_read_the_next_time(self, roots):
        trustme.CA().cert_pem.write_to_path(roots)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OSError, match="open files"):
                default_context()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert how_many() == 1


def failure(client, server):
    """What a client's handshake with a server in memory fails with."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                if end is ours:
                    return error
    pytest.fail("the handshake did not fail")


@functools.cache
def authority():
    return trustme.CA()


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(context)
    return context


class Aiofastnets(ssl.SSLError):
    """As aiofastnet makes them: without arguments, with attributes."""

    def __init__(self, reason):
        super().__init__()
        self.reason, self.strerror = reason, f"[SSL: {reason}] SSL_do_handshake failed"


class TestDescribeFailure:
    def test_a_certificate_that_is_not_trusted_is_said_with_the_verifiers_reason(self):
        text = describe_failure(failure(ssl.create_default_context(), server_context()))
        assert text.startswith("the server's certificate was refused: ")
        assert "unable to get local issuer certificate" in text

    def test_plain_text_is_said(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError) as caught:
            client.do_handshake()
        assert describe_failure(caught.value) == PLAIN

    @pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"])
    def test_plain_text_has_more_than_one_name(self, reason):
        assert describe_failure(Aiofastnets(reason)) == PLAIN

    @pytest.mark.parametrize("reason", ["UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"])
    def test_an_old_version_is_said(self, reason):
        assert describe_failure(Aiofastnets(reason)) == f"{VERSION} ({reason})"

    def test_a_certificate_of_ours_that_is_missing_is_said_with_where_it_goes(self):
        text = describe_failure(Aiofastnets("TLSV13_ALERT_CERTIFICATE_REQUIRED"))
        assert "wants a certificate of this client's" in text
        assert "ssl=" in text

    def test_anything_else_keeps_its_reason(self):
        client = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        server = server_context()
        server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        error = Aiofastnets("SSLV3_ALERT_HANDSHAKE_FAILURE")
        assert describe_failure(error) == "the TLS handshake failed: SSLV3_ALERT_HANDSHAKE_FAILURE"
        assert failure(client, server) is not None

    def test_an_error_of_tls_without_a_reason_keeps_its_words(self):
        assert describe_failure(ssl.SSLError("odd")) == "the TLS handshake failed: ('odd',)"

    def test_a_cut_is_told_from_a_failure(self):
        error = ConnectionResetError(104, "Connection reset by peer")
        assert describe_failure(error).startswith("the connection was cut during the TLS handshake: ")
