"""Operators find every metric in `docs/operations.md`, and no metric there that is not exported."""

import re
from pathlib import Path

import pytest

from deploy.metric_registry import exported, names_of_samples
from depthcast.inspection import findings
from depthcast.shared.runtime.error_replies import CODES
from depthcast.shared.server_health import CHECKS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(depthcast_\w+)` (\|.*)$", DOCUMENT, re.MULTILINE))

EXPORTED = {name: metric for name, metric in exported().items() if name.startswith("depthcast_")}


def test_every_metric_has_a_row_and_every_row_a_metric() -> None:
    assert sorted(ROWS) == sorted(EXPORTED)


def test_every_error_reply_that_is_counted_by_name_has_a_row() -> None:
    table = DOCUMENT.split("### Error replies")[1].split("###")[0]
    rows = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert {code for code in CODES if f"`{code}" not in rows} == set()


def test_every_check_of_the_server_has_a_row() -> None:
    table = DOCUMENT.split("### Checks of the server")[1].split("###")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == ("check", *CHECKS)


def test_every_check_of_doctor_has_a_row() -> None:
    table = DOCUMENT.split("| check of `doctor` |")[1].split("\n\n")[0]
    checks = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert tuple(re.findall(r"`(\w+)`", " ".join(checks))) == findings.CHECKS


def test_every_metric_named_anywhere_in_the_documents_is_exported() -> None:
    documents = (Path(__file__).parents[2] / "docs").rglob("*.md")
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    named = set(
        re.findall(r"(?<!:)\bdepthcast_(?:gateway|ingestor|feed|relay|stage|build|consumer)_\w+", text)
    )
    assert named <= EXPORTED.keys() | names_of_samples(EXPORTED)


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_a_row_names_the_values_of_its_label(name: str) -> None:
    values = {
        value
        for sample in EXPORTED[name].samples
        for key, value in sample.labels.items()
        if key in ("type", "state", "stage", "result", "because", "tier")
    }
    assert {value for value in values if f"`{value}`" not in ROWS[name]} == set()
