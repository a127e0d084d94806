"""A deployment as it stands in Redis, for `depthcast status` and `depthcast doctor`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from depthcast.inspection.listings import Registered
from depthcast.shared.consumer_entry import ConsumerEntry
from depthcast.shared.gateway_entry import LATE_MS, GatewayEntry
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.position import Position
from depthcast.shared.relay_entry import RelayEntry
from depthcast.shared.reply_remedies import remedy_of
from depthcast.shared.types import EntryInfo

SECOND_MS: Final = 1000

SOURCE_MS: Final = 10_000
"""A feeder refreshes its entry each second. One that was not heard of for longer counts as gone."""


@dataclass
class PartitionState:
    """One partition. Every value is None if it is not known.

    - `leader`, `lease_ms`: name of the leader, and how long its lease still lasts (-1: for ever).
    - `position`: last position of `deltas`. `info`: of the newest entry; None also if no leader wrote it.
    - `age_ms`: how long ago the newest entry was written, by the server's clock. `clock_ms`: how far the
      leader's clock was ahead of the server's then.
    - `input_end`: last ID of `events`. `lag_ms`: age of the oldest entry not consumed, 0 if there is none.
    - `unread`: number of entries not consumed.
    - `rejects`: events refused recently, by reason. `examples`: one reject of each reason, in words.
    """

    number: int
    leader: str | None = None
    lease_ms: int | None = None
    position: Position | None = None
    info: EntryInfo | None = None
    age_ms: int | None = None
    clock_ms: int | None = None
    input_end: Position | None = None
    lag_ms: int | None = None
    unread: int | None = None
    rejects: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The partition as `depthcast status --json` shows it."""
        info = self.info
        return {
            "partition": self.number,
            "leader": self.leader,
            "lease_ms": self.lease_ms,
            "epoch": self.position.epoch if self.position else None,
            "position": str(self.position) if self.position else None,
            "age_ms": self.age_ms,
            "input_lag_ms": self.lag_ms,
            "unread": self.unread,
            "applied": info.applied if info else None,
            "rejected": info.rejected if info else None,
            "ignored": info.ignored if info else None,
            "lost": info.lost or 0 if info else None,
            "rejects": dict(self.rejects),
        }


class GatewayState(NamedTuple):
    """What a gateway answers to `/readyz`; `problem`: why it does not."""

    url: str
    ready: bool
    body: Mapping[str, Any]
    problem: str = ""


class ListedGateway(NamedTuple):
    """A gateway in the sorted set `gateways`; `seen_ms`: how long ago it was heard of."""

    entry: GatewayEntry
    seen_ms: int

    @property
    def late(self) -> bool:
        """Whether it should have been heard of since."""
        return self.seen_ms > LATE_MS

    @property
    def state(self) -> str:
        """Its state in a word or two."""
        if self.late:
            return "late"
        return "draining" if self.entry.draining else "ready" if self.entry.ready else "not ready"

    def to_json(self) -> dict[str, Any]:
        """The gateway as `depthcast status --json` shows it."""
        return {
            **self.entry._asdict(),
            "replica_lag_ms": dict(self.entry.replica_lag_ms),
            "seen_ms": self.seen_ms,
            "late": self.late,
        }


class NamedConsumer(NamedTuple):
    """A consumer in the hash `consumers`; `now_us`: the server's time when it was read."""

    name: str
    entry: ConsumerEntry
    now_us: int

    @property
    def seen_ms(self) -> int:
        """How long ago it was heard of."""
        return max(0, (self.now_us - self.entry.at) // 1000)

    @property
    def lag_ms(self) -> dict[int, int | None]:
        """By partition, the age of the newest entry that it has delivered, as the metrics have it."""
        lags = self.entry.lags_s(self.now_us)
        return {
            number: round(lags[number] * 1000) if number in lags else None
            for number in sorted(self.entry.lag_ms)
        }

    def to_json(self) -> dict[str, Any]:
        """The consumer as `depthcast status --json` shows it."""
        lags = {str(number): lag_ms for number, lag_ms in self.lag_ms.items()}
        behind = {str(number): ms for number, ms in sorted(self.entry.replica_lag_ms.items())}
        return {
            "name": self.name,
            "version": self.entry.version,
            "seen_ms": self.seen_ms,
            "lag_ms": lags,
            "replica_lag_ms": behind,
        }


class RefusedProbe(NamedTuple):
    """Something that the server did not let us read: a right is missing, or a key has another type."""

    what: str
    problem: str
    wrong_type: bool

    @property
    def remedy(self) -> str:
        """What to do; empty for a wrong type, whose `problem` says that."""
        return "" if self.wrong_type else remedy_of(self.problem)


class MisplacedKey(NamedTuple):
    """A key that nobody reads, or that has a wrong type; `entries`: length of a stream, else None."""

    name: str
    problem: str
    remedy: str
    entries: int | None = None


@dataclass
class DeploymentState:
    """A deployment, and its server.

    - `address`: of the server, without secrets. `version`: name and version of the server.
    - `keys`: its keys; in a cluster with the tags of its partitions, once they were read.
    - `meta`: raw; `partitions_count` None: no ingestor has created the deployment.
    - `protocol`: version of the contract that the deployment uses.
    - `instruments`: the valid ones; `malformed`: symbol → why its value is not valid.
    - `bookless`: symbols without a book.
    - `ingestors`: name → seconds since it was last heard of.
    - `listings`: symbol → its last listing, by the leaders' records.
    - `gateways`: those asked by their address; `listed_gateways`: those that Redis lists.
    - `consumers`: those that name themselves. `other_consumers`: fields of `consumers` that none wrote.
    - `sources`: symbol → what its feeder says of it. `claims`: symbol → the feeder that may write its input.
    - `intruders`: symbol with a running feeder → entry of its input that no feeder wrote lately.
    - `options`: options that make a command of `depthcast` act on this deployment, after a blank.
    - `copy_of`: name of the source if a relay writes the deployment, else None. `copy_offset_ms`: what the
      server's clock is ahead of the source's. `relays`: what relays say of themselves, by name.
    - `server`: problems of the server by check, of `depthcast.shared.server_health`.
    - `misplaced`: keys that nobody reads. `keys_seen`: number of keys looked at; `all_keys`: are these all?
    - `deployments`: prefixes of other deployments in the database; `databases`: others that have keys.
    """

    address: str
    prefix: str
    keys: DeploymentKeys
    version: str = ""
    now_ms: int = 0
    protocol: int | None = None
    partitions_count: int | None = None
    meta_problem: str = ""
    instruments: dict[str, Instrument] = field(default_factory=dict)
    malformed: dict[str, str] = field(default_factory=dict)
    bookless: list[str] = field(default_factory=list)
    listings: dict[str, Listing] = field(default_factory=dict)
    ingestors: dict[str, float] = field(default_factory=dict)
    sources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    partitions: list[PartitionState] = field(default_factory=list)
    claims: dict[str, str] = field(default_factory=dict)
    intruders: dict[str, Position] = field(default_factory=dict)
    gateways: list[GatewayState] = field(default_factory=list)
    listed_gateways: list[ListedGateway] = field(default_factory=list)
    consumers: list[NamedConsumer] = field(default_factory=list)
    other_consumers: list[str] = field(default_factory=list)
    copy_of: str | None = None
    copy_offset_ms: int = 0
    relays: dict[str, RelayEntry] = field(default_factory=dict)
    server: dict[str, str] = field(default_factory=dict)
    refused: list[RefusedProbe] = field(default_factory=list)
    misplaced: list[MisplacedKey] = field(default_factory=list)
    deployments: list[str] = field(default_factory=list)
    databases: dict[str, int] = field(default_factory=dict)
    keys_seen: int = 0
    all_keys: bool = True
    options: str = ""

    def registered(self) -> list[Registered]:
        """Every valid instrument beside the listing of its book."""
        return [
            Registered(symbol, instrument, self.listings.get(symbol))
            for symbol, instrument in self.instruments.items()
        ]

    def relay_age_ms(self, name: str) -> int:
        """How long ago a relay was heard of."""
        return max(0, self.now_ms - self.relays[name].at // 1000)

    def source_age_ms(self, symbol: str) -> int | None:
        """How long ago the feeder of a symbol was heard of; None if it does not say."""
        at = self.sources[symbol].get("at")
        return max(0, self.now_ms - at // 1000) if isinstance(at, int) else None

    def is_fed(self, symbol: str) -> bool:
        """Whether a live feed of a symbol is running."""
        age_ms = self.source_age_ms(symbol)
        over = self.sources[symbol].get("state") in ("ended", "refused", "gone")
        return age_ms is not None and age_ms <= SOURCE_MS and not over

    def other_feeder(self, symbol: str) -> str:
        """The feeder that may write a symbol's input, if that is not the one that says it feeds it."""
        claim = self.claims.get(symbol, "")
        return claim if self.is_fed(symbol) and claim != self.sources[symbol].get("feeder") else ""

    def unreadable(self, key: str) -> bool:
        """Whether the server did not let us read a key."""
        return any(probe.what == key for probe in self.refused)

    def to_json(self) -> dict[str, Any]:
        """The deployment as `depthcast status --json` shows it."""
        return {
            "redis": {"address": self.address, "version": self.version, "problems": self.server},
            "prefix": self.prefix,
            "protocol": self.protocol,
            "partitions": [partition.to_json() for partition in self.partitions],
            "ingestors": [{"name": name, "seen_s": seen_s} for name, seen_s in self.ingestors.items()],
            "instruments": {
                str(each.symbol): {
                    **_fields(self.instruments[each.symbol]),
                    "book": each.symbol not in self.bookless,
                    "listing": None if each.listing is None else each.listing.number,
                    "listed": None if each.listing is None else _fields(each.listing.instrument),
                    "state": each.state,
                }
                for each in self.registered()
            },
            "sources": self.sources,
            "gateways": [
                {"url": each.url, "ready": each.ready, "problem": each.problem, **each.body}
                for each in self.gateways
            ],
            "copy_of": self.copy_of,
            "relays": [
                {"name": name, "seen_ms": self.relay_age_ms(name), **relay._asdict()}
                for name, relay in self.relays.items()
            ],
            "listed_gateways": [each.to_json() for each in self.listed_gateways],
            "consumers": [each.to_json() for each in self.consumers],
            "intruders": {symbol: str(entry) for symbol, entry in self.intruders.items()},
            "unreadable": {probe.what: probe.problem for probe in self.refused},
            "remedies": {probe.what: probe.remedy for probe in self.refused if probe.remedy},
        }


def _fields(instrument: Instrument) -> dict[str, Any]:
    return {name: value for name, value in instrument._asdict().items() if name not in ("symbol", "listing")}
