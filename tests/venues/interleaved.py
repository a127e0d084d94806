"""The checksum that OKX and Bitget had: of `bid:quantity:ask:quantity:…`, the best 25 of each side. Pure."""

from zlib import crc32

from tests.venues.market import ModelBook


def interleaved_checksum(book: ModelBook) -> int:
    """Return it as the venues do: an integer with a sign."""
    bids, asks = book.texts(book.top(0, 25)), book.texts(book.top(1, 25))
    parts = []
    for place in range(25):
        parts += [":".join(side[place]) for side in (bids, asks) if place < len(side)]
    number = crc32(":".join(parts).encode())
    return number - 2**32 if number >= 2**31 else number
