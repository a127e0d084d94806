"""`depthcast bench` finds the benchmarks of the checkout, and says so where there are none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import depthcast.cli.bench
from benchmarks.harness import Target, judge, paired, spread
from benchmarks.registry import MODULES, load
from depthcast.cli.bench import bench


def test_without_a_checkout_it_says_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.cli.bench, "ROOT", tmp_path)
    done = CliRunner().invoke(bench, ["--list"])
    assert done.exit_code == 1
    assert "in a checkout" in done.output


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_has_its_name(name: str) -> None:
    assert load(name).name == name


def test_ratios_are_taken_within_rounds() -> None:
    samples = {"ours": {"cpu": [1.0, 4.0, 9.0]}, "peer": {"cpu": [2.0, 4.0, 3.0]}}
    assert paired(samples, "cpu", "ours", "peer") == [0.5, 1.0, 3.0]
    assert spread([0.5, 1.0, 3.0]) == {"median": 1.0, "least": 0.5, "greatest": 3.0}
    assert judge(Target("cpu", "ours", "peer", most=1.0), samples)["met"]
    assert not judge(Target("cpu", "ours", "peer", most=0.9), samples)["met"]
    assert not judge(Target("cpu", "ours", least=5), samples)["met"]
