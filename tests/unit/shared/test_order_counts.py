"""The number of orders in marks: what is refused, and that a snapshot proves them."""

from typing import Any

import pytest

from depthcast.shared.book import Book
from depthcast.shared.codec import decode_snapshot, encode_snapshot
from depthcast.shared.digest import digest_of, digest_of_flat
from depthcast.shared.errors import CodecError
from depthcast.shared.order_counts import OrderCounts, counts_in, counts_of
from depthcast.shared.types import MAX_INTEGER, Snapshot

BIDS, ASKS = [100, 5, 99, 7], [101, 3]
RIGHT = [[2, 7], [1], digest_of([(100, 2), (99, 7)], [(101, 1)])]


def snapshot(orders: Any) -> Snapshot:
    return Snapshot(10, BIDS, ASKS, digest_of_flat(BIDS, ASKS), 1234, {"orders": orders})


def test_counts_of_a_delta_are_by_its_levels() -> None:
    gone = counts_of({"orders": [[0, 1, MAX_INTEGER], [], 5, "news"]}, [9, 0, -9, 1, 0, MAX_INTEGER], [])
    assert gone == OrderCounts([0, 1, MAX_INTEGER], [], 5)


@pytest.mark.parametrize(
    "orders",
    [
        None, 5, {}, [], [[2, 7], [1]], ["27", [1], 5], [[2, 7], None, 5], [[2, 7], [1], -1],
        [[2, 7], [1], 2**32], [[2, 7], [1], 1.0], [[2, 7], [1], True], [[2], [1], 5], [[2, 7, 1], [1], 5],
        [[2, 7], [], 5], [[2, 8], [1], 5], [[0, 7], [1], 5], [[-1, 7], [1], 5], [[2, 7.0], [1], 5],
        [[2, True], [1], 5], [[2, "7"], [1], 5], [[2, 7], [2**70], 5],
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(orders: Any) -> None:
    with pytest.raises(CodecError, match="orders"):
        counts_of({"orders": orders}, BIDS, ASKS)


def test_a_level_that_is_gone_has_no_orders() -> None:
    with pytest.raises(CodecError, match="1 orders cannot have 0 lots"):
        counts_of({"orders": [[1], [], 0]}, [100, 0], [])


def test_a_snapshot_has_the_counts_that_its_digest_proves() -> None:
    assert counts_in(decode_snapshot(encode_snapshot(snapshot(RIGHT)))) == tuple(RIGHT)
    assert counts_in(snapshot(RIGHT)._replace(marks={"listing": 1})) is None
    assert counts_in(snapshot(RIGHT)._replace(marks=None)) is None
    with pytest.raises(CodecError, match="have the digest"):
        counts_in(snapshot([[1, 7], [1], RIGHT[2]]))


def test_a_book_tells_its_best_levels_with_the_number_of_orders() -> None:
    book = Book()
    with pytest.raises(CodecError, match="number of orders"):
        book.bids.top_orders()
    book.bids.load(BIDS, [2, 7])
    assert book.bids.top_orders() == [(100, 5, 2), (99, 7, 7)]
    assert book.bids.top_orders(1) == [(100, 5, 2)]
    copied = book.copy()
    book.clear()
    assert (book.bids.orders, book.asks.orders) == ({}, None)
    assert copied.bids.top_orders() == [(100, 5, 2), (99, 7, 7)]
    copied.bids.load(BIDS)
    assert copied.bids.orders is None
