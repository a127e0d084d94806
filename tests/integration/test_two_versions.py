"""An earlier version beside the present one, in every role: exact books, and each event counted once."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import pytest

from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.settings import IngestorSettings
from tests.ingestor_runs import FEEDS, Input, Run
from tests.integration import versions
from tests.integration.versions import HOLDER, PRESENT, Program, Version, earlier_version
from tests.sharing import Once
from tests.waiting import eventually

OLD, NEW = "old", "new"

DIED: Final = 9

STEPPING: Final = """\
import os, runpy, sys
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.ingestor.runtime import leadership

leadership.MOVED_MAX, left, move = 1, int(sys.argv.pop()), Publisher.move

async def moves(publisher, *arguments):
    global left
    await move(publisher, *arguments)
    left -= 1
    if not left:
        os._exit(9)

Publisher.move = moves
runpy.run_module("depthcast.ingestor", run_name="__main__", alter_sys=True)
"""
"""An ingestor that moves one book in each step, and dies after so many steps."""
PAUSE_S: Final = 0.01


class Deployment:
    """One partition; starts programs of both versions, and notes who reads."""

    def __init__(self, run: Run, versions: dict[str, Version], stack: AsyncExitStack) -> None:
        self.run, self.versions, self.stack = run, versions, stack
        self.readers: dict[str, Program] = {}
        settings = run.settings()
        default = IngestorSettings()
        self._ingestor = {
            name: value for name, value in vars(settings).items() if value != getattr(default, name)
        }

    def ingestor(self, version: str) -> Program:
        return self._program(version, "-m", "depthcast.ingestor", **self._ingestor)

    def stepping(self, steps_max: int) -> Program:
        """An ingestor of the present version that moves one book in a step, and ends at this step."""
        return self._program(NEW, "-c", STEPPING, str(steps_max), **self._ingestor)

    async def gateway(self, version: str) -> str:
        """Start a gateway; returns its address once it is ready."""
        port = free_port()
        shared = {"redis_url": self.run.url, "prefix": self.run.prefix}
        program = self._program(version, "-m", "depthcast.gateway", host=HOST, port=port, **shared)
        program.start()
        await program.answers_ready()
        return f"ws://{HOST}:{port}"

    def reader(self, version: str, kind: str, address: str, label: str) -> None:
        """Start a client or a consumer."""
        words = ("-c", HOLDER, kind, address, self.run.prefix, *FEEDS)
        program = self._program(version, *words)
        program.start()
        self.readers[f"{version} {kind} at {label}"] = program

    async def follow(self, version: str) -> None:
        """Start a gateway and a consumer of a version, and clients of both versions at that gateway."""
        address = await self.gateway(version)
        for each in (OLD, NEW):
            self.reader(each, "client", address, f"the {version} gateway")
        self.reader(version, "consumer", self.run.url, "Redis")
        await eventually(lambda: all(each.last() for each in self.readers.values()), message="all read")

    async def agree(self, sent: Input) -> None:
        """Wait until all readers have the exact books."""
        wanted = {
            symbol: [sorted(map(list, model.levels()[side].items())) for side in ("bid", "ask")]
            for symbol, model in sent.models.items()
        }

        def differing() -> list[str]:
            found = []
            for label, program in self.readers.items():
                last = program.last()
                if last is None or last != (wanted, dict.fromkeys(FEEDS, "live"), 0):
                    found.append(f"{label}: {last}")
            return found

        await eventually(lambda: not differing(), 20.0, message="all readers have the exact books")

    def _program(self, version: str, *words: str, **settings: object) -> Program:
        log = self.run.folder / f"{version}-{len(list(self.run.folder.iterdir()))}.log"
        log.touch()
        program = Program(self.versions[version], log, *words, settings=settings)
        self.stack.push_async_callback(program.kill_if_running)
        return program


def died(program: Program) -> bool:
    return program.status() == DIED


@asynccontextmanager
async def load(sent: Input) -> AsyncIterator[None]:
    """Input without a pause during the block."""

    async def send() -> None:
        while not ended.is_set():
            await sent.send()
            await asyncio.sleep(PAUSE_S)

    ended = asyncio.Event()
    sending = asyncio.create_task(send())
    try:
        yield
        assert not sending.done(), "the input went on all the time"
    finally:
        ended.set()
        await sending


async def hand_over(leader: Program, successor: Program, number: signal.Signals = signal.SIGTERM) -> None:
    """The successor stands by, then the leader ends, or is killed."""
    successor.start()
    await successor.answers_ready()
    assert not successor.leads(), "it stands by"
    assert await leader.end(number) == (0 if number == signal.SIGTERM else -number)
    await eventually(successor.leads, message="the successor leads")


@pytest.mark.parametrize(
    ("history", "reason"),
    [(False, "no checkout with a history"), (True, "does not reach back to .*: git fetch --unshallow")],
)
def test_without_the_history_the_reason_is_said(
    once: Once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: bool, reason: str
) -> None:
    if history:
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    with pytest.raises(pytest.skip.Exception, match=reason):
        earlier_version(once)


@pytest.mark.slow
@pytest.mark.parametrize("first", [OLD, pytest.param(NEW, marks=pytest.mark.deep)])
async def test_versions_work_beside_each_other(run: Run, once: Once, first: str) -> None:
    second = NEW if first == OLD else OLD
    async with AsyncExitStack() as stack:
        deployment = Deployment(run, {OLD: earlier_version(once), NEW: PRESENT}, stack)
        sent = Input(run, Random(7), doubting=False)
        leader, other = deployment.ingestor(first), deployment.ingestor(second)
        leader.start()
        await eventually(leader.leads, message="the first ingestor leads")
        async with load(sent):
            await deployment.follow(second)
            await hand_over(leader, other)
            await deployment.follow(first)
            await hand_over(other, leader)
            await hand_over(leader, other, signal.SIGKILL)
        history = await sent.check()
        assert history.replicas.keys() == FEEDS.keys()
        await deployment.agree(sent)
        assert len(deployment.readers) == 6


@pytest.mark.slow
async def test_an_earlier_version_goes_on_amid_the_steps_of_moves(run: Run, once: Once) -> None:
    """Its readers follow steps that were cut, and steps that were not."""
    async with AsyncExitStack() as stack:
        deployment = Deployment(run, {OLD: earlier_version(once), NEW: PRESENT}, stack)
        sent = Input(run, Random(8), doubting=False)
        leader = deployment.ingestor(OLD)
        leader.start()
        await eventually(leader.leads, message="the first ingestor leads")
        async with load(sent):
            await deployment.follow(OLD)
        for steps_max in (len(FEEDS) // 2, 99):
            await sent.send(10)
            await run.published()
            await leader.end(signal.SIGKILL)
            stepping = deployment.stepping(steps_max)
            stepping.start()
            if steps_max < len(FEEDS):
                await eventually(partial(died, stepping), message="it died amid its steps")
            else:
                await eventually(stepping.leads, message="it leads")
            assert [moved for _, moved in await run.steps()] == [1] * min(steps_max, len(FEEDS))
            if steps_max < len(FEEDS):
                leader = deployment.ingestor(OLD)
                leader.start()
                await eventually(leader.leads, message="the earlier version leads again")
        await sent.send(10)
        await sent.check()
        await deployment.agree(sent)
