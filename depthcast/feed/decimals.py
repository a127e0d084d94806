"""Converts decimal text to integer ticks and lots, exactly, without floats."""

import re
from typing import Final

from depthcast.shared.types import MAX_INTEGER

_DECIMAL: Final = re.compile(r"-?\d{1,20}(\.\d{1,20})?\Z", re.ASCII)
_SIZE: Final = re.compile(r"(1|0\.0*1)0*\Z", re.ASCII)


def scaled(text: str, places: int) -> int:
    """Return decimal text × 10^places as an integer, e.g. ("61737.6300", 2) → 6173763.

    Raises `ValueError` for text that is not a decimal, needs more places, or exceeds 2⁵³−1.
    """
    if not _DECIMAL.match(text):
        raise ValueError(f"{text!r} is not a decimal number")
    whole, _, fraction = text.partition(".")
    if fraction[places:].strip("0"):
        raise ValueError(f"{text} needs more than {places} decimals")
    number = int(whole + fraction[:places].ljust(places, "0"))
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"{text} with {places} decimals is beyond 2^53-1")
    return number


def places_needed(text: str) -> int:
    """Count decimals without trailing zeros: "61737.6300" → 2. Raises `ValueError` for other text."""
    if not _DECIMAL.match(text):
        raise ValueError(f"{text!r} is not a decimal number")
    return len(text.partition(".")[2].rstrip("0"))


def places_written(text: str) -> int:
    """Count decimals as written: "61737.6300" → 4."""
    return len(text.partition(".")[2])


def size_of(places: int) -> str:
    """Return the tick or lot size with that number of decimals: 2 → "0.01"."""
    return f"0.{'1'.rjust(places, '0')}" if places else "1"


def places_of(size: str) -> int:
    """Return the decimals of a size; raises `ValueError` unless it is a power of ten (0.05 is not)."""
    if not _SIZE.match(size) or (size.startswith("1") and size != "1"):
        raise ValueError(f"the size {size} is not 1, 0.1, 0.01 and so on")
    return places_needed(size)
