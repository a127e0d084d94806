"""Redis access: clients with limits, raw replies of stream commands, and the library's errors mapped to ours.

Three defaults of the library are replaced. It does not retry, because only we may decide to send a publish
twice. It speaks RESP2, which is faster for streams. Stream replies stay raw, because a dict would lose
repeated fields.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import LockError, RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from depthcast.shared.codec import SNAPSHOT_FIELD, decode_snapshot
from depthcast.shared.errors import (
    CodecError,
    PositionError,
    RedisRefused,
    RedisUnavailable,
    SettingsError,
    WatchedKeyChanged,
    WrongKey,
)
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import OldestEntry, is_foreign, read_info
from depthcast.shared.redis_url import HARMLESS_OPTIONS, SENTINEL, is_cluster, problem_of, without_credentials
from depthcast.shared.runtime.cluster import ClusterClient
from depthcast.shared.runtime.connections import prepare_pool
from depthcast.shared.runtime.error_replies import is_absent, key_of, refusal
from depthcast.shared.runtime.redis_tls import tls_context
from depthcast.shared.runtime.sentinel import master_client
from depthcast.shared.settings import variable
from depthcast.shared.types import Snapshot

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 1500
"""A blocking read waits this long: well below the time-out of the socket."""

SOCKET_TIMEOUT_S: Final = 4.0

FOREIGN_MAX: Final = 100
"""Entries that are searched for one of ours, where others have added entries to a stream."""

RawEntry = tuple[Position, list[tuple[bytes, bytes]]]
"""A stream entry: its ID and its fields in order, repeated ones included."""


FoundSnapshot = tuple[Position, Snapshot] | None
"""A symbol's snapshot with the position of the last entry in it; None if there is none."""

SNAPSHOTS_AT_ONCE: Final = 200
"""So many snapshots are read in one round trip."""

OnConnect = Callable[[AbstractConnection], Awaitable[None]]
"""Called for every new connection before its first command; must call `connection.on_connect`."""


class Connect(Protocol):
    """The function `connect`, or a simulation's replacement."""

    def __call__(
        self,
        url: str,
        *,
        connections_max: int = 4,
        timeout_s: float = SOCKET_TIMEOUT_S,
        on_connect: OnConnect | None = None,
    ) -> Redis: ...


def connect(
    url: str,
    *,
    connections_max: int = 4,
    timeout_s: float = SOCKET_TIMEOUT_S,
    on_connect: OnConnect | None = None,
) -> Redis:
    """Make a client for one task; it connects at its first command. Raises `SettingsError` for a bad URL.

    With the address of sentinels (`depthcast.shared.redis_url`), every new connection goes to the current
    master; with that of a cluster, to the owner of the slot that the command's key is in. If `on_connect`
    raises an error, the command that needed the connection raises it.
    """
    options = connection_options(timeout_s=timeout_s, connections_max=connections_max)
    options["redis_connect_func"] = on_connect
    if url.startswith("unix://"):
        del options["socket_keepalive"]
    if (problem := problem_of(url)) is not None:
        raise SettingsError(variable("redis_url"), without_credentials(url), problem)
    try:
        client = _client(url, options)
        cast(
            "Any", client.connection_pool
        ).make_connection()  # does not connect, but checks the URL's options
    except (ValueError, TypeError, RedisError) as error:
        # The library's text may quote any part of the address, and a traceback would show the error.
        raise SettingsError(
            variable("redis_url"), without_credentials(url), f"is not a usable address: {_refusal(error)}"
        ) from None
    return with_raw_replies(client)


def connection_options(*, timeout_s: float, connections_max: int) -> dict[str, Any]:
    """The options of every connection, whatever the address says."""
    return {
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": connections_max,
        "driver_info": None,  # else the library says its name, which needs a right of its own
    }


def _client(url: str, options: Mapping[str, Any]) -> Redis:
    if is_cluster(url):
        return ClusterClient(url, options, with_raw_replies)
    client = master_client(url, options) if url.startswith(SENTINEL) else Redis.from_url(url, **options)
    prepare_pool(client.connection_pool)
    return client


def with_raw_replies(client: Redis) -> Redis:
    """Leave replies about streams as the server sends them."""
    for command in ("XREAD", "XRANGE", "XREVRANGE"):
        client.set_response_callback(command, cast("Any", _raw))
    return client


def check_tls_files(url: str) -> None:
    """Read the files of TLS that an address names; raises `SettingsError` if one is of no use.

    For the start of a process. Later such an error counts as a Redis that is away, because files may be
    renewed just then.
    """
    connection = cast("Any", connect(url).connection_pool).make_connection()
    if (wanted := getattr(connection, "ssl_context", None)) is not None:
        try:
            tls_context(wanted)
        except RedisConnectionError as error:
            raise SettingsError(variable("redis_url"), without_credentials(url), str(error)) from None


def _refusal(error: Exception) -> str:
    for name in HARMLESS_OPTIONS:
        if f"'{name}'" in str(error):
            return f"the option {name} has a wrong value, or does not belong there"
    return "an option after the ? is unknown or has a wrong value"


async def execute(client: Redis, *command: str | bytes | float) -> Any:
    """Send one command and return the library's reply; errors are mapped by `map_errors`."""
    async with map_errors(key_of(command)):
        return await cast("Any", client).execute_command(*command)


async def run_pipeline(pipeline: Pipeline) -> list[Any]:
    """Execute a pipeline or transaction and return its replies; errors are mapped as by `map_errors`.

    The library itself would return some error replies of a transaction as if they were values.
    """
    commands = [command for command, _ in cast("Any", pipeline).command_stack]
    async with map_errors():
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, RedisError):
            raise refusal(reply, key_of(command)) from reply
    return replies


async def read_hash(client: Redis, key: str) -> dict[bytes, bytes]:
    """Return all fields of a hash, empty if it does not exist."""
    async with map_errors(key):
        return cast("dict[bytes, bytes]", await cast("Any", client).hgetall(key))


@asynccontextmanager
async def map_errors(key: str | None = None) -> AsyncIterator[None]:
    """Turn errors of the library into `RedisUnavailable`, but a lost lock.

    An error reply becomes `RedisRefused`, whether it is known or not, and is counted. One that complains
    about the type of a value becomes `WrongKey`; `key` is the command's key, unless the reply names one.

    The library ends a transaction with further commands, also when it is cancelled, and their error takes the
    cancellation's place. So after an error the task is cancelled still, if it was meanwhile.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task is not None else 0
    try:
        yield
    except (RedisError, OSError) as error:
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError from error
        if isinstance(error, LockError):
            raise
        raise _mapped(error, key) from error


def _mapped(error: RedisError | OSError, key: str | None) -> RedisUnavailable:
    if isinstance(error, ResponseError | RedisConnectionError | RedisTimeoutError):
        return refusal(error, key)
    if isinstance(error, WatchError):
        return WatchedKeyChanged(str(error))
    if isinstance(error, OSError):
        return RedisUnavailable(str(error) or type(error).__name__)
    return RedisUnavailable(f"{type(error).__name__}: {error}")


async def read_stream(
    client: Redis, key: str, after: Position, *, count: int, block_ms: int | None = None
) -> list[RawEntry]:
    """Read up to `count` entries after `after`; waits up to `block_ms` for the first (None: no wait)."""
    block: Sequence[str | int] = () if block_ms is None else ("BLOCK", block_ms)
    reply = await execute(client, "XREAD", "COUNT", count, *block, "STREAMS", key, str(after))
    return parse_streams(reply)


async def read_streams(
    client: Redis, after: Mapping[str, Position], *, count: int, block_ms: int | None = None
) -> dict[str, list[RawEntry]]:
    """Read up to `count` entries of each stream after its position; streams without any are left out."""
    block: Sequence[str | int] = () if block_ms is None else ("BLOCK", block_ms)
    async with map_errors():
        reply = await cast("Any", client).execute_command(
            "XREAD", "COUNT", count, *block, "STREAMS", *after, *map(str, after.values())
        )
    try:
        found = {key.decode(): parse_entries(entries) for key, entries in reply or ()}
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_redis("entries of streams", error) from error
    return {key: entries for key, entries in found.items() if entries}


async def read_range(
    client: Redis, key: str, after: Position, upto: Position, *, count: int
) -> list[RawEntry]:
    """Read the first `count` entries after `after`, up to `upto` itself."""
    return parse_entries(await execute(client, "XRANGE", key, f"({after}", str(upto), "COUNT", count))


async def newest_entry(client: Redis, key: str) -> RawEntry | None:
    """Return a stream's newest entry, None if it is empty or does not exist."""
    reply = await execute(client, "XREVRANGE", key, "+", "-", "COUNT", 1)
    return parse_entries(reply)[0] if reply else None


async def oldest_entry(client: Redis, key: str) -> OldestEntry | None:
    """Return a `deltas` stream's oldest entry, None if it has none; entries of others do not count."""
    for count in (1, FOREIGN_MAX):
        for position, fields in parse_entries(await execute(client, "XRANGE", key, "-", "+", "COUNT", count)):
            if not is_foreign(fields):
                return OldestEntry(position, read_info(fields)[1])
    return None


async def last_position(client: Redis, key: str) -> Position:
    """Return the last ID ever generated in a stream, `0-0` if it does not exist."""
    info = await stream_info(client, key)
    if info is None:
        return ZERO
    try:
        return Position.parse(info[b"last-generated-id"])
    except (KeyError, PositionError) as error:
        raise _no_redis("that of XINFO STREAM", error) from error


async def stream_info(client: Redis, key: str) -> dict[bytes, Any] | None:
    """Return the reply of `XINFO STREAM`, None if the stream does not exist."""
    try:
        # Two words instead of one, so that the library does not parse the first and last entry.
        flat = await execute(client, "XINFO", "STREAM", key)
    except RedisRefused as error:
        if is_absent(error.problem):
            return None
        raise
    return _info(flat)


def parse_info(key: str, reply: Any) -> dict[bytes, Any] | None:
    """The reply of `XINFO STREAM key` within a pipeline; None if the stream does not exist."""
    if isinstance(reply, RedisError):
        error = refusal(reply, key)
        if is_absent(error.problem):
            return None
        raise error
    return _info(reply)


def _info(flat: Any) -> dict[bytes, Any]:
    try:
        return dict(zip(flat[::2], flat[1::2], strict=True))
    except (TypeError, ValueError) as error:
        raise _no_redis("that of XINFO STREAM", error) from error


async def last_fields(client: Redis, key: str) -> dict[bytes, bytes] | None:
    """Return the fields of the stream's last entry, None if there is none; by `XINFO` alone."""
    last = (await stream_info(client, key) or {}).get(b"last-entry")
    return dict(parse_entries([last])[0][1]) if last else None


async def newest_snapshots(
    client: Redis,
    keys: Sequence[str],
    *,
    upto: Position | None = None,
    unreadable: set[str] | None = None,
) -> list[FoundSnapshot]:
    """Read the newest snapshot of each key, or None; a few hundred per round trip.

    `upto`: snapshots of later entries do not count. A malformed snapshot raises `CodecError`, a key of
    another type `WrongKey`. If `unreadable` is given, it is logged and returned as None instead, and its key
    is added there.
    """
    found: list[FoundSnapshot] = []
    last = "+" if upto is None else str(upto)
    for start in range(0, len(keys), SNAPSHOTS_AT_ONCE):
        some = keys[start : start + SNAPSHOTS_AT_ONCE]
        async with map_errors(), client.pipeline(transaction=False) as pipeline:
            for key in some:
                pipeline.execute_command("XREVRANGE", key, last, "-", "COUNT", 1)
            replies = await pipeline.execute(raise_on_error=False)
        found += await parse_snapshots(client, some, replies, last=last, unreadable=unreadable)
    return found


async def parse_snapshots(
    client: Redis,
    keys: Sequence[str],
    replies: Sequence[Any],
    *,
    last: str = "+",
    unreadable: set[str] | None = None,
) -> list[FoundSnapshot]:
    """The newest snapshots from the replies of `XREVRANGE key last - COUNT 1`; as `newest_snapshots`."""
    found: list[FoundSnapshot] = []
    for key, reply in zip(keys, replies, strict=False):
        try:
            found.append(await _snapshot(client, key, reply, last))
        except (CodecError, WrongKey) as error:
            if unreadable is None:
                raise
            unreadable.add(key)
            logger.warning("snapshot left out", extra={"key": key, "problem": str(error)})
            found.append(None)
    return found


async def snapshots_before(
    client: Redis, newest: Mapping[str, Position]
) -> dict[str, tuple[Position, Snapshot]]:
    """The snapshots before these, by key, where there are any: the last two of a symbol are kept."""
    found: dict[str, tuple[Position, Snapshot]] = {}
    keys = list(newest)
    for start in range(0, len(keys), 200):
        async with map_errors(), client.pipeline(transaction=False) as pipeline:
            for key in keys[start : start + 200]:
                pipeline.execute_command("XREVRANGE", key, f"({newest[key]}", "-", "COUNT", 1)
            replies = await pipeline.execute(raise_on_error=False)
        for key, reply in zip(keys[start:], replies, strict=False):
            with suppress(CodecError, WrongKey):
                if (snapshot := await _snapshot(client, key, reply, f"({newest[key]}")) is not None:
                    found[key] = snapshot
    return found


def parse_entries(reply: Any) -> list[RawEntry]:
    """Parse the entries of a raw stream reply; raises `RedisUnavailable` if it is no such reply."""
    try:
        return [
            (Position.parse(name), list(zip(flat[::2], flat[1::2], strict=True)))
            for name, flat in reply
            if flat
        ]
    except (TypeError, ValueError, PositionError) as error:
        raise _no_redis("entries of a stream", error) from error


def parse_streams(reply: Any) -> list[RawEntry]:
    """Parse the reply of `XREAD` for one stream; raises `RedisUnavailable` if it is no such reply."""
    try:
        entries = reply[0][1] if reply else ()
    except (TypeError, LookupError) as error:
        raise _no_redis("entries of a stream", error) from error
    return parse_entries(entries)


def _no_redis(what: str, error: Exception) -> RedisUnavailable:
    return RedisUnavailable(f"a reply is not {what} ({type(error).__name__}); is it Redis that answers?")


async def _snapshot(client: Redis, key: str, reply: Any, last: str) -> tuple[Position, Snapshot] | None:
    """The newest snapshot from the reply for `key`; raises `CodecError`, or the error that the reply is.

    If somebody else added the newest entry up to `last`, the newest one of ours counts.
    """
    if isinstance(reply, RedisError):
        raise refusal(reply, key)
    if not reply:
        return None
    found = _first_snapshot(parse_entries(reply))
    if found is None:
        older = await execute(client, "XREVRANGE", key, last, "-", "COUNT", FOREIGN_MAX)
        found = _first_snapshot(parse_entries(older))
    if found is None:
        raise CodecError("snapshot", f"no entry of {key} has a field s")
    return found


def _first_snapshot(entries: Sequence[RawEntry]) -> tuple[Position, Snapshot] | None:
    for position, fields in entries:
        for name, raw in fields:
            if name == SNAPSHOT_FIELD:
                return position, decode_snapshot(raw)
    return None


def _raw(reply: Any, **_options: Any) -> Any:
    return reply
