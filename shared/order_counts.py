"""The number of orders at each level, as streams of orders feeds say it (`docs/protocol.md`, 2.2.5).

It is in their marks, under `orders`: `[bids, asks, digest]`. `bids` and `asks` have one number for each level
that the delta or snapshot names, in the same order. `digest` is that of all numbers of the book, by the
formula of the levels' digest, so every reader proves them.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from depthcast.shared.codec import Marks
from depthcast.shared.digest import MASK, digest_of_flat
from depthcast.shared.errors import CodecError
from depthcast.shared.types import Snapshot

ORDERS: Final = "orders"
"""The key of the counts in marks."""

_ITEMS: Final = 3


class OrderCounts(NamedTuple):
    """How many orders there are at the levels of a delta or a snapshot.

    - `bids`, `asks`: a number for each level of the side, in the order of its levels; 0 = the level is gone.
    - `digest`: of the numbers of the whole book, after the delta.
    """

    bids: Sequence[int]
    asks: Sequence[int]
    digest: int


def counts_of(marks: Marks, bids: Sequence[int], asks: Sequence[int]) -> OrderCounts:
    """The counts in `marks`, which has some, for levels of flat sides; raises `CodecError` if malformed."""
    value = marks[ORDERS]
    if not isinstance(value, list) or len(value) < _ITEMS:
        raise CodecError("orders", f"expected an array of at least {_ITEMS} items")
    return checked(OrderCounts(*value[:_ITEMS]), bids, asks)


def counts_in(snapshot: Snapshot) -> OrderCounts | None:
    """The counts of a snapshot, None if it has none; raises `CodecError` if they are malformed or wrong."""
    if snapshot.marks is None or ORDERS not in snapshot.marks:
        return None
    counts = counts_of(snapshot.marks, snapshot.bids, snapshot.asks)
    if (held := digest_of_counts(counts, snapshot.bids, snapshot.asks)) != counts.digest:
        raise CodecError("orders", f"have the digest {held}, but say {counts.digest}")
    return counts


def checked(counts: OrderCounts, bids: Sequence[int], asks: Sequence[int]) -> OrderCounts:
    """Counts as received, if they can be those of flat sides; raises `CodecError` otherwise.

    Each level has from one order to one for each lot, and one that is gone has none.
    """
    if type(counts.digest) is not int or not 0 <= counts.digest <= MASK:
        raise CodecError("orders", f"{counts.digest!r} is no digest")
    _check(counts.bids, bids)
    _check(counts.asks, asks)
    return counts


def digest_of_counts(counts: OrderCounts, bids: Sequence[int], asks: Sequence[int]) -> int:
    """Digest of the number of orders at all levels of a book, given by its flat sides."""
    return digest_of_flat(_with_prices(bids, counts.bids), _with_prices(asks, counts.asks))


def _check(counts: object, flat: Sequence[int]) -> None:
    if not isinstance(counts, list) or len(counts) * 2 != len(flat):
        raise CodecError("orders", "expected a number for each level")
    for count, quantity in zip(counts, flat[1::2], strict=True):
        if type(count) is not int or not (1 <= count <= quantity or count == quantity == 0):
            raise CodecError("orders", f"{count!r} orders cannot have {quantity} lots")


def _with_prices(flat: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Flat `[price, count, …]`."""
    return list(chain.from_iterable(zip(flat[::2], counts, strict=True)))
