"""Entries of gateways: there and back, bounded, and nothing else is taken for one."""

import json
from typing import Any

import pytest

from depthcast.shared.gateway_entry import TEXT_MAX, GatewayEntry, decode_entry, encode_entry

ENTRY = GatewayEntry(
    "gw-1", "0.1.0", "http://gw:8080", 2, True, False, 212, 40, 3, 35, 7, 86_400_000, ("replica", "clock"),
    {"0": 12, "1": None},
)  # fmt: skip
TABLE: dict[str, Any] = json.loads(encode_entry(ENTRY))


@pytest.mark.parametrize(
    "entry", [ENTRY, ENTRY._replace(worker=None, failing=(), ready=False, draining=True)]
)
def test_there_and_back(entry: GatewayEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry
    assert decode_entry(encode_entry(entry).encode()) == entry


def test_it_is_as_the_contract_names_it() -> None:
    assert list(TABLE) == [
        "id", "version", "address", "worker", "ready", "draining", "clients", "books", "stale", "silence_ms",
        "lag_ms", "uptime_ms", "failing", "replica_lag_ms",
    ]  # fmt: skip
    assert " " not in encode_entry(ENTRY)


def test_later_keys_are_ignored_and_missing_ones_have_defaults() -> None:
    assert decode_entry(json.dumps(TABLE | {"later": 1})) == ENTRY
    short = json.dumps({"id": "a", "version": "1", "address": "x"})
    assert decode_entry(short) == GatewayEntry("a", "1", "x", None, False, False, 0, 0, 0, 0, 0, 0, ())


@pytest.mark.parametrize("name", list(TABLE))
def test_a_value_of_another_kind_is_no_entry(name: str) -> None:
    wrong: list[object] = [{}, 1.5, None] if name != "worker" else [{}, 1.5, "1"]
    if name == "replica_lag_ms":
        wrong = [[], 1.5, {"x": 1}, {"0": "1"}, {"0": True}]
    for value in wrong:
        assert decode_entry(json.dumps(TABLE | {name: value})) is None, value


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_what_no_gateway_wrote_is_no_entry(raw: bytes) -> None:
    assert decode_entry(raw) is None


def test_texts_are_bounded() -> None:
    long = "x" * (TEXT_MAX + 1)
    found = decode_entry(encode_entry(ENTRY._replace(id=long, failing=(long,))))
    assert found == ENTRY._replace(id="x" * TEXT_MAX, failing=("x" * TEXT_MAX,))
