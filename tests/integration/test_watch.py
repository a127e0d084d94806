"""`depthcast watch` and `depthcast tail` as processes: in a pipe, in a terminal, with a gateway that goes."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from depthcast.runtime.deployment import Deployment, local_deployment
from depthcast.shared.codec import pack
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import execute
from tests.environment import without_settings
from tests.integration.scripted_gateway import ScriptedGateway
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

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
        client = patient(redis_server)
        events = [["add", "bid", 6500010, 5], ["add", "ask", 6500020, 7]]
        await execute(client, "XADD", input_log, "*", "BTC-USD", pack(events))
        await client.aclose()
        yield deployment


async def start(url: str, *words: str) -> Process:
    """A command without a terminal."""
    command = [sys.executable, "-m", "depthcast", *words, "--url", url]
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=without_settings()
    )


async def line_with(process: Process, text: str) -> str:
    """The next line of the output with `text` in it."""
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        while text not in (line := (await process.stdout.readline()).decode()):
            assert line, "the output ended"
    return line


async def ended(process: Process) -> tuple[int | None, str]:
    """Status and errors of a process that ends by itself."""
    async with asyncio.timeout(TIMEOUT_S):
        _, errors = await process.communicate()
    return process.returncode, errors.decode()


class Terminal:
    """A command in a terminal of 80 columns and 12 rows; `shown`: everything that it wrote."""

    def __init__(self, descriptor: int, process: Process) -> None:
        self.descriptor = descriptor
        self.process = process
        self.shown = b""

    async def shows(self, *texts: bytes) -> None:
        """Wait until all of them were written."""
        await eventually(lambda: all(text in self.shown for text in texts), message=str(texts))

    def press(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def read(self) -> None:
        try:
            self.shown += os.read(self.descriptor, 65536)
        except OSError:  # the other side is closed
            asyncio.get_running_loop().remove_reader(self.descriptor)


@asynccontextmanager
async def terminal(url: str, *words: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 80, 0, 0))
    loop = asyncio.get_running_loop()
    command = [sys.executable, "-m", "depthcast", *words, "--url", url]
    environment = without_settings() | {"TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    shown = Terminal(ours, process)
    loop.add_reader(ours, shown.read)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        loop.remove_reader(ours)
        os.close(ours)


async def test_lines_where_there_is_no_terminal(deployment: Deployment) -> None:
    process = await start(deployment.gateway_url, "watch", "BTC-USD")
    line = await line_with(process, "65000.10")
    assert re.match(r"BTC-USD 65000\.10 x 0\.005 \| 65000\.20 x 0\.007  seq \d+  lag .* merged 0  live", line)
    process.terminate()
    assert await ended(process) == (0, "")


async def test_a_line_says_that_the_book_is_in_doubt(
    deployment: Deployment, redis_server: str, input_log: str
) -> None:
    """Also where no level changes; and `tail` says it too."""
    watching = await start(deployment.gateway_url, "watch", "BTC-USD")
    tailing = await start(deployment.gateway_url, "tail", "BTC-USD", "--depth", "1")
    await line_with(watching, "live")
    first = json.loads(await line_with(tailing, "65000.10"))
    assert (first["bids"], first["asks"]) == ([["65000.10", "0.005"]], [["65000.20", "0.007"]])
    async with patient(redis_server) as client:
        for options, state in (('{"stale": "gap"}', "stale"), ('{"live": true}', "live")):
            await execute(client, "XADD", input_log, "*", "_", options, "BTC-USD", "[]")
            await line_with(watching, "stale: gap" if state == "stale" else "live")
            line = json.loads(await line_with(tailing, f'"{state}"'))
            assert line["reason"] == ("gap" if state == "stale" else None)
    for process in (watching, tailing):
        process.terminate()
        assert await ended(process) == (0, "")


async def test_a_ladder_in_a_terminal(deployment: Deployment) -> None:
    async with terminal(deployment.gateway_url, "watch", "BTC-USD") as screen:
        await screen.shows(b"65000.10", b"65000.20", b"spread 0.10", b"q quit")
        screen.press(b"?")
        await screen.shows(b"by the clock of this machine.")
        screen.shown = b""
        screen.press(b"?")
        await screen.shows(b"q quit")
        screen.press(b"q")
        assert await screen.process.wait() == 0


async def test_a_refused_symbol_leaves_the_others_and_is_a_failure_at_the_end(deployment: Deployment) -> None:
    """The other one is shown in groups of a hundred ticks."""
    process = await start(deployment.gateway_url, "watch", "NO-USD", "BTC-USD", "--group", "100")
    await line_with(process, "NO-USD removed: unknown_symbol: ")
    await line_with(process, "65000.00 x 0.005 | 65001.00 x 0.007")
    process.terminate()
    status, errors = await ended(process)
    assert status == 1
    assert errors.startswith("Error: unknown_symbol: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("command", ["watch", "tail"])
async def test_a_symbol_that_does_not_exist_is_one_clear_line(deployment: Deployment, command: str) -> None:
    status, errors = await ended(await start(deployment.gateway_url, command, "NO-USD"))
    assert status == 1
    assert errors.startswith("Error: unknown_symbol: ")
    assert errors.count("\n") == 1


async def test_tail_of_all_books_ends_after_so_many_lines(deployment: Deployment) -> None:
    process = await start(deployment.gateway_url, "tail", "*", "--count", "1", "--group", "100")
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    line = json.loads(output)
    assert (line["symbol"], line["group"]) == ("BTC-USD", 100)
    assert {price[-3:] for price, _ in line["bids"] + line["asks"]} <= {".00"}


async def test_a_gateway_that_goes_makes_books_stale_and_the_end_a_failure() -> None:
    async with ScriptedGateway() as gateway:
        process = await start(gateway.url, "watch", "X")
        await line_with(process, "live")
        await gateway.stop()
        assert "stale: no connection to the gateway" in await line_with(process, "stale")
        process.terminate()
        status, errors = await ended(process)
        assert status == 1
        assert f"Error: no connection to {gateway.url}\n" in errors


async def test_a_gateway_that_goes_cannot_be_overlooked_in_a_terminal() -> None:
    async with ScriptedGateway() as gateway, terminal(gateway.url, "watch", "X") as screen:
        await screen.shows(b"the book is empty")
        await gateway.stop()
        await screen.shows(b"NO CONNECTION", b"STALE")
        screen.shown = b""
        await gateway.start()
        await screen.shows(b" live")
        screen.press(b"q")
        assert await screen.process.wait() == 0


async def test_nobody_there_is_one_clear_line() -> None:
    status, errors = await ended(await start("http://127.0.0.1:1", "tail", "X"))
    assert status == 1
    assert errors.startswith("Error: unreachable: ")
    assert errors.count("\n") == 1
