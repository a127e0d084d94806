"""The ladder that `depthcast watch` draws."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.cli.ladder import BAR_CELLS, bar, best_line, decimal, rows
from depthcast.shared.book import Book
from depthcast.shared.types import MAX_INTEGER, Side


@pytest.mark.parametrize(
    ("number", "size", "text"),
    [
        (6500010, "0.01", "65000.10"),
        (7, "0.001", "0.007"),
        (-25, "0.5", "-12.5"),
        (3, "10", "30"),
        (0, "0.01", "0.00"),
        (-1, "1", "-1"),
    ],
)
def test_decimals_are_exact(number: int, size: str, text: str) -> None:
    assert decimal(number, size) == text


@given(st.integers(-MAX_INTEGER, MAX_INTEGER), st.sampled_from(["1", "0.01", "0.00025", "12.5", "100"]))
def test_decimals_of_any_number(number: int, size: str) -> None:
    assert Decimal(decimal(number, size)) == number * Decimal(size)


def test_a_ladder_stands_from_the_worst_ask_to_the_worst_bid() -> None:
    book = Book()
    for price, quantity in ((100, 5), (99, 10), (98, 1)):
        book.bids.set_level(price, quantity)
    for price, quantity in ((101, 2), (103, 10)):
        book.asks.set_level(price, quantity)
    ladder = rows(book, 2, "0.1", "1")
    assert [(row.side, row.price, row.quantity) for row in ladder] == [
        (Side.ASK, "10.3", "10"),
        (Side.ASK, "10.1", "2"),
        (Side.BID, "10.0", "5"),
        (Side.BID, "9.9", "10"),
    ]
    assert [len(row.bar) for row in ladder] == [BAR_CELLS, BAR_CELLS // 5, BAR_CELLS // 2, BAR_CELLS]
    assert best_line(book, "0.1", "1") == "10.0 x 5 | 10.1 x 2"


def test_an_empty_book() -> None:
    assert rows(Book(), 5, "1", "1") == []
    assert best_line(Book(), "1", "1") == "- | -"


@given(st.floats(0, 1))
def test_a_bar_is_as_long_as_its_share(share: float) -> None:
    assert abs(len(bar(share)) - share * BAR_CELLS) <= 1
