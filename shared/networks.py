"""Networks and addresses, as settings name them."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

LOCALHOST: Final = "localhost"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list such as `10.0.0.0/8, ::1`; raises `ValueError`."""
    return tuple(ip_network(item.strip()) for item in text.split(",") if item.strip())


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach `host`; a name other than localhost counts as reachable."""
    if host.lower() == LOCALHOST:
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def jwks_problem(url: str) -> str | None:
    """Return why keys must not be fetched from `url`; None if they may be."""
    try:
        parts = urlsplit(url)
        host, user, _ = parts.hostname, parts.username, parts.port
    except ValueError:
        host = user = None
        parts = urlsplit("")
    if host is None or parts.scheme not in ("http", "https"):
        return "is no address such as https://id.example.com/.well-known/jwks.json"
    if user is not None:
        return "has a user or password; keys of tokens are public"
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https://: whoever can change the keys on their way can make tokens"
    return None
