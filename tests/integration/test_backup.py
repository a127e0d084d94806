"""Backup and restore of Redis by docs/upgrade.md: with everything running, and by its steps."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest

from depthcast import Consumer, State
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.runtime.redis import last_position
from tests.environment import ROOT
from tests.ingestor_runs import FEEDS, Input, Process, Run, check_history
from tests.integration.fault_scene import scene, watching
from tests.integration.gateway_harness import running_gateway
from tests.integration.pasting import Terminal, terminal_in
from tests.redis_client import patient
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="there is no redis-cli")
STALE_MS = 400
CHAPTERS = "## Back up Redis"


def commands() -> tuple[str, str]:
    """The blocks of the last chapters: of the backup, and of the restore."""
    text = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8").partition(CHAPTERS)[2]
    found = [block for _, block in re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)]
    back_up, restore = found
    return back_up, restore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(append_only=True, folder=tmp_path / "redis-data") as started:
        yield started


@pytest.fixture
def terminal(server: EmbeddedServer, tmp_path: Path) -> Iterator[Terminal]:
    with terminal_in(tmp_path, ("6379",), {}) as shell:
        shell.ports["6379"] = str(server.port)
        yield shell


async def back_up(terminal: Terminal) -> None:
    said = await asyncio.to_thread(terminal.paste, commands()[0])
    assert said.count("OK\n") == 2, said


async def restored(server: EmbeddedServer, terminal: Terminal) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(terminal.paste, commands()[1])
    await asyncio.to_thread(server.start)


async def test_everything_that_runs_goes_on_with_what_survived(
    server: EmbeddedServer, terminal: Terminal, tmp_path: Path
) -> None:
    async with scene(server, tmp_path) as it:

        async def load() -> None:
            while True:
                await it.sent.send()

        loading = asyncio.create_task(load())
        await back_up(terminal)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await it.run.published()
        await it.run.published(await it.sent.send(20))  # not in the backup, and seen by the viewer
        seen = await last_position(it.run.client, it.run.keys.events)
        it.begin()
        before = await last_position(it.run.client, it.run.keys.deltas)
        await restored(server, terminal)
        await it.new_epoch(before.epoch)
        assert await last_position(it.run.client, it.run.keys.events) < seen, "the backup was older"
        await it.run.published()
        oracle = await it.oracle()
        await it.viewer.holds(oracle)
        assert await it.counts() == oracle.counts
        check_history(await it.run.history())
        assert all(it.viewer.seqs()[symbol] >= seq for symbol, seq in it.seqs.items())


async def test_by_its_steps_nobody_sees_an_older_book_as_live(
    server: EmbeddedServer, terminal: Terminal, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(patient(server.url))
        run = Run(client, "faults", server.url, tmp_path)
        sent = Input(run, Random(3), doubting=False)
        ingestor = await stack.enter_async_context(Process(run.settings(), tmp_path))
        await ingestor.leads()
        await run.published(await sent.send(30))
        assert await ingestor.terminate() == 0
        await sent.send(10)  # unread input
        await back_up(terminal)
        survived = deepcopy((sent.models, sent.applied, sent.rejected, sent.ignored, sent.rejects))

        await ingestor.start()
        await ingestor.leads()
        await run.published(await sent.send(20))  # lost
        with running_gateway(server.url, "faults", stale_ms=STALE_MS) as gateway:
            await eventually(lambda: gateway.process.core.market.was_live)
            async with watching(gateway) as viewer:
                await viewer.holds(sent)
                assert await ingestor.terminate() == 0
                await viewer.status_is("stale")
                viewer.forget()
                await restored(server, terminal)
                async with Consumer(server.url, list(FEEDS), prefix="faults", stale_ms=STALE_MS) as newcomer:
                    for symbol in FEEDS:
                        await newcomer.wait_for(symbol)
                        assert newcomer.state(symbol) is State.STALE
                assert "live" not in {state for _, state in viewer.states}
                seqs = viewer.seqs()

        sent.models, sent.applied, sent.rejected, sent.ignored, sent.rejects = survived
        await ingestor.start()
        await ingestor.leads()
        await sent.check()  # what was unread counts once
        await sent.send(20)
        await sent.check()
        with running_gateway(server.url, "faults", stale_ms=STALE_MS) as gateway:
            await eventually(lambda: gateway.process.core.market.was_live)
            async with watching(gateway) as viewer:
                await viewer.holds(sent)
                assert all(viewer.seqs()[symbol] > seq for symbol, seq in seqs.items())
