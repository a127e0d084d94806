"""Books as DataFrames, of pandas or of polars. Both are extras, loaded when they are first asked for."""

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from depthcast.shared.book import Book
from depthcast.shared.errors import MissingLibrary, SettingsError
from depthcast.shared.sizes import checked

if TYPE_CHECKING:
    import pandas
    import polars

Library = Literal["pandas", "polars"]

DECIMAL_DIGITS: Final = 38
"""Most digits of a decimal in polars."""


class WithFrames(ABC):
    """What has books by symbol, and gives them as DataFrames."""

    @abstractmethod
    def book(self, symbol: str) -> Book:
        """Return the book of `symbol`."""

    @overload
    def frame(
        self,
        symbol: str,
        depth: int = 0,
        *,
        library: Literal["pandas"] = "pandas",
        floats: bool = False,
        orders: bool = False,
    ) -> "pandas.DataFrame": ...
    @overload
    def frame(
        self,
        symbol: str,
        depth: int = 0,
        *,
        library: Literal["polars"],
        floats: bool = False,
        orders: bool = False,
    ) -> "polars.DataFrame": ...
    def frame(
        self,
        symbol: str,
        depth: int = 0,
        *,
        library: Library = "pandas",
        floats: bool = False,
        orders: bool = False,
    ) -> Any:
        """Return the book of `symbol` as a DataFrame: one row for each level.

        Its columns are `symbol`, `side` (`bid` or `ask`), `level` (1 is the best), `price` and `quantity`,
        and with `orders` the number of orders at the level. Bids come first, best first, then asks, best
        first. The frame is a copy, and does not say whether the book is up to date: `state` does.

        Args:
            symbol: The book.
            depth: Levels per side, 0 for all that the book has.
            library: `pandas` or `polars`.
            floats: Prices and quantities are floats instead of decimals.
            orders: With the column `orders`, which only books of orders feeds have.

        Raises:
            MissingLibrary: If the library is not installed.
            SettingsError: If it is another library.
            ClientError: If there is no book of `symbol`.
            CodecError: If nobody has said what its ticks and lots are worth, or the number of orders.
        """
        return frame_of(symbol, self.book(symbol), depth, library, floats=floats, orders=orders)


def frame_of(symbol: str, book: Book, depth: int, library: Library, *, floats: bool, orders: bool) -> Any:
    """Return a book as a DataFrame, see `WithFrames.frame`."""
    if library not in _MAKERS:
        raise SettingsError("library", library, "is neither 'pandas' nor 'polars'")
    sizes = checked(book.sizes)
    priced = book.float_prices(depth) if floats else book.prices(depth)
    levels = [*priced.bids, *priced.asks]
    columns: dict[str, list[Any]] = {
        "symbol": [symbol] * len(levels),
        "side": ["bid"] * len(priced.bids) + ["ask"] * len(priced.asks),
        "level": [*range(1, len(priced.bids) + 1), *range(1, len(priced.asks) + 1)],
        "price": [price for price, _ in levels],
        "quantity": [quantity for _, quantity in levels],
    }
    if orders:
        counted = [*book.bids.top_orders(depth), *book.asks.top_orders(depth)]
        columns["orders"] = [number for _, _, number in counted]
    return _MAKERS[library](_imported(library), columns, None if floats else sizes.places)


def _imported(library: str) -> Any:
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise MissingLibrary(library, f"pip install 'depthcast[{library}]'") from error


def _pandas_frame(pandas: Any, columns: dict[str, list[Any]], places: tuple[int, int] | None) -> Any:
    """Decimals are objects in pandas: exact whatever is computed of them."""
    numbers = "float64" if places is None else "object"
    types = {
        "symbol": "str",
        "side": "str",
        "level": "int64",
        "price": numbers,
        "quantity": numbers,
        "orders": "int64",
    }
    return pandas.DataFrame(
        {name: pandas.Series(values, dtype=types[name]) for name, values in columns.items()}
    )


def _polars_frame(polars: Any, columns: dict[str, list[Any]], places: tuple[int, int] | None) -> Any:
    """Decimals have the places of tick and lot size."""
    price, quantity = (
        (polars.Float64, polars.Float64)
        if places is None
        else (polars.Decimal(DECIMAL_DIGITS, number) for number in places)
    )
    schema = {
        "symbol": polars.String,
        "side": polars.String,
        "level": polars.Int64,
        "price": price,
        "quantity": quantity,
        "orders": polars.Int64,
    }
    return polars.DataFrame(columns, schema={name: schema[name] for name in columns})


_MAKERS: Final = {"pandas": _pandas_frame, "polars": _polars_frame}
