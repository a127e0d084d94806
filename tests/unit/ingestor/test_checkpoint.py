"""Checkpoints decode to what was encoded; anything else in their key is refused."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.ingestor.checkpoint import RULES, Checkpoint, decode, encode
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.errors import CodecError
from depthcast.shared.position import ZERO, Position

ORDERS = OrdersCopy([1, "1", -(2**63)], [[5, 1], [5, 2], [-4, 3]], [2**64 - 1], [[6, 9]])
CHECKPOINT = Checkpoint(Position(1767225600000, 12), Position(1767225599999, 3), ORDERS)


def test_there_and_back() -> None:
    assert decode(encode(CHECKPOINT)) == CHECKPOINT
    empty = Checkpoint(ZERO, ZERO, OrdersCopy([], [], [], []))
    assert decode(encode(empty)) == empty


def test_without_rules_they_are_those_before_rules_were_written() -> None:
    older = msgpack.packb(msgpack.unpackb(encode(CHECKPOINT))[:-1])
    assert decode(older) == CHECKPOINT._replace(rules=0)
    assert CHECKPOINT.rules == RULES


def test_later_additions_are_ignored() -> None:
    assert decode(msgpack.packb([*msgpack.unpackb(encode(CHECKPOINT)), "more"])) == CHECKPOINT


@pytest.mark.parametrize(
    "position", [ZERO, Position(1767225600000, 7), Position(2**64 - 1, 2**64 - 1), Position(10**13, 10**17)]
)
def test_its_position_is_the_first_number_in_it(position: Position) -> None:
    raw = encode(CHECKPOINT._replace(position=position))
    before = raw[: raw.index(str(position).encode())]
    assert len(before) <= 4
    assert not any(chr(byte).isdigit() for byte in before)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (0, 2),
        (0, None),
        (1, "5-"),
        (1, None),
        (1, 5),
        (2, "x-1"),
        (2, b""),
        (3, None),
        (4, {}),
        (5, 5),
        (6, "ids"),
        (8, "1"),
        (8, True),
    ],
)
def test_what_is_no_checkpoint(place: int, wrong: Any) -> None:
    items = msgpack.unpackb(encode(CHECKPOINT))
    items[place] = wrong
    with pytest.raises(CodecError):
        decode(msgpack.packb(items))


@settings(max_examples=50)
@given(
    st.binary()
    | st.lists(st.none() | st.integers(-5, 5) | st.text() | st.lists(st.integers(0, 9)), min_size=6).map(
        lambda items: bytes(msgpack.packb([1, *items]))
    )
)
def test_anything_is_refused_or_decodes_from_its_own_bytes_again(raw: bytes) -> None:
    with contextlib.suppress(CodecError):
        checkpoint = decode(raw)
        assert {type(part) for part in checkpoint.orders} == {list}
        assert decode(encode(checkpoint)) == checkpoint


def test_each_truncation_is_refused() -> None:
    raw = encode(CHECKPOINT)
    for size in range(len(raw)):
        with pytest.raises(CodecError):
            decode(raw[:size])
