"""The book against a plain dict that is sorted for every answer."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthcast.shared.book
from depthcast.shared.book import FLAT_MAX, Book, BookSide
from depthcast.shared.compiled import is_compiled
from depthcast.shared.deep_ranks import DeepRanks
from depthcast.shared.types import MAX_INTEGER, Side

prices = st.integers(-6, 6) | st.sampled_from([-MAX_INTEGER, MAX_INTEGER])
steps = st.lists(st.tuples(prices, st.integers(0, 3) | st.just(MAX_INTEGER)), max_size=40)


def ordered(side: Side, levels: Mapping[int, int]) -> list[tuple[int, int]]:
    return sorted(levels.items(), reverse=side == Side.BID)


def check(book_side: BookSide, levels: dict[int, int]) -> None:
    """Compare every query of a side with the model."""
    model = ordered(book_side.side, levels)
    keys = [price * book_side.sign for price, _ in model]
    assert len(book_side) == len(model)
    assert list(book_side.index) == keys
    assert book_side.levels == levels
    assert book_side.best() == (model[0][0] if model else None)
    for depth in range(len(model) + 2):
        assert book_side.top(depth) == (model[:depth] if depth else model)
        assert book_side.nth_key(depth) == (keys[depth] if depth < len(keys) else None)
    assert book_side.flat(2) == [number for level in model[:2] for number in level]


@given(side=st.sampled_from(Side), steps=steps)
def test_setting_levels(side: Side, steps: list[tuple[int, int]]) -> None:
    book_side, levels = BookSide(side), dict[int, int]()
    for price, quantity in steps:
        assert book_side.set_level(price, quantity) == levels.get(price, 0)
        levels[price] = quantity
        if not quantity:
            del levels[price]
    check(book_side, levels)
    book_side.clear()
    check(book_side, {})


@given(side=st.sampled_from(Side), steps=steps, price=prices)
def test_what_an_opposite_order_would_meet(side: Side, steps: list[tuple[int, int]], price: int) -> None:
    book_side = BookSide(side)
    for at, quantity in steps:
        book_side.set_level(at, quantity)
    met = [
        at for at, _ in ordered(side, book_side.levels) if (at >= price if side == Side.BID else at <= price)
    ]
    assert book_side.through(price) == met


@given(side=st.sampled_from(Side), steps=steps, after=prices, last=prices | st.none())
def test_levels_between_keys(side: Side, steps: list[tuple[int, int]], after: int, last: int | None) -> None:
    book_side = BookSide(side)
    for at, quantity in steps:
        book_side.set_level(at, quantity)
    expected = [
        (at, quantity)
        for at, quantity in ordered(side, book_side.levels)
        if at * book_side.sign > after and (last is None or at * book_side.sign <= last)
    ]
    assert list(book_side.between(after, last)) == expected


@given(side=st.sampled_from(Side), levels=st.dictionaries(prices, st.integers(1, 5)), seed=st.integers(0, 99))
def test_loading_in_any_order(side: Side, levels: dict[int, int], seed: int) -> None:
    items = list(levels.items())
    Random(seed).shuffle(items)
    book_side = BookSide(side)
    book_side.set_level(3, 3)
    book_side.load([number for level in items for number in level])
    check(book_side, levels)
    book_side.set_level(2, 9)
    check(book_side, {**levels, 2: 9})


@pytest.mark.parametrize(
    ("bid", "ask", "crossed"),
    [
        (None, None, False),
        (5, None, False),
        (None, 5, False),
        (5, 6, False),
        (5, 5, True),
        (6, 5, True),
        (-6, -5, False),
    ],
)
def test_crossed_or_locked(bid: int | None, ask: int | None, crossed: bool) -> None:
    book = Book()
    if bid is not None:
        book.bids.set_level(bid, 1)
    if ask is not None:
        book.asks.set_level(ask, 1)
    assert book.crossed() == crossed
    book.clear()
    assert not len(book.bids) + len(book.asks)


def is_deep(book_side: BookSide) -> bool:
    return isinstance(book_side.ranks, DeepRanks)


COMPILED = is_compiled(depthcast.shared.book)
as_python = pytest.mark.skipif(COMPILED, reason="compiled, all sides are alike")


@pytest.mark.parametrize("side", Side)
def test_the_index_is_of_whole_numbers(side: Side) -> None:
    """Floats would compare equal, lose digits of large prices, and be refused by a compiled index."""
    book_side = BookSide(side)
    for price in (MAX_INTEGER, MAX_INTEGER - 1, 5, 4):
        book_side.set_level(price, 1)
    book_side.set_level(5, 0)
    assert book_side.through(4) == [
        price for price, _ in ordered(side, book_side.levels) if at_or_better(side, price, 4)
    ]
    assert {type(key) for key in (*book_side.index, *book_side.through(4))} == {int}


def at_or_better(side: Side, price: int, limit: int) -> bool:
    return price >= limit if side == Side.BID else price <= limit


@as_python
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("levels", "deep"), [(FLAT_MAX, False), (FLAT_MAX + 1, True)])
def test_a_side_is_flat_up_to_a_number_of_levels(side: Side, levels: int, deep: bool) -> None:
    grown, loaded = BookSide(side), BookSide(side)
    for price in range(levels):
        grown.set_level(price, 1)
    loaded.load(grown.flat())
    assert is_deep(grown) == is_deep(loaded) == deep
    assert loaded.index == grown.index


def test_a_load_of_half_a_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"zip|no pairs"):
        BookSide(Side.BID).load([5, 1, 6])


@pytest.mark.parametrize("side", Side)
def test_a_deep_side_is_like_a_flat_one(side: Side) -> None:
    """Beyond `FLAT_MAX` levels the index is of another kind; a load or a clear chooses it again."""
    rng = Random(4)
    book_side, levels = BookSide(side), dict[int, int]()
    for price in rng.sample(range(-3 * FLAT_MAX, 3 * FLAT_MAX), FLAT_MAX + 50):
        book_side.set_level(price, 1)
        levels[price] = 1
    for price in rng.sample(sorted(levels), 100):
        book_side.set_level(price, 0)
        del levels[price]
    model = ordered(side, levels)
    keys = [price * book_side.sign for price, _ in model]
    assert list(book_side.index) == keys
    assert is_deep(book_side) or COMPILED
    assert book_side.nth_key(FLAT_MAX - 60) == keys[FLAT_MAX - 60]
    assert book_side.through(model[40][0]) == [price for price, _ in model[:41]]
    assert list(book_side.between(keys[5], keys[-10])) == model[6:-9]
    flat = book_side.flat()
    book_side.clear()
    assert not is_deep(book_side)
    book_side.load(flat[:100])
    assert not is_deep(book_side)
    beyond = [number for price in range(4 * FLAT_MAX, 4 * FLAT_MAX + 100) for number in (price, 1)]
    book_side.load(flat + beyond)
    assert is_deep(book_side) or COMPILED
    assert list(book_side.index) == sorted(price * book_side.sign for price in book_side.levels)
