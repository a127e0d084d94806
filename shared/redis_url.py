"""Addresses of Redis: hiding secrets, checking, and parsing those of sentinels and of clusters.

    redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[?db=0&…]
    redis+cluster://[user:password@]host[:port][,host[:port]…][?…]

User and password are for the servers. Everything after `?` is an option of the connections to servers, except
`sentinel_username` and `sentinel_password`. `rediss+sentinel://` and `rediss+cluster://` encrypt all
connections. The hosts of a cluster are some of its servers, which name all others.

No text made here has a secret in it, however wrong the address is: all that may be one is hidden.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

PLAIN: Final = ("redis://", "rediss://", "unix://")
SENTINEL: Final = ("redis+sentinel://", "rediss+sentinel://")
CLUSTER: Final = ("redis+cluster://", "rediss+cluster://")
SENTINEL_PORT: Final = 26379
SERVER_PORT: Final = 6379
HIDDEN: Final = "***"

HARMLESS_OPTIONS: Final = (
    "client_name", "db", "health_check_interval", "max_connections", "protocol", "retry_on_timeout",
    "socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl_ca_certs", "ssl_ca_path",
    "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "ssl_min_version", "timeout",
)  # fmt: skip
"""Options of an address whose values may be shown."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,20}://")
_HOSTS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::\d{1,5})?(?:,|\Z)")
_VALUE: Final = re.compile(r"[A-Za-z0-9._/-]*\Z")
_NUMBER: Final = re.compile(r"\d{0,9}(\.\d{1,9})?\Z", re.ASCII)
_NUMBERS: Final = frozenset(
    (
        *("db", "health_check_interval", "max_connections", "protocol"),
        *("socket_connect_timeout", "socket_timeout", "timeout"),
    )
)
"""Harmless options that are numbers: anything else there may be a secret in the wrong place."""
_NAME: Final = re.compile(r"[a-z_]+\Z")
_DATABASE: Final = re.compile(r"/\d*\Z")
_SERVICE: Final = re.compile(r"/[A-Za-z0-9._-]*\Z")
_FOLDERS: Final = re.compile(r"/[A-Za-z0-9._/-]*\Z")
_PATHS: Final = (
    dict.fromkeys(PLAIN[:2], _DATABASE)
    | dict.fromkeys(SENTINEL, _SERVICE)
    | dict.fromkeys(CLUSTER, _DATABASE)
)
"""What may be shown of the path, by scheme; `_FOLDERS` for others."""
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def without_credentials(url: str) -> str:
    """Return the address with `***` for user, password, and everything else that could be a secret."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return HIDDEN
    credentials, at, place = url[scheme.end() :].rpartition("@")
    if re.search(r"[/?#]", credentials):
        return (
            scheme[0] + HIDDEN
        )  # what stands before the last @ may be credentials, or what stands behind it
    authority, path, query, fragment = _parts(place)
    shown = f"{HIDDEN}@" if at else ""
    unsure = not _may_be_several(scheme[0], authority) or (authority and scheme[0] == "unix://")
    if unsure or not _are_hosts(authority):
        return scheme[0] + shown + HIDDEN
    shown += authority
    fits = _PATHS.get(scheme[0], _FOLDERS)
    shown += path if not path or fits.match(path) else f"/{HIDDEN}"
    options = "&".join(map(_shown_option, query.split("&"))) if query else ""
    shown += f"?{options}" if query is not None else ""
    return scheme[0] + shown + (f"#{HIDDEN}" if fragment else "")


def has_credentials(url: str) -> bool:
    """Return whether the address has anything that `without_credentials` hides."""
    return without_credentials(url) != url


def with_credentials(url: str, username: str, password: str) -> str:
    """Return the address with this user and password, which may have any characters."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{quote(username, safe='')}:{quote(password, safe='')}@{rest}"


def is_encrypted(url: str) -> bool:
    """Return whether connections to the address are encrypted."""
    return url.startswith("rediss")


def is_cluster(url: str) -> bool:
    """Return whether the address is that of a cluster."""
    return url.startswith(CLUSTER)


def with_tls_files(url: str, ca: str, cert: str, key: str) -> str:
    """Return the address with these files as options of its connections; those that are empty are left out.

    Raises `ValueError` that says what speaks against them.
    """
    if not is_encrypted(url):
        raise ValueError("does not begin with rediss://, so nothing would be encrypted")
    for name, path in (("ssl_ca_certs", ca), ("ssl_certfile", cert), ("ssl_keyfile", key)):
        option = f"{name}={quote(path, safe='/')}"
        query = url.partition("?")[2].split("&")
        if not path or option in query:
            continue
        if any(item.startswith(f"{name}=") for item in query):
            raise ValueError(f"has another file as {name}; remove one of them")
        url += f"{'&' if '?' in url else '?'}{option}"
    return url


def problem_of(url: str) -> str | None:
    """Return what is wrong with an address, without quoting it; None if it has the right form."""
    if _UNPRINTABLE.search(url):
        return "has a blank or a control character; write it as % and two hexadecimal digits, or remove it"
    if not url.startswith(PLAIN + SENTINEL + CLUSTER):
        return f"must begin with one of {', '.join(PLAIN + SENTINEL + CLUSTER)}"
    rest = url.partition("://")[2]
    if "#" in rest:
        return f"is not a usable address: {_raw('#', '%23')}"
    authority, path, query, _ = _parts(rest)
    hosts = authority.rpartition("@")[2]
    if "@" in path or not _are_hosts(hosts):
        return (
            "is not a usable address: after the scheme and user:password@ comes host:port; "
            f"{_raw('/', '%2F')}, likewise @ ? # and : as %40 %3F %23 and %3A"
        )
    if query is not None and not all(_NAME.match(option.partition("=")[0]) for option in query.split("&")):
        return f"is not a usable address: after ? come options as name=value; {_raw('?', '%3F')}"
    return _problem_of_form(url)


def _problem_of_form(url: str) -> str | None:
    try:
        urlsplit(url)
    except ValueError:  # its text quotes what may be a password
        return (
            "is not a usable address: between [ and ] stands an IPv6 address; "
            f"{_raw('[', '%5B')}, likewise ] as %5D, and letters beyond ASCII as their UTF-8 bytes"
        )
    if url.startswith(SENTINEL + CLUSTER):
        try:
            _ = parse_cluster_url(url) if is_cluster(url) else parse_sentinel_url(url)
        except ValueError as error:
            return f"is not a usable address: {error}"
    return None


def _raw(character: str, code: str) -> str:
    return f"in a user name, a password or an option, write {character} as {code}"


def _parts(rest: str) -> tuple[str, str, str | None, str]:
    """Split what follows the scheme into authority, path, query (None without a ?) and fragment."""
    rest, _, fragment = rest.partition("#")
    rest, asked, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    return authority, slash + path, query if asked else None, fragment


def _may_be_several(scheme: str, authority: str) -> bool:
    """Whether commas divide hosts: not where only one can be, nor beside an empty one, as in a password."""
    named = all(host[:1] not in ("", ":") for host in authority.split(","))
    return "," not in authority or ("+" in scheme and named)


def _are_hosts(authority: str) -> bool:
    place = 0
    while match := _HOSTS.match(authority, place):
        place = match.end()
        if place == len(authority):
            return all(int(port) <= 65_535 for port in re.findall(r":(\d{1,5})(?=,|\Z)", authority))
    return False


def _shown_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if name in HARMLESS_OPTIONS:
        shown = _NUMBER if name in _NUMBERS else _VALUE
        return f"{name}{equals}{value if shown.match(value) else HIDDEN}"
    known = name in ("password", "username", "sentinel_password", "sentinel_username", "ssl_password")
    return f"{name}{equals}{HIDDEN}" if known else HIDDEN


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
    return SentinelUrl(tuple(_places(places, "a sentinel", SENTINEL_PORT)), _service(parts), server)


class ClusterUrl(NamedTuple):
    """A parsed address of a cluster.

    `nodes`: (host, port) of each server that it names. `server`: URL with credentials and options, without a
    host.
    """

    nodes: tuple[tuple[str, int], ...]
    server: str


def parse_cluster_url(url: str) -> ClusterUrl:
    """Parse an address that begins with one of `CLUSTER`; raises `ValueError` that says what is wrong."""
    parts = urlsplit(url)
    credentials, at, places = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix("+cluster")
    databases = [option for option in parts.query.split("&") if option.partition("=")[0] == "db"]
    if parts.path not in ("", "/", "/0") or any(option != "db=0" for option in databases):
        raise ValueError("a cluster has no databases; remove what follows the servers")
    server = f"{scheme}://{credentials}{at}server/?{parts.query}"
    return ClusterUrl(tuple(_places(places, "a server", SERVER_PORT)), server)


def _places(places: str, of: str, port: int) -> Iterator[tuple[str, int]]:
    for place in places.split(","):
        parts = urlsplit(f"//{place}")
        if not parts.hostname:
            raise ValueError(f"{place!r} is not host[:port] of {of}")
        yield parts.hostname, parts.port or port


def _service(parts: SplitResult) -> str:
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ValueError(
            "one service name has to follow the sentinels, as in redis+sentinel://host:26379/mymaster"
        )
    return name
