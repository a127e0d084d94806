"""`depthcast capacity` prints the plan of a results file, and names what is wrong."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.plan import plan
from depthcast.cli.capacity import TEXTS
from depthcast.cli.main import main
from tests.unit.depthcast.capacity.made_up import COSTS, with_costs


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "capacity.json"
    path.write_text(json.dumps({"data": {"costs": COSTS.to_json()}}))
    return path


def run(results: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["capacity", "--results", str(results), *words])


def test_it_prints_the_plan(results: Path) -> None:
    done = run(results, "--clients", "1M", "--symbols", "1k", "--network-gbit", "25")
    assert done.exit_code == 0
    made = plan(Demand(clients=1_000_000, symbols=1_000), Machines(network_gbit=25), COSTS)
    assert f"{made.gateway.workers:,} on {made.totals['gateway']} machines" in done.output
    assert f"saturates first        {made.first}" in done.output
    assert "Assumptions:" in done.output


def test_json_has_all_of_it(results: Path) -> None:
    done = run(results, "--clients", "2k", "--readers", "machine", "--json")
    found: dict[str, Any] = json.loads(done.output)
    assert found["demand"]["clients"] == 2_000
    assert found["machine"]["readers"] == "machine"
    assert found["machines"].keys() == {"ingestor", "redis", "gateway"}
    assert found["saturates_first"] in found["loads"]


def test_every_number_is_an_option() -> None:
    names = {field.name for field in (*fields(Demand), *fields(Machines))} - {"readers"}
    assert names == set(TEXTS)
    shown = CliRunner().invoke(main, ["capacity", "--help"]).output
    assert all(f"--{name.replace('_', '-')}" in shown for name in names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clients", "many"], "--clients: 'many' must be a number, such as 250, 10k or 1.5M"),
        (["--clients", "0"], "--clients: 0 must be from 1 to 1e+10"),
        (["--clients", "1.5"], "--clients: 1.5 must be a whole number"),
        (["--broadcasts-per-s", "50"], "--broadcasts-per-s: 50.0 must be at most 20, one in 50 ms"),
        (["--share", "0.9"], "--share: 0.9 must be from 0.05 to 0.7"),
        (["--readers", "none"], "--readers: 'none' must be one of worker, machine"),
    ],
)
def test_bad_values_are_named_by_their_option(results: Path, words: list[str], said: str) -> None:
    done = run(results, *words)
    assert done.exit_code == 2
    assert done.output == f"Error: {said}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read (No such file or directory): run `depthcast bench capacity`"),
        ("{", "is not JSON"),
        ("[]", "is no result of `depthcast bench capacity`"),
        ('{"data": {}}', "costs.version: None must be 2: measure again"),
    ],
)
def test_bad_results_are_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "file.json"
    if text is not None:
        file.write_text(text)
    done = run(file)
    assert done.exit_code == 2
    assert said in done.output


def test_what_nothing_can_carry_is_said(tmp_path: Path) -> None:
    file = tmp_path / "slow.json"
    file.write_text(json.dumps({"data": {"costs": with_costs("gateway", second=800_000).to_json()}}))
    done = run(file)
    assert done.exit_code == 1
    assert "no number of machines carries this: gateway: reading every symbol is 1.1 times" in done.output
