"""Gives freed memory back to the operating system."""

import ctypes
from collections.abc import Callable
from typing import Final


def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # only glibc has it
        return None
    return found


TRIM: Final = _trim()


def give_back_memory() -> None:
    """Give back the pages that are free, wherever they are; elsewhere than on glibc, do nothing.

    glibc by itself gives back only what is free above the last block in use, so what one burst of large
    messages took would stay with the process. Where there is little to give back, this costs next to nothing.
    """
    if TRIM is not None:
        TRIM(0)
