"""Levels as text: rows, exact decimals, bars."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.cli.ladder import bar, best_line, decimal, decimals, mid, rows
from depthcast.shared.types import MAX_INTEGER, Side

SIZES = st.sampled_from(["1", "0.01", "0.00025", "12.5", "100"])


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
    assert decimals([(number, 7)], size, "0.1") == [(text, "0.7")]


@given(st.integers(-MAX_INTEGER, MAX_INTEGER), SIZES)
def test_decimals_of_any_number(number: int, size: str) -> None:
    assert Decimal(decimal(number, size)) == number * Decimal(size)


@pytest.mark.parametrize(
    ("bid", "ask", "size", "text"),
    [
        (6500010, 6500020, "0.01", "65000.15"),
        (6500010, 6500011, "0.01", "65000.105"),
        (1, 2, "1", "1.5"),
        (1, 2, "10", "15.0"),
        (-2, 1, "0.5", "-0.25"),
    ],
)
def test_the_middle_is_exact(bid: int, ask: int, size: str, text: str) -> None:
    assert mid(bid, ask, size) == text


@given(st.integers(-MAX_INTEGER, MAX_INTEGER), st.integers(1, 1000), SIZES)
def test_the_middle_of_any_prices(bid: int, spread: int, size: str) -> None:
    assert 2 * Decimal(mid(bid, bid + spread, size)) == (2 * bid + spread) * Decimal(size)


def test_a_ladder_stands_from_the_worst_ask_to_the_worst_bid() -> None:
    bids, asks = [(100, 5), (99, 10)], [(101, 2), (103, 10)]
    ladder = rows(bids, asks, "0.1", "1")
    assert [(row.side, row.price, row.quantity) for row in ladder] == [
        (Side.ASK, "10.3", "10"),
        (Side.ASK, "10.1", "2"),
        (Side.BID, "10.0", "5"),
        (Side.BID, "9.9", "10"),
    ]
    assert [row.share for row in ladder] == [1, 0.2, 0.5, 1]
    assert best_line(bids, asks, "0.1", "1") == "10.0 x 5 | 10.1 x 2"


def test_an_empty_book() -> None:
    assert rows([], [], "1", "1") == []
    assert best_line([], [], "1", "1") == "- | -"


@given(st.floats(0, 1), st.integers(0, 40))
def test_a_bar_is_as_long_as_its_share(share: float, cells: int) -> None:
    assert abs(len(bar(share, cells)) - share * cells) <= 1
    assert len(bar(share, cells)) <= cells
