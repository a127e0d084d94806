"""Checks each frame header that a client sends before its payload is read (RFC 6455, section 5).

The WebSocket library parses frames, but looks at some rules only once the whole payload has arrived, and at
one, the shortest form of a length, never. Here a frame that breaks a rule costs its header.
"""

from typing import Final

from depthcast.shared.close_codes import CloseCode

_FIN: Final = 0x80
_COMPRESSED: Final = 0x40
_RESERVED: Final = 0x30
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_OPCODES: Final = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_KEY_BYTES: Final = 4
CONTROL_BYTES_MAX: Final = 125
_LONGER: Final = {126: (2, 126), 127: (8, 65_536)}
"""Length field → (bytes of the extended length, least value that needs them)."""


class FrameError(Exception):
    """A frame that ends the connection with the close code `code`; `reason` is for people."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class FrameCheck:
    """Cuts a client's bytes into pieces that never cross the end of a frame.

    `compressed`: whether permessage-deflate was negotiated. `missing`: payload bytes of the current frame
    that have not been taken; `taken`: bytes of it that have.
    """

    __slots__ = ("compressed", "message_bytes_max", "missing", "taken")

    def __init__(self, message_bytes_max: int, *, compressed: bool) -> None:
        self.message_bytes_max = message_bytes_max
        self.compressed = compressed
        self.missing = 0
        self.taken = 0

    def take(self, pending: bytearray, most: int) -> int:
        """Number of bytes at the start of `pending` that may be parsed now, 0 if a header is incomplete.

        A piece has up to `most` bytes of payload; raises `FrameError`.
        """
        if self.missing:
            count = min(self.missing, most, len(pending))
            self.missing -= count
        else:
            header, length = self._header(pending)
            if not header:
                return 0
            self.taken = 0
            count = header + min(length, most, len(pending) - header)
            self.missing = header + length - count
        self.taken = self.taken + count if self.missing else 0
        return count

    def _header(self, pending: bytearray) -> tuple[int, int]:
        """Size of the header and length of the payload; (0, 0) if the header is incomplete."""
        if len(pending) < 2:
            return 0, 0
        first, second = pending[0], pending[1]
        self._check(first, second)
        length = second & _LENGTH
        extended, least = _LONGER.get(length, (0, 0))
        header = 2 + extended + _KEY_BYTES
        if len(pending) < header:
            return 0, 0
        if extended:
            length = int.from_bytes(pending[2 : 2 + extended], "big")
            if length < least:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a length is not in its shortest form")
        if length > self.message_bytes_max:
            raise FrameError(CloseCode.TOO_BIG, "message too big")
        return header, length

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if opcode not in _OPCODES:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "an unknown opcode")
        if first & _RESERVED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if first & _COMPRESSED and (not self.compressed or opcode == 0 or opcode & _CONTROL):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "RSV1 is set where nothing can be compressed")
        if not second & _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a frame of a client is not masked")
        if opcode & _CONTROL and not (first & _FIN and second & _LENGTH <= CONTROL_BYTES_MAX):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is fragmented or too long")
