"""The digest: the contract's examples; it is linear and independent of order."""

from random import Random
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthcast.shared.digest
from depthcast.shared.compiled import is_compiled
from depthcast.shared.digest import (
    MASK,
    STEP,
    TAILS,
    WEIGHT,
    SideWeights,
    ask_weight,
    bid_weight,
    digest_of,
    digest_of_flat,
    moved,
)
from depthcast.shared.types import MAX_INTEGER, LevelChange, Side

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


# Dense where the number of digits changes and around the thousands that weights are computed from.
EDGES = st.one_of(
    st.integers(-MAX_INTEGER, MAX_INTEGER),
    st.integers(-3, 3).map(lambda near: near + STEP),
    st.integers(-2 * STEP, 3 * STEP),
    st.sampled_from([MAX_INTEGER, -MAX_INTEGER, 0, 1, -1, 2**63 - 1, -(2**63)]),
)


@given(side=st.sampled_from(Side), prices=st.lists(EDGES, min_size=1))
def test_whatever_was_asked_for_before_a_price_has_its_weight(side: Side, prices: list[int]) -> None:
    weights = SideWeights(side)
    assert [weights.of(price) for price in prices] == [WEIGHT[side](price) for price in prices]


@given(
    side=st.sampled_from(Side),
    changes=st.lists(st.tuples(EDGES, st.integers(0, MAX_INTEGER), st.integers(0, MAX_INTEGER))),
)
def test_a_digest_moves_by_the_weight_of_each_price(side: Side, changes: list[LevelChange]) -> None:
    expected = sum(WEIGHT[side](price) * (new - old) for price, new, old in changes)
    assert SideWeights(side).moved_by(changes) & MASK == expected & MASK


@pytest.mark.parametrize("weight", WEIGHT)
def test_weights_remembered_are_bounded(weight: Any) -> None:
    """A cache without a bound would grow with every price ever used."""
    assert weight.cache_info().maxsize == 131_072


def test_prices_of_one_thousand_are_hashed_once_and_not_at_all_if_compiled() -> None:
    bid_weight.cache_clear()
    weights = SideWeights(Side.BID)
    assert weights.of(6_500_999) == crc32(b"b6500999") | 1
    for price in range(6_500_000, 6_501_000):
        weights.of(price)
    assert bid_weight.cache_info().misses == (0 if is_compiled(depthcast.shared.digest) else 1)


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
