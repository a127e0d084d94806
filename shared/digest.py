"""The book digest: an order-free, linear checksum over levels.

    digest = sum over all levels of weight × quantity, mod 2³²
    weight = crc32(text) | 1,  text = ASCII b<price> or a<price>

Linear, so one changed level costs weight × (new − old). It guards against mistakes, not against forgery
(`docs/protocol.md`, section 1).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

MASK: Final = 0xFFFFFFFF
WEIGHTS_CACHED: Final = 1 << 17
"""Weights remembered per side: about 20 MiB at most, and beyond it only slower, never wrong."""


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

TAILS: Final = [crc32(b"%03d" % number) ^ crc32(b"000") for number in range(STEP)]
"""Weights of prices close to each other, for those who change many: `(weight(start) ^ TAILS[price - start]) | 1` is the
weight of a price ≥ `STEP`, where `start` is the multiple of `STEP` at or below it.

A CRC is linear: what the last digits change in it does not depend on those before. So few weights serve all prices of
a book; remembering each price's takes more memory than a processor has close at hand.
"""


def digest_of(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> int:
    """Digest of a whole book or view from its (price, quantity) pairs. For tests and rebuilding; use `moved` to go on."""
    total = sum(bid_weight(price) * quantity for price, quantity in bids)
    total += sum(ask_weight(price) * quantity for price, quantity in asks)
    return total & MASK


def digest_of_flat(bids: Sequence[int], asks: Sequence[int]) -> int:
    """The same from flat `[price, quantity, …]` sides. Fills no cache: most levels of a whole book are never moved."""
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
