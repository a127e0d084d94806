"""The regression finds known costs; the stored result, its check and docs/capacity.md agree."""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.capacity import check
from benchmarks.capacity.derive import derive
from benchmarks.capacity.document import DOCUMENT, PLACE, updated
from benchmarks.capacity.fit import fit
from benchmarks.capacity.points import HELD_OUT, POINTS, SIZES
from depthcast.capacity.costs import UnitCosts
from tests.unit.depthcast.capacity.made_up import COSTS

RESULT: Mapping[str, Any] = json.loads(check.RESULT.read_text(encoding="utf-8"))


def rounds() -> dict[str, list[dict[str, float]]]:
    """A copy of what was measured, by load."""
    return {name: [dict(sample) for sample in found] for name, found in RESULT["data"]["rounds"].items()}


def test_a_fit_finds_the_costs_of_a_sum() -> None:
    random = Random(3)
    rows = [{name: random.random() * size for name, size in (("a", 1), ("b", 1e6))} for _ in range(12)]
    found = fit(rows, [5 * row["a"] + 2e-6 * row["b"] for row in rows], ["a", "b", "never"])
    assert found.costs == pytest.approx({"a": 5, "b": 2e-6, "never": 0})
    assert found.worst < 1e-6


def test_no_cost_is_below_zero() -> None:
    rows = [{"a": 1.0, "b": float(at)} for at in range(1, 6)]
    found = fit(rows, [10.0 - at for at in range(1, 6)], ["a", "b"])
    assert found.costs["b"] == 0
    assert 5 < found.costs["a"] < 9
    assert found.worst > 0.1


def test_costs_come_out_of_samples_that_they_made() -> None:
    """What each process would use by made-up costs is divided into these costs again."""
    stored = rounds()
    size = COSTS.bytes
    for sample in chain.from_iterable(stored.values()):
        cpu = COSTS.gateway
        sample["cpu_gateway"] = (
            sample["second"] * cpu.second
            + sample["symbol_second"] * cpu.symbol_second
            + sample["publish"] * cpu.entry
            + sample["broadcast"] * cpu.broadcast
            + sample["level"] * cpu.level
            + sample["made"] * cpu.made
            + sample["write"] * cpu.write
            + sample["heartbeat"] * cpu.heartbeat
        )
        sample["stream_bytes"] = (
            sample["publish"] * size.entry
            + sample["broadcast"] * size.broadcast
            + sample["level"] * size.level
        )
    memory = {
        size.name: dict.fromkeys(("gateway", "ingestor", "redis"), 50e6 + 2_000 * size.symbols)
        for size in SIZES
    }
    more = {"connection": 9_000.0, "subscription": 300.0, "snapshot_level": 8.0}
    found = derive(stored, memory, more).costs
    for name in ("second", "symbol_second", "entry", "broadcast", "level", "made", "write"):
        assert getattr(found.gateway, name) == pytest.approx(getattr(COSTS.gateway, name), rel=0.05), name
    assert found.bytes.entry == pytest.approx(150, rel=0.02)
    assert found.bytes.broadcast == pytest.approx(45, rel=0.02)
    assert found.memory.gateway == pytest.approx(50e6, rel=1e-3)
    assert found.memory.gateway_symbol == pytest.approx(2_000, rel=1e-2)
    assert found.memory.gateway_subscription == 300


def test_of_the_rounds_of_a_load_the_least_disturbed_counts() -> None:
    """Work beside makes a round cost more; how much was done in it differs from round to round, too."""
    calm = rounds()
    memory = {size.name: dict.fromkeys(("gateway", "ingestor", "redis"), 50e6) for size in SIZES}
    more = {"connection": 9_000.0, "subscription": 300.0, "snapshot_level": 8.0}
    for sample in chain.from_iterable(calm.values()):
        sample["cpu_standby"] = 5_000 * sample["second"] + 10 * sample["broadcast"] + 2 * sample["level"]
    disturbed = {name: [*found] for name, found in calm.items()}
    for found in disturbed.values():
        found.insert(0, {**found[0], "cpu_standby": found[0]["cpu_standby"] * 1.6})
    standby = derive(disturbed, memory, more).costs.standby
    assert (standby.broadcast, standby.level) == pytest.approx((10, 2), rel=0.02)
    one, other = disturbed[HELD_OUT.name][:2]
    assert check.least([one, other]) is check.least([one, other], "standby") is other
    dear = {**other, "cpu_gateway": other["cpu_gateway"] * 1.5}
    assert check.least([dear, {**one, "cpu_redis": other["cpu_redis"]}], "gateway") is not dear
    measured = check.measured([one, dear])
    assert measured["standby"] * 1e6 == other["cpu_standby"] / other["second"]
    assert measured["gateway"] * 1e6 == one["cpu_gateway"] / one["second"]
    assert check.scenario_of(HELD_OUT, other).ticks_per_s == other["ticks"] / other["second"]


def test_the_held_out_load_is_not_in_the_costs() -> None:
    samples = rounds()
    memory = {size.name: dict.fromkeys(("gateway", "ingestor", "redis"), 50e6) for size in SIZES}
    more = {"connection": 9_000.0, "subscription": 300.0, "snapshot_level": 8.0}
    before = derive(samples, memory, more)
    samples[HELD_OUT.name] = [
        {name: value * 100 for name, value in sample.items()} for sample in samples[HELD_OUT.name]
    ]
    assert derive(samples, memory, more) == before
    assert check.calibrated(before.costs, samples) == check.calibrated(before.costs, rounds())


def test_every_load_was_measured() -> None:
    assert set(rounds()) == {point.name for point in POINTS}
    assert {len(found) for found in rounds().values()} == {RESULT["rounds"]}
    assert [point.name for point in POINTS if point.held_out] == [HELD_OUT.name]


def test_the_stored_comparison_is_what_the_simulation_gives() -> None:
    data = RESULT["data"]
    found = check.compare(UnitCosts.from_json(data["costs"]), data["rounds"][HELD_OUT.name])
    assert [one.name for one in found] == [row[0] for row in data["check"]]
    for one, (_, measured, simulated) in zip(found, data["check"], strict=True):
        assert one.measured == pytest.approx(measured)
        assert one.simulated == pytest.approx(simulated, rel=0.02)  # platforms round logarithms differently


def test_the_check_fails_where_the_simulation_is_too_far_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(json.dumps(RESULT["data"]))
    sample = dict(check.least(data["rounds"][HELD_OUT.name]))
    data["rounds"][HELD_OUT.name] = [sample]
    simulated = check.simulated(HELD_OUT, UnitCosts.from_json(data["costs"]), [sample])
    for name in ("ingestor", "redis", "gateway", "standby"):
        sample[f"cpu_{name}"] = simulated[name] * 1e6 * sample["second"]
    sample["p50_us"] = simulated["p50"] * 1_000
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"data": data}))
    assert check.main(file) == 0
    sample["cpu_gateway"] *= 1.3
    file.write_text(json.dumps({"data": data}))
    assert check.main(file) == 1
    assert "DIFFERS CPU of the gateway, cores: simulated" in capsys.readouterr().out


def test_the_document_has_the_tables_of_the_result() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(PLACE.findall(text)) == 8
    assert updated(text, RESULT) == text, "write it anew: make bench ARGS=--report"


@pytest.mark.parametrize(
    ("simulated", "load", "said"),
    [
        (1.1, 1.0, "This result passes the check: 1 of 1 numbers agree within 20%.\n"),
        (1.3, 1.0, "**This result fails the check**: 0 of 1 numbers agree within 20%.\n"),
        (
            1.1,
            11.0,
            "**The machine was busy with other work**: after the run its load average was 11 on 2 cores.",
        ),
    ],
)
def test_the_document_says_whether_its_result_is_to_be_trusted(
    simulated: float, load: float, said: str
) -> None:
    data = {**RESULT["data"], "check": [["CPU", 1.0, simulated]]}
    machine = {**RESULT["machine"], "load_average": load, "cores": 2}
    text = updated("<!-- capacity check -->\n<!-- end of capacity -->", {"data": data, "machine": machine})
    assert said in text
    assert ("busy" in text) == (load > 4)
