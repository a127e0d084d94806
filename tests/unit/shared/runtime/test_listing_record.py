"""The record of listings, read again and again."""

import asyncio
import json

import fakeredis
import pytest

from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, of_table, to_table
from depthcast.shared.runtime import listing_record
from depthcast.shared.runtime.listing_record import RecordReader, read_record
from depthcast.shared.types import Symbol
from tests.unit.shared.runtime.test_follow import connected

KEYS = DeploymentKeys("test").partition(0)


def listed(symbol: str, number: int, tick_size: str = "1", *, withdrawn: bool = False) -> Listing:
    return Listing(number, Instrument(Symbol(symbol), tick_size), withdrawn)


def value(listing: Listing) -> str:
    return json.dumps(to_table(listing))


async def test_each_reading_is_what_a_first_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    client, reader = connected(fakeredis.FakeServer()), RecordReader(KEYS)
    parsed: list[str] = []

    def count(symbol: str, table: object) -> Listing | None:
        parsed.append(symbol)
        return of_table(symbol, table)

    async def reads(*symbols: str) -> dict[str, Listing]:
        parsed.clear()
        found = await reader.read(client)
        assert sorted(parsed) == sorted(symbols)
        assert found == await read_record(client, KEYS)
        found.clear()  # it is the caller's own
        return await reader.read(client)

    monkeypatch.setattr(listing_record, "of_table", count)
    assert await reads() == {}
    await client.hset(
        KEYS.listings, mapping={"A": value(listed("A", 1)), "B": value(listed("B", 1, "0.1")), "C": "[]"}
    )
    assert await reads("A", "B", "C") == {"A": listed("A", 1), "B": listed("B", 1, "0.1")}
    await client.hset(KEYS.listings, "B", value(listed("B", 2, "0.1", withdrawn=True)))
    assert await reads("B") == {"A": listed("A", 1), "B": listed("B", 2, "0.1", withdrawn=True)}
    await client.hset(KEYS.listings, "A", "{")
    assert await reads() == {"B": listed("B", 2, "0.1", withdrawn=True)}
    await client.delete(KEYS.listings)
    assert await reads() == {}
    await client.aclose()


async def test_a_reading_that_was_cancelled_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_record, "PARSED_PER_SLICE", 1)
    client, reader = connected(fakeredis.FakeServer()), RecordReader(KEYS)
    await client.hset(KEYS.listings, mapping={name: value(listed(name, 1)) for name in "ABC"})
    assert len(await reader.read(client)) == 3
    await client.hset(KEYS.listings, mapping={name: value(listed(name, 2)) for name in "AB"})
    parsing = asyncio.Event()

    async def pause(_seconds: float) -> None:
        parsing.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", pause)
        reading = asyncio.create_task(reader.read(client))
        await parsing.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert {name: found.number for name, found in (await reader.read(client)).items()} == {
        "A": 2,
        "B": 2,
        "C": 1,
    }
    await client.aclose()
