"""Converts decimal text to integer ticks and lots, exactly, without floats."""

import re
from decimal import Decimal
from math import gcd
from typing import Final

from depthcast.shared.types import MAX_INTEGER

KNOWN_MOST: Final = 100_000
"""Converted numbers that are remembered, as the same prices come again and again."""

_DECIMAL: Final = re.compile(r"-?\d{1,20}(\.\d{1,20})?\Z", re.ASCII)
_EXPONENT: Final = re.compile(r"-?\d{1,20}(\.\d{1,20})?[eE][+-]?\d{1,2}\Z", re.ASCII)


def plain(text: str) -> str:
    """Return a decimal without an exponent: "4.8E-7" → "0.00000048". Raises `ValueError` for other text."""
    if _DECIMAL.match(text):
        return text
    if _EXPONENT.match(text):
        return f"{Decimal(text):f}"
    raise ValueError(f"{text!r} is not a decimal number")


def scaled(text: str, places: int) -> int:
    """Return decimal text × 10^places as an integer, e.g. ("61737.6300", 2) → 6173763.

    Raises `ValueError` for text that is not a decimal, needs more places, or exceeds 2⁵³−1.
    """
    number = _scaled(text, places)
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"{text} with {places} decimals is beyond 2^53-1")
    return number


def _scaled(text: str, places: int) -> int:
    whole, _, fraction = plain(text).partition(".")
    if fraction[places:].strip("0"):
        raise ValueError(f"{text} needs more than {places} decimals")
    return int(whole + fraction[:places].ljust(places, "0"))


def places_needed(text: str) -> int:
    """Count decimals without trailing zeros: "61737.6300" → 2. Raises `ValueError` for other text."""
    return len(plain(text).partition(".")[2].rstrip("0"))


def size_of(places: int) -> str:
    """Return the tick or lot size with that number of decimals: 2 → "0.01"."""
    return f"0.{'1'.rjust(places, '0')}" if places else "1"


class Units:
    """Counts how many tick or lot sizes a number is, for any size, such as 0.5 or 25."""

    def __init__(self, size: str) -> None:
        self.size = size
        self._places = places_needed(size)
        self._step = _scaled(size, self._places)
        self._known: dict[str, int] = {}

    def of(self, text: str) -> int:
        """Return the number of units, e.g. "6402.5" in units of 0.5 → 12805.

        Raises `ValueError` for text that is not a decimal, no multiple of the size, or beyond 2⁵³−1 units.
        """
        number = self._known.get(text)
        if number is None:
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            number = self._known[text] = self._count(text)
        return number

    def _count(self, text: str) -> int:
        try:
            number, rest = divmod(_scaled(text, self._places), self._step)
        except ValueError:
            rest = places_needed(text)  # raises for text that is no number
            number = 0
        if rest:
            raise ValueError(f"{text} is no multiple of {self.size}")
        if abs(number) > MAX_INTEGER:
            raise ValueError(f"{text} is beyond 2^53-1 times {self.size}")
        return number


class Grid:
    """The coarsest sizes that all numbers added so far are multiples of."""

    def __init__(self) -> None:
        self._places = 0
        self._step = 0
        self._seen: set[str] = set()

    def add(self, text: str) -> None:
        """Take one more number; raises `ValueError` for text that is not a decimal."""
        if text in self._seen:
            return
        if len(self._seen) >= KNOWN_MOST:
            self._seen.clear()
        whole, _, fraction = plain(text).partition(".")
        self._seen.add(text)
        fraction = fraction.rstrip("0")
        places = len(fraction)
        if places > self._places:
            self._step *= 10 ** (places - self._places)
            self._places = places
        elif places < self._places:
            fraction = fraction.ljust(self._places, "0")
        self._step = gcd(self._step, int(whole + fraction))

    @property
    def power_of_ten(self) -> str:
        """The coarsest size among 1, 0.1, 0.01 and so on."""
        return size_of(self._places)

    @property
    def step(self) -> Decimal:
        """The coarsest size of all; 0 as long as every number was 0."""
        return Decimal(self._step).scaleb(-self._places)
