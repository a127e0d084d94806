"""The digest: the contract's examples, and that it is linear and free of order."""

from random import Random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.digest import (
    MASK,
    STEP,
    TAILS,
    WEIGHT,
    ask_weight,
    bid_weight,
    digest_of,
    digest_of_flat,
    moved,
)
from depthcast.shared.types import MAX_INTEGER, Side

EXAMPLES: list[tuple[dict[int, int], dict[int, int], int]] = [
    ({}, {}, 0),
    ({6500010: 5, 6500000: 12}, {6500020: 7}, 254150328),
    ({-25: 9007199254740991}, {0: 1}, 3769160512),
    ({1: 4294967297}, {}, 1204558817),
]

levels = st.dictionaries(
    st.integers(-MAX_INTEGER, MAX_INTEGER) | st.integers(-5, 5), st.integers(1, MAX_INTEGER), max_size=8
)


def flat(side: dict[int, int]) -> list[int]:
    return [number for level in side.items() for number in level]


@pytest.mark.parametrize(("bids", "asks", "digest"), EXAMPLES)
def test_examples(bids: dict[int, int], asks: dict[int, int], digest: int) -> None:
    assert digest_of(bids.items(), asks.items()) == digest
    assert digest_of_flat(flat(bids), flat(asks)) == digest


def test_weights_are_odd_and_of_the_text() -> None:
    assert bid_weight(6500010) == crc32(b"b6500010") | 1
    assert ask_weight(-25) == crc32(b"a-25") | 1
    assert bid_weight(7) != ask_weight(7)


@given(side=st.sampled_from(Side), price=st.integers(STEP, MAX_INTEGER) | st.integers(STEP, 12_345))
def test_weights_of_close_prices_follow_from_each_other(side: Side, price: int) -> None:
    start = price - price % STEP
    assert (WEIGHT[side](start) ^ TAILS[price - start]) | 1 == WEIGHT[side](price)


@given(bids=levels, asks=levels, seed=st.integers(0, 99))
def test_moving_level_by_level_in_any_order_gives_the_whole(
    bids: dict[int, int], asks: dict[int, int], seed: int
) -> None:
    steps = [(Side.BID, *level) for level in bids.items()] + [(Side.ASK, *level) for level in asks.items()]
    Random(seed).shuffle(steps)
    digest = 0
    for side, price, quantity in steps:
        digest = moved(digest, side, price, quantity, 0)
        assert 0 <= digest <= MASK
    assert digest == digest_of(bids.items(), asks.items()) == digest_of_flat(flat(bids), flat(asks))
    for side, price, quantity in steps:
        digest = moved(digest, side, price, 0, quantity)
    assert digest == 0


@given(
    price=st.integers(-MAX_INTEGER, MAX_INTEGER),
    old=st.integers(0, MAX_INTEGER),
    new=st.integers(0, MAX_INTEGER),
)
def test_a_wrong_level_shows_unless_off_by_a_multiple_of_two_to_the_32(
    price: int, old: int, new: int
) -> None:
    assert (moved(77, Side.ASK, price, new, old) == 77) == ((new - old) % 2**32 == 0)
