"""Addresses of Redis: sentinels, services, and secrets that are never shown."""

import re

import pytest

from depthcast.shared.errors import SettingsError
from depthcast.shared.redis_url import (
    HARMLESS_OPTIONS,
    parse_sentinel_url,
    problem_of,
    with_credentials,
    with_tls_files,
    without_credentials,
)
from depthcast.shared.settings import GatewaySettings


@pytest.mark.parametrize(
    ("url", "sentinels", "service", "server"),
    [
        ("redis+sentinel://h/books", (("h", 26379),), "books", "redis://service/?"),
        ("redis+sentinel://h:1,g,f:3/b", (("h", 1), ("g", 26379), ("f", 3)), "b", "redis://service/?"),
        ("redis+sentinel://[::1]:5,h/b", (("::1", 5), ("h", 26379)), "b", "redis://service/?"),
        ("redis+sentinel://u:p@h:1,g:2/b?db=3", (("h", 1), ("g", 2)), "b", "redis://u:p@service/?db=3"),
        ("rediss+sentinel://:p%40@h/my%20b", (("h", 26379),), "my b", "rediss://:p%40@service/?"),
    ],
)
def test_what_an_address_says(
    url: str, sentinels: tuple[tuple[str, int], ...], service: str, server: str
) -> None:
    assert parse_sentinel_url(url) == (sentinels, service, server)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel:///b", "'' is not host[:port] of a sentinel"),
        ("redis+sentinel://h,:5/b", "':5' is not host[:port] of a sentinel"),
        ("redis+sentinel://h", "one service name has to follow the sentinels"),
        ("redis+sentinel://h/", "one service name has to follow the sentinels"),
        ("redis+sentinel://h/a/b", "one service name has to follow the sentinels"),
    ],
)
def test_what_is_wrong_with_an_address(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_sentinel_url(url)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///run/redis", "redis+sentinel://h/b", "rediss+sentinel://h/b"]
)
def test_each_kind_of_address_is_a_setting(url: str) -> None:
    assert GatewaySettings.load({"DEPTHCAST_REDIS_URL": url}).redis_url == url


def test_what_a_setting_says_of_a_wrong_address() -> None:
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.load({"DEPTHCAST_REDIS_URL": "redis+sentinel://u:secret@h"})
    assert caught.value.name == "DEPTHCAST_REDIS_URL"
    assert caught.value.value == "redis+sentinel://***@h"
    assert caught.value.remedy.startswith("is not a usable address: one service name has to follow")
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.load({"DEPTHCAST_REDIS_URL": "http://u:secret@h"})
    assert (caught.value.name, caught.value.value) == ("DEPTHCAST_REDIS_URL", "http://***@h")
    assert caught.value.remedy == (
        "must begin with one of redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
        "redis+cluster://, rediss+cluster://"
    )


@pytest.mark.parametrize(
    "name", ["password", "username", "sentinel_password", "sentinel_username", "ssl_password"]
)
def test_names_of_secret_options_are_shown(name: str) -> None:
    assert without_credentials(f"redis://h?{name}=secret") == f"redis://h?{name}=***"


@pytest.mark.parametrize("name", HARMLESS_OPTIONS)
def test_harmless_options_are_shown(name: str) -> None:
    assert without_credentials(f"redis://h?{name}=0.25") == f"redis://h?{name}=0.25"
    assert without_credentials(f"redis://h?{name}=30") == f"redis://h?{name}=30"


@pytest.mark.parametrize("name", ["client_name", "ssl_ca_certs", "ssl_cert_reqs", "ssl_keyfile"])
def test_paths_and_words_are_shown(name: str) -> None:
    assert without_credentials(f"redis://h?{name}=a/B.1_c-d") == f"redis://h?{name}=a/B.1_c-d"


@pytest.mark.parametrize(
    "name",
    [
        *("db", "health_check_interval", "max_connections", "protocol"),
        *("socket_connect_timeout", "socket_timeout", "timeout"),
    ],
)
def test_what_is_no_number_where_one_belongs_is_not_shown(name: str) -> None:
    assert without_credentials(f"redis://h?{name}=S3cr3t") == f"redis://h?{name}=***"


def test_user_and_password_may_have_any_characters() -> None:
    assert (
        with_credentials("redis://h/0?x=a://b", "u/é", "a:/@") == "redis://u%2F%C3%A9:a%3A%2F%40@h/0?x=a://b"
    )


OPTIONS = "is not a usable address: after ? come options as name=value; "


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h/0?x=redis://@", None),
        ("redis://u:p@h:65535/0?password=a=b", None),
        ("redis://h:65536", "is not a usable address: after the scheme and user:password@ comes host:port; "),
        ("redis://h/a@b", "is not a usable address: after the scheme and user:password@ comes host:port; "),
        ("redis://h?=1", f"{OPTIONS}in a user name, a password or an option, write ? as %3F"),
        ("redis://h?db=1&a@b", OPTIONS),
        ("redis://h\x1fx", "has a blank or a control character"),
        ("redis://h\x85x", "has a blank or a control character"),
    ],
)  # fmt: skip
def test_the_form_of_an_address(url: str, problem: str | None) -> None:
    found = problem_of(url)
    assert found is None if problem is None else found is not None and found.startswith(problem)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u:secret@h:1/0", "redis://***@h:1/0"),
        ("redis+sentinel://:secret@h,g/b?sentinel_password=secret&db=1", None),
        ("redis://h?password=secret", "redis://h?password=***"),
        ("redis://h/secret", "redis://h/***"),
        ("redis://h/5/6", "redis://h/***"),
        ("redis+sentinel://h/my-Master.1", "redis+sentinel://h/my-Master.1"),
        ("redis+sentinel://h/my%20secret", "redis+sentinel://h/***"),
        ("unix:///run/Redis/a_b.sock", "unix:///run/Redis/a_b.sock"),
        ("unix:///run/secret@", "unix://***"),
        ("redis://H.example-1:1/0?db=secret%40&db=15", "redis://H.example-1:1/0?db=***&db=15"),
        ("redis://h?db=1=secret!", "redis://h?db=***"),
        ("redis://h?db=3&secret&secret=1", "redis://h?db=3&***&***"),
        ("redis://h?", "redis://h?"),
        ("redis://h/0#secret", "redis://h/0#***"),
        ("redis://h/0?db=1#secret", "redis://h/0?db=1#***"),
        ("redis+cluster://[FE80::1]:65535,h:65536", "redis+cluster://***"),
        ("redis+cluster://[FE80::1]:65535,h:65535", "redis+cluster://[FE80::1]:65535,h:65535"),
        ("redis://u:a://secret@h", "redis://***"),
        ("secret", "***"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str | None) -> None:
    found = without_credentials(url)
    assert "secret" not in found
    assert shown is None or found == shown


def test_files_of_tls_become_options_of_the_address() -> None:
    both = with_tls_files("rediss://u:p@h:1/0", "/a b/ca.pem", "c@x.pem", "")
    assert both == "rediss://u:p@h:1/0?ssl_ca_certs=/a%20b/ca.pem&ssl_certfile=c%40x.pem"
    assert problem_of(both) is None
    assert with_tls_files("rediss+sentinel://h/m?db=1", "ca", "", "k").endswith(
        "?db=1&ssl_ca_certs=ca&ssl_keyfile=k"
    )
    assert with_tls_files(both, "/a b/ca.pem", "", "") == both, "the same again is no contradiction"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h", "does not begin with rediss://"),
        ("unix:///s", "does not begin with rediss://"),
        ("rediss://h?ssl_ca_certs=other", "has another file as ssl_ca_certs"),
    ],
)
def test_files_of_tls_that_would_not_be_used_are_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        with_tls_files(url, "ca.pem", "", "")
    variables = {"DEPTHCAST_REDIS_URL": url, "DEPTHCAST_REDIS_TLS_CA": "ca.pem"}
    with pytest.raises(SettingsError, match=f"DEPTHCAST_REDIS_TLS_CA: 'ca.pem' is set, but .* {says}"):
        GatewaySettings.load(variables)


def test_settings_of_tls_become_a_part_of_the_address() -> None:
    found = GatewaySettings.load(
        {
            "DEPTHCAST_REDIS_URL": "rediss://h",
            "DEPTHCAST_REDIS_PASSWORD": "p",
            "DEPTHCAST_REDIS_TLS_CA": "/ca.pem",
            "DEPTHCAST_REDIS_TLS_CERT": "/c.pem",
            "DEPTHCAST_REDIS_TLS_KEY": "/c.key",
        }
    )
    assert found.redis_url == "rediss://:p@h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/c.key"
    assert found.redis_tls_ca == found.redis_tls_cert == found.redis_tls_key == ""
    with pytest.raises(SettingsError, match="a key is of no use without its certificate"):
        GatewaySettings(redis_url="rediss://h", redis_tls_key="k")
