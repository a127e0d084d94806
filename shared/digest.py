"""The book digest: an order-free, linear checksum over levels.

    digest = sum over all levels of weight × quantity, mod 2³²
    weight = crc32(text) | 1,  text = ASCII b<price> or a<price>

Linear, so one changed level costs weight × (new − old). It guards against mistakes, not against forgery
(`docs/protocol.md`, section 1).
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.level_rows import ITEMS, LevelRows

COMPILED: Final = is_compiled_at(__file__)

MASK: Final = 0xFFFFFFFF
WEIGHTS_CACHED: Final = 1 << 17
"""Weights cached per side, about 20 MiB at most; further prices work, but slower."""


@lru_cache(maxsize=WEIGHTS_CACHED)
def bid_weight(price: int) -> int:
    """Weight of the bid level at `price` ticks."""
    return crc32(b"b%d" % price) | 1


@lru_cache(maxsize=WEIGHTS_CACHED)
def ask_weight(price: int) -> int:
    """Weight of the ask level at `price` ticks."""
    return crc32(b"a%d" % price) | 1


WEIGHT: Final = (bid_weight, ask_weight)
"""Weight functions indexed by `Side`."""

STEP: Final = 1_000
"""Prices between two multiples of this differ only in their last three digits."""

TAILS: Final = [crc32(b"%03d" % number) ^ crc32(b"000") for number in range(STEP)]
"""Differences between CRCs of nearby prices: `crc32(start) ^ TAILS[price - start]` is `crc32(price)`.

`start` is the multiple of `STEP` at or below a price of at least `STEP`. A CRC is linear, so it does not
matter which digits come before the last three.
"""


THOUSANDS: Final = array(
    "I",
    [
        crc32(b"%03d" % number + b"000" * behind) ^ crc32(b"000" + b"000" * behind)
        for behind in range(7 if COMPILED else 0)
        for number in range(STEP)
    ],
)
"""The same for all places: what three digits change in a CRC, with so many times three digits behind them."""

DIGITS_MAX: Final = 19
"""Digits of the longest number of 64 bits."""


class SideWeights:
    """The weights of one side's prices, without a hash for each.

    For code that changes many levels of a book. As Python, prices near the previous one are computed from one
    whose weight is cached. Compiled, a weight is put together from that of a text of zeros, of the same
    length, and of what each three digits change in it: nothing is remembered, and the tables fit the
    processor's smallest cache, however far apart the prices are.
    """

    __slots__ = (
        "_end", "_start", "_start_weight", "_tails", "_thousands", "_weight_of", "_zeros", "_zeros_array",
    )  # fmt: skip

    def __init__(self, side: int) -> None:
        self._weight_of = WEIGHT[side]
        self._tails = TAILS
        # `_start_weight` serves the prices from `_start` to below `_end`.
        self._start = self._end = self._start_weight = 0
        if COMPILED:
            letter = (b"b", b"a")[side]
            lengths = range(DIGITS_MAX + 1)
            zeros = [crc32(letter + sign + b"0" * digits) for sign in (b"", b"-") for digits in lengths]
            self._zeros_array = array("I", zeros)
            # As Cython sees an array.
            self._zeros: array[int] = self._zeros_array.data.as_uints  # type: ignore[attr-defined]
            self._thousands: array[int] = THOUSANDS.data.as_uints  # type: ignore[attr-defined]

    def of(self, price: int) -> int:
        """Weight of the level at `price` ticks."""
        if COMPILED:
            return self._put_together(price)
        if not self._start <= price < self._end:
            self._restart(price)
        tail = self._tails[price - self._start]
        return (self._start_weight ^ tail) | 1

    def _put_together(self, price: int) -> int:
        """The weight from that of zeros. Used only if compiled."""
        step = 1000  # known to the C compiler, which divides by it without a division
        digits = 1 if price >= 0 else DIGITS_MAX + 2
        left = price
        if price < 0:
            left = -left  # unsigned, so that this fits for every price
        weight = at = 0
        while left >= step:
            weight ^= self._thousands[at + left % step]
            left //= step
            at += step
            digits += 3
        weight ^= self._thousands[at + left]
        digits += (left >= 10) + (left >= 100)
        return (weight ^ self._zeros[digits]) | 1

    def moved_by(self, changes: Sequence[tuple[int, ...]]) -> int:
        """How much changes (price, new, old) of this side add to the digest, before reduction mod 2³²."""
        return self.moved_64(changes)

    def moved_64(self, changes: Sequence[tuple[int, ...]]) -> int:
        """As `moved_by`; compiled, it makes no object, and counts mod 2⁶⁴."""
        if isinstance(changes, LevelRows):
            return self._moved_by_rows(changes)
        moved = 0
        for price, new, old in changes:
            moved += self.of(price) * (new - old)
        return moved

    def _moved_by_rows(self, changes: LevelRows) -> int:
        rows, moved, items = changes.items, 0, ITEMS
        for row in range(changes.size):
            at = items * row
            moved += self.of(rows[at]) * (rows[at + 1] - rows[at + 2])
        return moved

    def _restart(self, price: int) -> None:
        step = STEP
        if price >= step:
            start = price - price % step
            end = start + step
        else:  # no shortcut for short or negative prices
            start, end = price, price + 1
        self._start_weight = self._weight_of(start)
        self._start, self._end = start, end


def digest_of(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> int:
    """Digest of a whole book or view from (price, quantity) pairs. For single changes use `moved`."""
    total = sum(bid_weight(price) * quantity for price, quantity in bids)
    total += sum(ask_weight(price) * quantity for price, quantity in asks)
    return total & MASK


def digest_of_flat(bids: Sequence[int], asks: Sequence[int]) -> int:
    """Digest of a whole book from flat `[price, quantity, …]` sides.

    The cache of weights is not used: most levels of a whole book never change.
    """
    total = sum(
        [(crc32(b"b%d" % price) | 1) * held for price, held in zip(bids[::2], bids[1::2], strict=True)]
    )
    total += sum(
        [(crc32(b"a%d" % price) | 1) * held for price, held in zip(asks[::2], asks[1::2], strict=True)]
    )
    return total & MASK


def moved(digest: int, side: int, price: int, new: int, old: int) -> int:
    """`digest` after the level at `price` went from quantity `old` to `new`."""
    return (digest + WEIGHT[side](price) * (new - old)) & MASK
