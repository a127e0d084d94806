"""Symbols and sides as the contract spells them."""

import pytest

from depthcast.shared.types import MAX_INTEGER, Side, is_symbol


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


def test_numbers_of_the_wire() -> None:
    assert (int(Side.BID), int(Side.ASK)) == (0, 1)
    assert MAX_INTEGER == 9007199254740991
    assert float(MAX_INTEGER) == MAX_INTEGER
