"""Users' programs on an installed wheel, beside packages of their own that have the names of our folders."""

import sys
from pathlib import Path

import pytest

from tests.packaging.builds import ROOT, foreign_packages, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LIVE = '''\
"""Starts a deployment, sends it an event, and shows the book by the client and by the consumer."""

import asyncio

import broadcaster
import gateway
import ingestor
import shared

import depthcast
from depthcast import Consumer, State, connect
from depthcast.runtime.deployment import local_deployment
from depthcast.runtime.replay import open_producer

EVENTS = '[["add", "bid", 100, 5], ["add", "ask", 101, 7]]'


async def main() -> None:
    async with local_deployment('["BTC-USD"]') as deployment:
        async with open_producer(deployment.redis_url, "depthcast", None) as producer:
            await producer.client.xadd("{depthcast:0}:events", {"BTC-USD": EVENTS})
        async with asyncio.timeout(30), connect(deployment.gateway_url) as client:
            await client.subscribe(["BTC-USD"], depth=10)
            while not client.book("BTC-USD").asks.levels:
                await anext(client)
            book = client.book("BTC-USD")
            print("client", client.state("BTC-USD"), book.bids.top(), book.asks.top())
        async with asyncio.timeout(30), Consumer(deployment.redis_url, ["BTC-USD"]) as consumer:
            async for update in consumer:
                if update.book.asks.levels:
                    print("consumer", update.state, update.book.bids.top(), update.book.asks.top())
                    break


print(*(package.OWNER for package in (shared, gateway, ingestor, broadcaster)), sep=", ")
print(depthcast.__file__)
asyncio.run(main())
'''


def test_a_program_with_packages_of_the_same_names(full_python: Path, tmp_path: Path) -> None:
    project = foreign_packages(tmp_path / "project")
    (project / "live.py").write_text(LIVE)
    owners, file, *books = run(full_python, "live.py", cwd=project).stdout.splitlines()
    assert owners == "the user's shared, the user's gateway, the user's ingestor, the user's broadcaster"
    assert Path(file).is_relative_to(full_python.parents[1])
    assert books == [
        "client live [(100, 5)] [(101, 7)]",
        "consumer live [(100, 5)] [(101, 7)]",
    ]


@pytest.mark.parametrize("name", ["ingestor", "gateway"])
def test_services_start_as_modules_of_the_package(full_python: Path, tmp_path: Path, name: str) -> None:
    project = foreign_packages(tmp_path / "project")
    assert f"Usage: {name} " in run(full_python, "-m", f"depthcast.{name}", "--help", cwd=project).stdout


@pytest.mark.parametrize("module", ["ingestor", "gateway", "depthcast.ingestor", "depthcast.gateway"])
def test_services_start_as_modules_of_a_checkout(module: str) -> None:
    name = module.rpartition(".")[2]
    assert f"Usage: {name} " in run(sys.executable, "-m", module, "--help", cwd=ROOT).stdout
