"""Symbols and sides as the contract spells them."""

import pytest

from depthcast.ingestor.events import levels_event
from depthcast.shared.book import Book
from depthcast.shared.types import INTEGER_BITS, MAX_INTEGER, Side, is_symbol


@pytest.mark.parametrize("text", ["A", "0", "BTC-USD", "a.b_c-d", "Z" * 32, "5.", "x__"])
def test_symbols(text: str) -> None:
    assert is_symbol(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_",
        "_BTC",
        "-BTC",
        ".BTC",
        "Z" * 33,
        "BTC/USD",
        "BTC USD",
        "BTC\n",
        "É",
        "٣",
        "BTC-USD\0",
        None,
        5,
        b"BTC",
    ],
)
def test_not_symbols(text: object) -> None:
    assert not is_symbol(text)


def test_the_greatest_integer_is_the_last_that_every_json_parser_reads_exactly() -> None:
    """A double tells it from both neighbours, and no longer tells apart the two numbers after it."""
    assert len({float(MAX_INTEGER - 1), float(MAX_INTEGER), float(MAX_INTEGER + 1)}) == 3
    assert float(MAX_INTEGER + 1) == float(MAX_INTEGER + 2)


@pytest.mark.parametrize("number", [0, 1, MAX_INTEGER - 1, MAX_INTEGER])
def test_a_shift_leaves_nothing_of_numbers_in_range(number: int) -> None:
    assert number >> INTEGER_BITS == 0


@pytest.mark.parametrize("number", [-1, -MAX_INTEGER, MAX_INTEGER + 1, 2**64])
def test_a_shift_leaves_something_of_all_others(number: int) -> None:
    assert number >> INTEGER_BITS != 0


def test_a_side_is_its_place_in_a_book_and_its_number_on_the_wire() -> None:
    book = Book()
    for side, book_side, wire in ((Side.BID, book.bids, "bid"), (Side.ASK, book.asks, "ask")):
        assert book.sides[side] is book_side
        assert levels_event(["delete", wire, 5]) == levels_event(["delete", int(side), 5])
