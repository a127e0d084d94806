"""`depthcast instruments` with a real server and an ingestor."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from depthcast.cli import instruments
from depthcast.ingestor.runtime.lease import wait_for
from depthcast.shared.errors import DepthcastError
from depthcast.shared.runtime.redis import execute
from tests.ingestor_runs import Run, check_history
from tests.integration.gateway_harness import client_of, running_gateway
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ingestor.runtime.service", "gateway.runtime.market_reader"):
        monkeypatch.setattr(f"depthcast.{module}.POLL_S", 0.05)


async def invoke(run: Run, *arguments: str) -> Result:
    """Run the command in a thread, because it has an event loop of its own."""
    where = ["--redis-url", run.url, "--prefix", run.prefix]
    return await asyncio.to_thread(CliRunner().invoke, instruments.instruments, [*arguments, *where])


async def ok(run: Run, *arguments: str) -> str:
    result = await invoke(run, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


async def refused(run: Run, *arguments: str) -> str:
    result = await invoke(run, *arguments)
    assert result.exit_code
    assert isinstance(result.exception, DepthcastError), result.output
    return str(result.exception)


async def listed(run: Run) -> dict[str, dict[str, Any]]:
    lines = (await ok(run, "list", "--json")).splitlines()
    return {line["symbol"]: line for line in map(json.loads, lines)}


async def test_the_whole_life_of_a_symbol(run: Run) -> None:
    async with run.service(run.settings("[OTHER]\n")):
        said = await ok(run, "add", "A", "--tick-size", "0.1")
        assert said == "A: listing 1, tick size 0.1, lot size 1, feed levels, on cross reject\n"
        assert "is registered already" in await refused(run, "add", "A")
        await run.send(("A", '[["update","bid",100,1]]'))
        await run.published()
        said = await refused(run, "set", "A", "--tick-size", "0.01", "--wait", "0.3")
        assert "listing 1 of A goes on: its book holds levels" in said
        assert (await listed(run))["A"] == {
            "symbol": "A", "partition": 0, "listing": 1, "tick_size": "0.1", "lot_size": "1",
            "feed": "levels", "on_cross": "reject", "state": "a change waits for an empty book",
        }  # fmt: skip
        said = await ok(run, "set", "A", "--tick-size", "0.01", "--relist")
        assert said.startswith("A: listing 2, tick size 0.01,")
        await run.send(("A", '[["update","bid",1000,1]]'), ("_", '{"listing": 2}'))
        await run.send(("A", '[["update","bid",100,1]]'), ("_", '{"listing": 1}'))
        await run.published()
        assert (await run.rejects())[-1]["reason"] == b"other_listing"
        assert check_history(await run.history()).replicas["A"].book.bids.levels == {1000: 1}
        assert (await ok(run, "withdraw", "A")).endswith("on cross reject, withdrawn\n")
        assert "is not registered" in await refused(run, "withdraw", "A")
        assert "is not registered" in await refused(run, "set", "A", "--feed", "orders")
        assert (await listed(run))["A"]["state"] == "withdrawn"
        said = await ok(run, "add", "A", "--feed", "orders")
        assert said.startswith("A: listing 3, tick size 1, lot size 1, feed orders")
        assert (await ok(run, "set", "A")).startswith("A: listing 3,")
        assert check_history(await run.history()).replicas["A"].book.bids.levels == {}
        assert [line.split()[:3] for line in (await ok(run, "list")).splitlines()[1:]] == [
            ["A", "0", "3"], ["OTHER", "0", "1"],
        ]  # fmt: skip
    assert {line["state"] for line in (await listed(run)).values()} == {"listed"}


async def test_withdrawn_and_added_between_two_looks_of_the_leader(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run.service(run.settings("[A]\n")):
        await run.send(("A", '[["update","bid",100,1]]'))
        await run.published()
        waits: list[float] = []

        async def wait(stop: asyncio.Event, seconds: float) -> bool:
            waits.append(seconds)
            return await wait_for(stop, seconds)

        monkeypatch.setattr("depthcast.ingestor.runtime.service.wait_for", wait)
        monkeypatch.setattr("depthcast.ingestor.runtime.service.POLL_S", 1000)
        await eventually(lambda: 1000 in waits, message="its look is over, and the next one far away")
        assert "its listing has not ended" in await refused(run, "withdraw", "A", "--wait", "0")
        assert "not listed within" in await refused(run, "add", "A", "--wait", "0")
    async with run.service(run.settings(None)):
        assert (await listed(run))["A"]["listing"] == 2
    assert check_history(await run.history()).replicas["A"].book.bids.levels == {}


async def test_a_relisting_is_consumed_like_any_input(run: Run) -> None:
    """While nobody leads it waits in the log, between what was sent before it and after it."""
    async with run.service(run.settings('[A]\nfeed = "orders"\n', interval_ms=0)):
        await run.send(("A", '[["add","bid",100,1,"x"]]'))
        await run.published()
    await run.send(("A", '[["add","bid",101,1,"y"]]'))
    said = await refused(run, "set", "A", "--tick-size", "5", "--relist", "--wait", "0")
    assert "it is in the input log" in said
    await run.send(("A", '[["delete",null,null,null,"x"],["add","bid",20,1,"z"]]'))
    # Sent again by somebody who did not see it succeed: it has begun already.
    await run.send(("_", '{"relist": {"A": {"listing": 2}}}'), ("A", '[["add","bid",21,1,"w"]]'))
    for interval_ms in (0, 50):
        async with run.service(run.settings(None, interval_ms=interval_ms)) as service:
            await run.published()
            assert not service.leaders[0].problem
    history = check_history(await run.history())
    assert history.replicas["A"].book.bids.levels == {20: 1, 21: 1}
    assert (history.listings["A"].number, history.listings["A"].instrument.tick_size) == (2, "5")
    assert [record["reason"] for record in await run.rejects()] == [b"unknown_order"]


async def test_a_connected_client_gets_the_sizes_and_the_empty_book(run: Run) -> None:
    async with run.service(run.settings("[A]\n")):
        await run.send(("A", '[["update","bid",100,1]]'))
        await run.published()
        with running_gateway(run.url, run.prefix) as gateway:
            await eventually(lambda: gateway.process.core.market.was_live)
            async with client_of(gateway, "msgpack") as client:
                await client.send(op="subscribe", symbols=["A"])
                assert (await client.until("snapshot"))["bids"] == [[100, 1]]
                await ok(run, "set", "A", "--tick-size", "0.5", "--relist")
                assert (await client.until("subscribed"))["tick_size"] == "0.5"
                assert (await client.until("snapshot"))["bids"] == []


async def test_what_cannot_be_done_is_said(run: Run) -> None:
    assert "there is no deployment" in await refused(run, "list")
    await execute(run.client, "HSET", run.deployment.meta, "protocol", 1, "partitions", 1)
    assert "must be 1 to 32" in await refused(run, "add", "not a symbol")
    bad = await invoke(run, "add", "A", "--tick-size", "-1")
    assert bad.exit_code == 2
    assert "'--tick-size': '-1'; write a positive decimal" in bad.output
    assert "not listed within 0.1 s" in await refused(run, "add", "A", "--wait", "0.1")
    assert (await listed(run))["A"]["state"] == "waits for a leader"
    assert "no leader has recorded a listing" in await refused(run, "set", "A", "--relist")
    await execute(run.client, "HSET", run.deployment.instruments, "A", "{")
    assert "not valid JSON" in await refused(run, "set", "A", "--lot-size", "5")
    assert (await listed(run))["A"]["state"].startswith("malformed: not valid JSON")
    assert await ok(run, "withdraw", "A") == "withdrawn; it never had a listing\n"
