"""`depthcast bench` finds the benchmarks of the checkout, and says so where there are none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import depthcast.cli.bench
from benchmarks.harness import Target, check_target, paired, spread
from benchmarks.registry import MODULES
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
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODULES)
    assert all(len(line.split()) > 1 for line in lines), "a benchmark lists without a title"


def test_ratios_are_taken_within_rounds() -> None:
    samples = {"ours": {"cpu": [1.0, 4.0, 9.0]}, "peer": {"cpu": [2.0, 4.0, 3.0]}}
    assert paired(samples, "cpu", "ours", "peer") == [0.5, 1.0, 3.0]
    assert spread([0.5, 1.0, 3.0]) == {"median": 1.0, "least": 0.5, "greatest": 3.0}
    assert check_target(Target("cpu", "ours", "peer", most=1.0), samples)["met"]
    assert not check_target(Target("cpu", "ours", "peer", most=0.9), samples)["met"]
    assert not check_target(Target("cpu", "ours", least=5), samples)["met"]
