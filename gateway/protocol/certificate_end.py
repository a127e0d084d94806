"""When certificates end, read from their PEM (RFC 5280, section 4.1.2.5).

By hand, because the library for it costs 8 MB of memory in each worker, for one number.
"""

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Final

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
_CENTURY: Final = 50
"""Years of two digits from this one on are of the last century."""


def first_end(pem: bytes) -> float | None:
    """When the first of the certificates in `pem` ends (s since 1970); None if one of them cannot be read."""
    try:
        ends = [_end(b64decode(block)) for block in _BLOCK.findall(pem)]
    except (ValueError, IndexError):
        return None
    return min(ends, default=None)


def _end(der: bytes) -> float:
    """When one certificate ends; raises `ValueError` or `IndexError`."""
    _, at, _ = _item(der, 0)  # the certificate
    _, at, _ = _item(der, at)  # what is signed of it
    tag, _, after = _item(der, at)
    if tag == _VERSION:
        at = after
    for _ in range(3):  # serial number, algorithm, issuer
        _, _, at = _item(der, at)
    tag, at, _ = _item(der, at)  # validity
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    _, _, at = _item(der, at)  # its begin
    tag, at, after = _item(der, at)
    text = der[at:after].decode("ascii")
    end = datetime.strptime(text, _FORMATS.get(tag, "")).replace(tzinfo=UTC)
    if tag == _UTC_TIME:
        years = end.year % 100
        end = end.replace(year=years + (1900 if years >= _CENTURY else 2000))
    return end.timestamp()


def _item(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the item at `at`, where its content begins, and where it ends."""
    tag, size, at = der[at], der[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(der[at : at + count], "big"), at + count
    if at + size > len(der):
        raise ValueError("it is cut off")
    return tag, at, at + size
