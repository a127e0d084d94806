"""Which hosts only this machine reaches, and from where keys may be fetched."""

import pytest

from depthcast.shared.errors import SettingsError
from depthcast.shared.networks import is_loopback, jwks_problem
from depthcast.shared.settings import GatewaySettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert GatewaySettings(host=host).anonymous is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example", "gateway"])  # noqa: S104
def test_everywhere_else_nobody_is_served_by_accident(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match="DEPTHCAST_ANONYMOUS=true") as refused:
        GatewaySettings(host=host)
    assert "DEPTHCAST_TOKEN_KEYS" in str(refused.value)
    assert not GatewaySettings(host=host, anonymous=True).takes_tokens
    assert GatewaySettings(host=host, token_keys="keys.pem").takes_tokens


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://id.example.com/jwks", None),
        ("http://127.0.0.1:8000/jwks", None),
        ("http://localhost/jwks", None),
        ("http://id.example.com/jwks", "must begin with https://"),
        ("http://127.0.0.1.example.com/jwks", "must begin with https://"),
        ("https://u:S3cr3t@id.example.com/", "has a user or password"),
        ("file:///etc/passwd", "is no address"),
        ("ftp://id.example.com/", "is no address"),
        ("id.example.com", "is no address"),
        ("https://[::1", "is no address"),
        ("https://h:x/", "is no address"),
    ],
)
def test_from_where_keys_are_fetched(url: str, says: str | None) -> None:
    assert (jwks_problem(url) or "").startswith(says or "")
    assert (jwks_problem(url) is None) == (says is None)
    if says is not None:
        with pytest.raises(SettingsError, match=says) as refused:
            GatewaySettings(token_jwks_url=url)
        assert "S3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"token_keys": "a", "token_jwks_url": "https://b/"},
        {"token_keys": "a", "token_secret": "S3cr3t"},
        {"token_secret": "S3cr3t", "token_jwks_url": "https://b/"},
        {"anonymous": False},
        {"token_keys": "a", "token_audience": ""},
    ],
    ids=str,
)
def test_settings_that_contradict_each_other(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as refused:
        GatewaySettings(**settings)  # type: ignore[arg-type]
    assert "S3cr3t" not in str(refused.value)
