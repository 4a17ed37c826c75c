"""URLs: RFC 6455 3, faults 3.7 and picows' P7."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx.endpoint import Endpoint, parse_url


class TestAccepted:
    @pytest.mark.parametrize(
        ("url", "expected", "host_header"),
        [
            ("wss://h.example", Endpoint(True, "h.example", 443, "/"), "h.example"),
            ("ws://h.example", Endpoint(False, "h.example", 80, "/"), "h.example"),
            ("WSS://H.Example/Path", Endpoint(True, "h.example", 443, "/Path"), "h.example"),
            ("wss://h:443/", Endpoint(True, "h", 443, "/"), "h"),
            ("ws://h:80/", Endpoint(False, "h", 80, "/"), "h"),
            ("wss://h:80/", Endpoint(True, "h", 80, "/"), "h:80"),
            ("ws://h:65535", Endpoint(False, "h", 65535, "/"), "h:65535"),
            ("wss://h/ws/api/v2?a=1&b=/?", Endpoint(True, "h", 443, "/ws/api/v2?a=1&b=/?"), "h"),
            ("wss://h?a=1", Endpoint(True, "h", 443, "/?a=1"), "h"),
            ("wss://h/a%23b?c=@:", Endpoint(True, "h", 443, "/a%23b?c=@:"), "h"),
            ("ws://127.0.0.1:8080", Endpoint(False, "127.0.0.1", 8080, "/"), "127.0.0.1:8080"),
            ("wss://[::1]:8443/x", Endpoint(True, "::1", 8443, "/x"), "[::1]:8443"),
            ("ws://[2001:DB8:0::1]", Endpoint(False, "2001:db8::1", 80, "/"), "[2001:db8::1]"),
            ("ws://my_service:1/", Endpoint(False, "my_service", 1, "/"), "my_service:1"),
            (
                "wss://xn--bcher-kva.example.",
                Endpoint(True, "xn--bcher-kva.example.", 443, "/"),
                "xn--bcher-kva.example.",
            ),
        ],
    )
    def test_a_url_is_taken_apart(self, url, expected, host_header):
        endpoint = parse_url(url)
        assert endpoint == expected
        assert endpoint.host_header == host_header

    def test_its_texts_leave_out_the_query(self):
        endpoint = parse_url("wss://h:8443/ws?token=canary")
        assert (endpoint.origin, endpoint.display) == ("wss://h:8443", "wss://h:8443/ws")
        assert repr(endpoint) == str(endpoint) == "Endpoint('wss://h:8443/ws')"

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.255.3.4", "[::1]"])
    def test_loopback_is_known_by_its_literals_and_name(self, host):
        assert parse_url(f"ws://{host}:1/").is_loopback

    @pytest.mark.parametrize("host", ["h", "localhost.example.com", "128.0.0.1", "0.0.0.0", "10.0.0.1", "[::2]"])
    def test_anything_else_is_not_loopback(self, host):
        assert not parse_url(f"ws://{host}:1/").is_loopback


class TestRefused:
    @pytest.mark.parametrize(
        ("url", "hint"),
        [
            ("", "no '://'"),
            ("h.example/ws", "no '://'"),
            ("wss:/h", "no '://'"),
            ("http://h", "opened with ws://"),
            ("HTTPS://h", "opened with wss://"),
            ("ftp://h", "neither ws:// nor wss://"),
            ("://h", "neither ws:// nor wss://"),
            ("wss://", "no host"),
            ("wss:///path", "no host"),
            ("wss://:443", "no host"),
            ("wss://h/p#part", "%23"),
            ("wss://h#", "%23"),
            ("wss://user:canary@h/", "headers"),
            ("wss://canary@h/", "headers"),
            ("wss://@h/", "headers"),
            ("wss://h:/", "port"),
            ("wss://h:0/", "port"),
            ("wss://h:65536/", "port"),
            ("wss://h:123456/", "port"),
            ("wss://h:+80/", "port"),
            ("wss://h:8_0/", "port"),
            ("wss://h:\u0661/", "port"),
            ("wss://::1/", "no host"),
            ("wss://h::1/", "port"),
            ("wss://[::1/", "brackets"),
            ("wss://[::1]x/", "brackets"),
            ("wss://[]/", "not an IPv6"),
            ("wss://[127.0.0.1]/", "not an IPv6"),
            ("wss://[fe80::1%25eth0]/", "zone"),
            ("wss://[fe80::1%eth0]/", "zone"),
            ("wss://b\xfccher.example/", "xn--"),
            ("wss://a..b/", "not a valid name"),
            ("wss://./", "not a valid name"),
            ("wss://-a/", "not a valid name"),
            ("wss://a-/", "not a valid name"),
            ("wss://a%41/", "not a valid name"),
            ("wss://a\\b/", "not a valid name"),
            ("wss://a,b/", "not a valid name"),
            (f"wss://{'a' * 64}/", "not a valid name"),
            ("ws://2130706433/", "four numbers"),
            ("ws://0x7f.1/", "four numbers"),
            ("ws://0X7F000001/", "four numbers"),
            ("ws://0x/", "four numbers"),
            ("ws://127.1/", "four numbers"),
            ("ws://010.0.0.1/", "four numbers"),
            ("ws://1.2.3.999/", "four numbers"),
            ("ws://h.example.1/", "four numbers"),
            (f"wss://{'a.' * 128}/", "not a valid name"),
            ("wss://h/caf\xe9", "percent-encode"),
            ("wss://h/?q=\u20ac", "percent-encode"),
            (" wss://h/", "position 0"),
            ("wss://h/a b", "position 9"),
            ("wss://h/\r\nX-Evil: 1", "position 8"),
            ("wss://h\n", "position 7"),
            ("wss://h/\0", "position 8"),
            ("wss://h/\t", "position 8"),
            ("wss://h\x7f/", "position 7"),
        ],
    )
    def test_a_url_that_cannot_be_used_says_why(self, url, hint):
        with pytest.raises(ValueError, match="url cannot be used: ") as caught:
            parse_url(url)
        assert hint in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize(
        "url",
        [
            "wss://user:canary@h/",
            "wss://h/?token=canary#x",
            "wss://h/?token=canary\n",
            "canary",
            "canary://h",
            "http://canary",
        ],
    )
    def test_what_might_be_a_credential_is_not_repeated(self, url):
        with pytest.raises(ValueError, match="url cannot be used") as caught:
            parse_url(url)
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("url", [None, b"wss://h", 5])
    def test_only_text_is_a_url(self, url):
        with pytest.raises(TypeError, match=f"not {type(url).__name__}"):
            parse_url(url)


class TestAnyText:
    @settings(deadline=None)
    @given(st.text(alphabet="wsh:/?#@[]%.-1a \r\n\xe9", max_size=24))
    def test_what_passes_holds_nothing_that_breaks_a_request(self, text):
        try:
            endpoint = parse_url("ws://" + text)
        except ValueError:
            return
        wire = f"GET {endpoint.resource} HTTP/1.1\r\nHost: {endpoint.host_header}\r\n"
        assert wire.isascii()
        assert len(wire.split()) == 5
        assert endpoint.resource.startswith("/")
        assert 1 <= endpoint.port <= 65535

    @settings(deadline=None)
    @given(st.text(alphabet="ab.-1", max_size=12), st.integers(1, 65535), st.booleans())
    def test_origin_and_resource_make_the_same_endpoint_again(self, host, port, secure):
        try:
            endpoint = parse_url(f"{'wss' if secure else 'ws'}://{host}:{port}/p?q=1")
        except ValueError:
            return
        assert parse_url(endpoint.origin + endpoint.resource) == endpoint
