"""Instruments in files and in Redis; every error names the symbol and the remedy."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.errors import InstrumentsError
from depthcast.shared.instruments import (
    Feed,
    Instrument,
    OnCross,
    from_json,
    parse_toml,
    to_json,
)
from depthcast.shared.types import Symbol

BTC = Instrument(Symbol("BTC-USD"), "0.01", "0.001", Feed.ORDERS, OnCross.EVICT)

instruments = st.builds(
    Instrument,
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True).map(Symbol),
    st.sampled_from(["1", "0.01", "25", "0.5", "100.00"]),
    st.sampled_from(["1", "0.00000001"]),
    st.sampled_from(Feed),
    st.sampled_from(OnCross),
    st.integers(0, 2**31),
)


def test_a_file() -> None:
    text = """
    ["BTC-USD"]
    tick_size = "0.01"
    lot_size = "0.001"
    feed = "orders"
    on_cross = "evict"

    [plain]
    """
    plain = Instrument(Symbol("plain"), "1", "1", Feed.LEVELS, OnCross.REJECT)
    assert parse_toml(text) == {"BTC-USD": BTC, "plain": plain}
    assert parse_toml("") == {}


@given(instruments)
def test_json_there_and_back(instrument: Instrument) -> None:
    assert from_json(instrument.symbol, to_json(instrument)) == instrument
    assert from_json(instrument.symbol, to_json(instrument).encode()) == instrument


def test_json_is_the_contracts() -> None:
    assert to_json(BTC._replace(tick_size="5")).startswith('{"tick_size":"5","lot_size":')
    assert json.loads(to_json(BTC)) == {
        "tick_size": "0.01",
        "lot_size": "0.001",
        "feed": "orders",
        "on_cross": "evict",
    }
    assert from_json("X", '{"tick_size":"1","lot_size":"2","feed":"levels","later":[1]}') == Instrument(
        Symbol("X"), "1", "2"
    )


@pytest.mark.parametrize(
    ("text", "symbol", "says"),
    [
        ("[", "", "not valid TOML"),
        ("a = ", "", "not valid TOML"),
        ('["A"]\n["A"]', "", "not valid TOML"),
        ('["A"]\ntick_size = "1"\ntick_size = "2"', "", "not valid TOML"),
        ("A = " + "9" * 5000, "", "not valid TOML"),
        ("A = 2026-13-45", "", "not valid TOML"),
        ("A = " + "[" * 5000, "", "not valid TOML"),
        ("\0", "", "not valid TOML"),
        ("A = 5", "A", 'expected a table such as ["A"], got 5'),
        ('[["A"]]', "A", "expected a table"),
        ("[BTC.USD]", "BTC", "unknown key 'USD'; known are feed, lot_size, on_cross, tick_size"),
        ('["A"]\nticksize = "1"', "A", "unknown key 'ticksize'"),
        ('["_A"]', "_A", "a symbol is 1 to 32 of"),
        ('[""]', "", "a symbol is 1 to 32 of"),
        ('["A B"]', "A B", "a symbol is 1 to 32 of"),
        (f'["{"A" * 33}"]', "A" * 33, "a symbol is 1 to 32 of"),
        ('["A"]\ntick_size = 0.01', "A", "tick_size is 0.01; write a positive decimal as text"),
        ('["A"]\nlot_size = 1', "A", "lot_size is 1; write"),
        ('["A"]\ntick_size = "0"', "A", "tick_size is '0'"),
        ('["A"]\ntick_size = "0.00"', "A", "tick_size is '0.00'"),
        ('["A"]\ntick_size = "-1"', "A", "tick_size is '-1'"),
        ('["A"]\ntick_size = "1e-2"', "A", "tick_size is '1e-2'"),
        ('["A"]\ntick_size = "1."', "A", "tick_size is '1.'"),
        ('["A"]\ntick_size = ".1"', "A", "tick_size is '.1'"),
        ('["A"]\ntick_size = "1\\n"', "A", "tick_size is"),
        ('["A"]\ntick_size = "٣"', "A", "tick_size is"),
        ('["A"]\ntick_size = ""', "A", "tick_size is ''"),
        ('["A"]\nfeed = "trades"', "A", "feed is 'trades'; it must be one of levels, orders"),
        ('["A"]\nfeed = true', "A", "feed is True"),
        ('["A"]\nfeed = ["levels"]', "A", "feed is ['levels']"),
        ('["A"]\non_cross = "panic"', "A", "on_cross is 'panic'; it must be one of reject, evict"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, symbol: str, says: str) -> None:
    with pytest.raises(InstrumentsError) as caught:
        parse_toml(text)
    assert caught.value.symbol == symbol
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}{}",
        b"[" * 200_000,
        b"9" * 5000,
        b'{"feed": null}',
        b'{"feed": "trades"}',
        b'{"feed": {}}',
        b'{"on_cross": 1}',
        b'{"tick_size": 0.01}',
        b'{"tick_size": "0,01"}',
        b'{"tick_size": null}',
        b'{"lot_size": []}',
        b'{"lot_size": "NaN"}',
    ],
)
def test_what_is_wrong_with_a_value(raw: bytes) -> None:
    with pytest.raises(InstrumentsError) as caught:
        from_json("BTC-USD", raw)
    assert caught.value.symbol == "BTC-USD"


def test_a_field_of_the_hash_may_be_no_symbol() -> None:
    with pytest.raises(InstrumentsError, match="a symbol is 1 to 32"):
        from_json("_A", "{}")


@given(st.text() | st.text(alphabet='[]"=.\n# ABtick_size0-'))
def test_any_file_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(InstrumentsError):
        parse_toml(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
tables = st.dictionaries(st.sampled_from(["tick_size", "lot_size", "feed", "on_cross", "x"]), json_values)


@given(symbol=st.text() | st.just("A"), value=tables | json_values, raw=st.binary())
def test_any_value_raises_nothing_else(symbol: str, value: Any, raw: bytes) -> None:
    for text in (json.dumps(value), raw):
        with contextlib.suppress(InstrumentsError):
            instrument = from_json(symbol, text)
            assert instrument.symbol == symbol


def test_the_least_number_of_a_listing_is_kept() -> None:
    again = BTC._replace(listing=3)
    assert json.loads(to_json(again))["listing"] == 3
    assert from_json("BTC-USD", to_json(again)) == again
    assert "listing" not in json.loads(to_json(BTC))
    assert again.terms == BTC.terms != BTC._replace(lot_size="7").terms
    for wrong in (-1, True, "2", 1.5, 2**31 + 1, None):
        with pytest.raises(InstrumentsError, match="listing is"):
            from_json("BTC-USD", json.dumps({"listing": wrong}))
