"""A plan in words and tables, for a terminal and for `docs/capacity.md`."""

import math
from collections.abc import Iterator
from typing import Final

from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.plan import Plan

STEPS: Final = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MONTH_S: Final = 30 * 86_400

ASSUMPTIONS: Final = (
    "A core is as fast as one of the measuring machine. Measure on the machine that you will use.",
    "At most the given share of each core, network and memory is used; the rest is for bursts and faults.",
    "CPU adds up: a load costs the sum of its units. Caches, and cores that share one, are left out.",
    "Symbols change independently and evenly. If all move at once, ask for their peak rate.",
    "Clients read what they are sent: no slow clients, no reconnecting crowd, no TLS, no compression.",
    "Clients stay. A book whose last reader leaves costs a worker as before for DEPTHCAST_CHANNEL_LINGER_S.",
    "A network card's interrupts, load balancers, backups and persistence of Redis are left out.",
    "Producers append many entries at once; an entry that is appended alone costs Redis more.",
    "Readers and clients are spread evenly over nodes, workers, partitions and deployments.",
    "An ingestor follows all partitions that it does not lead; replicas hold everything of their master.",
    "Replicas form a tree where a master cannot feed all of its own; each level adds its delay.",
    "Machines are for the load, and nothing stands by, except that there are at least two ingestors.",
)


def short(value: float, unit: str = "") -> str:
    """A number in three digits, with k, M, G, T, P or E: `12.3 M`."""
    if not math.isfinite(value):
        return "any"
    for size, letter in STEPS:
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g} {letter}{unit}".strip()
    return f"{value:.3g} {unit}".strip()


def per_second(value: float) -> str:
    """A rate: `12.3 k a second`."""
    return f"{short(value)} a second"


def machines_text(number: int) -> str:
    """`1 machine`, `2 machines`."""
    return f"{number:,} machine{'s' * (number != 1)}"


def count(value: float) -> str:
    """A count as people say it: `100 M`, `10 k`, `250`."""
    for size, letter in STEPS[3:]:
        if value >= size and value % (size / 10) == 0:
            return f"{value / size:g} {letter}"
    return f"{value:,.0f}"


def demand_lines(demand: Demand, machines: Machines) -> Iterator[str]:
    """What is asked for, in two sentences."""
    popular = f" ({demand.read_per_s:g} of those they read)" if demand.popular_per_s else ""
    rate = f"{demand.broadcasts_per_s:g} broadcasts a second{popular}"
    yield (
        f"{count(demand.clients)} clients read {demand.subscriptions} of {count(demand.symbols)} symbols "
        f"each, at depth {demand.depth}. A symbol has {rate}, "
        f"of {demand.levels_changed:g} levels and {demand.events_per_broadcast:g} events."
    )
    yield (
        f"A machine has {machines.cores} cores, {machines.network_gbit:g} Gbit/s and "
        f"{machines.memory_gb:g} GB, of which {machines.share:.0%} are used."
    )


def plan_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """What a plan says: name and value."""
    totals, gateway, redis, ingestor = plan.totals, plan.gateway, plan.redis, plan.ingestor
    many = plan.deployments
    yield "deployments", f"{many:,}" + (f" (fewer: {plan.divided_for})" if plan.divided_for else "")
    if many > 1:
        yield "connections of a client", f"{plan.connections:.1f}"
    yield "level events", per_second(plan.rates.events * many)
    yield "symbol broadcasts", per_second(plan.rates.broadcasts * many)
    yield "partitions", f"{ingestor.partitions * many:,}"
    processes, cores = ingestor.processes * many, ingestor.cores * many
    yield "ingestors", f"{processes:,} on {machines_text(totals['ingestor'])}, {cores:.2f} cores"
    masters, replicas = redis.primaries * many, redis.replicas * many
    yield "Redis nodes", f"{masters:,} masters, {replicas:,} replicas on {machines_text(totals['redis'])}"
    yield "Redis decided by", redis.decided_by
    if redis.levels_of_replicas > 1:
        yield "replicas of replicas", f"{redis.levels_of_replicas} levels"
    yield "gateway workers", f"{gateway.workers * many:,} on {machines_text(totals['gateway'])}"
    yield "clients of a worker", f"{gateway.clients_per_worker:,.0f} at most, by {gateway.decided_by}"
    yield "of a worker's core", f"{gateway.fixed_share:.1%} before the first client"
    yield "memory of a worker", short(gateway.memory_bytes, "B")
    yield "messages to clients", per_second(plan.messages)
    for name, value in plan.links.items():
        yield name, f"{short(value, 'B')} a second"
    yield "to clients in 30 days", short(plan.links["gateways to clients"] * MONTH_S, "B")
    yield "saturates first", f"{plan.first}, {short(plan.loads[plan.first])} times one unit"


def terminal(plan: Plan) -> Iterator[str]:
    """A plan as lines."""
    yield from demand_lines(plan.demand, plan.machines)
    yield ""
    rows = list(plan_rows(plan))
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:{width}}  {value}" for name, value in rows)
    yield ""
    yield "Demand divided by one unit (an ingestor, a Redis node, a machine of gateways):"
    for name, value in sorted(plan.loads.items(), key=lambda item: -item[1]):
        yield f"  {name:16} {short(value)}"
    yield ""
    yield "One unit is full with:"
    for name, value in plan.saturation.items():
        yield f"  {short(value):8} {name}"
    yield ""
    yield "Assumptions:"
    yield from (f"  - {text}" for text in ASSUMPTIONS)
