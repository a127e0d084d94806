"""Addresses of Redis: hiding credentials, and parsing the address of a service behind sentinels.

    redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[?db=0&…]

User and password are for the servers. Everything after `?` is an option of the connections to servers, except
`sentinel_username` and `sentinel_password`. `rediss+sentinel://` encrypts the connections to servers and
sentinels.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

PLAIN: Final = ("redis://", "rediss://", "unix://")
SENTINEL: Final = ("redis+sentinel://", "rediss+sentinel://")
SENTINEL_PORT: Final = 26379

_USERINFO: Final = re.compile(r"(?<=//)[^/]*(?=@)")
"""Name and password within a URL."""

_PASSWORD: Final = re.compile(r"(?<=password=)[^&]*")


def without_credentials(url: str) -> str:
    """Return the address with `***` for user, password and secrets in options."""
    return _PASSWORD.sub("***", _USERINFO.sub("***", url))


class SentinelUrl(NamedTuple):
    """A parsed address of a service behind sentinels.

    `sentinels`: (host, port) of each. `server`: URL with the servers' credentials and options, without a
    host.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    server: str


def parse_sentinel_url(url: str) -> SentinelUrl:
    """Parse an address that begins with one of `SENTINEL`; raises `ValueError` that says what is wrong."""
    parts = urlsplit(url)
    credentials, at, places = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix("+sentinel")
    server = f"{scheme}://{credentials}{at}service/?{parts.query}"
    return SentinelUrl(tuple(_sentinels(places)), _service(parts), server)


def _sentinels(places: str) -> Iterator[tuple[str, int]]:
    for place in places.split(","):
        parts = urlsplit(f"//{place}")
        if not parts.hostname:
            raise ValueError(f"{place!r} is not host[:port] of a sentinel")
        yield parts.hostname, parts.port or SENTINEL_PORT


def _service(parts: SplitResult) -> str:
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ValueError(
            "one service name has to follow the sentinels, as in redis+sentinel://host:26379/mymaster"
        )
    return name
