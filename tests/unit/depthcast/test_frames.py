"""A book as a DataFrame of pandas and of polars, in decimals and in floats.

Each is imported where it is used: that takes long, and every process of a run reads this file.
"""

import sys
from decimal import Decimal
from typing import Any

import pytest

from depthcast.frames import Library, WithFrames
from depthcast.shared.book import Book
from depthcast.shared.errors import CodecError, MissingLibrary, SettingsError
from depthcast.shared.sizes import Sizes


class Shelf(WithFrames):
    """One book."""

    def __init__(self, *, empty: bool = False) -> None:
        self._book = Book()
        self._book.sizes = Sizes("0.01", "0.001")
        if not empty:
            self._book.bids.load([6500010, 5, 6500000, 12])
            self._book.asks.load([6500020, 7])

    def book(self, symbol: str) -> Book:
        return self._book


COLUMNS: dict[str, list[Any]] = {
    "symbol": ["A", "A", "A"],
    "side": ["bid", "bid", "ask"],
    "level": [1, 2, 1],
    "price": [Decimal("65000.10"), Decimal("65000.00"), Decimal("65000.20")],
    "quantity": [Decimal("0.005"), Decimal("0.012"), Decimal("0.007")],
}


def test_pandas() -> None:
    import pandas

    frame = Shelf().frame("A")
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("list") == COLUMNS
    assert (frame.price * frame.quantity).sum() == Decimal("1560.00190")
    assert str(frame.level.dtype) == "int64"


def test_polars() -> None:
    import polars

    frame = Shelf().frame("A", library="polars")
    assert frame.to_dict(as_series=False) == COLUMNS
    assert (frame.schema["price"], frame.schema["quantity"]) == (polars.Decimal(38, 2), polars.Decimal(38, 3))


def test_floats_and_depth() -> None:
    for library in ("pandas", "polars"):
        frame: Any = Shelf().frame("A", 1, library=library, floats=True)
        assert list(frame["price"]) == [65000.1, 65000.2]
        assert list(frame["quantity"]) == [0.005, 0.007]
        assert str(frame["price"].dtype).lower() == "float64"


def test_an_empty_book_has_the_same_columns() -> None:
    full, empty = Shelf().frame("A"), Shelf(empty=True).frame("A")
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert (
        Shelf(empty=True).frame("A", library="polars").schema == Shelf().frame("A", library="polars").schema
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_number_of_orders_is_a_column_if_it_is_asked_for(library: Library) -> None:
    shelf = Shelf()
    shelf.book("A").bids.load([6500010, 5, 6500000, 12], [2, 1])
    shelf.book("A").asks.load([6500020, 7], [3])
    frame: Any = shelf.frame("A", library=library, orders=True)
    assert list(frame.columns) == [*COLUMNS, "orders"]
    assert (list(frame["orders"]), str(frame["orders"].dtype).lower()) == ([2, 1, 3], "int64")
    best: Any = shelf.frame("A", 1, library=library, orders=True)
    assert list(best["orders"]) == [2, 3]
    assert list(shelf.frame("A", library=library).columns) == list(COLUMNS)


def test_a_number_of_orders_that_is_not_known_is_refused() -> None:
    with pytest.raises(CodecError, match="no number of orders"):
        Shelf().frame("A", orders=True)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_library_is_named_with_its_remedy(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibrary, match=rf"needs {library}.*pip install 'depthcast\[{library}\]'"):
        Shelf().frame("A", library=library)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(SettingsError, match="library: 'numpy' is neither 'pandas' nor 'polars'"):
        Shelf().frame("A", library="numpy")  # type: ignore[call-overload]
    shelf = Shelf()
    shelf.book("A").sizes = None
    with pytest.raises(CodecError, match="nobody has said"):
        shelf.frame("A")
