"""Unit costs from measured samples: CPU by regression over the loads, bytes and memory likewise.

Every round of every load is a row, with the work that was done in it: snapshots of books, for example, fall
into one round and not into the next. Whatever else runs on the machine makes work cost more, never less,
because it takes caches away; so of the rounds of a load the one that cost least for what it did counts.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from benchmarks.capacity.fit import Fit, fit
from benchmarks.capacity.points import POINTS, SIZES, Point
from benchmarks.capacity.rig import command_bytes
from depthcast.capacity.costs import Latency, MemoryBytes, MessageBytes, UnitCosts
from depthcast.shared.codec import pack

Sample = Mapping[str, float]
Rounds = Mapping[str, Sequence[Sample]]
"""By load, a sample of each round."""
READERS: Final = 2
"""Processes that read `deltas` in every measurement: the gateway and the standby."""
CATALOG_READERS: Final = 3
KINDS: Final[Mapping[str, Any]] = {field.name: field.type for field in fields(UnitCosts)}
"""The class of each part of the costs."""


class Derived(NamedTuple):
    """The costs, and how far each regression is from the points it was made of: the worst relative error."""

    costs: UnitCosts
    errors: dict[str, float]


def derive(rounds: Rounds, memory: Mapping[str, Sample], more: Sample) -> Derived:
    """Costs from the rounds of all points that are not held out.

    `memory`: by size, of the processes without clients. `more`: `connection` and `subscription` bytes of a
    gateway, `snapshot_level` bytes.
    """
    points = [point for point in POINTS if point.name in rounds and not point.held_out]
    rows = [_row(point, sample, more["snapshot_level"]) for point in points for sample in rounds[point.name]]
    size = _bytes(rows, more["snapshot_level"])
    features = [_features(row, size.catalog_symbol) for row in rows]
    names = [point.name for point in points for _ in rounds[point.name]]
    fits = {
        process: _least(
            names,
            [row[process] for row in features],
            [row[f"cpu_{process}"] for row in rows],
            [field.name for field in fields(KINDS[process])],
        )
        for process in features[0]
    }
    cpu: dict[str, Any] = {process: KINDS[process](**found.costs) for process, found in fits.items()}
    costs = UnitCosts(**cpu, bytes=size, memory=_memory(memory, more), latency=Latency(0.0))
    return Derived(costs, {name: found.worst for name, found in fits.items()})


def _least(
    points: Sequence[str], rows: Sequence[Sample], targets: Sequence[float], names: Sequence[str]
) -> Fit:
    """Fit all rows; then those alone that cost least of their point, in relation to the first costs."""
    found = fit(rows, targets, names)
    best: dict[str, tuple[float, int]] = {}
    for at, (point, row, target) in enumerate(zip(points, rows, targets, strict=True)):
        ratio = target / (sum(found.costs[name] * row.get(name, 0.0) for name in names) or 1.0)
        best[point] = min(best.get(point, (math.inf, at)), (ratio, at))
    chosen = [at for _, at in best.values()]
    return fit([rows[at] for at in chosen], [targets[at] for at in chosen], names)


def _row(point: Point, sample: Sample, snapshot_level: float) -> dict[str, float]:
    return {
        **sample,
        "snapshot_bytes": sample["snapshot_level"] * snapshot_level,
        "frame_level": sample["frame"] * point.levels,
        "readers": READERS + point.more_readers,
    }


def _features(row: Sample, catalog: float) -> dict[str, Sample]:
    """What each process did, under the names of its costs."""
    written = row["input_bytes"] + row["stream_bytes"] + row["snapshot_bytes"]
    sent = (
        row["input_bytes"]
        + row["readers"] * row["stream_bytes"]
        + CATALOG_READERS * catalog * row["symbol_second"]
    )
    return {
        "ingestor": {**row, "entry": row["input_entry"]},
        "standby": {**row, "entry": row["publish"]},
        "redis": {
            "second": row["second"],
            "append": row["input_entry"],
            "publish": row["publish"],
            "broadcast": row["broadcast"],
            "byte_in": written,
            "read": row["readers"] * row["publish"],
            "byte_out": sent,
        },
        "gateway": {**row, "entry": row["publish"]},
        "clients": {"second": row["second"], "read": row["write"] + row["heartbeat"], "frame": row["frame"]},
    }


def _bytes(rows: Sequence[Sample], snapshot_level: float) -> MessageBytes:
    stream = _fit(rows, "stream_bytes", ("publish", "broadcast", "level"))
    frames = _fit([row for row in rows if row["frame"]], "byte", ("frame", "frame_level"))
    beats = [row["heartbeat_bytes"] / row["heartbeat"] for row in rows if row["heartbeat"]]
    most = max(row["symbol_second"] / row["second"] for row in rows)
    idle = [row for row in rows if not row["event"] and row["symbol_second"] / row["second"] > most * 0.9]
    catalog = statistics.median(
        max(0.0, row["net_out"] - READERS * row["stream_bytes"]) / CATALOG_READERS / row["symbol_second"]
        for row in idle
    )
    one, eleven = (_input_bytes(events) for events in (1, 11))
    event = (eleven - one) / 10
    return MessageBytes(
        event=event,
        input_entry=one - event,
        entry=stream.costs["publish"],
        broadcast=stream.costs["broadcast"],
        level=stream.costs["level"],
        snapshot_level=snapshot_level,
        catalog_symbol=catalog,
        frame=frames.costs["frame"],
        frame_level=frames.costs["frame_level"],
        heartbeat=statistics.median(beats) if beats else 0.0,
    )


def _fit(rows: Any, target: str, names: tuple[str, ...]) -> Fit:
    used = [row for row in rows if row[target] > 0]
    return fit(used, [row[target] for row in used], names)


def _input_bytes(events: int) -> int:
    """Bytes of the command that appends an entry of one symbol with so many events."""
    words = [b"XADD", b"{depthcast:0}:events", b"*", b"BTC-USD"]
    words.append(pack([[1, 0, 6_500_000, 1_000 + number] for number in range(events)]))
    return command_bytes(words)


def _memory(memory: Mapping[str, Sample], more: Sample) -> MemoryBytes:
    sizes = [size for size in SIZES if size.name in memory]
    rows = [
        {"": 1.0, "_symbol": float(size.symbols), "_level": 2.0 * size.levels * size.symbols}
        for size in sizes
    ]
    costs: dict[str, float] = {}
    for process in ("gateway", "ingestor", "redis"):
        found = fit(rows, [memory[size.name][process] for size in sizes], list(rows[0]))
        costs |= {process + name: cost for name, cost in found.costs.items()}
    return MemoryBytes(
        **costs, gateway_connection=more["connection"], gateway_subscription=more["subscription"]
    )
