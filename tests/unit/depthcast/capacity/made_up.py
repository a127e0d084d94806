"""Round costs, with which plans can be computed by hand."""

from dataclasses import replace
from typing import Any

from depthcast.capacity.costs import (
    ClientCosts,
    GatewayCosts,
    IngestorCosts,
    Latency,
    MemoryBytes,
    MessageBytes,
    RedisCosts,
    StandbyCosts,
    UnitCosts,
)

COSTS = UnitCosts(
    ingestor=IngestorCosts(
        second=10_000,
        symbol_second=1,
        entry=10,
        event=1,
        broadcast=10,
        level=1,
        publish=200,
        snapshot_level=0.5,
    ),
    standby=StandbyCosts(second=5_000, symbol_second=1, entry=100, broadcast=5, level=0.5),
    redis=RedisCosts(second=2_000, append=40, publish=20, broadcast=1, byte_in=0.01, read=20, byte_out=0.002),
    gateway=GatewayCosts(
        second=5_000,
        symbol_second=10,
        entry=200,
        broadcast=5,
        level=0.5,
        made=20,
        join=0.5,
        write=10,
        byte=0.001,
        heartbeat=20,
        connection_second=5,
    ),
    clients=ClientCosts(second=1_000, read=5, frame=0.5),
    bytes=MessageBytes(
        event=10,
        input_entry=70,
        entry=150,
        broadcast=45,
        level=8,
        snapshot_level=8,
        catalog_symbol=100,
        frame=170,
        frame_level=14,
        heartbeat=44,
    ),
    memory=MemoryBytes(
        gateway=50e6,
        gateway_symbol=2_000,
        gateway_level=150,
        gateway_connection=9_000,
        gateway_subscription=300,
        ingestor=45e6,
        ingestor_symbol=1_000,
        ingestor_level=150,
        redis=2e6,
        redis_symbol=4_000,
        redis_level=20,
    ),
    latency=Latency(hop=100),
)


def with_costs(part: str, **costs: float) -> UnitCosts:
    """The costs with some of a part replaced."""
    changed: Any = replace(getattr(COSTS, part), **costs)
    return replace(COSTS, **{part: changed})
