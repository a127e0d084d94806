"""A whole deployment that Prometheus reads, by the shipped configuration: real processes on free ports.

What runs: a server and its replica, two ingestors, a gateway with two workers that reads from the replica, a
relay to another server, a synthetic market, a live feed from a fake venue, a consumer with a name, a client
over WebSocket and one that wants little, HAProxy, and Prometheus.
"""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

import aiohttp
import yaml

from depthcast import Consumer
from depthcast.client.client import Client, connect
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST, free_port
from tests.deploy.test_haproxy import running_proxy
from tests.environment import without_settings
from tests.integration.gateway_harness import RunningGateway
from tests.integration.replica_scene import OPTIONS, follow
from tests.venues.fake import FakeVenue
from tests.venues.live_run import Place, live_feed
from tests.venues.models import models
from tests.venues.pairs import venues
from tests.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = ROOT / "deploy" / "prometheus"
PROMETHEUS: Final = shutil.which("prometheus")
PREFIX: Final = "observed"
SYMBOLS: Final = ("BTC-USD", "ETH-USD")
VENUE: Final = "kraken"
CONSUMER: Final = "risk"
INTERVAL_S: Final = 1.0
"""Between two scrapes, and between two evaluations of rules."""
FOR_S: Final = 4
"""How long an alert is pending, instead of the shipped times."""
START_S: Final = 120.0
STOP_S: Final = 30.0


class Program:
    """A process of Depthcast; what it prints goes to a file."""

    def __init__(self, folder: Path, name: str, *words: str, **settings: object) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        variables = {f"DEPTHCAST_{each.upper()}": str(value) for each, value in settings.items()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "depthcast", *words],
                cwd=folder,
                env=without_settings() | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def said(self, before: str) -> str:
        """Wait until it has printed a line that begins with `before`; returns the rest of the line."""

        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            match = re.search(rf"^{re.escape(before)}(\S+)$", self.log.read_text(), re.MULTILINE)
            return match and match[1]

        rest = await eventually(found, message=f"{self.name} prints {before!r}")
        assert rest is not None
        return rest

    async def admin(self) -> str:
        """Host and port of its metrics."""
        return await self.said("admin listening on http://")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; does nothing if it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass
class Observed:
    """What runs: the ingestors, the fake venue, where each job of Prometheus reads, and Prometheus itself."""

    ingestors: list[Program]
    venue: FakeVenue
    targets: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""
    problems: list[str] = field(default_factory=list)

    async def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of Prometheus; fails with its reason if it refuses."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}/api/v1/{path}", params=query) as answer,
        ):
            body = await answer.json()
            assert body["status"] == "success", f"{query}: {body.get('error')}"
            assert not body.get("warnings"), body
            return body["data"]

    async def samples(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds now."""
        found: list[dict[str, Any]] = (await self.ask("query", query=query))["result"]
        return found

    async def alerts(self, state: str) -> set[str]:
        """Return the names of alerts in a state: `pending` or `firing`."""
        found = (await self.ask("alerts"))["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == state}


@asynccontextmanager
async def observed(folder: Path, secrets: Path) -> AsyncIterator[Observed]:
    """Start everything; when the block begins, Prometheus has read each target once."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer(append_only=True, options=OPTIONS))
        replica = await stack.enter_async_context(EmbeddedServer(options=OPTIONS))
        await follow(replica, server.port)
        everybody = {"redis_url": server.url, "prefix": PREFIX, "admin_port": 0, "log_level": "warning"}

        def start(name: str, *words: str, **settings: object) -> Program:
            program = Program(folder, name, *words, **everybody, **settings)
            stack.callback(program.end)
            return program

        ingestor = {"instruments": _instruments(folder), "partitions": 2}
        ingestors = [start(f"ingestor-{number}", "ingestor", **ingestor) for number in range(2)]
        for one in ingestors:
            await one.admin()
        gateway = start("gateway", "gateway", port=0, workers=2, read_from="replica")
        url = await gateway.said("gateway listening on ")
        place = Place(server.url, url, PREFIX)
        del everybody["admin_port"]
        start("market", "feed", "synthetic", "--symbols", ",".join(SYMBOLS))
        copied = await stack.enter_async_context(EmbeddedServer())
        relay = Program(
            folder, "relay", "relay",
            source_url=server.url, redis_url=copied.url, prefix=PREFIX, admin_port=0, log_level="warning",
        )  # fmt: skip
        stack.callback(relay.end)
        feed_port = free_port()
        venue = await stack.enter_async_context(_venue(place, feed_port))
        await stack.enter_async_context(_readers(place))
        proxied = cast("list[RunningGateway]", [SimpleNamespace(url=url)])
        proxy = stack.enter_context(running_proxy(secrets, folder, proxied))
        made = Observed(ingestors, venue)
        made.targets = {
            "ingestor": [await one.admin() for one in ingestors],
            "gateway": [await gateway.admin()],
            "proxy": [f"{HOST}:{proxy.metrics}"],
            "feed": [f"{HOST}:{feed_port}"],
            "relay": [await relay.admin()],
        }
        made.url = stack.enter_context(_prometheus(folder, made.targets, secrets))
        try:
            await eventually(lambda: _all_read(made), START_S, "every target is up")
        except AssertionError as error:
            said = (folder / "prometheus.log").read_text(encoding="utf-8")[-2000:]
            raise AssertionError(f"{error}: {made.problems}\n{said}") from None
        yield made


def shortened_rules() -> list[dict[str, Any]]:
    """The shipped rules, whose alerts fire sooner."""
    return [rule for group in _groups() for rule in group["rules"]]


def _groups() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load((SHIPPED / "rules.yml").read_text(encoding="utf-8"))[
        "groups"
    ]
    for group in groups:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{FOR_S}s"
    return groups


def configuration(targets: dict[str, list[str]], own: str) -> dict[str, Any]:
    """The shipped configuration with addresses in place of names, shorter times, and two more jobs."""
    made: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    for name in ("scrape_interval", "scrape_timeout", "evaluation_interval"):
        made["global"][name] = f"{INTERVAL_S * 1000:.0f}ms"
    for job in made["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        addresses = {**targets, "prometheus": [own]}[job["job_name"]]
        job["static_configs"] = [{"targets": addresses}]
    for name in ("feed", "relay"):
        made["scrape_configs"].append({"job_name": name, "static_configs": [{"targets": targets[name]}]})
    return made


@contextmanager
def _prometheus(folder: Path, targets: dict[str, list[str]], secrets: Path) -> Iterator[str]:
    assert PROMETHEUS is not None
    own = f"{HOST}:{free_port()}"
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": _groups()}), encoding="utf-8")
    file = folder / "prometheus.yml"
    text = yaml.safe_dump(configuration(targets, own)).replace("/secrets/", f"{secrets}/prometheus/")
    file.write_text(text, encoding="utf-8")
    command = [
        PROMETHEUS,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={own}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://{own}"
    finally:
        process.terminate()
        process.wait(STOP_S)


async def _all_read(made: Observed) -> bool:
    """Whether Prometheus answers, and has read every target; if not, `problems` says why."""
    try:
        found = (await made.ask("targets"))["activeTargets"]
    except (aiohttp.ClientError, json.JSONDecodeError) as error:
        made.problems = [repr(error)]
        return False
    made.problems = [
        f"{each['scrapeUrl']}: {each['lastError'] or 'not read yet'}"
        for each in found
        if each["health"] != "up"
    ]
    addresses = {each["labels"]["instance"] for each in found}
    wanted = {address for each in made.targets.values() for address in each}
    return addresses >= wanted and not made.problems


def _instruments(folder: Path) -> Path:
    """Those of the synthetic market."""
    command = [sys.executable, "-m", "depthcast", "feed", "synthetic", "--print-instruments"]
    words = ["--symbols", ",".join(SYMBOLS)]
    done = subprocess.run([*command, *words], env=without_settings(), capture_output=True, check=True)
    file = folder / "instruments.toml"
    file.write_bytes(done.stdout)
    return file


@asynccontextmanager
async def _venue(place: Place, port: int) -> AsyncIterator[FakeVenue]:
    """A live feed of one book from a fake venue."""
    random = Random(VENUE)
    model = models()[VENUE](random)
    symbol = min(model.market.books)
    async with (
        FakeVenue(model, random) as fake,
        live_feed(place, fake, venues()[VENUE], [symbol], {symbol: "VENUE"}, admin_port=port),
    ):
        yield fake


@asynccontextmanager
async def _readers(place: Place) -> AsyncIterator[None]:
    """A consumer that names itself, and clients that follow the market, one of them at intervals."""
    async with (
        Consumer(place.redis_url, prefix=place.prefix, name=CONSUMER, read_from="replica") as consumer,
        connect(place.gateway_url) as client,
        connect(place.gateway_url) as seldom,
    ):
        await client.subscribe(SYMBOLS, depth=0)
        await seldom.subscribe(SYMBOLS, depth=0, interval_ms=500)
        tasks = [asyncio.create_task(_read(each)) for each in (consumer, client, seldom)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: Consumer | Client) -> None:
    async for _ in reader:
        pass
