"""Secrets are in no text: not in errors and their causes, nor in settings and help, wherever they stand."""

import traceback
from collections.abc import Callable
from dataclasses import fields
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from depthcast.client.websocket import dialer
from depthcast.gateway.runtime.command import gateway
from depthcast.ingestor.runtime.command import ingestor
from depthcast.shared.errors import ClientError, SettingsError
from depthcast.shared.redis_url import has_credentials, problem_of, with_credentials, without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    RelaySettings,
    Settings,
    secrets,
    variable,
)

SECRET = "S3cr3tValue"
"""What is looked for; what surrounds it belongs to the secret, too."""

SCHEMES = st.sampled_from(
    [
        "redis://",
        "rediss://",
        "unix://",
        "redis+sentinel://",
        "rediss+sentinel://",
        "REDIS://",
        "http://",
        "redis:",
        "",
        "//",
    ]
)
AROUND = st.text(alphabet="/@:?#&=%, \n\t[]'\"\\éa1℀⁄", max_size=4)
PASSWORDS = st.builds(lambda before, after: f"{before}{SECRET}{after}", AROUND, AROUND)
HOSTS = st.sampled_from(["", "h", "h:6379", "[::1]:5", "h:1,g:2", "/run/redis.sock", "h:x", "[", "h:99999"])
TAILS = st.sampled_from(["", "/0", "/mymaster", "/x", "?db=1", "/0?ssl_cert_reqs=none&foo=1", "?db=x", "#f"])
OPTIONS = st.sampled_from(
    [
        "password",
        "PASSWORD",
        "Password",
        "pass",
        "passwd",
        "sentinel_password",
        "ssl_password",
        "username",
        "auth",
        "db",
        "",
    ]
)


def _userinfo(scheme: str, user: str, password: str, host: str, tail: str) -> str:
    return f"{scheme}{user}:{password}@{host}{tail}"


def _option(scheme: str, host: str, tail: str, name: str, password: str) -> str:
    return f"{scheme}{host}{tail}{'&' if '?' in tail else '?'}{name}={password}"


USERS = st.sampled_from(["", "u", "default", "a@b"])
URLS = (
    st.builds(_userinfo, SCHEMES, USERS, PASSWORDS, HOSTS, TAILS)
    | st.builds(_userinfo, SCHEMES, USERS, PASSWORDS.map(lambda text: quote(text, safe="")), HOSTS, TAILS)
    | st.builds(_option, SCHEMES, HOSTS, TAILS, OPTIONS, PASSWORDS)
    # Without a host, what stands behind an @ is taken for one.
    | st.builds(lambda scheme, password: f"{scheme}:{password.replace('@', '')}", SCHEMES, PASSWORDS)
)


def said_by(function: Callable[[], object]) -> str:
    """Everything that a call says if it fails: the error, its causes and its attributes."""
    try:
        made = function()
    except (SettingsError, ClientError) as error:
        return "".join([*traceback.format_exception(error), repr(error), repr(vars(error))])
    return repr(made)


@given(url=URLS)
@example(url=f"redis://:a/{SECRET}@h:1/0")
@example(url=f"default:{SECRET}@h:1/0")
@example(url=f"redis://h?PASSWORD={SECRET}")
@example(url=f"redis://h?password=a&{SECRET}=b")
@example(url=f"redis://h?password=a@{SECRET}")
@example(url=f"redis://:{SECRET}")
@example(url=f"redis+sentinel://:a/{SECRET}@h:1/m")
@example(url=f"redis+sentinel://h/m?sentinel_password={SECRET}")
@example(url=f"redis://?db={SECRET}")
@example(url=f"unix://:1/{SECRET}")
@example(url=f"redis://:1,{SECRET}")
@example(url=f"redis+sentinel://:1,{SECRET}")
@example(url=f"rediss://u:1,{SECRET}")
@example(url=f"redis+sentinel://:[{SECRET}]@h/m")
@example(url=f"redis://:[{SECRET}]@h")
@example(url=f"redis+sentinel://:{SECRET}℀@h/m")
@example(url=f"redis://:{SECRET}℀@h")
def test_an_address_shows_no_secret(url: str) -> None:
    assert SECRET not in without_credentials(url)
    assert SECRET not in (problem_of(url) or "")
    for kind in (GatewaySettings, IngestorSettings):
        for text in (
            said_by(lambda kind=kind: kind.load({"DEPTHCAST_REDIS_URL": url})),  # type: ignore[misc]
            said_by(lambda kind=kind: kind.load({}, {"redis_url": url})),  # type: ignore[misc]
        ):
            assert SECRET not in text
    # The library quotes parts of an address that it refuses.
    assert SECRET not in said_by(lambda: redis.connect(url).connection_pool.connection_class)


@given(url=URLS)
def test_an_address_of_a_gateway_shows_no_secret(url: str) -> None:
    assert SECRET not in said_by(lambda: dialer(url.replace("redis", "http", 1), "json", "token"))


@given(
    username=st.sampled_from(["", "u", "a:b@c"]),
    password=PASSWORDS,
    host=st.sampled_from(["h:1/0", "h,g:2/m", "/s"]),
)
def test_a_password_of_its_own_may_have_any_characters(username: str, password: str, host: str) -> None:
    scheme = {"h:1/0": "redis://", "h,g:2/m": "redis+sentinel://", "/s": "unix://"}[host]
    variables = {"DEPTHCAST_REDIS_URL": scheme + host, "DEPTHCAST_REDIS_PASSWORD": password}
    settings = Settings.load(variables | ({"DEPTHCAST_REDIS_USERNAME": username} if username else {}))
    assert settings.redis_url == with_credentials(scheme + host, username, password)
    assert (settings.redis_password, settings.redis_username) == ("", "")
    assert SECRET not in repr(settings)
    used = redis.connect(settings.redis_url).connection_pool.connection_kwargs
    assert (used.get("username") or "", used["password"]) == (username, password)


@pytest.mark.parametrize("name", ["redis_password", "redis_username"])
@pytest.mark.parametrize(
    "url", [f"redis://:{SECRET}@h", f"redis://h?password={SECRET}", f"redis://h?username={SECRET}"]
)
def test_credentials_in_two_places_are_refused(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match="DEPTHCAST_REDIS_URL has credentials too") as caught:
        Settings.load({"DEPTHCAST_REDIS_URL": url, variable(name): "other"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h:1/0", "rediss://h:1/5?ssl_ca_certs=/etc/ca.pem", "unix:///run/redis.sock?db=1",
        "redis+sentinel://h:1,[::1]:2/my-master?db=3", "redis://h?socket_timeout=5",
    ],
)  # fmt: skip
def test_an_address_without_secrets_is_shown_and_may_be_an_option(url: str) -> None:
    assert without_credentials(url) == url
    assert not has_credentials(url)
    assert Settings.load({}, {"redis_url": url}).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:p@h", "redis://:p@h:1/0", "redis://p@h", "redis://h?password=p", "redis://h?ssl_password=p",
        "unix://u:p@/run/redis.sock", "redis+sentinel://:p@h/m", "redis+sentinel://h/m?sentinel_password=p",
    ],
)  # fmt: skip
def test_credentials_on_a_command_line_are_refused_with_the_remedy(url: str) -> None:
    assert problem_of(url) is None
    assert Settings.load({"DEPTHCAST_REDIS_URL": url}).redis_url == url
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"redis_url": url})
    assert caught.value.name == "--redis-url"
    for remedy in ("DEPTHCAST_REDIS_URL", "DEPTHCAST_REDIS_URL_FILE", "DEPTHCAST_REDIS_PASSWORD_FILE"):
        assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:a/b@h", "write / as %2F"),
        ("redis://:a?b@h", "likewise @ ? # and :"),
        ("redis://:a#b@h", "write # as %23"),
        ("redis://:a b@h", "a blank or a control character"),
        ("redis://:a\nb@h", "a blank or a control character"),
        ("h:6379", "must begin with one of redis://"),
        ("redis://h:70000", "comes host:port"),
        ("redis://h:port", "comes host:port"),
        ("redis://h?p%20q=1", "options as name=value"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, says: str) -> None:
    assert says in (problem_of(url) or "")


def test_the_value_of_an_unknown_variable_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="no setting has that name") as caught:
        Settings.load({"DEPTHCAST_REDIS_PASWORD": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("command", [gateway, ingestor])
def test_help_offers_no_secret_as_an_option(command: object) -> None:
    environment = {variable(name): f"redis://:{SECRET}@h" for name in secrets()}
    result = CliRunner().invoke(command, ["--help"], env=environment)  # type: ignore[arg-type]
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert "--redis-url" in result.output
    assert "DEPTHCAST_REDIS_URL_FILE" in result.output.replace("\n", "").replace(" ", "")
    assert "--redis-password" not in result.output


def test_every_secret_is_out_of_the_text_of_settings() -> None:
    assert secrets() == (
        "redis_url",
        "redis_password",
        "token_secret",
        "source_url",
        "source_password",
    )
    for kind in (IngestorSettings, GatewaySettings, RelaySettings):
        own = {item.name for item in fields(kind)}
        hidden = {item.name for item in fields(kind) if not item.repr}
        assert hidden == set(secrets()) & own
