"""A table of instruments is a mapping as a dict of them would be."""

from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.instrument_table import InstrumentTable
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Symbol

symbols = st.sampled_from(["A", "B", "C-D", "e.f"])
terms = st.tuples(
    st.sampled_from(["1", "0.01"]),
    st.sampled_from(["1", "0.001"]),
    st.sampled_from(Feed),
    st.sampled_from(OnCross),
    st.integers(0, 2),
)


def listed(sizes: dict[str, tuple[str, str, Feed, OnCross, int]]) -> dict[str, Instrument]:
    return {symbol: Instrument(Symbol(symbol), *each) for symbol, each in sizes.items()}


@given(st.dictionaries(symbols, terms))
def test_it_has_what_it_was_given_in_that_order(
    sizes: dict[str, tuple[str, str, Feed, OnCross, int]],
) -> None:
    wanted = listed(sizes)
    table = InstrumentTable(wanted)
    assert list(table.items()) == list(wanted.items())
    assert dict(table) == wanted
    assert len(table) == len(wanted)
    assert [symbol in table for symbol in ("A", "x", 1)] == [symbol in wanted for symbol in ("A", "x", 1)]
    assert table.get("x") is None


@given(st.dictionaries(symbols, terms), st.dictionaries(symbols, terms))
def test_equal_are_tables_and_dicts_with_the_same_instruments(
    some: dict[str, tuple[str, str, Feed, OnCross, int]],
    others: dict[str, tuple[str, str, Feed, OnCross, int]],
) -> None:
    same = listed(some) == listed(others)
    assert (InstrumentTable(listed(some)) == InstrumentTable(listed(others))) is same
    assert (InstrumentTable(listed(some)) == listed(others)) is same
    assert (listed(some) == InstrumentTable(listed(others))) is same
    assert InstrumentTable(listed(some)) != list(some)


def test_an_instrument_is_listed_under_the_symbol_that_is_named() -> None:
    table = InstrumentTable()
    table.put("A", Instrument(Symbol("B"), "0.5", listing=3))
    table.put_like("C", "A")
    assert table == {
        "A": Instrument(Symbol("A"), "0.5", listing=3),
        "C": Instrument(Symbol("C"), "0.5", listing=3),
    }
    table.put("A", Instrument(Symbol("A")))
    assert table["C"].tick_size == "0.5"
