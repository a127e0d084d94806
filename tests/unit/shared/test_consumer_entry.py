"""What a consumer says of itself: names, values, and what somebody else may have written there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.shared.consumer_entry import LATE_US, ConsumerEntry, decode_entry, encode_entry, is_name

times = st.integers(0, 2**53 - 1)
lags = st.dictionaries(st.integers(0, 10**6 - 1), st.none() | times)
entries = st.builds(ConsumerEntry, times, st.text(), lags, lags)


@given(entries)
def test_what_is_encoded_is_decoded(entry: ConsumerEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(st.binary() | st.text())
def test_nothing_raises(raw: bytes | str) -> None:
    decode_entry(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "", "1", "[]", "{", "[" * 100_000, '{"at": 1, "version": "1"}',
        '{"at": "1", "version": "1", "lag_ms": {}}',
        '{"at": -1, "version": "1", "lag_ms": {}}', '{"at": true, "version": "1", "lag_ms": {}}',
        '{"at": 1, "version": 1, "lag_ms": {}}', '{"at": 1, "version": "1", "lag_ms": []}',
    ],
)  # fmt: skip
def test_what_no_consumer_wrote_is_none(raw: str) -> None:
    assert decode_entry(raw) is None


def test_partitions_and_lags_that_are_none_are_left_out_and_unknown_keys_ignored() -> None:
    lags = '{"0": 7, "01": 7, "-1": 7, "a": 7, "2": "7", "3": null}'
    raw = f'{{"at": 5, "version": "x", "lag_ms": {lags}, "more": 1}}'
    assert decode_entry(raw) == (5, "x", {0: 7, 3: None}, {})
    raw = f'{{"at": 5, "version": "x", "lag_ms": {{}}, "replica_lag_ms": {lags}}}'
    assert decode_entry(raw) == (5, "x", {}, {0: 7, 3: None})
    assert decode_entry('{"at": 5, "version": "x", "lag_ms": {}, "replica_lag_ms": 7}') == (5, "x", {}, {})


def test_what_was_said_of_replicas_counts_for_a_while() -> None:
    entry = ConsumerEntry(10_000_000, "x", {}, {0: 250, 1: None})
    assert decode_entry(encode_entry(entry)) == entry
    assert entry.replica_lags_s(10_000_000 + LATE_US) == {0: 0.25}
    assert entry.replica_lags_s(10_000_001 + LATE_US) == {}


def test_the_lag_grows_while_nothing_is_heard() -> None:
    entry = ConsumerEntry(10_000_000, "x", {0: 250, 1: None, 2: 0})
    assert entry.lags_s(10_000_000) == {0: 0.25, 2: 0.0}
    assert entry.lags_s(13_000_000) == {0: 3.25, 2: 3.0}
    assert entry.lags_s(9_000_000) == {0: 0.25, 2: 0.0}, "our estimate of its clock may be behind"


@pytest.mark.parametrize("name", ["a", "risk", "Risk-2.eu_west", "9", "a" * 64])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", " ", "-a", ".a", "a b", "a" * 65, "ä", "a\n", "{a}", None, 5])
def test_no_name(name: object) -> None:
    assert not is_name(name)
