"""Turns decimal text into whole multiples of a size, exactly, or says that it does not fit. No floats."""

import re
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Final

from depthcast.shared.types import MAX_INTEGER

_NUMBER: Final = re.compile(r"(-?)(\d{1,40})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?\Z", re.ASCII)


class Scale:
    """A tick or lot size, such as "0.01", "0.5" or "25". Raises `ValueError` for text that is no size."""

    def __init__(self, size: str) -> None:
        self.size = size
        self.units, self.places = _parsed(size)
        if self.units <= 0:
            raise ValueError(f"the size {size} is not above 0")

    def whole(self, text: str) -> int:
        """Return how often the size is in `text`: "61737.63" by "0.01" is 6173763, "2.5e-1" by "0.05" is 5.

        Raises `ValueError` for text that is no decimal, that is no multiple, or that exceeds 2⁵³−1 sizes.
        """
        units, places = _parsed(text)
        if places < self.places:
            units *= 10 ** (self.places - places)
            divisor = self.units
        else:
            divisor = self.units * 10 ** (places - self.places)
        count, rest = divmod(units, divisor)
        if rest:
            raise ValueError(f"{text} is no multiple of {self.size}")
        if not -MAX_INTEGER <= count <= MAX_INTEGER:
            raise ValueError(f"{text} is beyond 2^53-1 times {self.size}")
        return count

    def divides(self, count: int, of: "Scale") -> bool:
        """Return whether `count` times the size `of` is a whole multiple of this one."""
        units: int = count * of.units * 10**self.places
        divisor: int = self.units * 10**of.places
        return units % divisor == 0


def common_divisor(sizes: Iterable[str]) -> str:
    """Return the greatest decimal that divides all sizes exactly: "0.0005", "0.0002" → "0.0001".

    Raises `ValueError` if all sizes are 0.
    """
    divisor = Decimal(0)
    with localcontext(prec=400):  # more digits than any size has: nothing is rounded
        for size in sizes:
            rest = Decimal(size)
            while rest:
                divisor, rest = rest, divisor % rest
        if not divisor:
            raise ValueError("all sizes are 0")
        return f"{divisor.normalize():f}"


def _parsed(text: str) -> tuple[int, int]:
    """Return (units, places) with text = units / 10^places."""
    match = _NUMBER.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{str(text)[:60]!r} is not a decimal number")
    sign, whole, fraction, exponent = match.groups()
    fraction = fraction or ""
    units, places = int(whole + fraction), len(fraction) - int(exponent or 0)
    if places < 0:
        units, places = units * 10**-places, 0
    return (-units if sign else units), places
