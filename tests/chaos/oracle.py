"""The expected result of the input: the naive model applies the surviving `events` independently."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from depthcast.shared.runtime.redis import RawEntry
from tests.book_model import ModelBook, brute_digest

Kinds = Mapping[str, tuple[str, str]]
"""Symbol → feed and on_cross."""

RejectOf = tuple[str, str, str, int, int]
"""Symbol, reason, ID of the input entry, index, count."""


@dataclass
class Oracle:
    """The books of `kinds`, and the counts, after the entries taken so far."""

    kinds: Kinds
    models: dict[str, ModelBook] = field(init=False)
    applied: int = 0
    rejected: int = 0
    ignored: int = 0
    rejects: Counter[RejectOf] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.models = {symbol: ModelBook(*kind) for symbol, kind in self.kinds.items()}

    @classmethod
    def of(cls, kinds: Kinds, entries: Iterable[RawEntry]) -> "Oracle":
        """The state that `entries` lead to from the beginning."""
        oracle = cls(kinds)
        for position, fields in entries:
            oracle.take(str(position), fields)
        return oracle

    @property
    def counts(self) -> tuple[int, int, int]:
        """(applied, rejected, ignored) events."""
        return self.applied, self.rejected, self.ignored

    def take(self, source: str, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Apply one entry of the input log, whose ID is `source`."""
        options: dict[str, Any] = {}
        for name, raw in fields:
            if name == b"_":
                options |= decoded(raw)
        atomic = bool(options.get("atomic"))
        for name, raw in fields:
            if name != b"_":
                result = self.models[name.decode()].apply(decoded(raw), atomic=atomic)
                self.applied += result.applied
                self.ignored += result.ignored
                for reason, index, count in result.rejects:
                    self.rejected += count
                    self.rejects[name.decode(), reason, source, index, count] += 1

    def levels(self, symbol: str) -> dict[str, dict[int, int]]:
        """Per side price → quantity."""
        return self.models[symbol].levels()

    def digest(self, symbol: str) -> int:
        """By the contract's formula."""
        return brute_digest(self.levels(symbol))


def decoded(raw: bytes) -> Any:
    """A value of an input entry: JSON text or msgpack."""
    return json.loads(raw) if raw[:1] in (b"[", b"{") else msgpack.unpackb(raw, strict_map_key=False)
