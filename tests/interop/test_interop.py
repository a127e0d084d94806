"""Foreign clients follow a moving market, with and without compression, and end with the gateway's books."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from tests.integration.gateway_harness import FakeIngestor, RunningGateway, running_gateway, served
from tests.interop.market import TIMEOUT_S, books_of, moving, said_books, seqs
from tests.interop.peers import PEERS, ROOT, Peer
from tests.sharing import Once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Variant(NamedTuple):
    """One run of a program."""

    encoding: str
    compressed: bool
    ending: str


VARIANTS = (
    Variant("json", False, "close"),
    Variant("json", True, "misuse"),
    Variant("msgpack", True, "close"),
    Variant("msgpack", False, "wait"),
)
ENDS = {
    "close": (4000, None),
    "misuse": (1008, "protocol misuse"),
    "wait": (1012, "restarting; reconnect and resume"),
}


class Gateways(NamedTuple):
    """One that compresses and one that never does, and the market of both."""

    compressing: RunningGateway
    plain: RunningGateway
    ingestor: FakeIngestor


@asynccontextmanager
async def gateways(redis_url: str, prefix: str) -> AsyncIterator[Gateways]:
    async with served(redis_url, prefix, deflate_bytes_min=200) as (compressing, ingestor):
        with running_gateway(redis_url, prefix, deflate_bytes_min=0) as plain:
            await ingestor.until_live(plain)
            yield Gateways(compressing, plain, ingestor)


class Run:
    """A program that follows."""

    def __init__(self, variant: Variant, process: Process) -> None:
        self.variant = variant
        self.process = process

    @classmethod
    async def start(cls, command: list[str], url: str, variant: Variant) -> "Run":
        compression = "on" if variant.compressed else "off"
        words = [*command, url, variant.encoding, compression, variant.ending]
        environment = os.environ | {"NODE_NO_WARNINGS": "1"}
        process = await asyncio.create_subprocess_exec(
            *words, cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=1 << 20
        )
        return cls(variant, process)

    async def said(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout
        async with asyncio.timeout(TIMEOUT_S):
            line = await self.process.stdout.readline()
        if not line:
            assert self.process.stderr
            pytest.fail(f"{self.variant}: {(await self.process.stderr.read()).decode()[-2000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def ask(self, targets: dict[str, int]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(targets).encode() + b"\n")

    async def end(self) -> int:
        """Its status, after it ended by itself or was killed."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@asynccontextmanager
async def running(
    peer: Peer, variants: Sequence[Variant], gateways: Gateways, command: list[str]
) -> AsyncIterator[list[Run]]:
    runs = []
    try:
        for variant in variants:
            plain = not variant.compressed and not peer.declines
            gateway = gateways.plain if plain else gateways.compressing
            runs.append(await Run.start(command, gateway.ws_url, variant))
        yield runs
    finally:
        for run in runs:
            if run.process.returncode is None:
                run.process.kill()
            await run.process.wait()


@pytest.mark.parametrize(
    ("peer", "variants"),
    [
        *(pytest.param(peer, VARIANTS[at % 2 :: 2], id=peer.name) for at, peer in enumerate(PEERS)),
        *(
            pytest.param(peer, VARIANTS[1 - at % 2 :: 2], id=f"{peer.name}-further", marks=pytest.mark.deep)
            for at, peer in enumerate(PEERS)
        ),
    ],
)
async def test_it_ends_with_the_gateways_books(
    redis_url: str, prefix: str, once: Once, peer: Peer, variants: Sequence[Variant]
) -> None:
    """Each program in half of the variants, and of two in the same language both halves."""
    command = peer.command(once)  # first: the test is skipped here if there is none
    async with (
        gateways(redis_url, prefix) as open_gateways,
        running(peer, variants, open_gateways, command) as runs,
    ):
        async with moving(open_gateways.ingestor) as further:
            for run in runs:
                negotiated = await run.said()
                assert negotiated["protocol"] == f"depthcast.v1.{run.variant.encoding}"
                assert ("permessage-deflate" in negotiated["extensions"]) == run.variant.compressed
            await further()
        for run in runs:
            run.ask(seqs(open_gateways.ingestor))
        for run in runs:
            said = await run.said()
            assert said_books(said["books"]) == books_of(open_gateways.ingestor)
            assert said["counts"]["delta"] > 10
        assert open_gateways.compressing.process.core.counters.deflated > 5

        for run in sorted(runs, key=lambda run: run.variant.ending == "wait"):
            if run.variant.ending == "wait":
                open_gateways.compressing.stop()
                open_gateways.plain.stop()
            closed = await run.said()
            code, reason = ENDS[run.variant.ending]
            assert closed["code"] == code
            assert reason is None or closed["reason"] == reason
            assert await run.end() == 0
