"""A real Prometheus, with the shipped configuration, reads a real deployment: panels, rules, alerts."""

import json
import signal
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from deploy.grafana.__main__ import FOLDER
from tests.deploy.observed import PROMETHEUS, Observed, observed, shortened_rules
from tests.deploy.test_haproxy import HAPROXY
from tests.unit.deploy.promtool import needs_promtool, promtool
from tests.venues.faults import Fault
from tests.waiting import TIMEOUT_S, eventually

RATE_INTERVAL = "15s"
"""What Grafana would put in place of its variable."""


class Panel(NamedTuple):
    """A panel of a dashboard, or a recorded rule."""

    page: str
    title: str
    query: str


def panels() -> list[Panel]:
    """Every panel of every dashboard, as the files have them, and every recorded rule."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                found.append(Panel(path.stem, panel["title"], query))
    recorded = [rule["record"] for rule in shortened_rules() if "record" in rule]
    return [*found, *(Panel("rules.yml", name, name) for name in recorded)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_promtool
@pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus: apt-get install prometheus")
@pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy: apt-get install haproxy")
async def test_what_prometheus_sees_of_a_deployment(secrets: Path, tmp_path: Path) -> None:
    """One long story, because a deployment takes long to start."""
    async with observed(tmp_path, secrets) as running:
        await check_targets(running)
        await check_what_processes_serve(running)
        await check_rules(running)
        running.venue.commit(Fault.CUT)  # a book in doubt, so that its panel has a line
        empty = [panel async for panel in without_data(running, panels())]
        assert not empty
        await eventually(lambda: nothing_is_active(running), message="no alert is active")
        await check_what_fires(running)


async def check_targets(running: Observed) -> None:
    """Each is up, and none is left out."""
    jobs: dict[str, list[str]] = {}
    for each in (await running.ask("targets"))["activeTargets"]:
        assert (each["health"], each["lastError"]) == ("up", "")
        jobs.setdefault(each["labels"]["job"], []).append(each["labels"]["instance"])
    assert jobs.pop("prometheus") == [running.url.removeprefix("http://")]
    wanted = {job: sorted(each) for job, each in running.targets.items()}
    assert {job: sorted(each) for job, each in jobs.items()} == wanted


async def check_what_processes_serve(running: Observed) -> None:
    """No complaint of promtool; a gateway with two workers is a supervisor, which serves those of all."""
    async with aiohttp.ClientSession() as http:
        for job in ("ingestor", "gateway", "feed"):
            for address in running.targets[job]:
                async with http.get(f"http://{address}/metrics") as answer:
                    assert promtool("check", "metrics", said=await answer.text()) == ""


async def check_rules(running: Observed) -> None:
    """All of the file are there, and Prometheus can evaluate them."""

    async def evaluated() -> bool:
        groups = (await running.ask("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        wanted = {rule.get("alert") or rule["record"] for rule in shortened_rules()}
        return {rule["name"] for rule in rules} == wanted and {rule["health"] for rule in rules} == {"ok"}

    await eventually(evaluated, message="every rule is evaluated without an error")


async def without_data(running: Observed, wanted: Iterable[Panel]) -> AsyncIterator[Panel]:
    """Yield panels that stay empty, or show no number, as a quantile of what nobody observes."""
    deadline = time.monotonic() + TIMEOUT_S
    for panel in wanted:

        async def shown(query: str = panel.query) -> bool:
            return any(sample["value"][1] != "NaN" for sample in await running.samples(query))

        try:
            await eventually(shown, max(0.0, deadline - time.monotonic()))
        except AssertionError:
            yield panel


async def nothing_is_active(running: Observed) -> bool:
    """Whether no alert fires or is pending."""
    return not await running.alerts("firing") and not await running.alerts("pending")


async def check_what_fires(running: Observed) -> None:
    """An ingestor is killed: it is missed, and its partitions go on. So is the other: books become stale."""
    first, second = running.ingestors
    first.end(signal.SIGKILL)
    await until(running, "pending", "DepthcastProcessDown")
    await until(running, "firing", "DepthcastProcessDown")
    assert not await running.alerts("firing") & {"DepthcastNoIngestor", "DepthcastStaleBooks"}
    second.end(signal.SIGKILL)
    for name in ("DepthcastNoIngestor", "DepthcastStaleBooks"):
        await until(running, "firing", name)


async def until(running: Observed, state: str, name: str) -> None:
    """Wait until an alert is in a state."""

    async def there() -> bool:
        return name in await running.alerts(state)

    await eventually(there, message=f"{name} is {state}")
