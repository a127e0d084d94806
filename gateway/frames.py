"""WebSocket frames as a server sends them (RFC 6455, section 5.2): unmasked, unfragmented, uncompressed.

A message is framed once and the same bytes are written to every client that gets it.
"""

from struct import pack
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8

_FIN: Final = 0x80
_REASON_BYTES_MAX: Final = 123


def frame(opcode: int, payload: bytes) -> bytes:
    """`payload` as one final frame."""
    size = len(payload)
    if size < 126:
        return pack("!BB", _FIN | opcode, size) + payload
    if size < 65536:
        return pack("!BBH", _FIN | opcode, 126, size) + payload
    return pack("!BBQ", _FIN | opcode, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; `reason` is cut to what a control frame can carry."""
    text = reason.encode()[:_REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
    return frame(CLOSE, pack("!H", code) + text)
