"""Decimal text to integers and back."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.feed.decimals import places_needed, places_of, places_written, scaled, size_of


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
    "text", ["", "1e5", " 1", "1_0", "+1", "1.", ".5", "NaN", "1.2.3", "٣", "0.001", "99999999999999999"]
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
    assert places_needed(text) <= places_written(text) == places


def test_sizes() -> None:
    assert [size_of(places) for places in (0, 1, 2, 8)] == ["1", "0.1", "0.01", "0.00000001"]
    assert [places_of(size) for size in ("1", "0.1", "0.010", "0.00000001")] == [0, 1, 2, 8]
    for size in ("10", "0.05", "0.5", "2", "0", "1.0"):
        with pytest.raises(ValueError, match="is not"):
            places_of(size)
