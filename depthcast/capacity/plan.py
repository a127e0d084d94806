"""The plan: how many machines of each kind carry a demand, what flows between them, what saturates first."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.rates import ClientRates, StreamRates, client_rates, stream_rates
from depthcast.capacity.tiers import (
    PARTITIONS_MAX,
    US,
    CannotCarry,
    GatewayTier,
    IngestorTier,
    RedisTier,
    gateway_tier,
    ingestor_cpu,
    ingestor_tier,
    reader_load,
    redis_tier,
    stream_readers,
    writing_cpu,
)

DEPLOYMENTS_MAX: Final = 4_096
WORTH: Final = 1.1


@dataclass(frozen=True)
class Plan:
    """A plan. Tiers, rates and `symbols` are of one of `deployments` equal deployments; the rest is of all.

    Attributes:
        deployments: Into how many deployments the symbols are divided; a client connects to those it reads.
        divided_for: What fewer deployments could not carry; empty if one could carry everything.
        connections: Connections of a client.
    """

    demand: Demand
    machines: Machines
    costs: UnitCosts
    deployments: int
    divided_for: str
    connections: float
    symbols: float
    ingestor: IngestorTier
    redis: RedisTier
    gateway: GatewayTier
    rates: StreamRates
    client: ClientRates

    @property
    def readers(self) -> int:
        """Readers of the streams in the gateways of one deployment."""
        return stream_readers(self.gateway, self.machines)

    @property
    def links(self) -> dict[str, float]:
        """Bytes a second of each link."""
        rates, redis = self.rates, self.redis
        reading = reader_load(self.costs, rates, self.symbols)[1]
        each = {
            "producers to Redis": rates.input_bytes,
            "ingestors to Redis": rates.stream_bytes + rates.snapshot_bytes,
            "Redis to ingestors": rates.input_bytes + (self.ingestor.processes - 1) * reading,
            "Redis to replicas": rates.written_bytes * redis.replicas / redis.primaries,
            "Redis to gateways": self.readers * reading,
        }
        links = {name: value * self.deployments for name, value in each.items()}
        to_clients = self.demand.clients * self.connections * self.client.wire_bytes
        return {**links, "gateways to clients": to_clients}

    @property
    def messages(self) -> float:
        """Messages to clients a second."""
        return self.client.frames * self.connections * self.demand.clients

    @property
    def loads(self) -> dict[str, float]:
        """Demand ÷ what one unit of each kind can do: an ingestor, a Redis node, a machine of gateways."""
        machines, gateway, links = self.machines, self.gateway, self.links
        readers = self.ingestor.processes - 1 + self.readers
        redis_cpu = writing_cpu(self.costs, self.rates)
        redis_cpu += readers * reader_load(self.costs, self.rates, self.symbols)[0]
        workers = gateway.workers * self.deployments
        worker_cpu = gateway.fixed_share + gateway.client_share
        return {
            "ingestor CPU": self.ingestor.cores * self.deployments / machines.share,
            "Redis CPU": redis_cpu * self.deployments / machines.share,
            "Redis network": (links["Redis to ingestors"] + links["Redis to gateways"])
            / machines.network_bytes_s,
            "gateway CPU": workers * worker_cpu / (machines.share * machines.cores),
            "gateway network": links["gateways to clients"] / machines.network_bytes_s,
            "gateway memory": workers * gateway.memory_bytes / machines.memory_bytes,
        }

    @property
    def saturation(self) -> dict[str, float]:
        """Where one unit saturates under a demand of this kind: how many of each fill its share of a core.

        Entries a second stay as they are: with more symbols, an interval has no more than one.
        """
        costs, rates, share = self.costs, self.rates, self.machines.share
        leading, following = ingestor_cpu(costs, rates, self.symbols)
        entries = rates.entries
        leads = (leading - entries * costs.ingestor.publish * US) / self.symbols
        follows = (following - entries * costs.standby.entry * US) / self.symbols
        worker = costs.gateway
        broadcast = worker.broadcast + self.demand.levels_changed * worker.level
        each = (worker.symbol_second + self.demand.broadcasts_per_s * broadcast) * US
        room = share - costs.redis.second * US - writing_cpu(costs, rates)
        return {
            "symbols that an ingestor leads": _fill(
                share - (costs.ingestor.second + entries * costs.ingestor.publish) * US, leads
            ),
            "symbols that an ingestor follows": _fill(
                share - (costs.standby.second + entries * costs.standby.entry) * US, follows
            ),
            "readers of a Redis node": _fill(room, reader_load(costs, rates, self.symbols)[0]),
            "symbols that a worker reads, without clients": _fill(
                share - (worker.second + entries * worker.entry) * US, each
            ),
            "clients of a worker": self.gateway.clients_per_worker,
            "clients of a machine's network": _fill(self.machines.network_bytes_s, self.client.wire_bytes),
        }

    @property
    def first(self) -> str:
        """What saturates first as this demand grows from nothing: the greatest of `loads`."""
        loads = self.loads
        return max(loads, key=lambda name: loads[name])

    @property
    def totals(self) -> dict[str, int]:
        """Machines by kind. Ingestors and Redis nodes use one core each, so several share a machine."""
        cores, memory = self.machines.cores, self.machines.memory_bytes
        nodes = (self.redis.primaries + self.redis.replicas) * self.deployments
        ingestors = self.ingestor.processes * self.deployments
        links = self.links
        out = links["Redis to ingestors"] + links["Redis to gateways"] + links["Redis to replicas"]
        return {
            "ingestor": _machines(ingestors, cores, ingestors * self.ingestor.memory_bytes / memory),
            "redis": max(
                _machines(nodes, cores, nodes * self.redis.memory_bytes / memory),
                math.ceil(out / self.machines.network_bytes_s),
            ),
            "gateway": self.gateway.machines * self.deployments,
        }

    @property
    def machine_count(self) -> int:
        """All machines."""
        return sum(self.totals.values())


def plan(demand: Demand, machines: Machines, costs: UnitCosts) -> Plan:
    """Plan with the fewest deployments that need at most a tenth more machines than any other number.

    Raises `CannotCarry` if no number of them is enough.
    """
    plans: list[Plan] = []
    problem: CannotCarry | None = None
    for deployments in _counts(min(DEPLOYMENTS_MAX, demand.symbols)):
        try:
            plans.append(_plan_for(demand, machines, costs, deployments, str(problem or "")))
        except CannotCarry as error:
            problem = error
            continue
        if plans[-1].machine_count > WORTH * min(made.machine_count for made in plans):
            break
    if not plans:
        assert problem is not None
        raise problem
    most = WORTH * min(made.machine_count for made in plans)
    return next(made for made in plans if made.machine_count <= most)


def _counts(most: int) -> Iterator[int]:
    """1, 2, 4, … and the greatest."""
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _plan_for(demand: Demand, machines: Machines, costs: UnitCosts, deployments: int, reason: str) -> Plan:
    """Plan with the fewest partitions, a power of two, that ingestors and Redis nodes can share."""
    symbols = demand.symbols / deployments
    # Each symbol that a client reads is equally likely to be in any deployment.
    connections = deployments * (1 - (1 - 1 / deployments) ** demand.subscriptions)
    partitions = 1
    while True:
        try:
            return _plan_with(demand, machines, costs, (deployments, reason), connections, partitions)
        except CannotCarry as problem:
            if not problem.more_partitions or partitions * 2 > min(PARTITIONS_MAX, symbols):
                raise
            partitions *= 2


def _plan_with(
    demand: Demand,
    machines: Machines,
    costs: UnitCosts,
    divided: tuple[int, str],
    connections: float,
    partitions: int,
) -> Plan:
    deployments, reason = divided
    symbols = demand.symbols / deployments
    subscriptions = demand.subscriptions / connections
    rates = stream_rates(demand, costs, symbols, partitions)
    ingestors = ingestor_tier(demand, machines, costs, rates, symbols, partitions)
    client = client_rates(demand, costs, subscriptions, partitions)
    gateways = gateway_tier(
        demand,
        machines,
        costs,
        rates,
        client,
        symbols=symbols,
        clients=demand.clients * connections / deployments,
        subscriptions=subscriptions,
    )
    readers = stream_readers(gateways, machines)
    redis = redis_tier(demand, machines, costs, rates, ingestors, symbols=symbols, readers=readers)
    return Plan(
        demand=demand,
        machines=machines,
        costs=costs,
        deployments=deployments,
        divided_for=reason,
        connections=connections,
        symbols=symbols,
        ingestor=ingestors,
        redis=redis,
        gateway=gateways,
        rates=rates,
        client=client,
    )


def _fill(room: float, each: float) -> float:
    """How many of these fit."""
    return max(0.0, room) / each if each > 0 else math.inf


def _machines(units: int, cores: int, memory: float) -> int:
    return max(1, math.ceil(units / cores), math.ceil(memory))
