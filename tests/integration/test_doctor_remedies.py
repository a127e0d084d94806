"""Each finding of `depthcast doctor` is caused on a real server, and its remedy is pasted as it stands."""

import asyncio
import json
import re
import shlex
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast.inspection.findings import CHECKS, Finding
from depthcast.inspection.findings import findings as findings_of
from depthcast.inspection.state import DeploymentState
from depthcast.runtime import inspect
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared import relay_entry
from depthcast.shared.codec import INFO_FIELD, WRITTEN_FIELD, encode_info
from depthcast.shared.gateway_entry import GatewayEntry, encode_entry
from depthcast.shared.position import Position
from depthcast.shared.relay_entry import RelayEntry
from depthcast.shared.runtime.redis import connect, execute, newest_entry, parse_entries
from depthcast.shared.types import EntryInfo
from depthcast.shared.version import VERSION
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import running_gateway
from tests.integration.test_doctor import LEASE_MS, command
from tests.redis_client import patient
from tests.waiting import eventually

ARGUMENTS = {"DEL": 1, "HDEL": 2, "HSET": 3}
"""Commands of Redis that remedies name, and how many words follow each."""

QUIET = {"persistence", "gateways"}
"""What is so in most tests here, and is not what they are about."""


async def examine(url: str, gateways: Sequence[str] = ()) -> tuple[DeploymentState, list[Finding]]:
    async with connect(url) as client:
        state = await inspect.read_deployment(client, url, "doc", rejects_s=3600, gateways=gateways)
        await inspect.find_misplaced_keys(client, state, 10_000)
    return state, findings_of(state)


def redis_command(remedy: str) -> list[str]:
    """The first command for redis-cli in a remedy, split as a shell would."""
    found = re.search(rf"\b({'|'.join(ARGUMENTS)}) ", remedy)
    assert found is not None, remedy
    words = shlex.split(remedy[found.start() :])
    return [word.rstrip(";,:") for word in words[: 1 + ARGUMENTS[words[0]]]]


def shell_command(remedy: str) -> list[str]:
    """The first command of depthcast in a remedy."""
    words = []
    for word in shlex.split(remedy[remedy.index("depthcast ") + 10 :]):
        words.append(word.rstrip(":;,"))
        if word != words[-1]:
            break
    return words


async def found(run: Run, check: str) -> list[Finding]:
    _, findings = await examine(run.url)
    return [finding for finding in findings if finding.check == check]


async def only(run: Run, *checks: str) -> Finding:
    """The finding of the first check, once nothing but these is wrong: a machine may be busy for a moment."""

    async def alone() -> list[Finding]:
        _, findings = await examine(run.url)
        wrong = [finding for finding in findings if finding.check not in QUIET - set(checks)]
        return wrong if {finding.check for finding in wrong} == set(checks) else []

    wrong = await eventually(alone, 20, message=f"only {', '.join(checks)} is found")
    return next(finding for finding in wrong if finding.check == checks[0])


async def mended(run: Run, check: str) -> None:
    async def gone() -> bool:
        return not await found(run, check)

    await eventually(gone, 20, message=f"{check} is not found any more")


async def pasted(run: Run, finding: Finding) -> None:
    """Paste the remedy into redis-cli; after that the finding is gone."""
    await execute(run.client, *redis_command(finding.remedy))
    await mended(run, finding.check)


@asynccontextmanager
async def started(words: list[str]) -> AsyncIterator[None]:
    """A service of depthcast that a remedy starts; its ports are free ones."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "depthcast", *words),
        env={**without_settings(), "DEPTHCAST_PORT": "0"},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield
        assert process.returncode is None, "it runs"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def leading(run: Run) -> AsyncIterator[None]:
    """Lead the only partition, with one book."""
    async with run.service(run.settings(lease_ms=LEASE_MS)):
        await run.published(await run.send(("LEV", '[["add", "bid", 1, 1]]')))
        yield


@pytest.fixture
async def run(fresh_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Run]:
    """A deployment on a server of its own."""
    async with patient(fresh_server.url) as client:
        yield Run(client, "doc", fresh_server.url, tmp_path)


@pytest.fixture
async def led(run: Run) -> AsyncIterator[Run]:
    """A deployment of one partition with a leader and a book."""
    async with leading(run):
        yield run


@pytest.fixture
async def left(run: Run) -> Run:
    """The same, after its only ingestor has ended."""
    async with leading(run):
        pass
    return run


async def append(run: Run, at: Position, ago_s: float = 0.0, lost: int | None = None) -> None:
    """Append what a leader would have written at `at`, that long ago."""
    info = await run.info()
    assert info is not None
    us = time.time_ns() // 1000 - round(ago_s * 1e6)
    fields = (INFO_FIELD, encode_info(info._replace(ts=us, lost=lost, prev=None)), WRITTEN_FIELD, str(us))
    await execute(run.client, "XADD", run.keys.deltas, str(at), *fields)


async def last(run: Run) -> Position:
    newest = await newest_entry(run.client, run.keys.deltas)
    assert newest is not None
    return newest[0]


# --- the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "cause", "remedy"),
    [
        ("eviction", "maxmemory-policy allkeys-lru", r"set it to (?P<value>noeviction)"),
        ("memory", "maxmemory 1mb", r"raise (?P<name>maxmemory)"),
        ("persistence", "appendonly no", r"set appendonly to (?P<value>yes)"),
    ],
)
async def test_settings_of_the_server(led: Run, check: str, cause: str, remedy: str) -> None:
    await execute(led.client, "CONFIG", "SET", *cause.split())
    async with connect(led.url) as client:
        state = await inspect.read_deployment(client, led.url, "doc", rejects_s=1)
    finding = state.server[check]
    said = re.search(remedy, finding)
    assert said is not None, finding
    value = said.groupdict().get("value", "100mb")
    await execute(led.client, "CONFIG", "SET", cause.split(maxsplit=1)[0], value)
    async with connect(led.url) as client:
        state = await inspect.read_deployment(client, led.url, "doc", rejects_s=1)
    assert check not in state.server


async def test_a_replica_without_its_master(left: Run) -> None:
    await execute(left.client, "REPLICAOF", "127.0.0.1", "1")
    assert "check the link" in (await found(left, "replica"))[0].remedy
    await execute(left.client, "REPLICAOF", "NO", "ONE")
    await mended(left, "replica")


async def test_a_clock_that_differs(led: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = SimpleNamespace(time_ns=lambda: time.time_ns() + 3_000_000_000)
    monkeypatch.setattr("depthcast.runtime.inspect.time", fast)
    assert "by NTP" in (await found(led, "clock"))[0].remedy
    monkeypatch.undo()
    await mended(led, "clock")


async def test_a_missing_right(led: Run) -> None:
    await execute(led.client, "ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all", "-scan")
    url = led.url.replace("redis://", "redis://eve:x@")
    _, findings = await examine(url)
    (finding,) = [finding for finding in findings if finding.check == "permission"]
    assert "ACL SETUSER" in finding.remedy
    await execute(led.client, "ACL", "SETUSER", "eve", "+scan")
    _, findings = await examine(url)
    assert "permission" not in {finding.check for finding in findings}


# --- the deployment, its ingestors and partitions ----------------------------------------------------------


async def test_no_ingestor_and_no_leader(left: Run) -> None:
    finding = await only(left, "ingestors", "leader")
    async with started(shell_command(finding.remedy)):
        await mended(left, "ingestors")
        await mended(left, "leader")


async def test_no_deployment(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with patient(fresh_server.url) as client:
        run = Run(client, "doc", fresh_server.url, tmp_path)
        finding = await only(run, "deployment")
        async with started(shell_command(finding.remedy)):
            await mended(run, "deployment")


async def test_meta_that_no_ingestor_wrote(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.meta, "partitions", "many")
    await pasted(led, await only(led, "deployment"))


async def test_another_version_of_the_contract(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.meta, "protocol", "2")
    assert "same version" in (await found(led, "deployment"))[0].remedy


async def test_a_lease_that_never_expires(left: Run) -> None:
    await execute(left.client, "SET", left.keys.leader, "ghost")
    _, findings = await examine(left.url)
    (finding,) = [each for each in findings if each.check == "leader"]
    assert "never expires" in finding.problem
    await execute(left.client, *redis_command(finding.remedy))
    async with left.service(left.settings()):
        assert not await found(left, "leader")


async def test_a_leader_that_writes_nothing(left: Run) -> None:
    await append(left, (await last(left)).next(), ago_s=20)
    await execute(left.client, "SET", left.keys.leader, "ghost", "PX", 1000)
    assert "its log" in (await found(left, "silence"))[0].remedy
    async with left.service(left.settings()):
        await mended(left, "silence")


async def test_input_that_waits(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    """Producers chose the IDs, so that the second entry has waited for ten seconds already."""
    async with patient(fresh_server.url) as client:
        run, now_ms = Run(client, "doc", fresh_server.url, tmp_path), time.time_ns() // 1_000_000
        add = ("LEV", '[["add", "bid", 2, 1]]')
        async with run.service(run.settings()):
            await execute(client, "XADD", run.keys.events, f"{now_ms - 20_000}-0", *add)
            await run.published()
        await execute(client, "XADD", run.keys.events, f"{now_ms - 10_000}-0", *add)
        assert re.search(
            r"entries that wait: 1, the oldest for 1\d\.", (await found(run, "input_lag"))[0].problem
        )
        async with started(shell_command((await found(run, "ingestors"))[0].remedy)):
            await mended(run, "input_lag")


async def test_input_that_was_lost(left: Run) -> None:
    await append(left, (await last(left)).next(), lost=3)
    finding = (await found(left, "lost_input"))[0]
    assert "send the books again" in finding.remedy
    assert "3" in finding.problem


async def test_a_clock_of_a_leader_that_is_ahead(left: Run) -> None:
    info = EntryInfo(time.time_ns() // 1000 + 9_000_000, "0-0", 0, 0, 0)
    fields = (INFO_FIELD, encode_info(info), WRITTEN_FIELD, str(time.time_ns() // 1000))
    await execute(left.client, "XADD", left.keys.deltas, str((await last(left)).next()), *fields)
    assert "NTP" in (await found(left, "clock"))[0].remedy


@pytest.mark.parametrize(("stream", "remedy"), [("events", "XADD key *"), ("deltas", "docs/operations.md")])
async def test_ids_that_are_ahead(left: Run, stream: str, remedy: str) -> None:
    ahead = time.time_ns() // 1_000_000 + 3_600_000
    await execute(left.client, "XADD", f"{left.keys.tag}:{stream}", f"{ahead}-0", "LEV", "[]")
    (finding,) = await found(left, "ids")
    assert remedy in finding.remedy


async def test_an_entry_that_no_leader_wrote(left: Run) -> None:
    await execute(left.client, "XADD", left.keys.deltas, "*", "who", "knows")
    assert "what writes there" in (await found(left, "foreign"))[0].remedy
    async with left.service(left.settings()):
        await mended(left, "foreign")


# --- keys and instruments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["doc:0:events", "{doc:0}:event", 'doc:0:"my events"'])
async def test_input_to_a_key_that_nobody_reads(led: Run, key: str) -> None:
    await execute(led.client, "XADD", key, "*", "LEV", '[["add", "bid", 2, 1]]')
    finding = await only(led, "key")
    right = re.search(r"write to (\S+),", finding.remedy)
    if right is not None:
        (entry,) = parse_entries(await execute(led.client, "XRANGE", key, "-", "+"))
        await execute(led.client, "XADD", right[1], "*", *(part for pair in entry[1] for part in pair))
        assert (await led.published()).applied == 2
    await pasted(led, finding)


async def test_a_partition_that_does_not_exist(led: Run) -> None:
    await execute(led.client, "XADD", "{doc:9}:events", "*", "LEV", "[]")
    finding = await only(led, "key")
    assert "depthcast partition SYMBOL" in finding.remedy
    await pasted(led, finding)


async def test_a_key_of_another_type(led: Run) -> None:
    await execute(led.client, "SET", "doc:gateways", "x")
    await pasted(led, await only(led, "type"))


async def test_a_malformed_instrument_of_a_book(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.instruments, "LEV", '{"tick_size": "0"}')
    finding = await only(led, "instrument")
    await pasted(led, finding)
    await led.published(await led.send(("LEV", '[["add", "bid", 2, 1]]')))
    assert (await only(led, "gateways")).check == "gateways"
    state, _ = await examine(led.url)
    (lev,) = [each for each in state.registered() if each.symbol == "LEV"]
    assert lev.state == "listed"
    assert lev.listing is not None
    assert lev.listing.number == 1, "its book is still there"


async def test_a_malformed_instrument_without_a_book(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.instruments, "no symbol", "{}")
    await execute(led.client, "HSET", led.deployment.instruments, "NEW", "no JSON")
    for _ in range(2):
        await execute(led.client, *redis_command((await found(led, "instrument"))[0].remedy))
    assert not await found(led, "instrument")


async def test_a_symbol_without_a_book(left: Run) -> None:
    await execute(left.client, "HSET", left.deployment.instruments, "NEW", "{}")
    assert "an ingestor makes it" in (await found(left, "book"))[0].remedy
    async with left.service(left.settings(None)):
        await mended(left, "book")


async def test_a_change_that_waits_for_an_empty_book(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.instruments, "LEV", '{"tick_size": "0.001"}')
    finding = await only(led, "listing")
    assert finding.problem.endswith("listing 1, and a change waits until it is empty: tick size 1 → 0.001")
    options = ("--prefix", "doc", "--redis-url", led.url)
    shown = await command("status", "--symbols", *options, status=0)
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("LEV ")]
    assert row[:4] == ["LEV", "0", "1", "1"], "what the book stands for, not what is wanted"
    said = re.search(r"LEV: a change waits .*tick size 1 → 0\.001.*now: depthcast (.*)", shown)
    assert said is not None
    assert said[1].split() == shell_command(finding.remedy)
    await command(*shell_command(finding.remedy), status=0)
    await mended(led, "listing")
    shown = await command("status", "--symbols", *options, status=0)
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("LEV ")]
    assert row[:4] == ["LEV", "0", "2", "0.001"]
    assert "a change waits" not in shown


async def test_rejects(led: Run) -> None:
    await led.published(await led.send(("LEV", '[["add", "bid", 1.5, 1]]')))
    finding = await only(led, "rejects")
    assert "with integers" in finding.remedy
    assert "1.5" in finding.problem


# --- sources -----------------------------------------------------------------------------------------------


async def source(run: Run, symbol: str, ago_s: float = 0.0, **changes: object) -> None:
    at = time.time_ns() // 1000 - round(ago_s * 1e6)
    entry = {
        "venue": "toy", "venue_symbol": symbol, "feeder": "one-1", "state": "live", "since": at,
        "quality": {"continuity": "numbers", "checksum": "", "depth": "full"}, "at": at,
    }  # fmt: skip
    await execute(run.client, "HSET", run.deployment.sources, symbol, json.dumps(entry | changes))


async def status_row(run: Run, symbol: str) -> str:
    shown = await command("status", "--prefix", "doc", "--redis-url", run.url, status=0)
    rows = shown.partition("\nsource ")[2].splitlines()
    return next(line for line in rows if line.startswith(f"{symbol} "))


async def test_a_feeder_that_has_said_nothing_for_long(led: Run) -> None:
    await source(led, "LEV", ago_s=3600)
    finding = await only(led, "source")
    assert re.search(r"said nothing for 36\d\d s", finding.problem)
    row = await status_row(led, "LEV")
    assert "gone (was live)" in row
    assert re.search(r" 36\d\d s ago ", row)
    await pasted(led, finding)


async def test_a_copy_that_nobody_writes_or_that_is_late(left: Run) -> None:
    await execute(left.client, "HSET", left.deployment.meta, "copy_of", "tokyo")
    assert "no relay is running" in (await found(left, "relay"))[0].problem

    async def says(**what: Any) -> None:
        now_us = time.time_ns() // 1000
        entry = RelayEntry(now_us, VERSION, "tokyo", {0: 30})._replace(**what)
        await execute(left.client, "HSET", left.deployment.relays, "one", relay_entry.encode_entry(entry))

    await says()
    assert not await found(left, "relay")
    await says(problem="it is full")
    assert "one cannot go on: it is full" in (await found(left, "relay"))[0].problem
    await says(lag_ms={0: 60_000})
    assert "60.0 s old" in (await found(left, "relay"))[0].problem


async def test_what_no_feeder_wrote(led: Run) -> None:
    await execute(led.client, "HSET", led.deployment.sources, "LEV", "no JSON")
    await pasted(led, await only(led, "source"))


async def test_a_feed_that_is_not_live(led: Run) -> None:
    await source(led, "LEV", state="doubt", reason="gap")
    assert "state doubt: gap" in (await only(led, "source")).problem
    row = await status_row(led, "LEV")
    for word in ("toy", "doubt", "numbers", "none", "full", "one-1", "gap"):
        assert word in row


async def test_two_feeds_of_one_symbol(led: Run) -> None:
    await source(led, "LEV")
    await execute(led.client, "HSET", led.keys.feeders, "LEV", "one-1:7")
    assert not await found(led, "source")
    await execute(led.client, "HSET", led.keys.feeders, "LEV", "two-2:1")
    finding = await only(led, "source")
    assert "one-1 says that it feeds it, and two-2 writes its input" in finding.problem
    assert "end one of them" in finding.remedy
    assert "two feeds: two-2 writes it too" in await status_row(led, "LEV")
    await source(led, "LEV", state="ended")
    assert not await found(led, "source")


async def test_a_feed_and_another_producer_of_one_symbol(led: Run) -> None:
    await source(led, "LEV", since=(time.time_ns() // 1000))
    await led.published(await led.send(("_", '{"live": true}'), ("LEV", '[["add", "bid", 2, 1]]')))
    await led.published(await led.send(("ORD", '[["add", "bid", 2, 1, 1]]')))
    assert not await found(led, "source"), "what the feed writes, and what is not fed"
    other = await led.send(("_", '{"atomic": true}'), ("LEV", '[["add", "bid", 2, 1]]'))
    finding = await only(led, "source")
    assert f"one-1 feeds it, but another producer wrote the entry {other}" in finding.problem
    assert "end that producer or the feed" in finding.remedy
    assert f"another producer wrote {other}" in await status_row(led, "LEV")
    await source(led, "LEV", since=(time.time_ns() // 1000 + 5_000_000))
    assert not await found(led, "source"), "it was before the feed began"


# --- gateways ----------------------------------------------------------------------------------------------


async def test_no_gateway(led: Run) -> None:
    finding = await only(led, "gateways")
    async with started(shell_command(finding.remedy)):
        await mended(led, "gateways")
        shown = await command("status", "--prefix", "doc", "--redis-url", led.url, status=0)
    assert re.search(r"^gateways: 1 listed, 0 clients$", shown, re.MULTILINE)
    await eventually(lambda: found(led, "gateways"), message="it has left")


ENTRY = GatewayEntry(
    "gw-1", VERSION, "http://gw:8080", ready=True, books=4, silence_ms=40, uptime_ms=60_000, clients=3
)


async def enter(client: Redis, entry: GatewayEntry, ago_s: float = 0.0) -> None:
    seen_ms = time.time_ns() // 1_000_000 - round(ago_s * 1000)
    await execute(client, "ZADD", "doc:gateways", seen_ms, encode_entry(entry))


@pytest.mark.parametrize(
    ("change", "ago_s", "check", "problem", "state"),
    [
        ({}, 40, "gateway", "last heard of 4", "late"),
        ({"version": "0.0.1"}, 0, "versions", "0.0.1 at http://gw:8080", "ready"),
        ({"ready": False}, 0, "gateway", "not ready", "not ready"),
        ({"silence_ms": 12_000}, 0, "gateway", "newest entry is 12.0 s old, though leaders write", "ready"),
        ({"failing": ("replica",)}, 0, "gateway", "a replica that has lost its master", "ready"),
    ],
)
async def test_a_gateway_that_is_not_as_it_should_be(
    led: Run, change: dict[str, object], ago_s: float, check: str, problem: str, state: str
) -> None:
    await enter(led.client, ENTRY._replace(id="gw-0", address="http://gw:8079"))
    assert not await found(led, check)
    await enter(led.client, ENTRY._replace(clients=1), ago_s + 1)
    await enter(led.client, ENTRY._replace(**change), ago_s)  # type: ignore[arg-type]
    _, findings = await examine(led.url)
    (finding,) = [each for each in findings if each.check not in QUIET]
    assert finding.check == check
    assert problem in finding.problem
    shown = await command("status", "--prefix", "doc", "--redis-url", led.url, status=0)
    assert re.search(rf"^gw-1 +http://gw:8080 +\S+ +{state} +3 +4 +0 ", shown, re.MULTILINE), shown
    assert "gateways: 2 listed" in shown


async def test_a_gateway_that_leaves_or_starts_is_no_finding(led: Run) -> None:
    await enter(led.client, ENTRY._replace(ready=False, draining=True))
    await enter(led.client, ENTRY._replace(id="gw-2", ready=False, uptime_ms=100))
    assert not await found(led, "gateway")


async def test_a_gateway_that_reads_a_replica_that_lags(led: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica stops following; the gateway at it is named, as it cannot list itself."""
    monkeypatch.setattr("depthcast.inspection.findings.BEHIND_MS", 2000)
    host, port = led.url.removeprefix("redis://").partition("/")[0].split(":")
    with EmbeddedServer() as replica:
        async with connect(replica.url) as client:
            await execute(client, "REPLICAOF", host, port)

            async def linked() -> bool:
                return bool((await execute(client, "INFO", "replication"))["master_link_status"] == "up")

            await eventually(linked, 20, message="the replica follows")
            with running_gateway(replica.url, "doc", stale_ms=600_000) as gateway:

                async def wrong() -> list[Finding]:
                    _, findings = await examine(led.url, gateways=[gateway.url])
                    return [each for each in findings if each.check != "persistence"]

                async def fine() -> bool:
                    return not await wrong()

                async def behind() -> list[Finding]:
                    return [each for each in await wrong() if "is behind" in each.problem]

                await eventually(fine, message="the gateway is ready, and the master counts on its replica")
                await execute(client, "REPLICAOF", "127.0.0.1", "1")
                finding = (await eventually(behind, message="it is behind"))[0]
                assert finding.check == "gateway"
                assert "master_repl_offset" in finding.remedy
                await execute(client, "REPLICAOF", host, port)
                await eventually(fine, message="it has caught up")


# --- exit statuses -----------------------------------------------------------------------------------------


async def test_status_ends_with_1_if_not_all_was_read(led: Run) -> None:
    options = ("--redis-url", led.url, "--prefix", "doc")
    await command("status", *options, status=0)
    out = await command("status", *options, "--gateway-url", "http://127.0.0.1:1", status=1)
    assert "does not answer" in out
    await command("status", "--redis-url", led.url, "--prefix", "none", status=1)
    await command("status", "--redis-url", "redis://127.0.0.1:1/0", status=1)
    await execute(led.client, "SET", "doc:gateways", "x")
    assert "cannot read doc:gateways" in await command("status", *options, status=1)


async def test_rejects_ends_with_1_if_there_is_nothing_to_ask(led: Run) -> None:
    await command("rejects", "--redis-url", led.url, "--prefix", "none", status=1)
    await command("rejects", "--redis-url", "redis://127.0.0.1:1/0", status=1)
    await command("rejects", "no symbol", "--redis-url", led.url, "--prefix", "doc", status=2)


def test_every_check_is_caused_here() -> None:
    """But `version`: no server is older than the tests' own."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [check for check in CHECKS if check != "version" and f'"{check}"' not in text] == []
