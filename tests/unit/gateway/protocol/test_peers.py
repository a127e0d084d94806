"""Whose connection it is: addresses, PROXY protocol v2 and X-Forwarded-For."""

from ipaddress import ip_address

import pytest

from depthcast.gateway.protocol.http_head import HeadError
from depthcast.gateway.protocol.peers import (
    SIGNATURE,
    forwarded_for,
    is_trusted,
    key_of,
    parse_address,
    parse_proxy,
)
from depthcast.shared.networks import parse_networks

TRUSTED = parse_networks("10.0.0.0/8, fd00::/8")
PROXY = ip_address("10.0.0.1")
V4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + b"\x12\x34\x00\x50"
V6 = ip_address("2001:db8::7").packed + ip_address("fd00::1").packed + b"\x12\x34\x00\x50"


@pytest.mark.parametrize(
    ("text", "address", "key"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:1234", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1::9]:443", "2001:db8:0:1::9", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("unknown", None, None),
        ("", None, None),
        ("256.1.1.1", None, None),
    ],
)
def test_addresses_and_what_they_are_counted_by(text: str, address: str | None, key: str | None) -> None:
    parsed = parse_address(text)
    assert str(parsed) == str(address)
    assert key_of(parsed) == key


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], "10.0.0.1"),
        (["192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7, 10.3.3.3"], "192.0.2.7"),
        (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        (["192.0.2.7, nonsense"], "10.0.0.1"),
        (["192.0.2.7, nonsense, 10.9.9.9"], "10.9.9.9"),
        ([","], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_not_trusted(values: list[str], client: str) -> None:
    assert str(forwarded_for(values, PROXY, TRUSTED)) == client


def test_trust() -> None:
    assert is_trusted(PROXY, TRUSTED)
    assert is_trusted(ip_address("fd00::5"), TRUSTED)
    assert not is_trusted(ip_address("192.0.2.7"), TRUSTED)
    assert not is_trusted(None, TRUSTED)
    assert not is_trusted(PROXY, ())


def header(kind: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([kind, family]) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (header(0x21, 0x11, V4), "192.0.2.7"),
        (header(0x21, 0x11, V4 + b"\x03\x00\x04abcd"), "192.0.2.7"),
        (header(0x21, 0x21, V6), "2001:db8::7"),
        (header(0x20, 0x00, b""), "None"),
        (header(0x20, 0x11, V4), "None"),
        (header(0x21, 0x00, b"abc"), "None"),
        (header(0x21, 0x31, bytes(216)), "None"),
    ],
)
def test_a_proxy_header(raw: bytes, address: str) -> None:
    for size in range(len(SIGNATURE), len(raw)):
        assert parse_proxy(raw[:size]) is None
    found = parse_proxy(raw + b"GET / HTTP/1.1\r\n")
    assert found is not None
    assert (found.size, str(found.address)) == (len(raw), address)


@pytest.mark.parametrize(
    "raw",
    [
        header(0x11, 0x11, V4),
        header(0x22, 0x11, V4),
        header(0x21, 0x11, V4[:-1]),
        header(0x21, 0x21, V4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_a_malformed_proxy_header_is_refused(raw: bytes) -> None:
    with pytest.raises(HeadError):
        parse_proxy(raw)
