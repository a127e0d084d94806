"""The lines of `depthcast tail`: whole books in exact decimals, and every change of state."""

import asyncio
import json
from typing import Any

import pytest

from depthcast.cli.tail import print_changes
from tests.unit.depthcast.cli.gateway_line import following


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_each_line_is_a_whole_book_in_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("X") as (books, line):
        await print_changes(books, 10, 1)
        (first,) = lines(capsys)
        assert first == {
            "symbol": "X",
            "state": "live",
            "reason": None,
            "seq": 101,
            "ts": 1,
            "event_ts": None,
            "merged": 0,
            "because": None,
            "bids": [["1.0", "10"]],
            "asks": [],
        }
        line.change(1, 11, 7)
        await print_changes(books, 10, 1)
        (second,) = lines(capsys)
        assert second["bids"] == first["bids"], "also what did not change"
        assert (second["asks"], second["seq"], second["merged"]) == ([["1.1", "14"]], 102, 1)


async def test_a_line_has_up_to_so_many_levels(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("X") as (books, line):
        line.change(0, 9, 5)
        await print_changes(books, 1, 1)
        assert lines(capsys)[0]["bids"] == [["1.0", "10"]]


async def test_a_line_of_levels_in_groups_names_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("X") as (books, line):
        books.group = 10
        await print_changes(books, 10, 1)
        assert lines(capsys)[0]["group"] == 10
        line.cut()
        await print_changes(books, 10, 1)
        assert lines(capsys)[0]["group"] == 10, "also where the state has changed"


async def test_a_lost_connection_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("X") as (books, line):
        await print_changes(books, 10, 1)
        line.cut()
        await print_changes(books, 10, 1)
        stale = lines(capsys)[-1]
        assert (stale["state"], stale["reason"], stale["ts"]) == (
            "stale",
            "no connection to the gateway",
            None,
        )
        assert stale["bids"] == [["1.0", "10"]], "what was known last"


async def test_a_producers_doubt_is_a_line_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("X") as (books, line):
        await print_changes(books, 10, 1)
        line.bring({"type": "status", "symbol": "X", "state": "stale", "reason": "gap"})
        await print_changes(books, 10, 1)
        assert [(each["state"], each["reason"]) for each in lines(capsys)] == [
            ("live", None),
            ("stale", "gap"),
        ]


async def test_what_is_refused_or_ends_is_a_line_without_levels(capsys: pytest.CaptureFixture[str]) -> None:
    async with following("NO", "X") as (books, line):
        printing = asyncio.create_task(print_changes(books, 10, None))
        line.bring({"type": "unsubscribed", "symbol": "X", "reason": "removed"})
        await printing
        first, *_, last = lines(capsys)
        assert first == {"symbol": "NO", "state": "removed", "reason": "unknown_symbol: no (NO)"}
        assert last == {
            "symbol": "X",
            "state": "removed",
            "reason": "the gateway ended the subscription (X)",
        }
