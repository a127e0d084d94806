"""Whose connection it is: the address of the client, also behind proxies, and the key it is counted by.

Only a peer in `trusted` networks may say for whom it connects: by a PROXY protocol v2 header before the first
request, or by `X-Forwarded-For` in a request. What others say is not looked at.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from depthcast.gateway.protocol.http_head import HeadError
from depthcast.shared.networks import Network

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_BYTES: Final = 16
PROXY_BYTES_MAX: Final = 4_096
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
"""Family and transport (TCP over IPv4, over IPv6) → bytes of one address. Ports follow the two addresses."""
_PREFIX_V6: Final = 64

Address = IPv4Address | IPv6Address


class ProxyHeader(NamedTuple):
    """A complete PROXY header: its size in bytes, and the client's address, None if the proxy gives none."""

    size: int
    address: Address | None


def parse_address(text: str) -> Address | None:
    """Return the address in `text`, without brackets, port or zone; None if it is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_trusted(address: Address | None, trusted: Sequence[Network]) -> bool:
    """Whether `address` may say for whom it connects."""
    return address is not None and any(address in network for network in trusted)


def key_of(address: Address | None) -> str | None:
    """What connections of an address are counted by: IPv6 by /64, which one customer has."""
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> _PREFIX_V6 << _PREFIX_V6)}/{_PREFIX_V6}"
    return str(address) if address is not None else None


def forwarded_for(values: Sequence[str], peer: Address | None, trusted: Sequence[Network]) -> Address | None:
    """The client of a request from a trusted `peer`, by its `X-Forwarded-For` headers.

    The list is read from its end, where the nearest proxy adds whom it serves: the first address that is not
    trusted is the client. What stands before it may be invented.
    """
    nearest = peer
    for item in reversed(",".join(values).split(",")):
        address = parse_address(item)
        if address is None:
            return nearest
        nearest = address
        if not is_trusted(address, trusted):
            return nearest
    return nearest


def parse_proxy(data: bytes | bytearray) -> ProxyHeader | None:
    """Return the PROXY v2 header at the start of `data`, None if it is incomplete; raises `HeadError`.

    The caller has seen the signature.
    """
    if len(data) < _FIXED_BYTES:
        return None
    kind, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    size = _FIXED_BYTES + length
    if kind not in (_LOCAL, _PROXY) or size > PROXY_BYTES_MAX:
        raise HeadError(400, "bad_request", "the PROXY header is malformed")
    if len(data) < size:
        return None
    count = _ADDRESS_BYTES.get(family, 0)
    if kind == _LOCAL or not count:
        return ProxyHeader(size, None)
    if length < 2 * count + 4:
        raise HeadError(400, "bad_request", "the PROXY header is malformed")
    return ProxyHeader(size, parse_address(str(ip_address(bytes(data[16 : 16 + count])))))
