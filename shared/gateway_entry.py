"""What a gateway says of itself in the sorted set `gateways` (`docs/protocol.md`, section 2)."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from depthcast.shared.json_object import json_object

LATE_MS: Final = 10_000
"""A gateway refreshes its entry every 2 s. One that was not heard of for longer than this is late."""

FORGET_MS: Final = 300_000
"""The entry of a gateway that was not heard of for longer is removed."""

TEXT_MAX: Final = 255
"""Characters of a text that are kept."""

PARTITIONS_MAX: Final = 4096


class GatewayEntry(NamedTuple):
    """One gateway process.

    - `id`: a name that no other process has. `worker`: its number among those that share a port, None alone.
    - `version`: of Depthcast. `address`: where it serves, as far as it knows.
    - `ready`, `draining`: as `/readyz` says.
    - `clients`: WebSockets. `books`, `stale`: symbols, and those that are stale.
    - `silence_ms`: age of the newest entry applied, of the quietest partition. `lag_ms`: longest input lag.
    - `uptime_ms`: since it began. `failing`: checks of its Redis server that fail.
    - `replica_lag_ms`: of each partition that is read from a replica, how far that is behind.
    """

    id: str
    version: str
    address: str
    worker: int | None = None
    ready: bool = False
    draining: bool = False
    clients: int = 0
    books: int = 0
    stale: int = 0
    silence_ms: int = 0
    lag_ms: int = 0
    uptime_ms: int = 0
    failing: tuple[str, ...] = ()
    replica_lag_ms: Mapping[str, int | None] = MappingProxyType({})


def encode_entry(entry: GatewayEntry) -> str:
    """The member of the sorted set."""
    table = {**entry._asdict(), "replica_lag_ms": dict(entry.replica_lag_ms)}
    return json.dumps(table, separators=(",", ":"))


def decode_entry(raw: str | bytes) -> GatewayEntry | None:
    """The gateway that a member describes, None if no gateway wrote it. Unknown keys are ignored."""
    table = json_object(raw)
    if table is None:
        return None
    found: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        value = table.get(name, GatewayEntry._field_defaults.get(name))
        if value is None and name == "worker":
            found[name] = None
        elif type(value) is not kind and not (name == "failing" and type(value) is list):
            return None
        else:
            found[name] = value[:TEXT_MAX] if isinstance(value, str) else value
    lags = table.get("replica_lag_ms", {})
    if not _are_lags(lags):
        return None
    found["replica_lag_ms"] = lags
    found["failing"] = tuple(str(check)[:TEXT_MAX] for check in found["failing"])
    return GatewayEntry(**found)


def _are_lags(value: Any) -> bool:
    """Return whether a value is a table of lags (ms, or null) by the number of the partition."""
    return (
        isinstance(value, dict)
        and len(value) <= PARTITIONS_MAX
        and all(number.isdecimal() and (ms is None or type(ms) is int) for number, ms in value.items())
    )


_KINDS: Final[dict[str, type]] = {
    **dict.fromkeys(("id", "version", "address"), str),
    **dict.fromkeys(("worker", "clients", "books", "stale", "silence_ms", "lag_ms", "uptime_ms"), int),
    **dict.fromkeys(("ready", "draining"), bool),
    "failing": tuple,
}
