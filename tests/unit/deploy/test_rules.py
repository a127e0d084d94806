"""The rules for Prometheus: promtool finds no mistake, every alert fires in its test and has its row."""

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.metric_registry import exported, names_in, names_of_samples
from depthcast.ingestor.rejects import Reason
from tests.unit.deploy.promtool import needs_promtool, promtool

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "prometheus"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
METRICS = exported()


def rules() -> list[dict[str, Any]]:
    table = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in table["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
EXPRESSIONS = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}


@needs_promtool
def test_promtool_finds_no_mistake_in_them() -> None:
    options = ("--lint=all", "--lint-fatal")
    assert "rules found" in promtool("check", "rules", *options, str(FOLDER / "rules.yml"))


@needs_promtool
def test_promtool_finds_no_mistake_in_the_configuration_that_names_them(tmp_path: Path) -> None:
    """With the token in place, which the composition makes for Prometheus."""
    (tmp_path / "metrics-token").write_text("token")
    for path in FOLDER.glob("*.yml"):
        text = path.read_text(encoding="utf-8").replace("/secrets/", f"{tmp_path}/")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    said = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert "1 rule files found" in said
    assert f"{len(rules())} rules found" in said


def test_the_configuration_reads_every_process_of_the_composition_that_has_metrics() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert {job["job_name"] for job in jobs} == {"ingestor", "gateway", "proxy", "prometheus"}
    for job in jobs:
        assert job["job_name"] in services


@needs_promtool
def test_every_alert_fires_and_none_where_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(FOLDER / "rules_test.yml"))


def test_no_alert_is_without_a_test() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    fired = {
        name
        for test in tests
        for asked in test["promql_expr_test"]
        for sample in asked["exp_samples"]
        if 'alertstate="firing"' in sample["labels"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == set(ALERTS)
    (well,) = [test for test in tests if test["name"] == "all is well"]
    assert [each["exp_samples"] for each in well["promql_expr_test"] if each["expr"] == "ALERTS"] == [[], []]


@pytest.mark.parametrize("name", ALERTS)
def test_where_an_alert_fires_it_did_not_before_its_time(name: str) -> None:
    """In the same test, so that an alert which always fires, or fires at once, has a test that fails."""
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    assert any(silent_at(test, name) < fired_at(test, name) for test in tests)


def fired_at(test: dict[str, Any], name: str) -> float:
    """When a test expects an alert first (s), before everything if it does not."""
    wanted = f'alertname="{name}", alertstate="firing"'
    times = [
        seconds(asked["eval_time"])
        for asked in test["promql_expr_test"]
        if any(wanted in sample["labels"] for sample in asked["exp_samples"])
    ]
    return min(times, default=-math.inf)


def silent_at(test: dict[str, Any], name: str) -> float:
    """When it first expects that the alert is asked for, and does not fire; never if it does not."""
    times = [
        seconds(asked["eval_time"])
        for asked in test["promql_expr_test"]
        if (found := re.match(r'ALERTS\{alertname=~?"([^"]+)"', asked["expr"]))
        and re.fullmatch(found[1], name)
        and not any(f'"{name}"' in sample["labels"] for sample in asked["exp_samples"])
    ]
    return min(times, default=math.inf)


def seconds(time: str) -> float:
    return int(time[:-1]) * {"s": 1.0, "m": 60.0}[time[-1]]


def test_every_alert_has_a_row_in_the_runbook_and_every_row_an_alert() -> None:
    section = OPERATIONS.split("\n### Alerts\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(ALERTS)


def test_every_recorded_rule_is_in_the_document() -> None:
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    assert [name for name in recorded if f"`{name}`" not in OPERATIONS] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_whoever_is_called_needs(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == "docs/operations.md#alerts"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process uses")
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_metric_in_a_rule_is_exported(name: str) -> None:
    assert names_in(EXPRESSIONS[name]) <= names_of_samples(METRICS)


def test_every_metric_in_a_test_of_the_rules_is_exported() -> None:
    text = (FOLDER / "rules_test.yml").read_text(encoding="utf-8")
    named = {name for series in re.findall(r"series: '(\w+)\{", text) for name in names_in(series)}
    assert {name for name in named if name.startswith("depthcast_")} <= names_of_samples(METRICS)


def test_the_values_of_labels_in_rules_exist() -> None:
    """A misspelt value would select nothing, and its alert would never fire."""
    known = {
        label: {sample.labels.get(label) for metric in METRICS.values() for sample in metric.samples}
        for label in ("type", "state", "result", "code", "stage")
    }
    known |= {"reason": {str(reason) for reason in Reason}}
    for expression in EXPRESSIONS.values():
        for label, values in re.findall(r'(\w+)(?:=~?|!=)"([^"]+)"', expression):
            assert set(values.split("|")) <= known[label], expression
