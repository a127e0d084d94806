"""Exact conversion into ticks and lots."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.feed.scale import Scale, common_divisor
from depthcast.shared.types import MAX_INTEGER


@pytest.mark.parametrize(
    ("size", "text", "whole"),
    [
        ("0.01", "61737.63", 6173763),
        ("0.01", "61737.6300", 6173763),
        ("0.05", "2.5e-1", 5),
        ("0.5", "30000.5", 60001),
        ("25", "175", 7),
        ("1E-7", "4.8E-6", 48),
        ("0.0010", "0.002", 2),
        ("1", "1e3", 1000),
        ("0.01", "-0.25", -25),
        ("0.01", "0.000", 0),
        ("1", str(MAX_INTEGER), MAX_INTEGER),
    ],
)
def test_a_multiple_is_counted(size: str, text: str, whole: int) -> None:
    assert Scale(size).whole(text) == whole


@pytest.mark.parametrize(
    ("size", "text", "problem"),
    [
        ("0.01", "0.001", "no multiple"),
        ("0.5", "0.25", "no multiple"),
        ("25", "30", "no multiple"),
        ("1", str(MAX_INTEGER + 1), "beyond"),
        ("1", f"-{MAX_INTEGER + 1}", "beyond"),
        ("0.01", "", "not a decimal"),
        ("0.01", "1,5", "not a decimal"),
        ("0.01", "nan", "not a decimal"),
        ("0.01", "0x10", "not a decimal"),
        ("0.01", "1e999", "not a decimal"),
        ("0.01", "１", "not a decimal"),
        ("0.01", "1\n", "not a decimal"),
        ("0.01", "9" * 41, "not a decimal"),
    ],
)
def test_what_does_not_fit_is_refused(size: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Scale(size).whole(text)


@pytest.mark.parametrize("size", ["0", "0.00", "-0.1", "", "x"])
def test_a_size_is_above_zero(size: str) -> None:
    with pytest.raises(ValueError, match=r"not above 0|not a decimal"):
        Scale(size)


@given(
    st.decimals(min_value="0.0001", max_value=1000, places=4).filter(lambda size: size > 0),
    st.decimals(min_value=-10_000, max_value=10_000, places=6),
)
def test_the_result_times_the_size_is_the_text(size: object, number: object) -> None:
    exact = Fraction(str(number)) / Fraction(str(size))
    if exact.denominator == 1:
        assert Scale(str(size)).whole(str(number)) == exact
    else:
        with pytest.raises(ValueError, match="no multiple"):
            Scale(str(size)).whole(str(number))


@pytest.mark.parametrize(
    ("size", "count", "of", "divides"),
    [
        ("0.05", 5, "0.01", True),
        ("0.05", 6, "0.01", False),
        ("0.001", 7, "0.01", True),
        ("25", 1, "50", True),
        ("50", 1, "25", False),
        ("1", 0, "0.3", True),
    ],
)
def test_a_size_divides_whole_counts_of_another(size: str, count: int, of: str, *, divides: bool) -> None:
    assert Scale(size).divides(count, Scale(of)) is divides


def test_the_common_divisor_is_exact() -> None:
    assert common_divisor(["0.0005", "0.0002"]) == "0.0001"
    assert common_divisor(["0.02", "0.05"]) == "0.01"
    assert common_divisor(["1e30", "1e-30"]) == f"0.{'0' * 29}1"
    with pytest.raises(ValueError, match="all sizes are 0"):
        common_divisor(["0", "0.0"])
