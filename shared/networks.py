"""Networks of addresses, as settings name them."""

from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list such as `10.0.0.0/8, ::1`; raises `ValueError`."""
    return tuple(ip_network(item.strip()) for item in text.split(",") if item.strip())
