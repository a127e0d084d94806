"""Unit costs from measured samples: CPU by regression over the loads, bytes and memory likewise."""

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
READERS: Final = 2
"""Processes that read `deltas` in every measurement: the gateway and the standby."""
CATALOG_READERS: Final = 3
KINDS: Final[Mapping[str, Any]] = {field.name: field.type for field in fields(UnitCosts)}
"""The class of each part of the costs."""


class Derived(NamedTuple):
    """The costs, and how far each regression is from the points it was made of: the worst relative error."""

    costs: UnitCosts
    errors: dict[str, float]


def medians(rounds: Sequence[Sample]) -> Sample:
    """Of the rounds of one point: the median of each number, but the least latencies.

    Whatever else runs on the machine makes latencies longer, by more than they are.
    """
    middle = {name: statistics.median(sample[name] for sample in rounds) for name in rounds[0]}
    return middle | {name: min(sample[name] for sample in rounds) for name in ("p50_us", "p99_us")}


def derive(samples: Mapping[str, Sample], memory: Mapping[str, Sample], more: Sample) -> Derived:
    """Costs from the samples of all points that are not held out.

    `memory`: by size, of the processes without clients. `more`: `connection` and `subscription` bytes of a
    gateway, `snapshot_level` bytes.
    """
    points = {point.name: point for point in POINTS if point.name in samples and not point.held_out}
    rows = {name: _row(points[name], samples[name], more["snapshot_level"]) for name in points}
    size = _bytes(points, rows, more["snapshot_level"])
    features = [_features(row, size.catalog_symbol) for row in rows.values()]
    fits = {
        process: fit(
            [row[process] for row in features],
            [row[f"cpu_{process}"] for row in rows.values()],
            [field.name for field in fields(KINDS[process])],
        )
        for process in features[0]
    }
    cpu: dict[str, Any] = {process: KINDS[process](**found.costs) for process, found in fits.items()}
    costs = UnitCosts(**cpu, bytes=size, memory=_memory(memory, more), latency=Latency(0.0))
    return Derived(costs, {name: found.worst for name, found in fits.items()})


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
            "byte_in": written,
            "read": row["readers"] * row["publish"],
            "byte_out": sent,
        },
        "gateway": {**row, "entry": row["publish"]},
        "clients": {"second": row["second"], "read": row["write"] + row["heartbeat"], "frame": row["frame"]},
    }


def _bytes(points: Mapping[str, Point], rows: Mapping[str, Sample], snapshot_level: float) -> MessageBytes:
    stream = _fit(rows.values(), "stream_bytes", ("publish", "broadcast", "level"))
    frames = _fit([row for row in rows.values() if row["frame"]], "byte", ("frame", "frame_level"))
    beats = [row["heartbeat_bytes"] / row["heartbeat"] for row in rows.values() if row["heartbeat"]]
    idle = max(
        (row for name, row in rows.items() if not points[name].changed), key=lambda row: row["symbol_second"]
    )
    catalog = (
        max(0.0, idle["net_out"] - READERS * idle["stream_bytes"]) / CATALOG_READERS / idle["symbol_second"]
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
