"""Detects a file's format from its first lines."""

import re
from collections.abc import Sequence
from typing import Final

from depthcast.feed import binance, kraken, plain
from depthcast.feed.entry import Format
from depthcast.shared.errors import FeedError

FORMATS: Final = {format_.name: format_ for format_ in (binance.FORMAT, kraken.FORMAT, plain.FORMAT)}

LINES_LOOKED_AT: Final = 50

_BINANCE: Final = re.compile(rb"\d{16,20} \{")
_CAPTURE: Final = re.compile(rb"\d{9,11}(\.\d+)?: |wss?://")
_KRAKEN: Final = re.compile(rb'wss://ws\.kraken\.com|"book-\d+"')


def detect(path: str, lines: Sequence[bytes]) -> Format:
    """Return the format of a file's first lines; raises `FeedError`, which lists the known formats."""
    first = next((line.lstrip() for line in lines if line.strip()), b"")
    if _BINANCE.match(first):
        return binance.FORMAT
    if first.startswith(b"{"):
        return plain.FORMAT
    if _CAPTURE.match(first) and any(_KRAKEN.search(line) for line in lines):
        return kraken.FORMAT
    raise FeedError(
        path,
        0,
        f"is of no known format; known are {', '.join(FORMATS)}: name one with --format, if it is one",
    )
