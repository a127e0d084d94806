"""The example producers, each in its language, feed the right books of a deployment of several partitions."""

import asyncio
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.redis import execute
from tests.book_model import brute_digest
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.interop.peers import go_built
from tests.redis_client import patient
from tests.sharing import Once
from tests.waiting import TIMEOUT_S

EXAMPLES = Path(__file__).parents[2] / "examples" / "producers"
PARTITIONS = 4
SYMBOLS = ("BTC-USD", "ETH-USD", "A", "Z.9_x-y")
TOML = "".join(f'["{symbol}"]\ntick_size = "0.01"\n' for symbol in SYMBOLS)
FAR = 90_000_000_000
"""A price of more than 32 bits."""

COMMANDS = {
    "redis-cli": ["sh", "redis_cli.sh"],
    "node": ["node", "node_producer.mjs"],
    "python": [sys.executable, "python_producer.py"],
}


@pytest.fixture(params=[*COMMANDS, "go"])
def command(request: pytest.FixtureRequest, once: Once) -> list[str]:
    """How an example is started; skips the test if its tool is missing."""
    tool: str = request.param
    if tool == "go":
        return [str(once("go-producer", partial(go_built, [EXAMPLES / "producer.go"])))]
    if tool != "python" and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return COMMANDS[tool]


async def produce(command: list[str], run: Run, *words: str) -> tuple[int | None, str]:
    program, *rest = command
    environment = {
        **without_settings(),
        "REDIS_URL": run.url,
        "PREFIX": run.prefix,
        "PYTHONPATH": str(EXAMPLES.parents[1]),
    }
    process = await asyncio.create_subprocess_exec(
        program,
        *rest,
        *words,
        cwd=EXAMPLES,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_an_example_feeds_the_book_of_its_symbol(
    command: list[str], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    assert len({partition_of(symbol, PARTITIONS) for symbol in SYMBOLS}) > 2
    price = "900000000.00" if command is COMMANDS["python"] else str(FAR)
    async with patient(redis_url) as client:
        run = Run(client, prefix, redis_url, tmp_path)
        async with run.service(run.settings(TOML, partitions=PARTITIONS)):
            async with Consumer(redis_url, SYMBOLS, prefix=prefix) as consumer:
                for number, symbol in enumerate(SYMBOLS, 1):
                    status, out = await produce(command, run, symbol, "bid", price, str(number))
                    assert status == 0, out
                    wanted = brute_digest({"bid": {FAR: number}, "ask": {}})
                    async with asyncio.timeout(TIMEOUT_S):
                        async for update in consumer:
                            if update.symbol == symbol and consumer.digest(symbol) == wanted:
                                break
            for number in range(PARTITIONS):
                key = run.deployment.partition(number).rejects
                assert await execute(client, "XLEN", key) == 0


@pytest.mark.parametrize("command", ["redis-cli", "node", "go"], indirect=True)
async def test_an_example_says_that_there_is_no_deployment(
    command: list[str], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    async with patient(redis_url) as client:
        status, out = await produce(command, Run(client, prefix, redis_url, tmp_path), "A", "bid", "1", "1")
    assert status == 1
    assert f"no deployment with the prefix {prefix}" in out
