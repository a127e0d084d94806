"""Checks of the numbers that a capacity plan is computed from."""

import math
from typing import Final, NamedTuple

from depthcast.shared.errors import SettingsError

SUFFIXES: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


class Bounds(NamedTuple):
    """Least and greatest value that makes sense; `whole`: without a fraction."""

    least: float
    greatest: float
    whole: bool = False


def check(name: str, value: float, bounds: Bounds) -> None:
    """Raise `SettingsError` if `value` is not a finite number within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(name, value, "must be a finite number")
    if bounds.whole and value != int(value):
        raise SettingsError(name, value, "must be a whole number")
    if not bounds.least <= value <= bounds.greatest:
        raise SettingsError(name, value, f"must be from {bounds.least:g} to {bounds.greatest:g}")


def parse_count(name: str, text: str) -> float:
    """Read a number such as `10k`, `1.5M` or `100_000`; raises `SettingsError`."""
    plain = text.strip().replace(",", "").replace("_", "")
    factor = SUFFIXES.get(plain[-1:].lower(), 1)
    try:
        value = float(plain[:-1] if factor != 1 else plain) * factor
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingsError(name, text, "must be a number, such as 250, 10k or 1.5M")
    return value
