"""`depthcast bench` finds the benchmarks of the checkout, and says so where there are none."""

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import depthcast.cli.bench
from benchmarks.harness import Target, check_target, paired, spread
from benchmarks.machine import busy_share
from benchmarks.registry import MODULES
from benchmarks.report import lines
from depthcast.cli.bench import bench


def test_without_a_checkout_it_says_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.cli.bench, "ROOT", tmp_path)
    done = CliRunner().invoke(bench, ["--list"])
    assert done.exit_code == 1
    assert "in a checkout" in done.output


def test_in_a_checkout_it_lists_every_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    """Run as the user runs it: the checkout has to be found, and each module has to load."""
    done = CliRunner().invoke(bench, ["--list"])
    assert done.exit_code == 0
    listed = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(MODULES)
    assert all(len(line.split()) > 1 for line in listed), "a benchmark lists without a title"


def test_ratios_are_taken_within_rounds() -> None:
    samples = {"ours": {"cpu": [1.0, 4.0, 9.0]}, "peer": {"cpu": [2.0, 4.0, 3.0]}}
    assert paired(samples, "cpu", "ours", "peer") == [0.5, 1.0, 3.0]
    assert spread([0.5, 1.0, 3.0]) == {"median": 1.0, "least": 0.5, "greatest": 3.0}
    assert check_target(Target("cpu", "ours", "peer", most=1.0), samples)["met"]
    assert not check_target(Target("cpu", "ours", "peer", most=0.9), samples)["met"]
    assert not check_target(Target("cpu", "ours", least=5), samples)["met"]


@pytest.mark.parametrize(("busy", "says"), [(0.02, False), (0.46, True)])
def test_a_result_says_whether_other_work_ran_beside_it(busy: float, says: bool) -> None:
    facts = {"cores": 2, "cpu": "x", "python": "3", "system": "Linux", "commit": "abc"}
    result: dict[str, Any] = {"name": "tls", "rounds": 5, "quick": False, "when": "2026-01-01T00:00"}
    result |= {"busy": busy, "machine": facts, "comparisons": [], "charts": [], "absent": {}, "notes": []}
    assert ("took 46% of the machine" in "".join(lines(result))) == says


def test_a_result_beside_an_earlier_version_says_how_to_get_it() -> None:
    facts = {"cores": 2, "cpu": "x", "python": "3", "system": "Linux", "commit": "abc"}
    result: dict[str, Any] = {"name": "versions", "rounds": 5, "quick": False, "when": "2026-01-01T00:00"}
    result |= {"machine": facts, "comparisons": [], "charts": [], "absent": {}, "notes": [], "before": True}
    assert "`make bench ARGS='versions --before PYTHON'`, 5 rounds" in "".join(lines(result))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is busy")
def test_which_share_of_the_machine_is_busy() -> None:
    assert 0 <= busy_share(0.05) <= 1
