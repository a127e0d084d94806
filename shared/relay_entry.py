"""What a relay says of itself in the hash `relays` of its copy (`docs/protocol.md`, section 2.5)."""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeGuard

from depthcast.shared.json_object import json_object
from depthcast.shared.types import MAX_INTEGER

FORGET_MS: Final = 300_000
"""A relay that was not heard of for this long is removed by another one."""

_PARTITION: Final = re.compile(r"0|[1-9]\d{0,5}")


class RelayEntry(NamedTuple):
    """One relay.

    - `at`: when it said this, by the clock of the copy's server (µs since 1970).
    - `version`: of Depthcast.
    - `source`: the name of what it copies.
    - `lag_ms`: by partition that it copies, the age of the newest entry in the copy; None if it is not known.
    - `problem`: why it cannot go on; empty if it can.
    """

    at: int
    version: str
    source: str
    lag_ms: Mapping[int, int | None]
    problem: str = ""


def encode_entry(entry: RelayEntry) -> str:
    """The value of the relay's field."""
    return json.dumps(entry._asdict(), separators=(",", ":"))


def decode_entry(raw: str | bytes) -> RelayEntry | None:
    """The relay that a value describes, None if no relay wrote it. Unknown keys are ignored."""
    table = json_object(raw)
    if table is None:
        return None
    at, lag_ms = table.get("at"), table.get("lag_ms")
    texts = [table.get(name) for name in ("version", "source", "problem")]
    if not _is_number(at) or not isinstance(lag_ms, Mapping):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    lags = {
        int(number): ms
        for number, ms in lag_ms.items()
        if _PARTITION.fullmatch(number) and (ms is None or _is_number(ms))
    }
    version, source, problem = texts
    return RelayEntry(at, str(version), str(source), lags, str(problem))


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_INTEGER
