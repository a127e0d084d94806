"""Unit costs of each process, as measured on one machine: CPU in µs, memory and messages in bytes."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from depthcast.shared.errors import SettingsError

VERSION: Final = 2
"""Version of the form in which costs are stored."""


@dataclass(frozen=True)
class IngestorCosts:
    """CPU of a leading ingestor in µs: for each second, and for each unit of work."""

    second: float
    symbol_second: float
    entry: float
    event: float
    broadcast: float
    level: float
    publish: float
    snapshot_level: float


@dataclass(frozen=True)
class StandbyCosts:
    """CPU in µs of an ingestor that follows partitions which another one leads."""

    second: float
    symbol_second: float
    entry: float
    broadcast: float
    level: float


@dataclass(frozen=True)
class RedisCosts:
    """CPU of Redis in µs.

    `append`: for each input entry, given to its leader too; `publish`: for each entry of an ingestor,
    `broadcast`: for each symbol in it; `read`: for each entry that is given to a reader.
    """

    second: float
    append: float
    publish: float
    broadcast: float
    byte_in: float
    read: float
    byte_out: float


@dataclass(frozen=True)
class GatewayCosts:
    """CPU of a gateway worker in µs.

    `broadcast`: for each symbol broadcast read, `level`: for each level in it; `made`: further cost of one
    whose symbol a client here reads; `join`: a frame joined for a list of symbols; `write`: a write to a
    client; `byte`: each byte of it.
    """

    second: float
    symbol_second: float
    entry: float
    broadcast: float
    level: float
    made: float
    join: float
    write: float
    byte: float
    heartbeat: float
    connection_second: float


@dataclass(frozen=True)
class ClientCosts:
    """CPU in µs of the clients that the measurement ran on the same machine; only the simulation uses it."""

    second: float
    read: float
    frame: float


@dataclass(frozen=True)
class MessageBytes:
    """Bytes of messages: in Redis's protocol, and of WebSocket frames with their headers."""

    event: float
    input_entry: float
    entry: float
    broadcast: float
    level: float
    snapshot_level: float
    catalog_symbol: float
    frame: float
    frame_level: float
    heartbeat: float


@dataclass(frozen=True)
class MemoryBytes:
    """Memory in bytes: what a process has without books, and what each thing in it adds."""

    gateway: float
    gateway_symbol: float
    gateway_level: float
    gateway_connection: float
    gateway_subscription: float
    ingestor: float
    ingestor_symbol: float
    ingestor_level: float
    redis: float
    redis_symbol: float
    redis_level: float


@dataclass(frozen=True)
class Latency:
    """Delay of handing work to another process, beyond the CPU that both use, in µs."""

    hop: float


@dataclass(frozen=True)
class UnitCosts:
    """Everything a plan and the simulation need."""

    ingestor: IngestorCosts
    standby: StandbyCosts
    redis: RedisCosts
    gateway: GatewayCosts
    clients: ClientCosts
    bytes: MessageBytes
    memory: MemoryBytes
    latency: Latency

    def to_json(self) -> dict[str, Any]:
        """The form in which results are stored."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` gave; raises `SettingsError` naming what is missing, unknown or no cost."""
        if not isinstance(value, Mapping) or value.get("version") != VERSION:
            found = value.get("version") if isinstance(value, Mapping) else value
            raise SettingsError("costs.version", found, f"must be {VERSION}: measure again")
        names = {field.name: field.type for field in fields(cls)}
        _same_names("costs", {*value} - {"version"}, {*names})
        parts = {name: _part(name, kind, value[name]) for name, kind in names.items()}
        return cls(**parts)


def _part(name: str, kind: Any, value: object) -> Any:
    if not isinstance(value, Mapping):
        raise SettingsError(f"costs.{name}", value, "must be a table of costs")
    _same_names(f"costs.{name}", {*value}, {field.name for field in fields(kind)})
    for key, cost in value.items():
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost) or cost < 0:
            raise SettingsError(f"costs.{name}.{key}", cost, "must be a finite number of at least 0")
    return kind(**value)


def _same_names(where: str, found: set[Any], wanted: set[str]) -> None:
    if odd := found ^ wanted:
        name = min(map(str, odd))
        problem = "is not known" if name in found else "is missing"
        raise SettingsError(f"{where}.{name}", None if name in wanted else name, f"{problem}: measure again")
