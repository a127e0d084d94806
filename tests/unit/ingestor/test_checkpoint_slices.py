"""A checkpoint in pieces: many orders in sequence, and the errors for other bytes."""

from typing import Any

import msgpack
import pytest

from depthcast.ingestor.checkpoint import RULES, SLICE_ORDERS, Checkpoint, decode, encode, slices
from depthcast.ingestor.limits import UNLIMITED, Limits
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.errors import CodecError
from depthcast.shared.position import Position


def checkpoint(bids: int, asks: int) -> Checkpoint:
    orders = OrdersCopy(
        list(range(bids)),
        [[number % 7, 1 + number % 3] for number in range(bids)],
        [f"a{number}" for number in range(asks)],
        [[-number, 2] for number in range(asks)],
    )
    return Checkpoint(Position(1767225600000, 12), Position(1767225599999, 3), orders)


@pytest.mark.parametrize("bids", [1, 15, 16, SLICE_ORDERS - 1, SLICE_ORDERS, SLICE_ORDERS + 1, 70_000])
def test_any_number_of_orders_there_and_back(bids: int) -> None:
    assert decode(encode(checkpoint(bids, 2 * SLICE_ORDERS + 5))) == checkpoint(bids, 2 * SLICE_ORDERS + 5)


def test_pieces_are_the_bytes_of_the_whole_and_none_has_too_many_orders() -> None:
    many = checkpoint(2 * SLICE_ORDERS + 1, 5)
    pieces = list(slices(many))
    assert b"".join(pieces) == msgpack.packb(
        [1, str(many.position), str(many.src), *many.orders, many.limits, RULES]
    )
    largest_id = len(msgpack.packb(2 * SLICE_ORDERS))
    assert max(map(len, pieces)) <= SLICE_ORDERS * largest_id
    # The part before the orders; then the header of each of four arrays, and their slices; then the limits.
    assert len(pieces) == 1 + 4 + (3 + 3) + (1 + 1) + 1


def test_limits_there_and_back() -> None:
    limited = checkpoint(1, 1)._replace(limits=Limits(1, 2, 3, 4, 5))
    assert decode(encode(limited)).limits == (1, 2, 3, 4, 5)
    items = msgpack.unpackb(encode(limited))
    assert decode(msgpack.packb([*items[:7]])).limits == UNLIMITED
    assert decode(msgpack.packb([*items[:7], [1, 2, 3, 4, 5, 6]])).limits == (1, 2, 3, 4, 5)
    wrong: Any
    for wrong in (5, {}, ["1"], [True], [-1], [2**63], [1.0]):
        with pytest.raises(CodecError, match="checkpoint: the limits have the wrong type"):
            decode(msgpack.packb([*items[:7], wrong]))


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (5, "checkpoint: not an array of format 1 with 7 items"),
        ([1, "5-0", "5-0", [], [], []], "checkpoint: not an array of format 1 with 7 items"),
        ([2, "5-0", "5-0", [], [], [], []], "checkpoint: not an array of format 1 with 7 items"),
        ([1, "5-0", "5-0", [], [], [], {}], "checkpoint: the orders have the wrong type"),
        ([1, "5-0", "5", [], [], [], []], "checkpoint: '5' is not a stream position such as 1767225600000-0"),
    ],
)
def test_what_is_wrong_is_said(items: Any, says: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(msgpack.packb(items))
    assert str(caught.value) == says


def test_what_is_no_msgpack_is_said_to_be_no_checkpoint() -> None:
    with pytest.raises(CodecError, match=r"^checkpoint: not msgpack"):
        decode(b"\xc1")
