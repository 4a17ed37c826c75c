"""Settings: each field checked on construction, each mistake named."""

import dataclasses
import math
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsx import config as config_module
from wsx.backoff import Backoff
from wsx.config import Config, SocketOptions, make_config
from wsx.endpoint import parse_url
from wsx.error_handler import ErrorHandler
from wsx.secret import Secret

MIB = 1024 * 1024
SECONDS = ["connect_timeout", "close_timeout", "ping_interval", "ping_timeout", "max_pause"]
HUGE = pytest.param(10**5000, id="huge")  # longer than Python writes
COUNTS = ["max_message_size", "max_fragments", "write_limit", "inbox_messages", "inbox_bytes"]


class Awkward:
    """Equal to everything: what a check by value alone would let through."""

    def __eq__(self, other):
        return True

    __hash__ = None


class TestDefaults:
    def test_they_are_those_of_the_design(self):
        config = Config()
        assert (config.connect_timeout, config.close_timeout, config.max_pause) == (10, 2, 5)
        assert (config.ping_interval, config.ping_timeout) == (10, 5)
        assert (config.max_message_size, config.max_fragments, config.write_limit) == (16 * MIB, 131_072, MIB)
        assert (config.inbox_messages, config.inbox_bytes, config.inbox_policy) == (65536, 16 * MIB, "pause")
        assert (config.reconnect, config.rate_limit, config.name, config.ssl) == (True, None, None, None)
        assert (config.headers, config.subprotocols) == ((), ())
        assert config.socket_options == SocketOptions(nodelay=True, quickack=True, keepalive=True)

    def test_it_cannot_be_changed_and_takes_names_only(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Config().connect_timeout = 5
        with pytest.raises(TypeError):
            Config(())

    def test_every_field_has_a_check(self):
        assert set(config_module._CHECKS) == {field.name for field in dataclasses.fields(Config)}
        assert set(config_module._SOCKET_CHECKS) == {field.name for field in dataclasses.fields(SocketOptions)}

    @pytest.mark.parametrize("name", ["trust_env", "proxy", "compression"])
    def test_what_a_later_version_adds_is_unknown(self, name):
        with pytest.raises(TypeError, match=name):
            Config(**{name: None})


class TestNumbers:
    @pytest.mark.parametrize("name", SECONDS)
    @pytest.mark.parametrize("value", [0.001, 1, 2.5, 86_400])
    def test_seconds_may_be_whole_or_not(self, name, value):
        assert getattr(Config(**{name: value}), name) == value

    @pytest.mark.parametrize("name", SECONDS)
    @pytest.mark.parametrize("value", [0, -1, 0.0009, 86_401, math.nan, math.inf, -math.inf, 10**400, HUGE])
    def test_seconds_out_of_range_name_the_field_and_the_range(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be from 0.001 to 86400 seconds, not "):
            Config(**{name: value})

    @pytest.mark.parametrize("name", SECONDS)
    @pytest.mark.parametrize("value", [True, "5", b"5", [], 1j, Awkward()])
    def test_seconds_of_another_type_name_the_field_and_the_type(self, name, value):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not {type(value).__name__}"):
            Config(**{name: value})

    @pytest.mark.parametrize("name", COUNTS)
    @pytest.mark.parametrize("value", [1, 2**31 - 1])
    def test_sizes_may_be_as_large_as_an_int_of_c(self, name, value):
        assert getattr(Config(**{name: value}), name) == value

    @pytest.mark.parametrize("name", COUNTS)
    @pytest.mark.parametrize("value", [0, -1, 2**31, HUGE])
    def test_sizes_out_of_range_name_the_field_and_the_range(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be from 1 to 2147483647, not "):
            Config(**{name: value})

    @pytest.mark.parametrize("name", COUNTS)
    @pytest.mark.parametrize("value", [True, 1.0, "1", None, math.nan])
    def test_sizes_of_another_type_name_the_field_and_the_type(self, name, value):
        with pytest.raises(TypeError, match=f"{name} must be an int, not {type(value).__name__}"):
            Config(**{name: value})

    def test_only_the_heartbeat_can_be_turned_off(self):
        assert Config(ping_interval=None).ping_interval is None
        for name in set(SECONDS) - {"ping_interval"}:
            with pytest.raises(TypeError, match=f"{name} .* not NoneType"):
                Config(**{name: None})

    @settings(deadline=None)
    @given(
        st.sampled_from(SECONDS + COUNTS), st.one_of(st.floats(), st.integers(), st.booleans(), st.text(), st.none())
    )
    def test_any_value_is_kept_or_named(self, name, value):
        try:
            config = Config(**{name: value})
        except (TypeError, ValueError) as error:
            named = str(error)
        else:
            named = name if getattr(config, name) is value else "changed"
        assert named.startswith(name)


class TestHeaders:
    def test_they_are_kept_as_pairs(self):
        assert Config(headers={"X-b": "1", "x-A": "2"}).headers == (("X-b", "1"), ("x-A", "2"))

    def test_pairs_that_can_be_read_once_serve_every_attempt(self):
        config = Config(headers=iter([("X", "1")]))
        assert config.resolve_headers() == config.resolve_headers() == (("X", "1"),)

    def test_a_callable_is_called_on_every_attempt(self):
        attempts = iter(["1", "2"])
        config = Config(headers=lambda: {"X-Attempt": next(attempts)})
        assert config.resolve_headers() == (("X-Attempt", "1"),)
        assert config.resolve_headers() == (("X-Attempt", "2"),)

    def test_wrong_ones_raise_at_once_and_those_of_a_callable_on_the_attempt(self):
        with pytest.raises(ValueError, match="header X"):
            Config(headers={"X": "a\r\nb"})
        config = Config(headers=lambda: {"X": "a\r\nb"})
        with pytest.raises(ValueError, match="header X"):
            config.resolve_headers()

    def test_a_config_does_not_show_their_values(self):
        config = Config(headers={"Authorization": "canary"})
        assert "canary" not in repr(config) + str(config)
        assert "connect_timeout=10" in repr(config)

    def test_a_wrong_override_does_not_show_them_either(self):
        with pytest.raises(TypeError) as caught:
            make_config(None, {"heders": {"Authorization": "canary"}})
        assert "canary" not in str(caught.value)


class TestSubprotocols:
    def test_they_are_kept_in_order(self):
        assert Config(subprotocols=iter(["b", "a"])).subprotocols == ("b", "a")

    @pytest.mark.parametrize("value", ["chat", b"chat", None, 5, ["chat", 5]])
    def test_a_wrong_type_is_named(self, value):
        with pytest.raises(TypeError, match="subprotocols must be"):
            Config(subprotocols=value)

    @pytest.mark.parametrize("item", ["", "a b", "a,b", "a\r\nb", "\xe9"])
    def test_what_is_no_token_is_refused(self, item):
        with pytest.raises(ValueError, match="subprotocols must be an HTTP token"):
            Config(subprotocols=[item])

    def test_each_is_offered_once(self):
        with pytest.raises(ValueError, match="differ"):
            Config(subprotocols=["a", "a"])


class TestWhereTo:
    def test_a_context_of_the_users_is_kept(self):
        context = ssl.create_default_context()
        assert Config(ssl=context).ssl is context

    @pytest.mark.parametrize("value", [True, False, "cert.pem"])
    def test_anything_but_a_context_is_refused(self, value):
        with pytest.raises(TypeError, match="ssl must be of type SSLContext"):
            Config(ssl=value)

    @pytest.mark.parametrize(
        ("value", "kept"),
        [("10.0.0.1", ("10.0.0.1", 0)), (("::1", 5000), ("::1", 5000)), (("h", 65535), ("h", 65535)), (None, None)],
    )
    def test_a_source_address_is_kept_as_host_and_port(self, value, kept):
        assert Config(source_address=value).source_address == kept

    @pytest.mark.parametrize("value", [5, ("h",), ("h", "5"), ("h", True), (5, 5), ["h", 5], ("h", 1, 2)])
    def test_a_source_address_of_another_type_is_refused(self, value):
        with pytest.raises(TypeError, match="source_address must be a host or a tuple"):
            Config(source_address=value)

    @pytest.mark.parametrize("value", ["", ("h", -1), ("h", 65536), "a\n"])
    def test_a_source_address_out_of_range_is_refused(self, value):
        with pytest.raises(ValueError, match="source_address must"):
            Config(source_address=value)

    @pytest.mark.parametrize("value", ["example.com", "192.0.2.1", "::1", "a_b"])
    def test_a_server_hostname_is_a_name_or_an_address(self, value):
        assert Config(server_hostname=value).server_hostname == value

    @pytest.mark.parametrize(
        "value", [".a", "a..b", "a" * 64, "b\xfccher", "a/b", "a:80", "[::1]", "u@h", "a b", "\ud800"]
    )
    def test_what_is_no_host_is_refused_as_server_hostname(self, value):
        with pytest.raises(ValueError, match="server_hostname must "):
            Config(server_hostname=value)

    @pytest.mark.parametrize("name", ["name", "server_hostname"])
    def test_names_are_text_that_can_be_shown(self, name):
        assert getattr(Config(**{name: "deribit-1"}), name) == "deribit-1"
        for value in ("", "a\nb", "\x1b[2J"):
            with pytest.raises(ValueError, match=f"{name} must not be empty or hold control"):
                Config(**{name: value})
        with pytest.raises(TypeError, match=f"{name} must be a str, not int"):
            Config(**{name: 5})


class TestPolicies:
    @pytest.mark.parametrize("value", ["pause", "disconnect", "drop_oldest"])
    def test_an_inbox_policy_is_one_of_four(self, value):
        assert Config(inbox_policy=value).inbox_policy == value
        assert Config(inbox_policy="conflate", conflate_key=len).inbox_policy == "conflate"

    def test_another_inbox_policy_is_refused(self):
        known = "'pause', 'disconnect', 'drop_oldest' or 'conflate'"
        with pytest.raises(ValueError, match=f"inbox_policy must be {known}, not 'drop'"):
            Config(inbox_policy="drop")
        with pytest.raises(TypeError, match=f"inbox_policy must be {known}, not list"):
            Config(inbox_policy=[])

    def test_conflating_needs_a_function_that_gives_the_key(self):
        with pytest.raises(ValueError, match="inbox_policy='conflate' needs conflate_key, a function"):
            Config(inbox_policy="conflate")
        with pytest.raises(ValueError, match="conflate_key is set, but inbox_policy='pause' does not conflate"):
            Config(conflate_key=len)

        async def slow(message):
            """Cannot be called inline."""

        for value in (slow, "params.channel"):
            with pytest.raises(
                TypeError, match="conflate_key must be a function that takes a Message and is no corout"
            ):
                Config(inbox_policy="conflate", conflate_key=value)

    @pytest.mark.parametrize("policy", ["pause", "disconnect"])
    def test_a_policy_that_drops_nothing_has_no_use_for_an_age(self, policy):
        with pytest.raises(
            ValueError, match=f"max_age is set, but inbox_policy='{policy}' drops nothing; use 'drop_ol"
        ):
            Config(inbox_policy=policy, max_age=1)
        assert Config(inbox_policy="drop_oldest", max_age=1).max_age == 1
        assert Config(inbox_policy="conflate", conflate_key=len, max_age=0.5).max_age == 0.5

    def test_a_telemetry_path_is_a_path(self):
        assert Config(telemetry_path=Path("/dev/shm") / "desk").telemetry_path == "/dev/shm/desk"
        for value in ("", "a\0b"):
            with pytest.raises(ValueError, match="telemetry_path must not be empty or hold a zero byte"):
                Config(telemetry_path=value)
        with pytest.raises(ValueError, match="telemetry_path has a character that no path"):
            Config(telemetry_path="/dev/shm/\ud800")
        for value in (b"desk", 5):
            with pytest.raises(TypeError, match="telemetry_path must be a str or a path, not"):
                Config(telemetry_path=value)

    def test_reconnect_is_a_flag_or_a_backoff(self):
        backoff = Backoff(cap=5)
        assert [Config(reconnect=value).reconnect for value in (False, True, backoff)] == [False, True, backoff]
        with pytest.raises(TypeError, match="reconnect must be True, False or a Backoff, not int"):
            Config(reconnect=1)

    def test_hooks_are_coroutine_functions(self):
        async def hook(route):
            """Nothing to prepare."""

        assert Config(on_open=[hook]).on_open == (hook,)
        with pytest.raises(TypeError, match="each of on_open must be a coroutine function that takes a Route, not int"):
            Config(on_open=[5])
        with pytest.raises(TypeError, match="on_open must be a list of coroutine functions, not int"):
            Config(on_open=5)

    def test_an_error_handler_judges(self):
        handler = ErrorHandler()
        assert Config(error_handler=handler).error_handler is handler
        with pytest.raises(TypeError, match="error_handler must be a wsx.ErrorHandler, not str"):
            Config(error_handler="strict")

    def test_a_rate_limit_is_a_token_bucket_a_limiter_or_the_name_of_a_profile(self):
        from wsx._ratelimit import TokenBucket
        from wsx.rate_limiter import RateLimiter

        for limit in (TokenBucket(10, 5), RateLimiter("deribit"), "deribit"):
            assert Config(rate_limit=limit).rate_limit is limit
        with pytest.raises(TypeError, match="rate_limit must be a TokenBucket, a RateLimiter or a profile's name, not"):
            Config(rate_limit=5)


class TestSocketOptions:
    def test_each_is_kept(self):
        options = SocketOptions(nodelay=False, user_timeout=2.5, receive_buffer=4096, send_buffer=1)
        assert Config(socket_options=options).socket_options is options

    def test_a_dict_is_not_enough(self):
        with pytest.raises(TypeError, match="socket_options must be of type SocketOptions, not dict"):
            Config(socket_options={"nodelay": True})

    @pytest.mark.parametrize("name", ["nodelay", "quickack", "keepalive"])
    def test_switches_are_true_or_false(self, name):
        with pytest.raises(TypeError, match=f"{name} must be True or False, not int"):
            SocketOptions(**{name: 1})

    @pytest.mark.parametrize(("name", "value"), [("user_timeout", 0), ("receive_buffer", 0), ("send_buffer", 2**31)])
    def test_numbers_have_a_range(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be from"):
            SocketOptions(**{name: value})


class TestMakeConfig:
    def test_without_anything_it_gives_the_defaults(self):
        assert make_config(None, {}) == Config()

    def test_overrides_change_a_copy(self):
        config = Config(connect_timeout=3, name="a")
        changed = make_config(config, {"name": "b"})
        assert (changed.name, changed.connect_timeout, config.name) == ("b", 3, "a")

    def test_overrides_are_checked(self):
        with pytest.raises(ValueError, match="ping_timeout"):
            make_config(Config(), {"ping_timeout": -1})

    @pytest.mark.parametrize(
        ("wrong", "nearest"),
        [
            ("ping_intervall", "ping_interval"),
            ("header", "headers"),
            ("max_size", "max_pause"),
            ("sub_protocols", "subprotocols"),
        ],
    )
    def test_an_unknown_field_names_the_nearest(self, wrong, nearest):
        with pytest.raises(TypeError, match=f"unknown field '{wrong}'; did you mean '{nearest}'"):
            make_config(None, {wrong: 1})

    def test_a_field_that_resembles_nothing_lists_all(self):
        with pytest.raises(TypeError, match="unknown field 'zzz'; Config has headers, subprotocols, "):
            make_config(None, {"zzz": 1})

    def test_only_a_config_can_be_changed(self):
        with pytest.raises(TypeError, match="config must be a Config or None, not dict"):
            make_config({"name": "a"}, {})


class TestCheckEndpoint:
    """Promise 6: no credentials in clear, except on loopback."""

    AUTH = (("Authorization", "Bearer x"),)

    @pytest.mark.parametrize("url", ["wss://h/", "ws://localhost/", "ws://127.0.0.1:9/", "ws://[::1]/"])
    def test_credentials_may_go_over_tls_and_on_loopback(self, url):
        Config().check_endpoint(parse_url(url), self.AUTH)

    @pytest.mark.parametrize("headers", [AUTH, (("X-Plain", Secret("x")),), (("cookie", "a=b"),)])
    def test_credentials_may_not_go_in_clear(self, headers):
        with pytest.raises(ValueError, match="use wss://"):
            Config().check_endpoint(parse_url("ws://h.example/"), headers)

    def test_other_headers_may_go_in_clear(self):
        Config().check_endpoint(parse_url("ws://h.example/"), (("User-Agent", "x"),))

    @pytest.mark.parametrize(("name", "value"), [("ssl", ssl.create_default_context()), ("server_hostname", "h")])
    def test_settings_of_tls_need_wss(self, name, value):
        config = Config(**{name: value})
        config.check_endpoint(parse_url("wss://h/"), ())
        with pytest.raises(ValueError, match=f"{name} is set, but ws:// has no TLS"):
            config.check_endpoint(parse_url("ws://localhost/"), ())
