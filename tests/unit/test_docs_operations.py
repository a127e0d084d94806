"""Operators find every metric in `docs/operations.md`, and no metric there that is not exported."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from depthcast.feed.scale import Scale
from depthcast.feed.symbol_feed import SymbolFeed
from depthcast.gateway.runtime.metrics import Metrics
from depthcast.ingestor.runtime.stats import IngestorStats
from depthcast.runtime.venue_stats import VenueFeedStats
from depthcast.shared.runtime.error_replies import CODES
from depthcast.shared.server_health import CHECKS
from depthcast.shared.types import Symbol

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(depthcast_\w+)` (\|.*)$", DOCUMENT, re.MULTILINE))


def families() -> Iterator[Metric]:
    """Every metric of all processes."""
    stats = IngestorStats()
    stats.of(0)
    registry = CollectorRegistry()
    registry.register(stats)
    yield from registry.collect()
    yield from Metrics().registry.collect()
    feed = VenueFeedStats(lambda: 0.0, lambda: 0)
    feed.feeds = [SymbolFeed(Symbol("A"), Scale("1"), Scale("1"), 0.0)]
    yield from feed.collect()


EXPORTED = {metric.name + ("_total" if metric.type == "counter" else ""): metric for metric in families()}


def test_every_metric_has_a_row_and_every_row_a_metric() -> None:
    assert sorted(ROWS) == sorted(EXPORTED)


def test_every_error_reply_that_is_counted_by_name_has_a_row() -> None:
    table = DOCUMENT.split("### Error replies")[1].split("###")[0]
    rows = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert {code for code in CODES if f"`{code}" not in rows} == set()


def test_every_check_of_the_server_has_a_row() -> None:
    table = DOCUMENT.split("### Checks of the server")[1].split("###")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == ("check", *CHECKS)


def test_every_metric_named_anywhere_in_the_documents_is_exported() -> None:
    documents = (Path(__file__).parents[2] / "docs").rglob("*.md")
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    assert set(re.findall(r"depthcast_(?:gateway|ingestor|feed)_\w+", text)) <= EXPORTED.keys()


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_a_row_names_the_values_of_its_label(name: str) -> None:
    values = {
        value
        for sample in EXPORTED[name].samples
        for key, value in sample.labels.items()
        if key in ("type", "state")
    }
    assert {value for value in values if f"`{value}`" not in ROWS[name]} == set()
