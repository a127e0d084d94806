"""Decimal text to integers and back."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.feed.decimals import Grid, Units, places_needed, scaled, size_of


@pytest.mark.parametrize(
    ("text", "places", "number"),
    [
        ("61737.63000000", 2, 6173763),
        ("0.00002290", 8, 2290),
        ("-0.25", 2, -25),
        ("7", 0, 7),
        ("7.0", 3, 7000),
    ],
)
def test_scaled(text: str, places: int, number: int) -> None:
    assert scaled(text, places) == number


@pytest.mark.parametrize(
    "text",
    ["", "1e", "1e100", " 1", "1_0", "+1", "1.", ".5", "NaN", "1.2.3", "٣", "0.001", "99999999999999999"],
)
def test_scaled_refuses_what_is_no_decimal_too_fine_or_too_large(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a decimal|needs more|beyond"):
        scaled(text, 2)


@given(st.integers(-(2**53) + 1, 2**53 - 1), st.integers(0, 12))
def test_scaled_is_exact(number: int, places: int) -> None:
    digits = f"{abs(number):0{places + 1}d}"
    text = ("-" if number < 0 else "") + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
    assert Fraction(text) * 10**places == number
    assert scaled(text, places) == number
    assert places_needed(text) <= places


def test_sizes() -> None:
    assert [size_of(places) for places in (0, 1, 2, 8)] == ["1", "0.1", "0.01", "0.00000001"]


@pytest.mark.parametrize(
    ("size", "text", "units"),
    [
        ("0.5", "6402.5", 12805),
        ("0.05", "-1.10", -22),
        ("25", "100", 4),
        ("1", "7.000", 7),
        ("0.00000001", "4.8E-7", 48),
        ("0.01", "1.5e3", 150000),
        ("0.000000000000000001", "0.005", 5 * 10**15),
    ],
)
def test_units_of_any_size(size: str, text: str, units: int) -> None:
    counted = Units(size)
    assert [counted.of(text), counted.of(text)] == [units, units]


@pytest.mark.parametrize(
    ("size", "text", "problem"),
    [
        ("0.5", "6402.4", "no multiple of 0.5"),
        ("0.5", "6402.25", "no multiple of 0.5"),
        ("25", "30", "no multiple of 25"),
        ("1", "x", "not a decimal"),
        ("0.001", "99999999999999999", "beyond"),
    ],
)
def test_units_refuse_what_is_no_multiple(size: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Units(size).of(text)


@given(st.lists(st.decimals(-(10**9), 10**9, places=4), min_size=1, max_size=8))
def test_every_number_is_a_multiple_of_the_sizes_found(numbers: list[Decimal]) -> None:
    grid = Grid()
    for number in numbers:
        grid.add(f"{number:f}")
    assert all(number % Decimal(grid.power_of_ten) == 0 for number in numbers)
    assert all(number % grid.step == 0 for number in numbers) if grid.step else not any(numbers)


def test_the_sizes_found_are_the_coarsest() -> None:
    grid = Grid()
    for text in ("6402.50", "10", "0.0", "3.0"):
        grid.add(text)
    assert (grid.power_of_ten, grid.step) == ("0.1", Decimal("0.5"))
