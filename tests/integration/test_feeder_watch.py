"""The book of a live feed that ended without a word is marked stale, once."""

import asyncio
import json
from typing import Any

import pytest

from depthcast.feed.source import is_running, read_source
from depthcast.ingestor.runtime import feeder_watch
from depthcast.ingestor.runtime.feeder_watch import UNCHANGED_S, FeederWatch, watch_feeders
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.feed_source import GONE_US
from depthcast.shared.runtime.redis import connect, execute
from tests.ingestor_runs import Run, check_history
from tests.logins import with_login
from tests.waiting import eventually

LEVELS = '[["update","bid",10,1]]'


async def publish(run: Run, symbol: str, *, age_us: int = GONE_US + 1, **entry: Any) -> None:
    """Write an entry of the hash of sources that was refreshed so long ago."""
    seconds, us = await execute(run.client, "TIME")
    at = int(seconds) * 1_000_000 + int(us) - age_us
    value = json.dumps({"feeder": "theirs", "venue": "toy", "state": "live", "at": at, **entry})
    await execute(run.client, "HSET", run.deployment.sources, symbol, value)


async def doubt(run: Run, symbol: str) -> str | None:
    await run.published()
    return check_history(await run.history()).replicas[symbol].doubt


async def test_a_feed_that_is_gone_leaves_no_live_book(run: Run) -> None:
    watch, other = (FeederWatch(run.client, run.deployment, 1) for _ in range(2))
    async with run.service(run.settings("[A]\n[B]\n")):
        await run.send(("A", LEVELS), ("B", LEVELS))
        assert await watch.look(0.0) == []
        await publish(run, "A")
        await publish(run, "B", age_us=0)
        for one in (watch, other):
            assert await one.look(0.0) == []
            assert await one.look(UNCHANGED_S - 0.1) == []
        assert await watch.look(UNCHANGED_S) == ["A"]
        assert await other.look(UNCHANGED_S) == [], "somebody else was first"
        assert await watch.look(9.0) == await other.look(9.0) == []
        assert (await doubt(run, "A"), await doubt(run, "B")) == ("unfed", None)
        entry = read_source(await execute(run.client, "HGET", run.deployment.sources, "A"))
        assert (entry["state"], entry["reason"], entry["feeder"]) == ("gone", "unfed", "theirs")
        assert not is_running(entry, entry["at"] + GONE_US)
        await run.send(("A", LEVELS), ("_", '{"live": true}'))
        assert await doubt(run, "A") is None, "whoever feeds it now says so"


@pytest.mark.parametrize("entry", [{"state": "doubt"}, {"state": "ended"}, {"at": None}, {"at": 1.5}])
async def test_what_is_not_live_needs_no_mark(run: Run, entry: dict[str, Any]) -> None:
    watch = FeederWatch(run.client, run.deployment, 1)
    await publish(run, "A", **entry)
    await execute(run.client, "HSET", run.deployment.sources, "B", "{", b"\xff", "[]")
    for now in (0.0, 5.0):
        assert await watch.look(now) == []
    assert await run.stream(run.keys.events) == []


async def test_an_entry_that_changes_is_of_a_feed_that_runs(run: Run) -> None:
    """Though it looks old: a failover has brought another clock."""
    watch = FeederWatch(run.client, run.deployment, 1)
    for now in range(10):
        await publish(run, "A", age_us=GONE_US + now)
        assert await watch.look(float(now)) == []


async def test_an_ingestor_looks_from_the_beginning_of_the_deployment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(feeder_watch, "UNCHANGED_S", 0.1)
    stop = asyncio.Event()
    watching = asyncio.create_task(watch_feeders(run.settings(), stop))
    async with run.service(run.settings("[A]\n")):
        await run.send(("A", LEVELS))
        await publish(run, "A")

        async def marked() -> bool:
            return await doubt(run, "A") == "unfed"

        await eventually(marked)
    stop.set()
    await watching


async def test_a_look_that_failed_is_not_the_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    async def look(_: FeederWatch, now: float) -> list[str]:
        looks.append(now)
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(feeder_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(FeederWatch, "look", look)
    stop = asyncio.Event()
    async with run.service(run.settings("[A]\n")):
        watching = asyncio.create_task(watch_feeders(run.settings(), stop))
        await eventually(lambda: len(looks) > 1)
        stop.set()
        await watching


async def test_what_may_not_be_marked_adds_nothing(run: Run) -> None:
    """Otherwise one entry more would be added each second."""
    user = f"watch-{run.deployment.prefix}"
    await execute(run.client, "ACL", "SETUSER", user, "on", ">pass", "~*", "+@all", "-hset")
    async with connect(with_login(run.url, user, "pass")) as client:
        watch = FeederWatch(client, run.deployment, 1)
        await publish(run, "A")
        await watch.look(0.0)
        for _ in range(2):
            with pytest.raises(RedisUnavailable, match="NOPERM"):
                await watch.look(UNCHANGED_S)
    assert await run.stream(run.keys.events) == []
    await execute(run.client, "ACL", "DELUSER", user)
