"""docs/security.md: every threat has a defence and a test that exists; its fuzzing table has every target."""

import re
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.unit.test_docs_testing import names_in

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
THREATS = TEXT.split("## Threats and defences")[1].split("\n## ")[0]
ROWS = [
    row
    for row in re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", THREATS, re.MULTILINE)
    if row[0] not in ("threat", "---")
]
AREAS = ["Redis", "Input", "Clients", "Tokens", "Network", "Secrets", "Supply chain"]


def test_every_area_has_threats() -> None:
    assert re.findall(r"^### (.*)$", THREATS, re.MULTILINE) == AREAS
    assert all(len(re.findall(r"^\| ", part, re.MULTILINE)) > 3 for part in THREATS.split("\n### ")[1:])


@pytest.mark.parametrize(("threat", "defence", "tests"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_threat_has_a_defence_and_tests_that_exist(threat: str, defence: str, tests: str) -> None:
    assert threat
    assert defence
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::([\w:]+))?`", tests)
    assert named
    for path, name in named:
        assert (ROOT / path).is_file()
        assert not name or name in names_in(ROOT / path), f"{path}::{name}"


def test_the_table_of_fuzzing_has_every_target_and_adds_up() -> None:
    table = TEXT.split("<!-- fuzzing -->")[1].split("<!-- end of fuzzing -->")[0]
    counts = {
        name: int(count.replace(",", ""))
        for name, count in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", table, re.MULTILINE)
    }
    assert counts.keys() == TARGETS.keys()
    (total,) = re.findall(r"^\| all \| ([\d,]+) \|", table, re.MULTILINE)
    assert int(total.replace(",", "")) == sum(counts.values())


def test_how_to_report_names_no_person() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "Report a vulnerability" in policy
    assert "@" not in policy
