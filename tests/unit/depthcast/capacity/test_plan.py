"""Plans: an example computed by hand, what must grow with what, and which limit decides."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.plan import WORTH, Plan, plan
from depthcast.capacity.rates import client_rates, distinct_symbols, stream_rates
from depthcast.capacity.text import ASSUMPTIONS, count, short, terminal
from depthcast.capacity.tiers import CannotCarry, gateway_tier, ingestor_tier, redis_tier, writing_cpu
from tests.unit.depthcast.capacity.made_up import COSTS, with_costs

MACHINES = Machines(cores=10, network_gbit=10, memory_gb=100, share=0.5)


def demand(**changes: Any) -> Demand:
    """100 symbols with ten broadcasts a second, of which each client reads one."""
    values: dict[str, Any] = {
        "clients": 10_000,
        "symbols": 100,
        "subscriptions": 1,
        "broadcasts_per_s": 10,
        "events_per_broadcast": 5,
        "events_per_entry": 5,
        "levels_changed": 4,
        "book_levels": 100,
        "interval_ms": 50,
        "popularity": 0,
    }
    return Demand(**(values | changes))


def test_an_example_by_hand() -> None:
    made = plan(demand(), MACHINES, COSTS)
    rates, client, ingestor, gateway = made.rates, made.client, made.ingestor, made.gateway
    # 100 symbols × 10 = 1,000 broadcasts; 20 intervals a second, none of which is without a change.
    assert (rates.broadcasts, rates.events, rates.input_entries) == (1_000, 5_000, 1_000)
    assert rates.entries == pytest.approx(20)
    assert rates.input_bytes == 1_000 * 70 + 5_000 * 10
    assert rates.stream_bytes == pytest.approx(20 * 150 + 1_000 * 45 + 4_000 * 8)
    assert rates.snapshot_levels == 100 / 5 * 200
    # Leading: 100 + 10,000 + 5,000 + 10,000 + 4,000 + 20 × 200 + 4,000 × 0.5 µs.
    # Following: 100 + 20 × 100 + 1,000 × 5 + 4,000 × 0.5 µs.
    leading, following = 0.035_1, 0.009_1
    assert ingestor.processes == 2
    assert ingestor.cores == pytest.approx(leading + following + 2 * 0.01)
    # A client: 10 frames of 170 + 4 × 14 B in 10 writes, no heartbeat.
    assert client.writes == pytest.approx(10)
    assert client.bytes == pytest.approx(2_260)
    each = (10 * 10 + 2_260 * 0.001 + 10 * 0.5 + 5) / 1e6
    fixed = (5_000 + 100 * 10 + 20 * 200 + 1_000 * 5 + 4_000 * 0.5) / 1e6
    assert gateway.fixed_share == pytest.approx(fixed)
    # All 100 symbols are read by so many clients: 1,000 broadcasts × 20 µs.
    most = (0.5 - fixed - 0.02) / each
    assert gateway.clients_per_worker == pytest.approx(most, rel=1e-3)
    assert gateway.decided_by == "CPU"
    assert gateway.workers == math.ceil(10_000 / most) == 3
    assert made.totals == {"ingestor": 1, "redis": 1, "gateway": 1}
    assert made.links["gateways to clients"] == pytest.approx(10_000 * (2_260 + 10 * 78))
    assert made.links["Redis to gateways"] == pytest.approx(3 * (rates.stream_bytes + 100 * 100))


def test_where_one_unit_saturates() -> None:
    made = plan(demand(), MACHINES, COSTS)
    found = made.saturation
    # Each symbol costs a leader 311 µs, and all entries 20 × 200 µs; a worker 80 µs and 20 × 200 µs.
    assert found["symbols that an ingestor leads"] == pytest.approx((500_000 - 14_000) / 311)
    assert found["symbols that an ingestor follows"] == pytest.approx((500_000 - 7_000) / 71)
    assert found["symbols that a worker reads, without clients"] == pytest.approx((500_000 - 9_000) / 80)
    reading = 20 * 20 + (made.rates.stream_bytes + 10_000) * 0.002
    room = 500_000 - 2_000 - writing_cpu(COSTS, made.rates) * 1e6
    assert found["readers of a Redis node"] == pytest.approx(room / reading)
    assert found["clients of a worker"] == made.gateway.clients_per_worker
    assert found["clients of a machine's network"] == pytest.approx(0.5 * 10e9 / 8 / 3_040)


def test_one_master_carries_what_its_core_does() -> None:
    made = plan(demand(), MACHINES, COSTS)
    reading = made.rates.stream_bytes + 10_000
    writing = (
        1_000 * 40 + 20 * 20 + 1_000 * 1 + made.rates.written_bytes * 0.01 + made.rates.input_bytes * 0.002
    )
    readers = (1 + 3) * (20 * 20 + reading * 0.002)
    assert made.redis.primaries == 1
    assert made.redis.replicas == 0
    assert made.redis.primary_share == pytest.approx((2_000 + writing + readers) / 1e6)


def size(made: Plan) -> int:
    """All machines."""
    return made.machine_count


@settings(deadline=None, max_examples=60)
@given(
    clients=st.integers(1, 10**8),
    symbols=st.integers(100, 10_000),
    subscriptions=st.integers(1, 100),
    broadcasts_per_s=st.floats(0.01, 5),
    more=st.sampled_from(["clients", "subscriptions", "broadcasts_per_s", "levels_changed"]),
)
def test_more_demand_never_needs_less_cpu(
    clients: int, symbols: int, subscriptions: int, broadcasts_per_s: float, more: str
) -> None:
    base = demand(
        clients=clients,
        symbols=symbols,
        subscriptions=subscriptions,
        broadcasts_per_s=broadcasts_per_s,
        popularity=1,
    )
    value = min(2 * getattr(base, more), symbols if more == "subscriptions" else math.inf)
    greater = replace(base, **{more: value})
    one, two = plan(base, MACHINES, COSTS), plan(greater, MACHINES, COSTS)
    assert size(two) * WORTH >= size(one), "fewer deployments may cost so many machines more"
    if one.deployments == two.deployments:
        assert two.links["gateways to clients"] >= one.links["gateways to clients"] * (1 - 1e-9)
        assert two.gateway.workers >= one.gateway.workers or more == "symbols"


@settings(deadline=None, max_examples=60)
@given(clients=st.integers(1, 10**8), symbols=st.integers(10, 100_000), rate=st.floats(0.01, 20))
def test_every_plan_carries_its_demand(clients: int, symbols: int, rate: float) -> None:
    try:
        made = plan(demand(clients=clients, symbols=symbols, broadcasts_per_s=rate), MACHINES, COSTS)
    except CannotCarry:
        return
    gateway, many = made.gateway, made.deployments
    share = MACHINES.share + 1e-9
    assert gateway.workers * gateway.clients_per_worker >= clients * made.connections / many * (1 - 1e-9)
    assert gateway.fixed_share + gateway.client_share <= share
    assert made.redis.primary_share <= share
    assert made.redis.primaries <= made.ingestor.partitions
    assert made.ingestor.cores / made.ingestor.processes <= share
    assert made.links["gateways to clients"] <= made.totals["gateway"] * MACHINES.network_bytes_s * (1 + 1e-9)


def test_better_machines_never_need_more() -> None:
    asked = demand(clients=10**7, symbols=5_000)
    base = plan(asked, MACHINES, COSTS)
    for better in ({"cores": 20}, {"network_gbit": 100}, {"memory_gb": 400}, {"share": 0.7}):
        assert size(plan(asked, replace(MACHINES, **better), COSTS)) <= size(base), better


def test_what_decides_follows_the_costs() -> None:
    asked = demand(clients=10**6)
    assert plan(asked, MACHINES, COSTS).gateway.decided_by == "CPU"
    assert plan(asked, replace(MACHINES, network_gbit=1), COSTS).gateway.decided_by == "network"
    assert plan(asked, replace(MACHINES, memory_gb=1.5), COSTS).gateway.decided_by == "memory"
    cheap = with_costs("gateway", write=0, byte=0, join=0, connection_second=0)
    assert plan(asked, replace(MACHINES, network_gbit=1_000), cheap).gateway.decided_by == "connections_max"


def test_readers_that_do_not_fit_beside_the_writes_go_to_replicas() -> None:
    asked = demand(clients=10**8, subscriptions=50)  # so many that it does not pay to divide the symbols
    made = plan(asked, MACHINES, COSTS)
    assert made.deployments == 1
    assert made.redis.primaries == 1
    assert made.redis.replicas > 10
    assert made.first == "gateway network"
    reading = (20 * 20 + (made.rates.stream_bytes + 10_000) * 0.002) / 1e6
    feeding = made.redis.replicas * made.rates.written_bytes * 0.002 / 1e6
    assert made.redis.levels_of_replicas == 1
    share = 0.002 + writing_cpu(COSTS, made.rates) + reading + feeding
    assert made.redis.primary_share == pytest.approx(share)
    assert made.links["Redis to replicas"] == pytest.approx(made.rates.written_bytes * made.redis.replicas)
    shared = plan(asked, replace(MACHINES, readers="machine"), COSTS)
    assert shared.readers == shared.gateway.machines < made.readers
    assert shared.redis.replicas < made.redis.replicas


def test_replicas_form_a_tree_where_a_master_cannot_feed_all() -> None:
    # Each copy of 250 kB/s costs 2 % of a core, so a master feeds some 20.
    costs = with_costs("redis", byte_out=0.08)
    made = plan(demand(clients=10**8, subscriptions=50), replace(MACHINES, readers="machine"), costs)
    assert made.redis.levels_of_replicas > 1
    assert made.redis.primary_share <= MACHINES.share


def test_symbols_are_divided_where_one_process_cannot_follow_all() -> None:
    made = plan(demand(symbols=100_000, broadcasts_per_s=2, subscriptions=10), MACHINES, COSTS)
    assert made.deployments > 1
    assert "times what one can do" in made.divided_for
    assert 1 < made.connections <= 10
    assert made.symbols * made.deployments == 100_000


def test_no_more_broadcasts_are_made_than_there_are() -> None:
    """Clients read lively symbols, but a worker whose clients read all symbols has the mean of all."""
    made = plan(demand(symbols=1_000, broadcasts_per_s=0.1, popular_per_s=10, clients=10**5), MACHINES, COSTS)
    each = (10 * 10 + 2_260 * 0.001 + 10 * 0.5 + 5) / 1e6
    most = (0.5 - made.gateway.fixed_share - 100 * 20 / 1e6) / each
    assert made.deployments == 1
    assert made.gateway.clients_per_worker == pytest.approx(most, rel=0.01)


def test_clients_with_equal_lists_share_a_join() -> None:
    made = plan(demand(list_clients=10), MACHINES, COSTS)
    each = (10 * 10 + 2_260 * 0.001 + 10 * 0.05 + 5) / 1e6
    most = (0.5 - made.gateway.fixed_share - 0.02) / each
    assert made.gateway.clients_per_worker == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize(("readers", "most"), [("worker", 6), ("machine", 100)])
def test_a_machine_has_no_more_workers_than_its_network_reads_for(readers: str, most: int) -> None:
    asked = demand(clients=10**5)
    rates = stream_rates(asked, COSTS, 100, 1)
    small = Machines(cores=100, network_gbit=0.01, memory_gb=1_000, share=0.5, readers=readers)
    assert small.network_bytes_s // (rates.stream_bytes + 100 * 100) == 6
    client = client_rates(asked, COSTS, 1, 1)
    tier = gateway_tier(asked, small, COSTS, rates, client, symbols=100, clients=10**5, subscriptions=1)
    assert tier.machines == math.ceil(tier.workers / most)


def test_redis_nodes_share_memory_and_work() -> None:
    asked = demand()
    rates = stream_rates(asked, COSTS, 100, 2)
    ingestors = ingestor_tier(asked, MACHINES, COSTS, rates, 100, 2)
    one, two = (
        redis_tier(asked, MACHINES, COSTS, rates, ingestors, symbols=100, readers=readers)
        for readers in (10, 500)
    )
    assert (one.primaries, two.primaries, two.replicas) == (1, 2, 0)
    assert two.memory_bytes == pytest.approx(one.memory_bytes / 2)
    reading = (rates.entries * 20 + (rates.stream_bytes + 10_000) * 0.002) / 1e6
    total = writing_cpu(COSTS, rates) + 501 * reading
    assert two.primary_share == pytest.approx(total / 2 + 0.002)


def test_what_nothing_can_carry_is_an_error() -> None:
    slow = with_costs("gateway", second=600_000)
    with pytest.raises(CannotCarry, match="gateway: reading every symbol"):
        plan(demand(), MACHINES, slow)


def test_more_ingestors_lead_what_one_cannot() -> None:
    # Leading costs 0.78 cores; a process has 0.5 − 0.01, less 0.007 for following: two with a half each.
    made = plan(demand(), MACHINES, with_costs("ingestor", event=150))
    assert (made.ingestor.processes, made.ingestor.partitions) == (2, 2)
    # 2.53 cores: a sixth of them would fit, so eighths do, one each.
    heavier = plan(demand(), MACHINES, with_costs("ingestor", event=500))
    assert (heavier.ingestor.processes, heavier.ingestor.partitions) == (8, 8)
    assert heavier.ingestor.cores / 8 <= MACHINES.share


def test_an_interval_without_changes_has_no_entry() -> None:
    rates = stream_rates(demand(symbols=10, broadcasts_per_s=1), COSTS, 10, 1)
    assert rates.entries == pytest.approx(20 * (1 - 0.95**10))
    several = stream_rates(demand(symbols=10, broadcasts_per_s=1), COSTS, 10, 10)
    assert several.entries == pytest.approx(200 * 0.05)


def test_writes_join_what_changes_in_the_same_interval() -> None:
    busy = demand(subscriptions=10, broadcasts_per_s=20)
    assert client_rates(busy, COSTS, 10, 1).writes == pytest.approx(20)
    assert client_rates(busy, COSTS, 10, 4).writes == pytest.approx(80)
    assert client_rates(busy, COSTS, 10, 64).writes == pytest.approx(200)
    quiet = client_rates(demand(broadcasts_per_s=1e-4), COSTS, 1, 1)
    assert quiet.heartbeats == pytest.approx(0.2, rel=1e-3)


def test_distinct_symbols() -> None:
    assert distinct_symbols(100, 1, 0) == pytest.approx(1, rel=0.01)
    assert distinct_symbols(100, 1e9, 1) == pytest.approx(100)
    exact = sum(1 - math.exp(-500 / (rank * 5.187_377_5)) for rank in range(1, 101))
    assert distinct_symbols(100, 500, 1) == pytest.approx(exact, rel=0.01)
    assert distinct_symbols(1_000, 500, 1) < distinct_symbols(1_000, 500, 0)


def test_a_plan_in_words_has_everything() -> None:
    lines = "\n".join(terminal(plan(demand(clients=1_500_000), MACHINES, COSTS)))
    for wanted in ("1.5 M clients read 1 of 100 symbols", "saturates first", *ASSUMPTIONS):
        assert wanted in lines
    assert (short(999.7), short(1_234, "B"), short(0)) == ("1 k", "1.23 kB", "0")
    assert (count(100_000_000), count(250), count(1_234)) == ("100 M", "250", "1,234")
