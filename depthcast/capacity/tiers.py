"""How many ingestors, Redis nodes and gateway workers one deployment needs, each tier by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import Demand, Machines
from depthcast.capacity.rates import RETENTION_S, ClientRates, StreamRates, distinct_symbols

PARTITIONS_MAX: Final = 4_096
CONNECTIONS_MAX: Final = 20_000
"""Connections of a worker: the default of DEPTHCAST_CONNECTIONS_MAX."""
US: Final = 1e-6


class CannotCarry(Exception):
    """No number of units carries the load: one alone is too small for a part that each has to do.

    `more_partitions`: more of these may help.
    """

    def __init__(self, tier: str, limit: str, ratio: float, *, more_partitions: bool = False) -> None:
        self.more_partitions = more_partitions
        self.tier = tier
        self.limit = limit
        self.ratio = ratio
        super().__init__(f"{tier}: {limit} is {ratio:.1f} times what one can do")


@dataclass(frozen=True)
class IngestorTier:
    """`cores`: CPU of all, leading and following; `memory_bytes`: of each, which holds every book."""

    processes: int
    partitions: int
    cores: float
    memory_bytes: float


@dataclass(frozen=True)
class RedisTier:
    """Masters, and replicas that only gateways read; `primary_share`: of a core, of a master."""

    primaries: int
    replicas: int
    levels_of_replicas: int
    primary_share: float
    memory_bytes: float
    decided_by: str


@dataclass(frozen=True)
class GatewayTier:
    """Workers and machines. `fixed_share`: of a core, that a worker uses without any client."""

    workers: int
    machines: int
    clients_per_worker: float
    followed: float
    fixed_share: float
    client_share: float
    memory_bytes: float
    decided_by: str


def ingestor_cpu(costs: UnitCosts, rates: StreamRates, symbols: float) -> tuple[float, float]:
    """Cores that leading all partitions takes, and that following all of them as a standby takes."""
    lead, follow = costs.ingestor, costs.standby
    leading = (
        symbols * lead.symbol_second
        + rates.input_entries * lead.entry
        + rates.events * lead.event
        + rates.broadcasts * lead.broadcast
        + rates.levels * lead.level
        + rates.entries * lead.publish
        + rates.snapshot_levels * lead.snapshot_level
    )
    following = (
        symbols * follow.symbol_second
        + rates.entries * follow.entry
        + rates.broadcasts * follow.broadcast
        + rates.levels * follow.level
    )
    return leading * US, following * US


def ingestor_tier(
    demand: Demand, machines: Machines, costs: UnitCosts, rates: StreamRates, symbols: float, partitions: int
) -> IngestorTier:
    """Ingestors, of which each leads a part and follows the rest; at least two. Raises `CannotCarry`."""
    leading, following = ingestor_cpu(costs, rates, symbols)
    own = costs.ingestor.second * US
    room = machines.share - own - following
    if room <= 0:
        raise CannotCarry("ingestor", "following everything as a standby", (own + following) / machines.share)
    # A process that leads m of the partitions follows all others. The busiest of n leads ⌈partitions ÷ n⌉.
    most = math.floor(room / max(leading - following, 1e-12) * partitions)
    if leading - following > 0 and most < 1:
        ratio = (leading - following) / partitions / room
        raise CannotCarry("ingestor", "leading one partition", ratio, more_partitions=True)
    processes = max(2, math.ceil(partitions / min(most, partitions)))
    cores = leading + following * (processes - 1) + own * processes
    memory = costs.memory.ingestor + symbols * (
        costs.memory.ingestor_symbol + 2 * demand.book_levels * costs.memory.ingestor_level
    )
    return IngestorTier(processes, partitions, cores, memory)


def reader_load(costs: UnitCosts, rates: StreamRates, symbols: float) -> tuple[float, float]:
    """What one reader of all partitions costs Redis: cores, and bytes a second."""
    sent = rates.stream_bytes + symbols * costs.bytes.catalog_symbol
    return (rates.entries * costs.redis.read + sent * costs.redis.byte_out) * US, sent


def writing_cpu(costs: UnitCosts, rates: StreamRates) -> float:
    """Cores of Redis for what is written, and for the leaders, which read all input."""
    redis = costs.redis
    return (
        rates.input_entries * redis.append
        + rates.entries * redis.publish
        + rates.broadcasts * redis.broadcast
        + rates.written_bytes * redis.byte_in
        + rates.input_bytes * redis.byte_out
    ) * US


def redis_tier(
    demand: Demand,
    machines: Machines,
    costs: UnitCosts,
    rates: StreamRates,
    ingestors: IngestorTier,
    *,
    symbols: float,
    readers: float,
) -> RedisTier:
    """Masters for all writes and the ingestors; replicas if gateways do not fit beside these.

    Gateways read from masters where that takes no master more, or two in all: these replace each other.
    """
    read_cpu, read_bytes = reader_load(costs, rates, symbols)
    standbys = ingestors.processes - 1
    cpu = writing_cpu(costs, rates) + standbys * read_cpu
    out = rates.input_bytes + standbys * read_bytes
    own = costs.redis.second * US
    room, wire = machines.share - own, machines.network_bytes_s
    memory = costs.memory.redis + RETENTION_S * (rates.input_bytes + rates.stream_bytes)
    memory += symbols * (costs.memory.redis_symbol + 2 * demand.book_levels * costs.memory.redis_level)
    primaries = _nodes({"CPU": cpu / room, "network": max(out, rates.written_bytes) / wire})
    together = {"CPU": (cpu + readers * read_cpu) / room, "network": (out + readers * read_bytes) / wire}
    nodes = _nodes(together)
    if nodes <= ingestors.partitions and nodes <= max(2, primaries):
        return RedisTier(
            nodes, 0, 0, together["CPU"] * room / nodes + own, memory / nodes, _decided(together)
        )
    for count in range(primaries, ingestors.partitions + 1):
        base, reading = (cpu / count, out / count), (readers * read_cpu / count, readers * read_bytes / count)
        tier = _with_replicas(costs, rates, count, base, (room, wire), reading, memory)
        if tier.primary_share <= machines.share:
            return tier
    ratio = max(primaries / ingestors.partitions, 1.0)
    raise CannotCarry("redis", "one partition", ratio, more_partitions=True)


def _with_replicas(
    costs: UnitCosts,
    rates: StreamRates,
    primaries: int,
    base: tuple[float, float],
    limits: tuple[float, float],
    reading: tuple[float, float],
    memory: float,
) -> RedisTier:
    """Replicas for all gateways; in a tree where a master cannot feed all of its own.

    `base`, `reading`: cores and bytes a second, of a master without replicas and of the gateways that read
    from it; `limits`: the same that a node may use.
    """
    written = rates.written_bytes / primaries
    # A replica parses and appends what its master was sent.
    redis = costs.redis
    applying = (rates.input_entries * redis.append + rates.entries * redis.publish) / primaries * US
    applying += written * redis.byte_in * US
    left = limits[0] - applying
    if left <= 0:
        raise CannotCarry("redis", "applying writes on a replica", applying / limits[0], more_partitions=True)
    needs = {"CPU": reading[0] / left, "network": reading[1] / limits[1]}
    leaves = _nodes(needs)
    feeding = written * redis.byte_out * US
    fan_out = min((limits[1] - base[1]) / written, (limits[0] - base[0]) / feeding if feeding else math.inf)
    levels, inner, nodes = 1, leaves, leaves
    while inner > max(2, math.floor(min(fan_out, leaves))):
        inner = math.ceil(inner / max(2, math.floor(fan_out)))
        nodes += inner
        levels += 1
    share = base[0] + inner * feeding + redis.second * US
    by = f"readers' {_decided(needs)}"
    return RedisTier(primaries, nodes * primaries, levels, share, memory / primaries, by)


def worker_cpu(
    demand: Demand, costs: UnitCosts, rates: StreamRates, client: ClientRates, symbols: float
) -> tuple[float, float]:
    """Cores that a worker uses without any client, and that each client adds."""
    cpu = costs.gateway
    fixed = (
        cpu.second
        + symbols * cpu.symbol_second
        + rates.entries * cpu.entry
        + rates.broadcasts * cpu.broadcast
        + rates.levels * cpu.level
    )
    per_client = (
        client.writes * cpu.write
        + client.bytes * cpu.byte
        + client.frames * cpu.join / demand.list_clients
        + client.heartbeats * cpu.heartbeat
        + cpu.connection_second
    )
    return fixed * US, per_client * US


def gateway_tier(
    demand: Demand,
    machines: Machines,
    costs: UnitCosts,
    rates: StreamRates,
    client: ClientRates,
    *,
    symbols: float,
    clients: float,
    subscriptions: float,
) -> GatewayTier:
    """As many clients on a worker as its core and its part of network and memory carry.

    Raises `CannotCarry`.
    """
    fixed, per_client = worker_cpu(demand, costs, rates, client, symbols)

    def followed(count: float) -> float:
        return distinct_symbols(symbols, count * subscriptions, demand.popularity)

    def load(count: float) -> float:
        made = min(followed(count) * demand.read_per_s, rates.broadcasts)
        return fixed + made * costs.gateway.made * US + count * per_client

    if load(1.0) > machines.share:
        raise CannotCarry("gateway", "reading every symbol", load(0.0) / machines.share)
    book = costs.memory.gateway_symbol + 2 * demand.book_levels * costs.memory.gateway_level
    store = costs.memory.gateway + symbols * book
    each_store = costs.memory.gateway_connection + subscriptions * costs.memory.gateway_subscription
    # One core of a machine comes with its part of the machine's network and memory.
    memory, wire = machines.memory_bytes / machines.cores, machines.network_bytes_s / machines.cores
    per_machine = _workers_per_machine(machines, store, reader_load(costs, rates, symbols)[1])
    limits = {
        "CPU": _most(load, machines.share),
        "network": wire / client.wire_bytes if client.wire_bytes else math.inf,
        "memory": max(1.0, (memory - store) / each_store) if each_store else math.inf,
        "connections_max": float(CONNECTIONS_MAX),
    }
    decided = min(limits, key=lambda name: limits[name])
    per_worker = min(limits[decided], clients)
    workers = math.ceil(clients / per_worker - 1e-9)
    return GatewayTier(
        workers=workers,
        machines=math.ceil(workers / per_machine),
        clients_per_worker=limits[decided],
        followed=followed(per_worker),
        fixed_share=fixed,
        client_share=load(per_worker) - fixed,
        memory_bytes=store + per_worker * each_store,
        decided_by=decided,
    )


def stream_readers(gateways: GatewayTier, machines: Machines) -> int:
    """Readers of the streams in the gateways: of each worker, or of each machine."""
    return gateways.workers if machines.readers == "worker" else gateways.machines


def _workers_per_machine(machines: Machines, store: float, reading: float) -> int:
    """Workers that share a machine: each has a core and the memory of all books, and may read all symbols.

    `store`: bytes of all books; `reading`: bytes a second of all symbols. Raises `CannotCarry`.
    """
    if store >= machines.memory_bytes:
        raise CannotCarry("gateway", "memory of all books", store / machines.memory_bytes)
    if reading >= machines.network_bytes_s:
        raise CannotCarry("gateway", "network in, of all symbols", reading / machines.network_bytes_s)
    most = min(machines.cores, math.floor(machines.memory_bytes / store))
    if machines.readers == "worker":
        most = min(most, math.floor(machines.network_bytes_s / reading))
    return most


def _most(load: Callable[[float], float], share: float) -> float:
    """The most clients whose load fits in the share, by bisection: the load grows with them."""
    low, high = 1.0, 2.0
    while load(high) <= share and high < 1e9:
        low, high = high, high * 2
    for _ in range(40):
        middle = (low + high) / 2
        if load(middle) <= share:
            low = middle
        else:
            high = middle
    return low


def _nodes(needs: dict[str, float]) -> int:
    return max(1, math.ceil(max(needs.values()) - 1e-9))


def _decided(needs: dict[str, float]) -> str:
    return max(needs, key=lambda name: needs[name])
