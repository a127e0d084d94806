"""WebSocket frames as a server sends them (RFC 6455, section 5.2): unmasked, unfragmented.

A message is framed once, and the same bytes are written to every client. This includes its compressed form
(RFC 7692): without context takeover, no byte depends on the client.
"""

import zlib
from struct import pack
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8

LARGE_BYTES: Final = 65_536
LARGE_LEVEL: Final = 1
"""A larger frame is compressed fast rather than well, because all clients wait meanwhile."""

_FIN: Final = 0x80
_COMPRESSED: Final = 0x40
_TAIL_BYTES: Final = 4
"""A flush of deflate ends with 00 00 ff ff, which RFC 7692 leaves out."""
_HEADER_BYTES: Final = {126: 4, 127: 10}
_REASON_BYTES_MAX: Final = 123


def frame(opcode: int, payload: bytes) -> bytes:
    """Make one final frame of `payload`."""
    size = len(payload)
    if size < 126:
        return pack("!BB", _FIN | opcode, size) + payload
    if size < 65536:
        return pack("!BBH", _FIN | opcode, 126, size) + payload
    return pack("!BBQ", _FIN | opcode, 127, size) + payload


def deflated(plain: bytes, bytes_min: int) -> bytes:
    """Compress a data frame of at least `bytes_min` bytes (0: never) if that makes it shorter."""
    start = _HEADER_BYTES.get(plain[1], 2)
    if not bytes_min or len(plain) - start < bytes_min:
        return plain
    level = LARGE_LEVEL if len(plain) > LARGE_BYTES else zlib.Z_DEFAULT_COMPRESSION
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    payload = compressor.compress(plain[start:]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    shrunk = frame(plain[0] & ~_FIN | _COMPRESSED, payload[:-_TAIL_BYTES])
    return shrunk if len(shrunk) < len(plain) else plain


def close_frame(code: int, reason: str = "") -> bytes:
    """Make a close frame; `reason` is cut to fit a control frame."""
    text = reason.encode()[:_REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
    return frame(CLOSE, pack("!H", code) + text)
