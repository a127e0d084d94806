"""What a consumer that has a name says of itself in the hash `consumers` (`docs/protocol.md`, section 2)."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeGuard

from depthcast.shared.json_object import json_object
from depthcast.shared.types import MAX_INTEGER

CONSUMERS_MAX: Final = 100
"""Consumers whose lag is exported; each has a series for each partition."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE: Final = (
    "must be up to 64 letters, digits, points, hyphens and underscores, a letter or digit first"
)

LATE_US: Final = 10_000_000
"""A consumer refreshes its entry every second. What it said longer ago of replicas counts no more."""

_PARTITION: Final = re.compile(r"0|[1-9]\d{0,5}")


class ConsumerEntry(NamedTuple):
    """One consumer.

    - `at`: when it said this, by the server's clock (µs since 1970).
    - `version`: of Depthcast, or of another program.
    - `lag_ms`: by partition, the age of the newest entry that it has delivered; None if it is not known.
    - `replica_lag_ms`: of each partition that it reads from a replica, how far that is behind, likewise.
    """

    at: int
    version: str
    lag_ms: Mapping[int, int | None]
    replica_lag_ms: Mapping[int, int | None] = MappingProxyType({})

    def lags_s(self, now_us: float) -> dict[int, float]:
        """By partition, how far it is behind at `now_us`: it has delivered nothing since that we know of."""
        silent_s = max((now_us - self.at) / 1e6, 0.0)
        return {number: ms / 1e3 + silent_s for number, ms in self.lag_ms.items() if ms is not None}

    def replica_lags_s(self, now_us: float) -> dict[int, float]:
        """How far the replicas are behind that it reads from, if that is known; none of one that is late."""
        if now_us - self.at > LATE_US:
            return {}
        return {number: ms / 1e3 for number, ms in self.replica_lag_ms.items() if ms is not None}


def is_name(text: object) -> bool:
    """Return whether a consumer may have this name."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def encode_entry(entry: ConsumerEntry) -> str:
    """The value of the consumer's field."""
    table = {**entry._asdict(), "replica_lag_ms": dict(entry.replica_lag_ms)}
    return json.dumps(table, separators=(",", ":"))


def decode_entry(raw: str | bytes) -> ConsumerEntry | None:
    """The consumer that a value describes, None if no consumer wrote it. Unknown keys are ignored."""
    table = json_object(raw)
    if table is None:
        return None
    at, version, lag_ms = table.get("at"), table.get("version"), table.get("lag_ms")
    if not _is_number(at) or not isinstance(version, str) or not isinstance(lag_ms, Mapping):
        return None
    replica_lag_ms = table.get("replica_lag_ms")
    behind = replica_lag_ms if isinstance(replica_lag_ms, Mapping) else {}
    return ConsumerEntry(at, version, _lags(lag_ms), _lags(behind))


def _lags(found: Mapping[str, object]) -> dict[int, int | None]:
    """What is a lag, or null, by the number of a partition."""
    return {
        int(number): ms
        for number, ms in found.items()
        if _PARTITION.fullmatch(number) and (ms is None or _is_number(ms))
    }


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_INTEGER
