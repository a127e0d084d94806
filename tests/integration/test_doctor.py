"""`depthcast doctor`, `status` and `rejects` on real servers: each wrong key, type and right is said."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from depthcast.cli.main import main
from depthcast.cli.status import shown
from depthcast.inspection.findings import Finding, findings
from depthcast.inspection.keys import DEPLOYMENT_TYPES, PARTITION_TYPES
from depthcast.inspection.state import DeploymentState
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.inspect import find_misplaced_keys, read_deployment
from depthcast.shared.codec import pack
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.redis import execute
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import running_gateway
from tests.redis_client import patient
from tests.waiting import eventually

EXPECTED = {"persistence", "gateways"}
"""The server of tests keeps no file, and most tests here run no gateway."""

IGNORED = ("--ignore", "persistence", "--ignore", "gateways")

LEASE_MS = 10_000
"""For a leader that keeps its lease, however long a busy machine stops it."""


async def examine(url: str, prefix: str = "doc", **options: Any) -> tuple[DeploymentState, list[Finding]]:
    async with patient(url) as client:
        state = await read_deployment(client, url, prefix, rejects_s=3600, **options)
        await find_misplaced_keys(client, state, 10_000)
    return state, [finding for finding in findings(state) if finding.check not in EXPECTED]


async def command(*words: str, status: int) -> str:
    """Run a command in a thread, because it has an event loop of its own."""
    ended = await asyncio.to_thread(CliRunner().invoke, main, words)
    assert ended.exit_code == status, (ended.output, ended.exception)
    return ended.output


async def program(*words: str, status: int) -> str:
    """Run a command that listens to signals: it needs a process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "depthcast",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings(),
    )
    out, errors = await process.communicate()
    assert process.returncode == status, (out.decode(), errors.decode())
    return out.decode() + errors.decode()


@pytest.fixture
async def led(fresh_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Run]:
    """A deployment of one partition with a leader, on a server of its own."""
    client = patient(fresh_server.url)
    run = Run(client, "doc", fresh_server.url, tmp_path)
    async with run.service(run.settings(lease_ms=LEASE_MS)):
        yield run
    await client.aclose()


async def test_a_healthy_deployment_has_no_findings(led: Run) -> None:
    await led.send(("LEV", '[["add", "bid", 1, 1]]'))
    await led.published()
    state, found = await examine(led.url)
    assert found == []
    assert [partition.leader for partition in state.partitions] == list(state.ingestors)
    assert (state.partitions[0].lag_ms, state.partitions[0].unread) == (0, 0)
    out = await command("doctor", "--redis-url", led.url, "--prefix", "doc", *IGNORED, status=0)
    assert out == "nothing is wrong\n"
    out = await command("doctor", "--redis-url", led.url, "--prefix", "doc", "--json", status=1)
    assert [finding["check"] for finding in json.loads(out)] == ["persistence", "gateways"]


@pytest.mark.parametrize(
    "key",
    [
        "doc:0:events",
        "{doc}:0:events",
        "{doc:0:events}",
        "{doc:0}events",
        "{DOC:0}:events",
        "{doc:1}:events",
        "{doc:00}:events",
        "{doc:0}:event",
        "doc:events",
        "doc_0_events",
        "{dok:0}:events",
    ],
)
async def test_input_to_a_key_that_nobody_reads_is_said(led: Run, key: str) -> None:
    await execute(led.client, "XADD", key, "*", "LEV", '[["add", "bid", 1, 1]]')
    _, found = await examine(led.url)
    assert [finding.check for finding in found] == ["key"]
    assert found[0].problem.startswith(f"{key} (1 entry): ")
    assert "{doc:" in found[0].remedy or "SYMBOL" in found[0].remedy


OTHER_TYPES = {"hash": "string", "string": "stream", "stream": "string", "zset": "hash"}


async def make(client: Redis, key: str, kind: str) -> None:
    await execute(client, "DEL", key)
    if kind == "string":
        await execute(client, "SET", key, "x")
    elif kind == "hash":
        await execute(client, "HSET", key, "field", "x")
    else:
        await execute(client, "XADD", key, "*", "field", "x")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"doc:{name}", kind) for name, kind in DEPLOYMENT_TYPES.items()),
        *(("{doc:0}:" + name, kind) for name, kind in PARTITION_TYPES.items()),
        ("{doc:0}:snapshots:LEV", "stream"),
        ("{doc:0}:checkpoint:ORD", "string"),
    ],
)
async def test_a_key_of_another_type_is_said(
    fresh_server: EmbeddedServer, tmp_path: Path, name: str, kind: str
) -> None:
    async with patient(fresh_server.url) as client:
        run = Run(client, "doc", fresh_server.url, tmp_path)
        async with run.service(run.settings()):
            await run.send(("LEV", '[["add", "bid", 1, 1]]'))
            await run.published()
        await make(client, name, OTHER_TYPES[kind])
        _, found = await examine(fresh_server.url)
    assert [finding.remedy for finding in found if finding.check == "type"] == [
        f"find out what wrote it, then DEL {name}"
    ]


RIGHTS = [
    ("-time", "TIME"),
    ("-info", "INFO"),
    ("-scan", "SCAN"),
    ("-zrange", "doc:ingestors"),
    ("-get", "{doc:0}:leader"),
    ("-xinfo", "{doc:0}:deltas"),
    ("-xrevrange", "{doc:0}:deltas"),
    ("-xrange", "{doc:0}:rejects"),
    ("-exists", "{doc:0}:snapshots:LEV"),
    ("-hgetall", "doc:meta"),
    ("-pttl", "{doc:0}:leader"),
    ("resetkeys ~{doc:*", "doc:meta"),
    ("resetkeys ~doc:*", "{doc:0}:leader"),
]


@pytest.mark.parametrize(("rule", "what"), RIGHTS)
async def test_a_missing_right_is_said_and_the_rest_is_checked(led: Run, rule: str, what: str) -> None:
    await execute(led.client, "XADD", "doc:0:events", "*", "LEV", "[]")
    await execute(led.client, "ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all", *rule.split())
    url = led.url.replace("redis://", "redis://eve:x@")
    _, found = await examine(url)
    denied = [finding for finding in found if finding.check == "permission"]
    assert any(finding.problem.startswith(f"{what} cannot be read: NOPERM") for finding in denied)
    assert "type" not in {finding.check for finding in found}
    if what not in ("SCAN", "doc:meta"):
        assert "key" in {finding.check for finding in found}


def cells(lines: Sequence[str], first: str) -> dict[str, str]:
    """The first row of the table whose first column is called so, by column."""
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == [first])
    return dict(zip(*(re.split(r"\s{2,}", line.strip()) for line in lines[at : at + 2]), strict=True))


@pytest.mark.parametrize(
    ("rule", "table", "shown_as"),
    [
        ("-get", "partition", {"leader": "?"}),
        ("-xinfo", "partition", {"input-lag": "–", "unread": "–"}),
        ("-xrange", "partition", {"input-lag": "–", "unread": "–"}),
        ("-exists", "symbol", {"book": "?"}),
    ],
)
async def test_what_status_could_not_read_is_neither_none_nor_0(
    led: Run, rule: str, table: str, shown_as: dict[str, str]
) -> None:
    await led.send(("LEV", '[["add", "bid", 1, 1]]'))
    await led.published()
    await execute(led.client, "ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all", rule)
    whole, _ = await examine(led.url)
    denied, _ = await examine(led.url.replace("redis://", "redis://eve:x@"))
    before, after = (cells([*shown(state, every_symbol=True)], table) for state in (whole, denied))
    assert all(before[column] not in ("?", "–") for column in shown_as)
    assert {column: after[column] for column in shown_as} == shown_as


async def test_status_names_the_lists_that_it_could_not_read(led: Run) -> None:
    await execute(led.client, "ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all", "-hgetall", "-zrange")
    denied, _ = await examine(led.url.replace("redis://", "redis://eve:x@"))
    text = [*shown(denied, every_symbol=True)]
    for name in ("ingestors", "instruments", "gateways", "consumers"):
        assert f"{name}: could not be read" in text
    assert "sources: some could not be read" in text
    said = denied.to_json()
    assert said["remedies"].keys() == said["unreadable"].keys()
    for what, remedy in said["remedies"].items():
        assert "ACL SETUSER" in remedy
        assert any(line.startswith(f"cannot read {what}: ") and line.endswith(remedy) for line in text)


async def test_a_user_who_may_not_connect_is_no_finding(fresh_server: EmbeddedServer) -> None:
    url = fresh_server.url.replace("redis://", "redis://nobody:x@")
    with pytest.raises(RedisUnavailable):
        await examine(url)
    out = await command("doctor", "--redis-url", "redis://127.0.0.1:1/0", status=2)
    assert "Redis is unavailable" in out


async def test_no_deployment_here_but_elsewhere(led: Run) -> None:
    _, found = await examine(led.url, prefix="other")
    assert [finding.check for finding in found] == ["deployment"]
    assert "use --prefix: there are doc" in found[0].remedy
    _, found = await examine(led.url.replace("/0", "/5"))
    assert [finding.check for finding in found] == ["deployment"]
    assert "db0 have keys" in found[0].remedy


async def test_input_that_nobody_reads_any_more(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with patient(fresh_server.url) as client:
        run = Run(client, "doc", fresh_server.url, tmp_path)
        async with run.service(run.settings()):
            await run.send(("LEV", '[["add", "bid", 1, 1]]'))
            await run.published()
        old_ms = (await run.published()).ts // 1000
        for n in range(3):
            await execute(client, "XADD", run.keys.events, f"{old_ms + n}-0", "LEV", "[]")

        async def stale() -> DeploymentState | None:
            state, _ = await examine(fresh_server.url)
            return state if (state.partitions[0].lag_ms or 0) > 5000 else None

        state = await eventually(stale, message="the input has waited for long")
        assert state is not None
        assert state.partitions[0].unread == 3
        checks = [finding.check for finding in findings(state) if finding.check not in EXPECTED]
        assert checks == ["ingestors", "leader", "input_lag"]


async def test_rejects_are_counted_by_reason_and_shown(led: Run) -> None:
    events = [["add", "bid", 5, 1], ["add", "ask", 5, 1], ["reduce", "ask", 9, 1], ["add", "ask", 4, 1]]
    source = await led.send(("LEV", pack(events)), ("NEW", "[[4]]"))
    await led.published()
    state, found = await examine(led.url)
    assert state.partitions[0].rejects == {"crossed": 2, "unknown_level": 1, "unknown_symbol": 1}
    assert {finding.check for finding in found} == {"rejects"}
    options = ("--redis-url", led.url, "--prefix", "doc")
    lines = (await program("rejects", *options, status=0)).splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["LEV", "crossed", f"{source}[1]"],
        ["LEV", "unknown_level", f"{source}[2]"],
        ["LEV", "crossed", f"{source}[3]"],
        ["NEW", "unknown_symbol", f"{source}[0]"],
    ]
    out = await program("rejects", "LEV", "--last", "1", "--json", *options, status=0)
    assert json.loads(out)["event"] == '["add", "ask", 4, 1]'


async def test_rejects_are_followed(led: Run) -> None:
    await led.send(("LEV", '[["reduce", "bid", 1, 1]]'))
    await led.published()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "depthcast", "rejects", "LEV", "--follow", "--redis-url", led.url,
        "--prefix", "doc", stdout=asyncio.subprocess.PIPE, env=without_settings(),
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert b"unknown_level" in await process.stdout.readline()
        await led.send(("ORD", '[["delete", null, null, null, 1]]'), ("LEV", '[["add", "bid", 1, 0]]'))
        assert b"LEV bad_quantity" in await process.stdout.readline()
    process.terminate()
    assert await process.wait() == 0


async def test_status_shows_everything(led: Run) -> None:
    source = {
        "venue": "toy",
        "state": "live",
        "quality": {"continuity": "U = u + 1", "checksum": "CRC32 of 25"},
    }
    await execute(led.client, "HSET", "doc:sources", "LEV", json.dumps(source))
    await execute(led.client, "HSET", "doc:instruments", "BAD", "no JSON")
    with running_gateway(led.url, "doc") as gateway:
        await eventually(lambda: execute(led.client, "ZCARD", "doc:gateways"), message="it is listed")
        options = ("--redis-url", led.url, "--prefix", "doc", "--gateway-url", gateway.url)
        state = json.loads(await command("status", "--json", *options, status=0))
        shown = await command("status", "--symbols", *options, status=0)
    (partition,) = state["partitions"]
    assert partition["leader"] == state["ingestors"][0]["name"]
    assert partition["position"].startswith(f"{partition['epoch']}-")
    assert state["instruments"]["ORE"] == {
        "tick_size": "1", "lot_size": "1", "feed": "orders", "on_cross": "evict", "book": True,
        "listing": 1, "state": "listed",
        "listed": {"tick_size": "1", "lot_size": "1", "feed": "orders", "on_cross": "evict"},
    }  # fmt: skip
    assert state["sources"] == {"LEV": source}
    assert state["gateways"][0]["url"] == gateway.url
    assert [(each["address"], each["late"]) for each in state["listed_gateways"]] == [(gateway.url, False)]
    for text in (
        partition["leader"],
        "input-lag",
        "ORE",
        "CRC32 of 25",
        "U = u + 1",
        "ready",
        "malformed: BAD",
    ):
        assert text in shown


async def test_a_gateway_that_is_none_is_said(led: Run) -> None:
    _, found = await examine(led.url, gateways=["http://127.0.0.1:1"])
    assert [(finding.check, "does not answer" in finding.problem) for finding in found] == [("gateway", True)]
