"""Addresses of Redis: sentinels, services, and what is not shown to anybody."""

import pytest

from depthcast.shared.redis_url import parse_sentinel_url, without_credentials


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
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u:secret@h:1/0", "redis://***@h:1/0"),
        ("redis+sentinel://:secret@h,g/b?sentinel_password=secret&db=1", None),
        ("redis://h?password=secret", "redis://h?password=***"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str | None) -> None:
    found = without_credentials(url)
    assert "secret" not in found
    assert shown is None or found == shown
