"""Prices and quantities of a book as people write them, against arithmetic with fractions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.book import Book
from depthcast.shared.errors import CodecError
from depthcast.shared.sizes import Sizes, exact, is_size, nearest
from depthcast.shared.types import MAX_INTEGER

sizes = st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True).filter(is_size)
ticks = st.integers(-MAX_INTEGER, MAX_INTEGER)
lots = st.integers(1, MAX_INTEGER)


def book_of(tick_size: str = "0.01", lot_size: str = "0.001") -> Book:
    book = Book()
    book.bids.load([6500010, 5, 6500000, 12])
    book.asks.load([6500020, 7])
    book.sizes = Sizes(tick_size, lot_size)
    return book


def test_decimals_are_as_written_and_floats_are_near() -> None:
    book = book_of()
    exact_bids = [(Decimal("65000.10"), Decimal("0.005")), (Decimal("65000.00"), Decimal("0.012"))]
    assert book.prices() == (exact_bids, [(Decimal("65000.20"), Decimal("0.007"))])
    assert str(book.prices(1).bids[0][0]) == "65000.10"
    assert book.prices(1).bids == exact_bids[:1]
    assert book.float_prices() == ([(65000.1, 0.005), (65000.0, 0.012)], [(65000.2, 0.007)])
    assert book.float_prices(1).bids == [(65000.1, 0.005)]


@given(price=ticks, quantity=lots, tick_size=sizes, lot_size=sizes)
def test_no_digit_is_lost(price: int, quantity: int, tick_size: str, lot_size: str) -> None:
    levels, both = [(price, quantity)], Sizes(tick_size, lot_size)
    wanted = price * Fraction(tick_size), quantity * Fraction(lot_size)
    assert tuple(map(Fraction, exact(levels, both)[0])) == wanted
    assert nearest(levels, both) == [(float(wanted[0]), float(wanted[1]))]


@pytest.mark.parametrize("size", ["1", "0.01", "25", "0.50", "00.1", "9" * 20 + "." + "9" * 20])
def test_a_size(size: str) -> None:
    assert is_size(size)


@pytest.mark.parametrize(
    "size", ["", "0", "0.0", ".5", "5.", "-1", "1e-2", "NaN", "١", "9" * 21, 1, None, ["1"]]
)
def test_no_size(size: object) -> None:
    assert not is_size(size)


def test_sizes_that_cannot_be_used_are_named() -> None:
    with pytest.raises(CodecError, match="nobody has said what its ticks and lots are worth"):
        Book().prices()
    with pytest.raises(CodecError, match="its tick_size is 'abc', not a positive decimal"):
        book_of("abc").float_prices()
    with pytest.raises(CodecError, match="its lot_size is '', not"):
        book_of("1", "").prices()


def test_a_copy_does_not_change_with_the_book() -> None:
    book = book_of()
    copied = book.copy()
    book.bids.set_level(6500010, 0)
    book.asks.set_level(6500020, 9)
    book.sizes = None
    assert copied.prices() == book_of().prices()
    copied.bids.set_level(1, 1)
    assert copied.bids.top() == [(6500010, 5), (6500000, 12), (1, 1)]
    assert book.bids.top() == [(6500000, 12)]
