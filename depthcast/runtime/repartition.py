"""Moves a stopped deployment to another number of partitions, under another prefix of the same server.

The books are rebuilt as an ingestor that starts would rebuild them, and written as one that writes lost books
again. The old deployment is only read. Until everything is written and has been read back, the new one says
that it is a copy, so that nobody writes there; a command that was killed is simply run again. Whoever begins
takes the new deployment over from whoever began before, who then fails: one of two can still be running.
Both may fail, but none says that it is done with what the other has changed.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeVar

from redis.asyncio import Redis

from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.recovery import NOTHING_PUBLISHED, Republication
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.leadership import Leadership
from depthcast.ingestor.runtime.recover import Recovered, Recovery
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.copies import COPY_OF
from depthcast.shared.errors import DepthcastError, Fenced
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.runtime.catalog import read_deployed, read_instruments
from depthcast.shared.runtime.redis import execute, last_position, read_hash, read_stream
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import EntryInfo

logger = logging.getLogger(__name__)

READ_COUNT: Final = 1000
"""Unread input entries are counted in steps of so many."""

RESULTS: Final = ("applied", "rejected", "ignored")

_TAKE: Final = """
local copy_of = redis.call('HGET', KEYS[1], 'copy_of')
if redis.call('EXISTS', KEYS[1]) == 1 and copy_of ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'copy_of', ARGV[1], 'moved_by', unpack(ARGV, 2))
return 1
"""
"""Take the new deployment, if there is none or an earlier attempt's; ARGV: mark, who takes it, fields."""

_WRITE: Final = """
if redis.call('HGET', KEYS[1], 'moved_by') ~= ARGV[1] then return {0} end
local words = {ARGV[2], unpack(KEYS, 2)}
for at = 3, #ARGV do words[#words + 1] = ARGV[at] end
return {1, redis.call(unpack(words))}
"""
"""Run a command on further keys, if nobody else has taken the deployment; ARGV: who took it, the command."""

Item = TypeVar("Item")

KEYS_AT_ONCE: Final = 1000
"""Keys or fields that one command names at most."""


class NotRepartitioned(DepthcastError):
    """The deployment cannot be moved as it is; nothing of it was changed."""


class Book(NamedTuple):
    """What has to be the same before and after, of one symbol."""

    listing: Listing
    bids: tuple[int, ...]
    asks: tuple[int, ...]
    digest: int
    orders: tuple[tuple[object, ...], ...] | None
    doubt: str | None
    times: tuple[int | None, int]

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever published but its birth: an instrument that was added since the end."""
        return not self.bids and not self.asks and self.listing.number == 1 and self.times == (None, 0)


class Moved(NamedTuple):
    """What was moved: books by symbol, and the counts of events."""

    partitions: int
    books: Mapping[str, Book]
    counts: Mapping[str, int]


class _State(NamedTuple):
    """A deployment as an ingestor would lead it: its partitions, and where their streams end."""

    recovered: Sequence[Recovered]
    ends: Sequence[tuple[Position, Position]]

    def books(self) -> dict[str, Book]:
        return {
            symbol: _book(each.engine, symbol) for each in self.recovered for symbol in each.engine.symbols()
        }

    def counts(self) -> Counter[str]:
        return Counter(
            {
                name: sum(getattr(each.info, name) or 0 for each in self.recovered)
                for name in (*RESULTS, "lost")
            }
        )


async def repartition(client: Redis, old_prefix: str, new_prefix: str, partitions: int) -> Moved:
    """Write the deployment `old_prefix` as `new_prefix` with another number of partitions.

    Raises `NotRepartitioned`, `RecoveryError` if the old one cannot be led, and `RedisUnavailable`.
    """
    old_keys, new_keys = DeploymentKeys(old_prefix), DeploymentKeys(new_prefix)
    deployed = await read_deployed(client, old_keys, None, writes=True)
    if deployed is None:
        raise NotRepartitioned(f"there is no deployment with the prefix {old_prefix!r}")
    count = deployed.partitions
    target = _Target(client, new_keys, f"{old_prefix}, which is being moved to {partitions} partitions")
    await target.take(partitions)
    await target.clear(partitions)
    instruments = await read_instruments(client, old_keys)
    old = await _read(client, old_keys, count, instruments)
    await _copy_catalog(client, old_keys, target)
    try:
        for number in range(partitions):
            await _write(client, (number, partitions), new_keys, old, instruments)
    except Fenced as error:
        raise target.taken() from error
    books, counts = old.books(), old.counts()
    new = await _read(client, new_keys, partitions, instruments)
    found = new.books()
    differing = [
        symbol
        for symbol, book in found.items()
        if book != books.get(symbol) and not (book.is_new and symbol not in books)
    ]
    differing += [symbol for symbol in books if symbol not in found]
    if differing or new.counts() != counts:
        raise NotRepartitioned(
            f"what was written differs: {len(differing)} books ({', '.join(sorted(differing)[:5])}), counts "
            f"{dict(counts)} and {dict(new.counts())}; nothing uses it, and {old_prefix!r} is as it was"
        )
    if await _ends(client, old_keys, count) != old.ends:
        raise NotRepartitioned(f"{old_prefix!r} changed meanwhile: end all its processes, and run this again")
    await target.finish()
    return Moved(partitions, books, counts)


class _Target:
    """The new deployment, marked as a copy of the old one while it is written."""

    def __init__(self, client: Redis, keys: DeploymentKeys, mark: str) -> None:
        self.client = client
        self.keys = keys
        self.mark = mark
        self.name = secrets.token_hex(8)

    async def take(self, partitions: int) -> None:
        """Mark it as one that nobody may write to but this run of the command."""
        words = (self.mark, self.name, "protocol", PROTOCOL, "partitions", partitions)
        if not await execute(self.client, "EVAL", _TAKE, 1, self.keys.meta, *words):
            raise NotRepartitioned(
                f"there is a deployment with the prefix {self.keys.prefix!r} already: choose another --into"
            )

    async def write(self, command: str, keys: Sequence[str], *words: str | bytes | float) -> None:
        """Run a command on its keys; raises `NotRepartitioned` if another run has taken the deployment."""
        named = (self.keys.meta, *keys)
        found = await execute(self.client, "EVAL", _WRITE, len(named), *named, self.name, command, *words)
        if not found[0]:
            raise self.taken()

    def taken(self) -> NotRepartitioned:
        """The error for a deployment that somebody else writes to."""
        return NotRepartitioned(
            f"another run of this command writes {self.keys.prefix!r}, too: let one run alone"
        )

    async def clear(self, partitions: int) -> None:
        """Delete what an earlier attempt left."""
        for number in range(partitions):
            of = self.keys.partition(number)
            records = [of.events, of.deltas, of.rejects, of.symbols, of.listings, of.applying]
            for name in await read_hash(self.client, of.symbols):
                records += [of.snapshots(name.decode()), of.checkpoint(name.decode())]
            # The hash that names the symbols goes last, so that a further attempt finds what is left.
            for some in _parts(records[::-1]):
                await self.write("DEL", some)

    async def finish(self) -> None:
        """Let it be written to from now on; raises `NotRepartitioned` as `write`."""
        await self.write("HDEL", [self.keys.meta], COPY_OF, "moved_by")


async def _read(
    client: Redis, keys: DeploymentKeys, count: int, instruments: Mapping[str, Instrument]
) -> _State:
    """Rebuild all partitions; raises `NotRepartitioned` if somebody leads one, or input is not consumed."""
    ends = await _ends(client, keys, count)
    recovered = []
    for number in range(count):
        of = keys.partition(number)
        leader = await execute(client, "GET", of.leader)
        if leader is not None:
            raise NotRepartitioned(
                f"partition {number} of {keys.prefix!r} is led by {leader.decode()}: end all ingestors first"
            )
        own = {name: each for name, each in instruments.items() if partition_of(name, count) == number}
        recovery = Recovery((number, count), of, own, REAL_ENVIRONMENT)
        await recovery.load(client)
        found = await recovery.finish(client, own)
        if unread := await _unread(client, of.events, Position.parse(found.info.src)):
            raise NotRepartitioned(
                f"{unread} input entries of partition {number} of {keys.prefix!r} are not consumed: start an "
                "ingestor, and end producers first, then the ingestor"
            )
        recovered.append(found)
    return _State(recovered, ends)


async def _ends(client: Redis, keys: DeploymentKeys, count: int) -> list[tuple[Position, Position]]:
    parts = [keys.partition(number) for number in range(count)]
    return [(await last_position(client, of.deltas), await last_position(client, of.events)) for of in parts]


async def _unread(client: Redis, key: str, src: Position) -> int:
    count = 0
    while entries := await read_stream(client, key, src, count=READ_COUNT):
        count += len(entries)
        src = entries[-1][0]
    return count


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), KEYS_AT_ONCE):
        yield items[first : first + KEYS_AT_ONCE]


async def _copy_catalog(client: Redis, old: DeploymentKeys, target: _Target) -> None:
    """Instruments and revoked tokens; the new deployment gets its incarnation from an ingestor."""
    table = await read_hash(client, old.instruments)
    await target.write("DEL", [target.keys.instruments])
    for some in _parts(list(table.items())):
        await target.write("HSET", [target.keys.instruments], *chain(*some))
    revoked = await execute(client, "ZRANGEBYSCORE", old.revoked, "-inf", "+inf", "WITHSCORES")
    for name, score in zip(revoked[::2], revoked[1::2], strict=True):
        await target.write("ZADD", [target.keys.revoked], score, name)


async def _write(
    client: Redis,
    partition: tuple[int, int],
    keys: DeploymentKeys,
    old: _State,
    instruments: Mapping[str, Instrument],
) -> None:
    """Write one partition: its seal, and in one step moves, snapshots, checkpoints and records."""
    number, count = partition
    own = {name: each for name, each in instruments.items() if partition_of(name, count) == number}
    engine = Engine(*partition)
    listings: dict[str, Listing] = {}
    for each in old.recovered:
        listings |= {name: one for name, one in each.listings.items() if partition_of(name, count) == number}
        for symbol in each.engine.symbols():
            if partition_of(symbol, count) == number:
                _restore(engine, each.engine, symbol)
                listings[str(symbol)] = each.engine.listing(symbol)
    info = _info_of(number, count, old)
    engine.resume_counting(info.src, info.applied, info.rejected, info.ignored)
    publisher = Publisher(client, (number, keys.partition(number)), ZERO, rejects_max=1)
    epoch = REAL_ENVIRONMENT.now_ms()
    try:
        await publisher.seal(epoch, Broadcast(info._replace(ts=REAL_ENVIRONMENT.now_us()), ()))
        settings = IngestorSettings()
        leadership = Leadership(settings, engine, publisher, PartitionStats(), REAL_ENVIRONMENT)
        await leadership.begin(epoch, own, instruments.keys(), Republication(), info, listings)
    finally:
        await publisher.release()


def _info_of(number: int, count: int, old: _State) -> EntryInfo:
    """The counts of the old partitions whose number is ours or a multiple of the new count beyond it."""
    ours = [each.info for place, each in enumerate(old.recovered) if place % count == number]
    sums = {name: sum(getattr(info, name) for info in ours) for name in RESULTS}
    lost = sum(info.lost or 0 for info in ours)
    return NOTHING_PUBLISHED._replace(**sums, lost=lost or None)


def _restore(engine: Engine, before: Engine, symbol: str) -> None:
    snapshot = before.snapshot(symbol)
    instrument = before.listing(symbol).instrument._replace(listing=before.listing(symbol).number)
    engine.restore(
        instrument, snapshot.seq, snapshot.bids, snapshot.asks, snapshot.digest, before.orders_of(symbol)
    )
    engine.set_seq(symbol, snapshot.seq)
    if (doubt := before.doubt(symbol)) is not None:
        engine.restore_doubts({symbol: doubt})
    engine.restore_times({symbol: before.times(symbol)})


def _book(engine: Engine, symbol: str) -> Book:
    snapshot, orders = engine.snapshot(symbol), engine.orders_of(symbol)
    flat = None
    if orders is not None:
        sides = [(orders[0], orders[1]), (orders[2], orders[3])]
        flat = tuple(
            (name, side, *values)
            for side, (names, rows) in enumerate(sides)
            for name, values in zip(names, rows, strict=True)
        )
    return Book(
        engine.listing(symbol),
        tuple(snapshot.bids),
        tuple(snapshot.asks),
        snapshot.digest,
        flat,
        engine.doubt(symbol),
        engine.times(symbol),
    )
