"""`depthcast feed replay` as a user runs it: a process, with its temporary or an existing deployment."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from depthcast import Consumer, State
from depthcast.runtime.arrivals import Arrivals
from depthcast.runtime.deployment import local_deployment
from depthcast.runtime.feed_file import open_feed
from depthcast.runtime.venue_sources import Sources
from depthcast.shared.codec import encode_info, unpack
from depthcast.shared.instruments import from_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.redis import execute, read_hash
from depthcast.shared.types import EntryInfo
from tests.environment import without_settings
from tests.ingestor_runs import Run, check_history
from tests.integration.gateway_harness import running_gateway
from tests.property.test_vendor_recordings import Market, lobster
from tests.redis_client import patient
from tests.waiting import eventually

MESSAGES = 60


async def replay(*words: str | Path, address: str = "") -> tuple[int, str, str]:
    """Run the command; returns its status, output and what it wrote to standard error."""
    process = await start(*words, address=address)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def start(*words: str | Path, address: str = "") -> asyncio.subprocess.Process:
    """Start a replay to the server at `address`, which may have credentials."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", "feed", "replay", *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings() | ({"DEPTHCAST_REDIS_URL": address} if address else {}),
    )


Verify = Callable[..., Awaitable[tuple[int, str, str]]]

shared_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests whose deployment is shared."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def verify(redis_server: str) -> AsyncIterator[Verify]:
    """Verifies a file in a deployment that tests here share, whatever was replayed into it before."""
    prefix = f"test-verify-{uuid.uuid4().hex}"
    async with local_deployment(
        "", redis_url=redis_server, prefix=prefix, ingestor={"interval_ms": 0}
    ) as deployment:
        there = ("--prefix", prefix, "--gateway-url", deployment.gateway_url, "--register")

        async def verified(*words: str | Path) -> tuple[int, str, str]:
            return await replay(*words, "--verify", *there, address=redis_server)

        yield verified


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two symbols, one entry each 20 ms."""
    path = tmp_path / "plain.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(MESSAGES):
            symbol = ("BTC-USD", "ETH-USD")[number % 2]
            event = ["update", "bid", 100 + number % 7, number + 1]
            file.write(json.dumps({"symbol": symbol, "events": [event], "at_ms": 20 * number}) + "\n")
    return path


@pytest.fixture
def binance(tmp_path: Path) -> Path:
    """A little recording whose second oracle is wrong."""
    path = tmp_path / "venue"
    lines: list[Mapping[str, object]] = [
        {"lastUpdateId": 1, "bids": [["10.0", "1"]], "asks": [["10.2", "1"]]},
        stream("bookTicker", u=2, b="10.1", B="3", a="10.2", A="1"),
        stream("depth@100ms", U=2, u=2, E=5, b=[["10.1", "3"]], a=[]),
        stream("bookTicker", u=3, b="10.1", B="9", a="10.2", A="1"),
        stream("depth@100ms", U=3, u=3, E=6, b=[["10.1", "4"]], a=[]),
    ]
    path.write_text("".join(f"1723161253937085768 {json.dumps(line)}\n" for line in lines))
    return path


def stream(name: str, **data: object) -> dict[str, object]:
    kind = "depthUpdate" if name.startswith("depth") else name
    return {"stream": f"btcusdt@{name}", "data": {"e": kind, "E": 5, "s": "BTCUSDT", **data}}


async def test_verifying_a_file_without_an_oracle(plain: Path) -> None:
    status, output, errors = await replay(plain, "--verify", "--partitions", "4")
    assert (status, output.count("\n")) == (0, 3), errors
    assert output.startswith(
        f"plain.jsonl: no oracle in the file; {MESSAGES} entries, "
        "WebSocket client and stream consumer agree, 0 merged"
    )


@shared_loop
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_disagreement_ends_with_status_1(verify: Verify, binance: Path, encoding: str) -> None:
    status, output, errors = await verify(binance, "--encoding", encoding)
    assert status == 1
    assert "venue: 1/2 best prices at the WebSocket client, 1/2 at the stream consumer, 0 merged" in output
    assert output.count("line 5, BTCUSDT: best bid [(101, 4)]") == 2
    assert "Error: not verified: venue" in errors


async def test_replaying_into_a_running_deployment(
    plain: Path, run: Run, redis_url: str, prefix: str
) -> None:
    async with run.service(run.settings(None)):
        words = ("--prefix", prefix, "--speed", "10", "--register", "--symbol", "ETH-USD=E")
        status, output, errors = await replay(plain, *words, address=redis_url)
        assert status == 0, errors
        assert output.startswith(f"plain.jsonl: {MESSAGES} messages, {MESSAGES} events, ")
        async with Consumer(redis_url, ["BTC-USD", "E"], prefix=prefix) as consumer:
            books = {"BTC-USD": MESSAGES - 1, "E": MESSAGES}
            async for update in consumer:
                if max(update.book.bids.levels.values(), default=0) == books.get(update.symbol):
                    del books[update.symbol]
                if not books:
                    break


@pytest.fixture
def gap(tmp_path: Path) -> Path:
    """A recording that lacks messages before its second snapshot."""
    path = tmp_path / "gap"
    lines: list[Mapping[str, object]] = [
        {"lastUpdateId": 1, "bids": [["10.0", "1"]], "asks": [["10.2", "1"]]},
        stream("depth@100ms", U=2, u=2, b=[["10.1", "3"]], a=[]),
        stream("depth@100ms", U=5, u=5, b=[["9", "3"]], a=[]),
        {"lastUpdateId": 6, "bids": [["10.0", "7"]], "asks": [["10.2", "1"]]},
        stream("depth@100ms", U=7, u=7, b=[["10.0", "8"]], a=[]),
    ]
    path.write_text("".join(f"1723161253937085768 {json.dumps(line)}\n" for line in lines))
    return path


async def test_a_book_is_stale_from_a_gap_to_the_next_snapshot(
    gap: Path, run: Run, redis_url: str, prefix: str
) -> None:
    async with run.service(run.settings(None)):
        words = ("--prefix", prefix, "--speed", "max", "--register")
        status, output, errors = await replay(gap, *words, "--limit", "3", address=redis_url)
        assert (status, "1 gap" in errors) == (1, True), output
        async with Consumer(redis_url, ["BTCUSDT"], prefix=prefix) as consumer:
            updates = aiter(consumer)
            while (await anext(updates)).state is not State.STALE:
                pass
            status, output, _ = await replay(gap, *words, address=redis_url)
            assert "line 3, BTCUSDT: update ids go from 2 to 5" in output
            while (update := await anext(updates)).state is not State.LIVE:
                pass
            while [*update.book.bids.top(1)] != [(100, 8)]:
                update = await anext(updates)
            assert update.state is State.LIVE


@shared_loop
async def test_a_gap_is_no_disagreement(verify: Verify, gap: Path) -> None:
    status, output, errors = await verify(gap)
    assert status == 1
    assert "WebSocket client and stream consumer agree" in output
    assert "not everything got into its book: gap: 1 gap" in errors


@shared_loop
async def test_a_file_of_few_levels_agrees_with_the_order_books_beside_it(
    verify: Verify, tmp_path: Path
) -> None:
    messages, books, states = lobster(Market(5))
    path = tmp_path / "X_2012-06-21_34200000_57600000_message_2.csv"
    path.write_bytes(b"".join(messages))
    (tmp_path / path.name.replace("message", "orderbook")).write_bytes(b"".join(books))
    status, output, errors = await verify(path)
    compared = sum(
        all(state) for state in states[1:]
    )  # the first is a snapshot; others may have an empty side
    assert status == 0, errors
    assert compared > 4
    assert (
        f"{compared}/{compared} best prices at the WebSocket client, {compared}/{compared} at the" in output
    )


@pytest.fixture
def ladder(tmp_path: Path) -> Path:
    """A recording whose best bid goes up with every message."""
    path = tmp_path / "ladder"
    lines = [{"lastUpdateId": 0, "bids": [["1", "1"]], "asks": []}]
    for n in range(1, 50):
        lines.append(stream("bookTicker", u=n, b=str(n), B="1", a="99", A="1"))
        lines.append(stream("depth@100ms", U=n, u=n, E=n, b=[[str(n), "1"]], a=[["99", "1"]]))
    path.write_text("".join(f"1723161253937085768 {json.dumps(line)}\n" for line in lines))
    return path


async def test_a_deployment_that_merges_is_not_verified(
    ladder: Path, run: Run, redis_url: str, prefix: str
) -> None:
    async with run.service(run.settings(None, interval_ms=200)):
        with running_gateway(redis_url, prefix) as gateway:
            words = ("--prefix", prefix, "--gateway-url", gateway.url, "--verify", "--register")
            status, output, _ = await replay(ladder, *words, address=redis_url)
            assert status == 1
            assert "run the ingestor with --interval-ms 0" in output


async def test_instruments_that_do_not_fit_are_refused(binance: Path, redis_url: str, prefix: str) -> None:
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    await client.hset(keys.meta, mapping={"protocol": 1, "partitions": 1})
    await client.hset(keys.instruments, "BTCUSDT", '{"tick_size":"1","lot_size":"1"}')
    status, _, errors = await replay(binance, "--prefix", prefix, "--register", address=redis_url)
    assert status == 2
    assert "registered with tick_size 1, the recording needs 0.1" in errors
    assert from_json("BTCUSDT", (await client.hgetall(keys.instruments))[b"BTCUSDT"]).tick_size == "1"
    await client.aclose()


async def test_it_waits_for_deployment_and_instruments_and_says_so(
    plain: Path, redis_url: str, prefix: str
) -> None:
    process = await start(plain, "--speed", "max", "--prefix", prefix, address=redis_url)
    assert process.stderr is not None
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    assert b"waiting for an ingestor to create the deployment" in await process.stderr.readline()
    await client.hset(keys.meta, mapping={"protocol": 1, "partitions": 4})
    assert b"waiting for BTC-USD, ETH-USD to be registered" in await process.stderr.readline()
    for symbol in ("BTC-USD", "ETH-USD"):
        await client.hset(keys.instruments, symbol, "{}")
    assert (
        b"waiting for an ingestor to create the books of BTC-USD, ETH-USD" in await process.stderr.readline()
    )
    for symbol in ("BTC-USD", "ETH-USD"):
        await client.xadd(keys.partition(partition_of(symbol, 4)).snapshots(symbol), {"s": b""})
    for symbol in ("BTC-USD", "ETH-USD"):
        partition = keys.partition(partition_of(symbol, 4))
        ids = await eventually(lambda: all_of(client, partition.events))  # noqa: B023 - awaited here
        info = EntryInfo(1, ids[-1], 0, 0, 0)
        await client.xadd(partition.deltas, {"_": encode_info(info)})
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"; all applied" in output
    await client.aclose()


async def all_of(client: Redis, key: str) -> list[str]:
    """The IDs of a log that has all its entries; empty as long as it has not."""
    found = await redis.read_stream(client, key, ZERO, count=MESSAGES)
    return [str(name) for name, _ in found] if len(found) == MESSAGES / 2 else []


async def test_input_that_nobody_applies_is_said(plain: Path, redis_url: str, prefix: str) -> None:
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    arrivals = Arrivals(client, keys)
    await arrivals.begin([0])
    (entry, *_) = open_feed(plain, None, {}).entries()
    arrivals.sent([(0, Position(5, 1))], [entry])
    await arrivals.finish(give_up_s=0.1)
    assert arrivals.problems() == ["1 entries were sent and not applied: is an ingestor running?"]
    await client.xadd(keys.partition(0).deltas, {"_": encode_info(EntryInfo(1, "5-1", 0, 0, 0))})
    await arrivals.finish()
    assert arrivals.problems() == []
    await client.aclose()


async def test_input_that_was_deleted_unread_is_said(plain: Path, redis_url: str, prefix: str) -> None:
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    before = EntryInfo(1, "1-0", 0, 0, 0, lost=3)
    await client.xadd(keys.partition(0).deltas, {"_": encode_info(before)})
    arrivals = Arrivals(client, keys)
    await arrivals.begin([0])
    (entry, *_) = open_feed(plain, None, {}).entries()
    for src, lost, said in (("5-1", 3, 0), ("5-2", 5, 2)):
        arrivals.sent([(0, Position.parse(src))], [entry])
        info = EntryInfo(1, src, 0, 0, 0, lost=lost)
        await client.xadd(keys.partition(0).deltas, {"_": encode_info(info)})
        await arrivals.finish()
        lines = [f"{said} input entries were deleted before an ingestor had read them"] if said else []
        assert [line.partition(":")[0] for line in arrivals.problems()] == lines
    await client.aclose()


async def test_numbers_are_converted_by_the_listing_whose_book_holds_levels(
    run: Run, tmp_path: Path, redis_url: str, prefix: str
) -> None:
    """What is registered waits for an empty book: no event may be converted by it."""
    path = tmp_path / "decimal.jsonl"
    path.write_text(
        '{"symbol": "A", "tick_size": "0.1", "numbers": "decimal"}\n'
        '{"symbol": "A", "events": [["update", "bid", 10.0, 2]]}\n'
    )
    async with run.service(run.settings('[A]\ntick_size = "0.1"\n')) as service:
        await run.send(("A", '[["update","ask",105,1]]'))
        await execute(run.client, "HSET", run.deployment.instruments, "A", '{"tick_size": "0.01"}')
        await eventually(lambda: service.stats.of(0).changes_refused, message="the change waits")
        words = ("--prefix", prefix, "--speed", "max")
        status, output, errors = await replay(path, *words, address=redis_url)
        assert (status, "; all applied" in output) == (0, True), (output, errors)
        book = check_history(await run.history()).replicas["A"].book
        assert (book.bids.levels, book.asks.levels) == ({100: 2}, {105: 1})
        *_, (_, fields) = await run.stream(run.keys.events)
        assert unpack(dict(fields)[b"_"], "options") == {"listing": 1}


async def test_a_withdrawn_symbol_is_waited_for_until_it_is_listed_again(
    run: Run, tmp_path: Path, redis_url: str, prefix: str
) -> None:
    """Its keys stay, so a snapshot does not show that it has a book."""
    path = tmp_path / "some.jsonl"
    path.write_text('{"symbol": "A", "events": [["update", "bid", 10, 2]]}\n')
    async with run.service(run.settings("[A]\n")):
        await execute(run.client, "HDEL", run.deployment.instruments, "A")

        async def ended() -> bool:
            return b'"withdrawn"' in (await read_hash(run.client, run.keys.listings))[b"A"]

        await eventually(ended)
        words = ("--prefix", prefix, "--speed", "max", "--register")
        status, output, errors = await replay(path, *words, address=redis_url)
        assert (status, "; all applied" in output) == (0, True), (output, errors)
        assert check_history(await run.history()).replicas["A"].book.bids.levels == {10: 2}


async def test_a_relisting_amid_a_replay_is_no_wrong_book(
    run: Run, tmp_path: Path, redis_url: str, prefix: str
) -> None:
    path = tmp_path / "some.jsonl"
    lines = [{"symbol": "A", "events": [["update", "bid", n, 2]], "at_ms": 300 * n} for n in range(1, 13)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with run.service(run.settings("[A]\n")):
        process = await start(path, "--prefix", prefix, "--speed", "2", address=redis_url)

        async def applied() -> bool:
            return bool(check_history(await run.history()).replicas["A"].book.bids.levels)

        await eventually(applied)
        await run.send(("_", '{"relist": {"A": {"listing": 2, "tick_size": "0.1"}}}'))
        output, _ = await process.communicate()
        assert process.returncode == 1
        assert b"other_listing" in output
        assert check_history(await run.history()).replicas["A"].book.bids.levels == {}


async def test_a_book_that_a_live_feed_writes_is_left_alone(
    run: Run, tmp_path: Path, redis_url: str, prefix: str
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"symbol": "A", "events": [["update", "bid", 10, 2]]}\n')
    async with run.service(run.settings("[A]\n")):
        feeder = Sources(run.client, run.deployment, "theirs")
        await feeder.publish({"A": {"feeder": "theirs", "venue": "toy", "state": "live"}})
        words = ("--prefix", prefix, "--speed", "max")
        status, _, errors = await replay(path, *words, address=redis_url)
        assert status == 1
        assert "A is fed live by theirs from toy: end that" in errors
        assert await run.stream(run.keys.events) == []


async def test_a_book_that_rejects_what_the_venue_has_proven_is_stale(
    run: Run, ladder: Path, redis_url: str, prefix: str
) -> None:
    async with run.service(run.settings("", levels_max=3)):
        words = ("--prefix", prefix, "--speed", "max", "--register", "--limit", "20")
        status, output, _ = await replay(ladder, *words, address=redis_url)
        assert (status, "too_many_levels" in output) == (1, True)
        assert check_history(await run.history()).replicas["BTCUSDT"].doubt == "rejected"


@shared_loop
async def test_verifying_what_has_no_entry_proves_nothing(verify: Verify, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"symbol": "A"}\n')
    status, _, errors = await verify(path)
    assert status == 1
    assert "nothing was compared: the file has no entry" in errors


@pytest.fixture
def early(binance: Path) -> Path:
    """A recording whose only ticker is of a state that never comes."""
    lines = binance.read_text().splitlines(keepends=True)
    binance.write_text(lines[0] + lines[1].replace('"u": 2', '"u": 9') + lines[2])
    return binance


@shared_loop
async def test_tickers_that_could_not_be_compared_are_said(verify: Verify, early: Path) -> None:
    status, output, errors = await verify(early)
    assert (status, "no oracle in the file" in output) == (1, True)
    assert "none of 1 tickers could be compared" in errors


REJECTED = (
    '{"symbol": "TEST-1", "tick_size": "0.01", "lot_size": "0.001"}\n'
    '{"symbol": "TEST-1", "events": [["update", "bid", 1000, 5], ["update", "ask", 1000, 5]]}\n'
    '{"symbol": "TEST-1", "events": [["update", "bid", 10.5, 5]]}\n'
    '{"symbol": "TEST-1", "events": [["update", "ask", 1001, 5], ["reduce", "ask", 1003, 5]]}\n'
)


@pytest.mark.parametrize("verify", [False, True])
async def test_what_is_rejected_is_counted_and_shown_with_its_line(
    tmp_path: Path, run: Run, redis_url: str, prefix: str, verify: bool
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(REJECTED)
    if verify:
        status, output, errors = await replay(path, "--verify")
    else:
        async with run.service(run.settings(None)):
            words = ("--prefix", prefix, "--speed", "max", "--register")
            status, output, errors = await replay(path, *words, address=redis_url)
    assert status == 1
    assert "rejected events: 1 crossed, 1 unknown_level" in output
    assert "line 2, TEST-1: crossed" in output
    assert "line 4, TEST-1: unknown_level" in output
    assert "line 3, TEST-1: malformed: 10.5 is no integer" in output
    assert "not everything got into its book: some.jsonl: events rejected" in errors
    assert "streams" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_nothing_is_left(plain: Path, number: int) -> None:
    process = await start(plain, "--verify", "--speed", "0.001")
    children = await eventually(lambda: found if len(found := started_by(process.pid)) >= 3 else [])
    process.send_signal(number)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"stopped before the end" in errors
    await eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_nothing_survives_a_kill(plain: Path) -> None:
    process = await start(plain, "--verify", "--speed", "0.001")
    children = await eventually(lambda: found if len(found := started_by(process.pid)) >= 3 else [])
    process.kill()
    await process.communicate()
    await eventually(lambda: not any(alive(child) for child in children))


def started_by(parent: int) -> list[int]:
    """Ids of a process's children: server, ingestor and gateway."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
