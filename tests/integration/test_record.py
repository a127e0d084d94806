"""`depthcast record`: its files hold every delta once, whatever happens to it, and make the same books."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from depthcast.feed.recording import DELTA, check, events_of, files_of, rows_of, steps
from depthcast.runtime.record_journal import Journal
from depthcast.runtime.recorder import RecordCounts, RecordOptions, record
from depthcast.shared.codec import decode_delta, decode_marks
from depthcast.shared.doubt import doubt_after
from depthcast.shared.errors import SettingsError
from depthcast.shared.listing import of_table
from depthcast.shared.position import ZERO
from depthcast.shared.runtime.redis import execute, last_position
from tests.environment import without_settings
from tests.ingestor_runs import BOTH_FEEDS, Input, Run
from tests.waiting import eventually

SYMBOLS = ("LEV", "EVI", "ORD", "ORE")


@asynccontextmanager
async def recording(run: Run, folder: Path, **options: float) -> AsyncIterator[RecordCounts]:
    counts = RecordCounts()
    chosen = RecordOptions(run.url, run.prefix, None, folder, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(record(chosen, counts))
    try:
        yield counts
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def published_deltas(run: Run) -> dict[str, list[tuple[int, ...]]]:
    """Every delta of the stream by symbol, as (epoch, n, prev_seq, seq, digest, events, *levels)."""
    found: dict[str, list[tuple[int, ...]]] = {symbol: [] for symbol in SYMBOLS}
    for position, fields in await run.history():
        for name, raw in fields:
            if not name.startswith(b"_"):
                delta = decode_delta(raw)
                head = (*position, delta.prev_seq, delta.seq, delta.digest, delta.events)
                found[name.decode()].append((*head, *delta.bids, -1, *delta.asks))
    return found


async def published_doubts(run: Run) -> dict[tuple[str, int], str]:
    """Why each symbol was in doubt after each of its seqs; empty if it was not."""
    found: dict[tuple[str, int], str] = {}
    now: dict[str, str | None] = {}
    for _, fields in await run.history():
        for name, raw in fields:
            if not name.startswith(b"_"):
                symbol, delta = name.decode(), decode_delta(raw)
                before = now.get(symbol) if delta.prev_seq else None
                now[symbol] = doubt_after(decode_marks(raw), before)
                found[symbol, delta.seq] = now[symbol] or ""
    return found


def recorded_deltas(folder: Path) -> dict[str, list[tuple[int, ...]]]:
    return {
        symbol: [
            (row.epoch, row.n, row.prev_seq, row.seq, row.digest, row.events, *row.bids, -1, *row.asks)
            for row in rows_of(files)
            if row.kind == DELTA
        ]
        for symbol, files in files_of(folder).items()
    }


def is_whole(folder: Path) -> bool:
    found = list(check(folder))
    assert {each.symbol for each in found} == set(SYMBOLS)
    assert [each.problems for each in found] == [[]] * len(found)
    return not any(each.gaps for each in found)


async def recorded(run: Run, folder: Path) -> None:
    """Wait until everything published so far is recorded."""
    end = await last_position(run.client, run.keys.deltas)

    def there() -> bool:
        try:
            frames = list(Journal(folder / "journal").read())
        except FileNotFoundError:  # it was replaced in between
            return False
        return max((frame.positions.get(0, ZERO) for frame in frames), default=ZERO) >= end

    await eventually(there, message="everything is recorded", timeout_s=30)


async def test_every_delta_is_recorded_as_it_was_published(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "books"
    async with run.service(run.settings(retention_s=3600)):
        async with recording(run, folder, file_rows=50) as counts:
            await eventually(lambda: counts.snapshots == len(SYMBOLS), message="it has begun")
            await Input(run, Random(1)).send(300)
            await run.published()
            await recorded(run, folder)
            with pytest.raises(SettingsError, match="another recorder"):
                await record(RecordOptions(run.url, run.prefix, None, folder), RecordCounts())
        published = await published_deltas(run)
    assert is_whole(folder)
    ours = recorded_deltas(folder)
    for symbol in SYMBOLS:
        begun = published[symbol].index(ours[symbol][0])
        assert ours[symbol] == published[symbol][begun : begun + len(ours[symbol])]
        assert len(ours[symbol]) > 10
    assert (counts.deltas, counts.gaps) == (sum(map(len, ours.values())), 0)
    assert not list(folder.glob("**/*.unfinished"))
    doubts = await published_doubts(run)
    rows = [(symbol, row) for symbol, files in files_of(folder).items() for row in rows_of(files)]
    assert all(row.doubt == doubts.get((symbol, row.seq), "") for symbol, row in rows)
    assert {row.doubt for _, row in rows} >= {"", "gap", "checksum"}
    other = RecordOptions(run.url, run.prefix, None, folder)
    about = json.loads((folder / "recording.json").read_text())
    (folder / "recording.json").write_text(json.dumps(about | {"version": 1}), encoding="utf-8")
    with pytest.raises(SettingsError, match="record into a new folder"):
        await record(other, RecordCounts())
    (folder / "recording.json").write_text('{"prefix": "another"}', encoding="utf-8")
    with pytest.raises(SettingsError, match="has a recording of"):
        await record(other, RecordCounts())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.deep)])
async def test_a_recorder_that_is_killed_again_and_again_loses_nothing(
    run: Run, tmp_path: Path, kills: int
) -> None:
    folder, rng = tmp_path / "books", Random(2)
    words = ["record", str(folder), "--file-rows", "200", "--file-s", "1", "--redis-url", run.url]
    async with run.service(run.settings(retention_s=3600)):
        input_ = Input(run, Random(3))
        for kill in range(kills + 1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "depthcast", *words, "--prefix", run.prefix, env=without_settings(),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await eventually(lambda: _growing(folder / "journal"), message="it records", timeout_s=30)
            for _ in range(20):
                await input_.send(20)
                await asyncio.sleep(rng.random() / 20)
            process.send_signal(signal.SIGKILL if kill < kills else signal.SIGTERM)
            await process.wait()
            await input_.send(20)
        await run.published()
        published = await published_deltas(run)
        async with recording(run, folder):
            await recorded(run, folder)
    assert is_whole(folder)
    ours = recorded_deltas(folder)
    for symbol in SYMBOLS:
        wanted = published[symbol][published[symbol].index(ours[symbol][0]) :]
        assert ours[symbol][: len(wanted)] == wanted


def _growing(journal: Path) -> bool:
    return sum(path.stat().st_size for path in journal.glob("*.journal")) > 200


async def test_a_gap_is_recorded_and_found(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "books"
    async with run.service(run.settings(snapshot_interval_ms=50)):
        input_ = Input(run, Random(4))
        async with recording(run, folder) as counts:
            await eventually(lambda: counts.snapshots == len(SYMBOLS), message="it has begun")
            await input_.send(50)
            await run.published()
            await recorded(run, folder)
        await input_.send(50)
        await run.published()
        before = {symbol: (await run.snapshots(symbol))[-1][0] for symbol in SYMBOLS}

        async def renewed() -> bool:
            await input_.send(5)
            newest = [(await run.snapshots(symbol))[-1][0] for symbol in SYMBOLS]
            return all(new > old for new, old in zip(newest, before.values(), strict=True))

        await eventually(renewed, message="every snapshot is renewed")
        await execute(run.client, "XTRIM", run.keys.deltas, "MAXLEN", "1")
        async with recording(run, folder) as counts:

            async def noticed() -> bool:
                await input_.send(1)  # a snapshot newer than what was trimmed needs a change
                return counts.gaps > 0

            await eventually(noticed, message="it has noticed")
    found = {each.symbol: each for each in check(folder)}
    assert all(not each.problems for each in found.values())
    assert sum(len(each.gaps) for each in found.values()) == counts.gaps > 0


async def test_a_new_listing_is_no_gap(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "books"

    async def listed(number: int, *, withdrawn: bool) -> bool:
        raw = await execute(run.client, "HGET", run.keys.listings, "LEV")
        listing = of_table("LEV", json.loads(raw))
        return listing is not None and (listing.number, listing.withdrawn) == (number, withdrawn)

    async with run.service(run.settings(BOTH_FEEDS)), recording(run, folder) as counts:
        await eventually(lambda: counts.snapshots == len(SYMBOLS), message="it has begun")
        await run.send(("LEV", '[["add", "bid", 1, 1]]'))
        await execute(run.client, "HDEL", run.deployment.instruments, "LEV")
        await eventually(lambda: listed(1, withdrawn=True), message="it is withdrawn")
        await execute(run.client, "HSET", run.deployment.instruments, "LEV", '{"tick_size": "0.5"}')
        await eventually(lambda: listed(2, withdrawn=False), message="it is listed again")
        await run.send(("LEV", '[["add", "bid", 7, 1]]'))
        await run.published()
        await recorded(run, folder)
    assert counts.gaps == 0
    assert is_whole(folder)
    rows = list(rows_of(files_of(folder)["LEV"]))
    assert (rows[-1].listing, rows[-1].tick_size, list(rows[-1].bids)) == (2, "0.5", [7, 1])
    assert [(row.listing, row.tick_size) for row in rows if not row.prev_seq and row.kind == DELTA][-1] == (
        2,
        "0.5",
    )
    whole = [step for step in steps(folder) if step.symbol == "LEV" and step.whole]
    assert events_of(whole[-1]) == [[4]]


async def test_a_replayed_recording_makes_the_same_books(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "books"
    async with run.service(run.settings(interval_ms=0)), recording(run, folder) as counts:
        await eventually(lambda: counts.snapshots == len(SYMBOLS), message="it has begun")
        await Input(run, Random(5)).send(200)
        await run.published()
        await recorded(run, folder)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "depthcast", "feed", "replay", str(folder), "--verify", env=without_settings(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    states = sum(len(events_of(step)) > 0 or not step.row.stale for step in steps(folder))
    assert f"{states}/{states} recorded books at the WebSocket client" in out.decode()
    again = Run(run.client, f"{run.prefix}-again", run.url, tmp_path)
    levels = '["LEV"]\n["EVI"]\n["ORD"]\n["ORE"]\n'
    async with again.service(again.settings(levels, interval_ms=0, retention_s=3600)):
        words = ["--speed", "max", "--redis-url", run.url, "--prefix", again.prefix]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "depthcast", "feed", "replay", str(folder), *words, env=without_settings(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        done = await again.published()
        assert done.rejected == 0
        doubts = await published_doubts(again)
        made: dict[str, list[tuple[int, str]]] = {symbol: [(0, "")] for symbol in SYMBOLS}
        for _, fields in await again.history():
            for name, raw in fields:
                if not name.startswith(b"_") and (delta := decode_delta(raw)):
                    made[name.decode()].append((delta.digest, doubts[name.decode(), delta.seq]))
    expected: dict[str, list[tuple[int, str]]] = {symbol: [(0, "")] for symbol in SYMBOLS}
    for step in steps(folder):
        expected[step.symbol].append((step.row.digest, step.row.stale))
    ours, theirs = (
        {symbol: [state for state, _ in groupby(found)] for symbol, found in each.items()}
        for each in (made, expected)
    )
    assert ours == theirs
    assert {doubt for states in made.values() for _, doubt in states} >= {"", "gap", "checksum"}
