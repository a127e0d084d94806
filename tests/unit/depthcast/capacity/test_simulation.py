"""The simulation repeats itself, does the work that the costs say, and shows what queues do."""

from dataclasses import replace

import pytest

from depthcast.capacity.cores import Cores
from depthcast.capacity.costs import Latency
from depthcast.capacity.simulation import Outcome, Reading, Scenario, simulate
from tests.unit.depthcast.capacity.made_up import COSTS

LOAD = Scenario(
    symbols=1_000,
    book_levels=50,
    changed=100,
    events=5,
    levels=4,
    input_entries=1,
    ticks_per_s=10,
    made=10,
    readings=[Reading(200, 1)],
    idle=50,
    heartbeat_s=1,
    interval_s=0.01,
    snapshots_per_s=20,
)
SECONDS = 5.0


def outcome(**changes: object) -> Outcome:
    """The load with changes, simulated."""
    return simulate(replace(LOAD, **changes), COSTS, SECONDS, 7)  # type: ignore[arg-type]


def test_equal_seeds_give_equal_runs() -> None:
    assert outcome() == outcome()
    assert simulate(LOAD, COSTS, SECONDS, 8) != outcome()


def test_cpu_is_the_sum_of_the_units() -> None:
    found = outcome()
    cpu, standby = COSTS.gateway, COSTS.standby
    gateway = cpu.second + 1_000 * cpu.symbol_second + 250 * cpu.connection_second
    gateway += 50 * (cpu.heartbeat + 44 * cpu.byte)
    each = cpu.write + (170 + 4 * 14) * cpu.byte
    gateway += 10 * (
        cpu.entry + 100 * (cpu.broadcast + 4 * cpu.level) + 10 * cpu.made + cpu.join + 200 * each
    )
    assert found.cores["gateway"] == pytest.approx(gateway / 1e6, rel=0.03)
    follows = standby.second + 1_000 * standby.symbol_second
    follows += 10 * (standby.entry + 100 * (standby.broadcast + 4 * standby.level))
    assert found.cores["standby"] == pytest.approx(follows / 1e6, rel=0.05)
    assert found.entries == 50
    assert found.deliveries == 50 * 200


def test_latency_is_the_work_between_broadcast_and_client() -> None:
    found = simulate(replace(LOAD, readings=[Reading(1, 1)]), COSTS, SECONDS, 7)
    ingestor = 0.5 * (100 * (10 + 4) + 200)
    redis = 20 + 20 + (150 + 100 * (45 + 4 * 8)) * (0.01 + 0.002)
    gateway = 200 + 100 * (5 + 4 * 0.5) + 10 * 20 + 10
    # The standby shares the core: it slows the gateway down by at most its own work.
    least = ingestor + redis + gateway + 5 + 3 * 100
    assert least * 0.9 < found.quantile_us(0.5) < (least + 100 + 100 * (5 + 4 * 0.5)) * 1.1
    slower = simulate(
        replace(LOAD, readings=[Reading(1, 1)]), replace(COSTS, latency=Latency(1_100)), SECONDS, 7
    )
    assert slower.quantile_us(0.5) - found.quantile_us(0.5) == pytest.approx(3_000, rel=0.05)


def test_more_clients_wait_longer_and_cost_more() -> None:
    runs = [outcome(readings=[Reading(clients, 1)]) for clients in (100, 400, 1_600)]
    shares = [run.cores["gateway"] for run in runs]
    waits = [run.quantile_us(0.5) for run in runs]
    assert shares == sorted(shares)
    assert waits == sorted(waits)
    assert all(run.quantile_us(0.99) >= run.quantile_us(0.5) for run in runs)


def test_lists_of_their_own_cost_a_join_each() -> None:
    shared = outcome(readings=[Reading(200, 10, 1)])
    own = outcome(readings=[Reading(200, 10, 200)])
    joins = 10 * 10 * (200 - 1) * COSTS.gateway.join / 1e6
    assert own.cores["gateway"] - shared.cores["gateway"] == pytest.approx(joins, rel=0.3)


def test_a_saturated_gateway_merges_instead_of_falling_behind() -> None:
    # 20,000 writes a tick take two intervals.
    found = outcome(readings=[Reading(20_000, 1)])
    assert found.merged_ticks > 0
    assert found.cores["gateway"] > 0.8
    assert found.quantile_us(0.99) < 2e6
    assert outcome().merged_ticks == 0


def test_broadcasts_are_an_interval_apart() -> None:
    found = outcome(ticks_per_s=100, interval_s=0.05)
    assert found.entries <= SECONDS / 0.05 + 1


def test_nothing_changes_without_input() -> None:
    found = outcome(changed=0, made=0)
    assert found.entries == found.deliveries == 0
    assert found.quantile_us(0.5) == 0
    assert all(0 < share < 0.1 for share in found.cores.values())


def test_cores_are_shared_equally_and_kept_busy() -> None:
    cores = Cores({"a": 0, "b": 0, "c": 1})
    ends: list[tuple[str, float]] = []
    for name, work in (("a", 1.0), ("a", 1.0), ("b", 1.0), ("c", 2.5)):
        cores.run(name, work, lambda name=name: ends.append((name, cores.now)))  # type: ignore[misc]
    cores.at(0.5, lambda: ends.append(("timer", cores.now)))
    assert cores.busy("a")
    cores.advance(10)
    assert [(name, round(end, 9)) for name, end in ends] == [
        ("timer", 0.5), ("a", 2.0), ("b", 2.0), ("c", 2.5), ("a", 3.0)
    ]  # fmt: skip
    assert cores.used == {"a": 2.0, "b": 1.0, "c": 2.5}
    assert cores.now == 10
    assert not cores.busy("a")
