"""`depthcast watch` against a real deployment: plain lines in a pipe, a ladder in a terminal."""

import asyncio
import os
import pty
import re
import sys
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from depthcast.runtime.deployment import Deployment, local_deployment
from depthcast.shared.codec import pack
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import connect, execute
from tests.waiting import TIMEOUT_S

TOML = '["BTC-USD"]\ntick_size = "0.01"\nlot_size = "0.001"\n'

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def input_log() -> str:
    """The key of the deployment's input."""
    return DeploymentKeys(f"test-watch-{uuid.uuid4().hex}").partition(0).events


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def deployment(redis_server: str, input_log: str) -> AsyncIterator[Deployment]:
    """For all tests here: none changes a level."""
    prefix = input_log[1 : input_log.index(":")]
    async with local_deployment(TOML, redis_url=redis_server, prefix=prefix) as deployment:
        client = connect(redis_server)
        events = [["add", "bid", 6500010, 5], ["add", "ask", 6500020, 7]]
        await execute(client, "XADD", input_log, "*", "BTC-USD", pack(events))
        await client.aclose()
        yield deployment


def command(deployment: Deployment, *options: str) -> list[str]:
    return [sys.executable, "-m", "depthcast", "watch", "BTC-USD", "--url", deployment.gateway_url, *options]


async def test_lines_where_there_is_no_terminal(deployment: Deployment) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(deployment), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = ""
    async with asyncio.timeout(TIMEOUT_S):
        while "65000.10" not in line:
            line = (await process.stdout.readline()).decode()
    assert re.match(r"BTC-USD 65000\.10 x 0\.005 \| 65000\.20 x 0\.007  seq \d+  lag .* merged 0  live", line)
    process.terminate()
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_a_line_says_that_the_book_is_in_doubt(
    deployment: Deployment, redis_server: str, input_log: str
) -> None:
    """Also where no level changes."""
    process = await asyncio.create_subprocess_exec(*command(deployment), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S), connect(redis_server) as client:

        async def line_with(text: bytes) -> None:
            assert process.stdout is not None
            while text not in await process.stdout.readline():
                pass

        await line_with(b"live")
        for options, text in (('{"stale": "gap"}', b"stale: gap"), ('{"live": true}', b"live")):
            await execute(client, "XADD", input_log, "*", "_", options, "BTC-USD", "[]")
            await line_with(text)
    process.terminate()
    await process.communicate()


async def test_a_ladder_in_a_terminal(deployment: Deployment) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "30"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command(deployment, "--depth", "5"), stdout=theirs, env=environment
        )
        os.close(theirs)
        shown = b""
        async with asyncio.timeout(TIMEOUT_S):
            while not (b"65000.10" in shown and b"65000.20" in shown and b"seq" in shown):
                shown += await asyncio.to_thread(os.read, ours, 65536)
        process.terminate()
        # A terminal that nobody reads would hold its writer up.
        reading = asyncio.create_task(asyncio.to_thread(_drain, ours))
        assert await process.wait() == 0
        await reading
    finally:
        os.close(ours)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        return  # the other side is closed


async def test_a_symbol_that_does_not_exist_is_one_clear_line(deployment: Deployment) -> None:
    process = await asyncio.create_subprocess_exec(
        *[word if word != "BTC-USD" else "NO-USD" for word in command(deployment)],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.startswith(b"Error: unknown_symbol: ")
    assert errors.count(b"\n") == 1
