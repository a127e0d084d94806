"""Both indices of a deep side against a library, and a side that grows deep and becomes flat again."""

from random import Random

import pytest
from sortedcontainers import SortedList

import depthcast.shared.rank_blocks
from depthcast.shared.book import FLAT_MAX, BookSide
from depthcast.shared.compiled import is_compiled
from depthcast.shared.deep_ranks import DeepRanks
from depthcast.shared.rank_blocks import RankBlocks
from depthcast.shared.types import MAX_INTEGER, Side

CHUNK_MAX = 128
SPAN = 40 * CHUNK_MAX

COMPILED = is_compiled(depthcast.shared.rank_blocks)
Ranks = DeepRanks | RankBlocks
KINDS: list[type[Ranks]] = [DeepRanks, RankBlocks] if COMPILED else [DeepRanks]
each_kind = pytest.mark.parametrize("kind", KINDS)


def check(deep: Ranks, model: "SortedList[int]", rng: Random) -> None:
    ranks = list(model)
    assert list(deep) == deep.tolist() == ranks
    assert list(reversed(deep)) == ranks[::-1]
    assert len(deep) == len(ranks)
    for index in (-1, -2, -len(ranks), -rng.randint(1, len(ranks) + 1)) if ranks else ():
        if index >= -len(ranks):
            assert deep[index] == ranks[index]
    with pytest.raises(IndexError):
        deep[-len(ranks) - 1]
    near = [*rng.sample(ranks, min(3, len(ranks))), rng.randint(-SPAN - 2, SPAN + 2), None]
    for below in near:
        for least in near:
            expected = [
                rank
                for rank in reversed(ranks)
                if (below is None or rank < below) and (least is None or rank >= least)
            ]
            assert list(deep.descending(below, least)) == expected, (below, least)


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_like_a_sorted_list_while_it_grows_and_shrinks(seed: int, kind: type[Ranks]) -> None:
    rng = Random(seed)
    ranks = sorted(rng.sample(range(-SPAN, SPAN), rng.choice([0, 1, CHUNK_MAX, 10 * CHUNK_MAX])))
    deep, model = kind(ranks), SortedList(ranks)
    for share in (0.9, 0.1, 0.6, 0.0):
        for _ in range(8 * CHUNK_MAX):
            if rng.random() < share:
                # Often beside another, so that single chunks grow and are split.
                rank = (
                    model[rng.randrange(len(model))] + 1
                    if model and rng.random() < 0.5
                    else rng.randint(-SPAN, SPAN)
                )
                if rank not in model:
                    deep.add(rank)
                    model.add(rank)
            elif model:
                # From one end, or anywhere.
                rank = model[rng.choice([0, -1, rng.randrange(len(model))])]
                deep.remove(rank)
                model.remove(rank)
        check(deep, model, rng)
    for rank in list(model):
        deep.remove(rank)
    check(deep, SortedList(), rng)
    deep.add(5)
    assert deep.tolist() == [5]


@each_kind
@pytest.mark.parametrize("ranks", [[], [4], [1, 4], list(range(0, 10 * CHUNK_MAX, 2))])
@pytest.mark.parametrize("missing", [-1, 3, 5, MAX_INTEGER])
def test_one_that_is_not_there_is_not_removed(ranks: list[int], missing: int, kind: type[Ranks]) -> None:
    deep = kind(ranks)
    with pytest.raises(ValueError, match=str(missing)):
        deep.remove(missing)
    assert deep.tolist() == ranks
    assert len(deep) == len(ranks)


@each_kind
def test_the_largest_numbers_are_exact(kind: type[Ranks]) -> None:
    deep = kind([-MAX_INTEGER, MAX_INTEGER])
    deep.add(MAX_INTEGER - 1)
    deep.add(1 - MAX_INTEGER)
    assert deep.tolist() == [-MAX_INTEGER, 1 - MAX_INTEGER, MAX_INTEGER - 1, MAX_INTEGER]
    deep.remove(MAX_INTEGER - 1)
    assert deep[-2] == 1 - MAX_INTEGER


@pytest.mark.parametrize("side", Side)
def test_a_side_becomes_deep_and_flat_again_and_stays_the_same(side: Side) -> None:
    rng = Random(side)
    book_side, levels = BookSide(side), dict[int, int]()
    kinds = list[bool]()

    def change(price: int, quantity: int) -> None:
        assert book_side.set_level(price, quantity) == levels.pop(price, 0)
        if quantity:
            levels[price] = quantity
        kind = len(levels) > FLAT_MAX if COMPILED else isinstance(book_side.ranks, DeepRanks)
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
            compare()

    def compare() -> None:
        ordered = sorted(levels.items(), reverse=side == Side.BID)
        keys = [price * book_side.sign for price, _ in ordered]
        assert book_side.top() == ordered
        assert book_side.index == keys
        assert book_side.ascending() == sorted(-key for key in keys)
        assert book_side.best() == (ordered[0][0] if ordered else None)
        assert book_side.nth_key(len(keys) // 2) == (keys[len(keys) // 2] if keys else None)
        for price, _ in rng.sample(ordered, min(3, len(ordered))):
            key = price * book_side.sign
            assert book_side.through(price) == [at for at, _ in ordered if at * book_side.sign <= key]
            assert list(book_side.between(key, None)) == [
                level for level in ordered if level[0] * book_side.sign > key
            ]

    for _ in range(2):
        for price in rng.sample(range(10 * FLAT_MAX), FLAT_MAX + 200):
            change(price, rng.randint(1, 9))
        for price in rng.sample(sorted(levels), len(levels) - FLAT_MAX // 2 + 200):
            change(price, 0)
    compare()
    assert kinds == [False, True, False, True, False]
