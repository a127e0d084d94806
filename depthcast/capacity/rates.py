"""Rates that follow from a demand: broadcasts, entries, bytes of a deployment, and work of a client."""

import math
from dataclasses import dataclass
from typing import Final

from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import Demand

HEARTBEAT_S: Final = 5.0
"""A client that was sent nothing for this long gets a heartbeat: the default of DEPTHCAST_HEARTBEAT_MS."""
SNAPSHOT_S: Final = 5.0
"""Time between the snapshots of a book that changes."""
RETENTION_S: Final = 30.0
"""History kept in deltas, and about that of events."""
SEGMENT_BYTES: Final = 1_448
HEADER_BYTES: Final = 78
"""What TCP, IP and Ethernet add to each segment of at most SEGMENT_BYTES."""
STEPS_PER_DECADE: Final = 40


@dataclass(frozen=True)
class StreamRates:
    """Work a second of one deployment with so many symbols and partitions.

    `input_entries`, `events`, `broadcasts`, `entries` are counts; `input_bytes`, `stream_bytes` and
    `snapshot_bytes` are in Redis's protocol; `snapshot_levels` are levels written in snapshots.
    """

    input_entries: float
    input_bytes: float
    events: float
    broadcasts: float
    levels: float
    entries: float
    stream_bytes: float
    snapshot_levels: float
    snapshot_bytes: float

    @property
    def written_bytes(self) -> float:
        """Bytes that Redis is sent."""
        return self.input_bytes + self.stream_bytes + self.snapshot_bytes


@dataclass(frozen=True)
class ClientRates:
    """Work a second for one client of one deployment; `wire_bytes` with TCP/IP around `bytes`."""

    frames: float
    writes: float
    heartbeats: float
    bytes: float
    wire_bytes: float


def stream_rates(demand: Demand, costs: UnitCosts, symbols: float, partitions: int) -> StreamRates:
    """What flows through Redis for so many of the demand's symbols."""
    interval_s = demand.interval_ms / 1000
    broadcasts = symbols * demand.broadcasts_per_s
    events = broadcasts * demand.events_per_broadcast
    quiet = (1 - demand.broadcasts_per_s * interval_s) ** (symbols / partitions)
    entries = partitions / interval_s * (1 - quiet)
    input_entries = events / demand.events_per_entry
    size = costs.bytes
    levels = broadcasts * demand.levels_changed
    snapshots = symbols * min(1 / SNAPSHOT_S, demand.broadcasts_per_s)
    snapshot_levels = snapshots * 2 * demand.book_levels
    return StreamRates(
        input_entries=input_entries,
        input_bytes=input_entries * size.input_entry + events * size.event,
        events=events,
        broadcasts=broadcasts,
        levels=levels,
        entries=entries,
        stream_bytes=entries * size.entry + broadcasts * size.broadcast + levels * size.level,
        snapshot_levels=snapshot_levels,
        snapshot_bytes=snapshot_levels * size.snapshot_level,
    )


def client_rates(demand: Demand, costs: UnitCosts, subscriptions: float, partitions: int) -> ClientRates:
    """What one client with so many subscriptions is sent.

    In an interval, a write for each partition of which at least one of its symbols changed.
    """
    interval_s = demand.interval_ms / 1000
    frames = subscriptions * demand.read_per_s
    spread = min(float(partitions), subscriptions)
    quiet = (1 - demand.read_per_s * interval_s) ** (subscriptions / spread) if spread else 1.0
    writes = spread / interval_s * (1 - quiet)
    heartbeats = math.exp(-writes * HEARTBEAT_S) / HEARTBEAT_S
    size = costs.bytes
    sent = frames * (size.frame + demand.view_levels_changed * size.frame_level) + heartbeats * size.heartbeat
    messages = writes + heartbeats
    segments = messages * math.ceil(sent / messages / SEGMENT_BYTES) if messages else 0.0
    return ClientRates(frames, writes, heartbeats, sent, sent + segments * HEADER_BYTES)


def distinct_symbols(symbols: float, choices: float, popularity: float) -> float:
    """Return how many different symbols so many choices by Zipf's law are expected to name.

    Ranks are taken together in groups of about equal probability, so that a million symbols cost little.
    """
    groups: list[tuple[float, float]] = []
    low = 1.0
    while low <= symbols:
        high = min(symbols + 1.0, max(low + 1.0, math.floor(low * 10 ** (1 / STEPS_PER_DECADE))))
        groups.append((high - low, ((low + high - 1) / 2) ** -popularity))
        low = high
    total = sum(count * weight for count, weight in groups)
    return sum(count * -math.expm1(-choices * weight / total) for count, weight in groups)
