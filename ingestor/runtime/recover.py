"""Reads what recovery needs from Redis and hands it to the pure `ingestor.recovery`."""

from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

from ingestor import checkpoint as checkpoints_codec
from ingestor.checkpoint import Checkpoint
from ingestor.engine import Engine
from ingestor.recovery import (
    NOTHING_PUBLISHED,
    Published,
    StateFold,
    prove_orders,
    replay,
    restore_levels,
    restore_orders,
)
from shared.codec import INFO_FIELD, decode_info
from shared.errors import CodecError, PositionError, RecoveryError
from shared.instruments import Feed, Instrument
from shared.keys import PartitionKeys
from shared.position import ZERO, Position
from shared.reader import within_history
from shared.runtime.redis import (
    entries,
    execute,
    first_entry,
    last_entry,
    last_position,
    newest_snapshots,
    read_stream,
)
from shared.types import EntryInfo

READ_COUNT: Final = 500


async def recover(
    client: Redis, partition: int, keys: PartitionKeys, engine: Engine, instruments: Mapping[str, Instrument]
) -> Published:
    """Bring a fresh `engine` to the published state of `partition`; raises `RecoveryError` or `RedisUnavailable`."""
    try:
        published = await _published(client, partition, keys, list(instruments))
        restore_levels(engine, published, instruments)
        await _recover_orders(client, partition, keys, engine, instruments, published)
    except (CodecError, PositionError) as error:
        raise RecoveryError(partition, str(error)) from error
    info = published.info
    engine.resume(info.src, info.applied, info.rejected, info.ignored)
    return published


async def _published(client: Redis, partition: int, keys: PartitionKeys, symbols: list[str]) -> Published:
    tail, info = await _tail(client, partition, keys)
    first = await first_entry(client, keys.deltas)
    found = await newest_snapshots(client, [keys.snapshots(symbol) for symbol in symbols])
    fold = StateFold(partition, tail, within_history(dict(zip(symbols, found, strict=True)), first))
    while fold.position < tail:
        batch = await read_stream(client, keys.deltas, fold.position, count=READ_COUNT)
        if not batch:
            break
        fold.add([entry for entry in batch if entry[0] <= tail])
    return fold.finish(info)


async def _tail(client: Redis, partition: int, keys: PartitionKeys) -> tuple[Position, EntryInfo]:
    """Where the stream ends and what its last entry says of the input."""
    last_id = await last_position(client, keys.deltas)
    if last_id == ZERO:
        return ZERO, NOTHING_PUBLISHED
    newest = await last_entry(client, keys.deltas)
    if newest is None or newest[0] < last_id:
        raise RecoveryError(
            partition, f"entry {last_id}, the last of {keys.deltas}, is gone and its src with it"
        )
    info = dict(newest[1]).get(INFO_FIELD, b"")
    return newest[0], decode_info(info)


async def _recover_orders(
    client: Redis,
    partition: int,
    keys: PartitionKeys,
    engine: Engine,
    instruments: Mapping[str, Instrument],
    published: Published,
) -> None:
    symbols = [s for s, i in instruments.items() if i.feed is Feed.ORDERS and s in published.replicas]
    if not symbols:
        return
    found = await _checkpoints(client, keys, symbols)
    restore_orders(engine, partition, published, instruments, found)
    await _replay(client, keys, engine, found, Position.parse(published.info.src))
    prove_orders(engine, partition, published, symbols)


async def _checkpoints(client: Redis, keys: PartitionKeys, symbols: list[str]) -> dict[str, Checkpoint]:
    found = {}
    for symbol in symbols:
        raw = await execute(client, "GET", keys.checkpoint(symbol))
        if raw is not None:
            found[symbol] = checkpoints_codec.decode(raw)
    return found


async def _replay(
    client: Redis, keys: PartitionKeys, engine: Engine, found: Mapping[str, Checkpoint], until: Position
) -> None:
    """Replay `events` after the oldest checkpoint's src, up to and including `until`."""
    at = min(checkpoint.src for checkpoint in found.values())
    while at < until:
        reply = await execute(client, "XRANGE", keys.events, f"({at}", str(until), "COUNT", READ_COUNT)
        batch = entries(reply)
        if not batch:
            return
        replay(engine, batch, found)
        at = batch[-1][0]
