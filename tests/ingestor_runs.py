"""Runs an ingestor in tests, as a task or a process, with random input, and checks its streams."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

from redis.asyncio import Redis

from depthcast.broadcaster.numbering import ORIGIN_MS, SEQS_PER_MS, first_seq
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT, Environment
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.codec import (
    decode_delta,
    decode_info,
    decode_marked_delta,
    decode_marks,
    decode_snapshot,
)
from depthcast.shared.doubt import STALE, doubt_after
from depthcast.shared.keys import DeploymentKeys, PartitionKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.order_counts import ORDERS, counts_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.runtime.redis import RawEntry, execute, last_position, newest_entry, parse_entries
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import EntryInfo
from tests import book_model
from tests.book_model import ModelBook
from tests.environment import without_settings
from tests.random_events import encode, random_array
from tests.waiting import TIMEOUT_S, eventually

BOTH_FEEDS = """
[LEV]
[EVI]
on_cross = "evict"
[ORD]
feed = "orders"
[ORE]
feed = "orders"
on_cross = "evict"
"""
DOUBTS: list[dict[str, Any]] = [{"stale": "gap"}, {"stale": "checksum"}, {"live": True}, {"live": True}]

FEEDS = {
    "LEV": ("levels", "reject"),
    "EVI": ("levels", "evict"),
    "ORD": ("orders", "reject"),
    "ORE": ("orders", "evict"),
}


@dataclass
class Run:
    """A deployment of one partition, seen from outside."""

    client: Redis
    prefix: str
    url: str
    folder: Path

    @property
    def deployment(self) -> DeploymentKeys:
        return DeploymentKeys(self.prefix)

    @property
    def keys(self) -> PartitionKeys:
        return self.deployment.partition(0)

    def settings(self, text: str | None = BOTH_FEEDS, **changes: Any) -> IngestorSettings:
        """Settings for tests: short times, and `text` as the instruments file."""
        if text is not None:
            path = self.folder / "instruments.toml"
            path.write_text(text, encoding="utf-8")
            changes.setdefault("instruments", str(path))
        short = {"interval_ms": 5, "lease_ms": 300, "redis_url": self.url, "prefix": self.prefix}
        return IngestorSettings(**{**short, **changes})

    @asynccontextmanager
    async def service(
        self, settings: IngestorSettings, environment: Environment = REAL_ENVIRONMENT
    ) -> AsyncIterator[IngestorService]:
        """An ingestor in this process, leading when the block begins and ended cleanly after it."""
        service = IngestorService(settings, environment)
        stop = asyncio.Event()
        running = asyncio.create_task(service.run(stop))
        try:
            await eventually(lambda: running.done() or self.leads(service), message="it leads")
            yield service
            stop.set()
            async with asyncio.timeout(TIMEOUT_S):
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @staticmethod
    def leads(service: IngestorService) -> bool:
        return bool(service.leaders) and all(leader.leadership for leader in service.leaders)

    async def send(self, *fields: tuple[str | bytes, str | bytes]) -> Position:
        """Append an input entry; repeated fields are kept."""
        reply = await execute(
            self.client, "XADD", self.keys.events, "*", *(part for pair in fields for part in pair)
        )
        return Position.parse(reply)

    async def history(self) -> list[RawEntry]:
        return await self.stream(self.keys.deltas)

    async def steps(self) -> list[tuple[Position, int]]:
        """The steps in which books were moved since the last seal: where, and how many books each moved."""
        steps: list[tuple[Position, int]] = []
        for position, fields in await self.history():
            moved = sum(not name.startswith(b"_") for name, _ in fields)
            if not position.n:
                steps = [*steps, (position, moved)] if moved else []
        return steps

    async def stream(self, key: str) -> list[RawEntry]:
        return parse_entries(await execute(self.client, "XRANGE", key, "-", "+"))

    async def info(self) -> EntryInfo | None:
        """The info of the last entry."""
        newest = await newest_entry(self.client, self.keys.deltas)
        return decode_info(dict(newest[1])[b"_"]) if newest else None

    async def published(self, upto: Position | None = None) -> EntryInfo:
        """Wait until all input, or input up to `upto`, was consumed and published."""
        wanted = await last_position(self.client, self.keys.events) if upto is None else upto

        async def there() -> EntryInfo | None:
            info = await self.info()
            return info if info is not None and Position.parse(info.src) >= wanted else None

        info = await eventually(there, message=f"input up to {wanted} is published")
        assert info is not None
        return info

    async def rejects(self) -> list[dict[str, Any]]:
        found = await self.stream(self.keys.rejects)
        return [{name.decode(): value for name, value in fields} for _, fields in found]

    async def snapshots(self, symbol: str) -> list[tuple[Position, Any]]:
        found = await self.stream(self.keys.snapshots(symbol))
        return [(position, decode_snapshot(dict(fields)[b"s"])) for position, fields in found]


def empty_books() -> dict[str, ModelBook]:
    return {symbol: ModelBook(*kind) for symbol, kind in FEEDS.items()}


@dataclass
class Input:
    """Random input, and naive models of its expected result."""

    run: Run
    rng: Random
    models: dict[str, ModelBook] = field(default_factory=empty_books)
    applied: int = 0
    rejected: int = 0
    ignored: int = 0
    rejects: list[tuple[str, str, str, int, int]] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)
    doubting: bool = True
    """Some entries say that books are in doubt, or right again."""

    def relisted(self) -> None:
        """All books begin anew: their symbols were withdrawn, and came back."""
        self.models = empty_books()

    async def send(self, count: int = 1) -> Position:
        """Append `count` random entries; returns the last one's ID."""
        position = ZERO
        for _ in range(count):
            arrays = [
                (self.rng.choice(list(self.models)), random_array(self.rng))
                for _ in range(self.rng.randint(1, 3))
            ]
            atomic = self.rng.random() < 0.3
            fields: list[tuple[str | bytes, str | bytes]] = [
                (symbol, encode(events, self.rng.random() < 0.5)) for symbol, events in arrays
            ]
            if atomic:
                fields.append((b"_", encode({"atomic": True}, self.rng.random() < 0.5)))
            doubt = self.rng.choice(DOUBTS) if self.doubting and self.rng.random() < 0.2 else {}
            if doubt:
                fields.append((b"_", encode(doubt, self.rng.random() < 0.5)))
            position = await self.run.send(*fields)
            before = len(self.rejects)
            for symbol, events in arrays:
                self._expect(symbol, events, str(position), atomic=atomic)
            failed = {reject[0] for reject in self.rejects[before:]}
            for symbol in {symbol for symbol, _ in arrays}:
                own = [events for name, events in arrays if name == symbol]
                why = book_model.doubt_after(
                    self.doubts.pop(symbol, None), doubt, own, failed=symbol in failed
                )
                if why is not None:
                    self.doubts[symbol] = why
        return position

    def _expect(self, symbol: str, events: list[Any], source: str, *, atomic: bool) -> None:
        result = self.models[symbol].apply(events, atomic=atomic)
        self.applied += result.applied
        self.ignored += result.ignored
        for reason, index, count in result.rejects:
            self.rejected += count
            self.rejects.append((symbol, reason, source, index, count))

    async def check(self) -> "History":
        """Everything sent was published exactly as the models say, exactly once; the streams are sound."""
        info = await self.run.published()
        history = check_history(await self.run.history())
        assert (info.applied, info.rejected, info.ignored) == (self.applied, self.rejected, self.ignored)
        found = [
            (
                reject["symbol"].decode(),
                reject["reason"].decode(),
                reject["source"].decode(),
                int(reject["index"]),
                int(reject["count"]),
            )
            for reject in await self.run.rejects()
        ]
        assert found == self.rejects
        for symbol, model in self.models.items():
            book = history.replicas[symbol].book
            assert {"bid": book.bids.levels, "ask": book.asks.levels} == model.levels()
            counts = {"bid": book.bids.orders, "ask": book.asks.orders}
            known = model.order_counts() if model.feed == "orders" else {"bid": None, "ask": None}
            assert counts == known
            assert history.replicas[symbol].doubt == self.doubts.get(symbol)
        return history


@dataclass
class History:
    """The history in a deltas stream that was never trimmed."""

    replicas: dict[str, Replica] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    infos: list[tuple[Position, EntryInfo]] = field(default_factory=list)
    deltas: list[tuple[Position, str, Any]] = field(default_factory=list)
    orders_digests: dict[tuple[str, int], int | None] = field(default_factory=dict)
    """Of the number of orders, by symbol and seq."""
    listings: dict[str, Listing] = field(default_factory=dict)
    newest_ts: int = 0


def check_history(stream: list[RawEntry], gone: Collection[Position] = ()) -> History:
    """Follow the stream from its beginning by the contract's rules; fails if a rule is broken.

    `gone`: input that somebody else deleted. A new leader goes on after what is left before it.
    """
    history = History()
    previous, moved = ZERO, set[str]()
    listed = moving_to = 0
    for position, fields in stream:
        names = [name for name, _ in fields]
        assert names[0] == b"_"
        assert names[-1] == b"_w"
        changed = fields[1:-1]
        assert len(set(names)) == len(names)
        info = decode_info(fields[0][1])
        if position.n == 0:
            assert position.epoch > previous.epoch
            assert info.prev == str(previous)
            listed = previous.epoch if previous.n else listed
            if not changed:  # a seal, not one of the steps in which books are moved
                moving_to = 0
                history.epochs.append(position.epoch)
                moved.clear()
            else:
                assert not previous.n, "books are moved after the seal, before anything else is said"
                deltas = [decode_delta(raw) for _, raw in changed]
                targets = {
                    ORIGIN_MS + each.seq // SEQS_PER_MS for each in deltas if each.seq != each.prev_seq + 1
                }
                targets = targets or {moving_to or position.epoch}
                assert len(targets | ({moving_to} - {0})) == 1, "all into one epoch"
                moving_to = targets.pop()
                assert moving_to >= position.epoch
                history.epochs[-1] = position.epoch
        else:
            assert position == previous.next(), "a hole"
            assert info.prev is None
            assert moving_to in (0, position.epoch), "the epoch that books were moved into"
        if history.infos:
            before = history.infos[-1][1]
            src = Position.parse(before.src)
            assert Position.parse(info.src) >= src or (src in gone and not position.n)
            counts = (
                info.applied - before.applied,
                info.rejected - before.rejected,
                info.ignored - before.ignored,
            )
            assert min(counts) >= 0
        history.infos.append((position, info))
        for name, raw in changed:
            symbol = name.decode()
            prev_seq = decode_delta(raw).prev_seq
            if symbol not in moved:
                assert not prev_seq or prev_seq >= first_seq(listed, 0), (
                    "continues what was not listed before"
                )
            _check_listing(history, symbol, raw)
            _follow(history, position, max(position.epoch, moving_to), symbol, raw, moved)
        _follow_input(history, info, changed)
        previous = position
    return history


def _check_listing(history: History, symbol: str, raw: bytes) -> None:
    """Births begin listings with higher numbers, withdrawals end them, and nothing else changes them."""
    delta, listing = decode_delta(raw), of_table(symbol, decode_marks(raw))
    before = history.listings.get(symbol)
    if delta.prev_seq:
        assert listing in (None, before)
        assert before is not None
        assert not before.withdrawn, "changes under a listing that has ended"
        return
    assert listing is not None
    assert (delta.bids, delta.asks, delta.digest, delta.events) == ([], [], 0, 0)
    number = 0 if before is None else before.number
    assert listing.number > number or (listing.withdrawn and listing.number == number)
    history.listings[symbol] = listing


def _follow(
    history: History, position: Position, epoch: int, symbol: str, raw: bytes, moved: set[str]
) -> None:
    delta, marks = decode_marked_delta(raw)
    replica = history.replicas.setdefault(symbol, Replica())
    if not delta.prev_seq:
        moved.add(symbol)
        assert delta.seq == first_seq(epoch, replica.seq)
        replica = history.replicas[symbol] = Replica()
    elif symbol in moved:
        assert delta.seq == delta.prev_seq + 1
        assert delta.bids or delta.asks or STALE in marks
    else:
        moved.add(symbol)
        assert delta.seq == first_seq(epoch, delta.prev_seq)
        assert (delta.bids, delta.asks, delta.events) == ([], [], 0)
    by_order = history.listings[symbol].instrument.feed == "orders"
    assert (ORDERS in marks) == by_order, "every delta of an orders feed says how many there are"
    if by_order:
        outcome, changes = replica.apply_counted(delta, counts_of(marks, delta.bids, delta.asks))
    else:
        outcome, changes = replica.apply(delta)
    assert outcome is ApplyResult.APPLIED, (symbol, position, outcome)
    changed = changes if changes.counted is None else changes.counted
    assert len(changed.bids) + len(changed.asks) == (len(delta.bids) + len(delta.asks)) // 2, (
        "a change of nothing"
    )
    assert not replica.book.crossed()
    assert STALE not in marks or marks[STALE] != replica.doubt, "a mark of nothing"
    replica.doubt = doubt_after(marks, replica.doubt)
    history.deltas.append((position, symbol, delta))
    history.orders_digests[symbol, delta.seq] = replica.orders_digest


def _follow_input(history: History, info: EntryInfo, changed: Sequence[tuple[bytes, bytes]]) -> None:
    """Who had input in an entry; a symbol is named only if no delta says it, and no time is of the future."""
    history.newest_ts = max(history.newest_ts, info.event_ts or 0)
    counted = set()
    for name, raw in changed:
        marks, symbol = decode_marks(raw), name.decode()
        if decode_delta(raw).events:
            counted.add(symbol)
        if "event_ts" in marks:
            assert symbol in counted, "a source time of nothing"
            assert marks["event_ts"] <= history.newest_ts
    named = info.inputs or ()
    assert counted.isdisjoint(named)
    assert len(set(named)) == len(named)
    for symbol in (*counted, *named):
        replica = history.replicas[symbol]
        replica.input_ts = max(replica.input_ts, Position.parse(info.src).epoch * 1000)


class Process:
    """`python -m ingestor` with settings by environment; its log goes to a file."""

    def __init__(self, settings: IngestorSettings, folder: Path) -> None:
        self.environment = {
            **without_settings(),
            **{
                f"DEPTHCAST_{name.upper()}": str(value)
                for name, value in vars(settings).items()
                if value != getattr(IngestorSettings, name)
            },
        }
        self.log = folder / "ingestor.log"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self.child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "depthcast.ingestor", env=self.environment, stdout=log, stderr=log
            )

    async def leads(self, timeout_s: float = 15.0) -> None:
        """Wait until it leads its partitions."""
        await eventually(
            lambda: b'"leading"' in self.log.read_bytes()[self._said_before :], timeout_s, message="it leads"
        )

    async def kill(self) -> None:
        self.child.kill()
        await self.child.wait()

    async def terminate(self) -> int:
        """Send SIGTERM; returns the exit status. The process has 10 s to exit."""
        self.child.terminate()
        async with asyncio.timeout(TIMEOUT_S):
            return await self.child.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.child.returncode is None:
            await self.kill()
