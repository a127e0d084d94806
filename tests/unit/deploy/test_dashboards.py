"""The dashboards are what their program makes, and it makes none of a metric that is gone."""

import json
import sys
from pathlib import Path

import pytest

from deploy.grafana.__main__ import FOLDER, written
from deploy.grafana.contents import pages
from deploy.grafana.queries import Queries
from deploy.metric_registry import exported, names_in, names_of_samples

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process uses")

METRICS = exported()


def test_the_files_are_what_the_program_makes() -> None:
    """After a change: make dashboards."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == written()


@pytest.mark.parametrize("gone", ["depthcast_gateway_stale_symbols", "process_cpu_seconds_total"])
def test_a_panel_for_a_metric_that_is_gone_is_an_error(gone: str) -> None:
    rest = {name: metric for name, metric in METRICS.items() if name != gone}
    with pytest.raises(KeyError, match=f"no process exports {gone}"):
        pages(Queries(rest))


def test_a_panel_by_a_label_that_is_gone_is_an_error() -> None:
    with pytest.raises(KeyError, match="depthcast_gateway_messages_total has no label kind"):
        Queries(METRICS).rate("", "depthcast_gateway_messages_total", "kind")


def test_every_query_has_a_metric_that_is_exported_a_unit_and_a_text() -> None:
    queries = [query for page in pages(Queries(METRICS)) for row in page.rows.values() for query in row]
    for query in queries:
        assert names_in(query.expr), query
        assert names_in(query.expr) <= names_of_samples(METRICS), query
        assert query.unit, query
        assert query.text, query


@pytest.mark.parametrize(
    ("made", "expr", "unit"),
    [
        (
            Queries(METRICS).gauge("", "depthcast_gateway_silence_seconds", "instance"),
            "max by (instance) (depthcast_gateway_silence_seconds)",
            "s",
        ),
        (
            Queries(METRICS).rate("", "depthcast_ingestor_publish_seconds_total"),
            "sum (rate(depthcast_ingestor_publish_seconds_total[$__rate_interval]))",
            "percentunit",
        ),
        (
            Queries(METRICS).quantile("", "depthcast_stage_seconds", "stage", share=0.5),
            (
                "histogram_quantile(0.5, sum by (stage, le) "
                "(rate(depthcast_stage_seconds_bucket[$__rate_interval])))"
            ),
            "s",
        ),
    ],
)
def test_a_query(made: tuple[str, ...], expr: str, unit: str) -> None:
    assert (made[1], made[3]) == (expr, unit)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_grafana_finds_its_data_by_a_variable_and_names_no_server(path: Path) -> None:
    """So a file works at once, whatever the data source is called."""
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    (source,) = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("source", "datasource", "prometheus")
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert panels
    for panel in panels:
        assert panel["datasource"]["uid"] == "${source}"
        assert [target["datasource"]["uid"] for target in panel["targets"]] == ["${source}"]
