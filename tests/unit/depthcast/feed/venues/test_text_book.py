"""A book of venue text levels against a dictionary of exact values."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.feed import exact_json
from depthcast.feed.venue import VenueLevel
from depthcast.feed.venues.text_book import TextBook, decimal_text, last_of_each, read_levels

PRICES = st.sampled_from(["9", "9.0", "10", "10.50", "10.5", "1e1", "4.8E-7", "0.00000048", "100"])
QUANTITIES = st.sampled_from(["0", "0.000", "0E3", "1", "2.50"])
LEVELS = st.lists(st.tuples(PRICES, QUANTITIES))


@pytest.mark.parametrize(
    ("value", "text"),
    [("61737.6300", "61737.6300"), (7, "7"), (0, "0"), ("4.8E-7", "4.8E-7"), ("1e+05", "1e+05")],
)
def test_a_number_stays_as_written(value: object, text: str) -> None:
    assert decimal_text(value) == text


NO_TEXTS = ["", "-1", "+1", " 1", "1 ", ".5", "1.", "1e999", "٣", "1\n", "NaN", "0x1", "1_0", "1" * 65]
NO_NUMBERS: list[Any] = [-1, True, False, None, 1.5, 10**40, [], {}]


@pytest.mark.parametrize("value", [*NO_TEXTS, *NO_NUMBERS], ids=repr)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no price or quantity"):
        decimal_text(value)


def test_levels_may_have_more_items_and_unquoted_numbers() -> None:
    raw = exact_json.loads('[["1.50", "2", "0", "1"], [4.8E-7, 10], [3, 0.250, "r"]]')
    assert read_levels(raw) == [("1.50", "2"), ("4.8E-7", "10"), ("3", "0.250")]


@pytest.mark.parametrize(
    "items", [None, {}, "12", [["1"]], [None], ["12"], [{"price": 1}], [["1", None]]], ids=repr
)
def test_what_is_no_list_of_levels_is_refused(items: Any) -> None:
    with pytest.raises(ValueError, match=r"levels? |no price"):
        read_levels(items)


def test_levels_are_ordered_by_value_and_kept_as_written() -> None:
    book = TextBook()
    book.replace([("9.50", "1"), ("10", "2.0"), ("1e1", "3")], [("11.0", "1"), ("1.05E1", "2")])
    assert book.top(5) == ([("1e1", "3"), ("9.50", "1")], [("1.05E1", "2"), ("11.0", "1")])
    assert book.top(1) == ([("1e1", "3")], [("1.05E1", "2")])


def test_prices_that_differ_in_the_fortieth_digit_are_two_levels() -> None:
    book = TextBook()
    book.apply([("1." + "0" * 38 + "1", "1"), ("1." + "0" * 38 + "2", "2")], [])
    assert [quantity for _, quantity in book.bids] == ["2", "1"]


def test_truncation_returns_what_fell() -> None:
    book = TextBook()
    book.replace([("1", "1"), ("2", "1"), ("3", "1")], [("4", "1"), ("5", "1")])
    assert book.truncate(2) == ([("1", "0")], [])
    assert book.truncate(2) == ([], [])
    assert book.truncate(1) == ([("2", "0")], [("5", "0")])
    assert book.top(9) == ([("3", "1")], [("4", "1")])


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [
        ([], [], False),
        ([("5", "1")], [], False),
        ([("5", "1")], [("5.1", "1")], False),
        ([("5.10", "1")], [("5.1", "1")], True),
        ([("9", "1")], [("10", "1")], False),
        ([("10", "1")], [("9", "1")], True),
    ],
)
def test_crossed_or_locked(bids: list[VenueLevel], asks: list[VenueLevel], crossed: bool) -> None:
    book = TextBook()
    book.replace(bids, asks)
    assert book.crossed is crossed


@given(LEVELS, LEVELS, st.integers(0, 4))
def test_a_side_is_what_a_dictionary_of_exact_values_gives(
    first: list[VenueLevel], second: list[VenueLevel], depth: int
) -> None:
    book = TextBook()
    book.apply(first, first)
    book.apply(second, second)
    model = {Decimal(price): (price, quantity) for price, quantity in first + second}
    kept = sorted((price, level) for price, level in model.items() if Decimal(level[1]))
    assert list(book.asks) == [level for _, level in kept]
    assert list(book.bids) == [level for _, level in reversed(kept)]
    fallen = book.asks.truncate(depth)
    assert {Decimal(price) for price, _ in fallen} == {price for price, _ in kept[depth:]}
    assert len(book.asks) == min(depth, len(kept))


@given(LEVELS)
def test_the_last_of_each_price_has_the_same_effect(levels: list[VenueLevel]) -> None:
    whole, net = TextBook(), TextBook()
    whole.apply(levels, [])
    net.apply(last_of_each(levels), [])
    assert list(whole.bids) == list(net.bids)
    assert len({Decimal(price) for price, _ in last_of_each(levels)}) == len(last_of_each(levels))
