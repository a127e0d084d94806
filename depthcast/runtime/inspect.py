"""Reads a deployment's state from Redis and gateways, for `depthcast status` and `depthcast doctor`.

It writes nothing. What the server does not let us read is noted, and all else is read.
"""

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from depthcast.inspection.keys import quoted, use_in
from depthcast.inspection.state import (
    DeploymentState,
    GatewayState,
    ListedGateway,
    MisplacedKey,
    NamedConsumer,
    PartitionState,
    RefusedProbe,
)
from depthcast.shared import consumer_entry, relay_entry
from depthcast.shared.codec import INFO_FIELD, WRITTEN_FIELD, decode_info, decode_written, unpack
from depthcast.shared.copies import clock_offset_us, copy_of
from depthcast.shared.errors import (
    CodecError,
    DeploymentMismatch,
    DepthcastError,
    InstrumentsError,
    PositionError,
    RedisRefused,
    WrongKey,
)
from depthcast.shared.gateway_entry import GatewayEntry, decode_entry
from depthcast.shared.instruments import from_json
from depthcast.shared.json_object import json_object
from depthcast.shared.keys import DeploymentKeys, PartitionKeys
from depthcast.shared.listing import of_table
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.redis_url import has_credentials, without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.cluster import each_server
from depthcast.shared.runtime.error_replies import is_absent, key_of, refusal
from depthcast.shared.runtime.redis import parse_entries
from depthcast.shared.runtime.rejects import all_rejects
from depthcast.shared.server_health import problems_of
from depthcast.shared.settings import Settings
from depthcast.shared.slots import parse_tags

PIPELINE: Final = 500
"""Commands sent at once."""

SCANNED: Final = 1_000
"""Keys looked at by one SCAN."""

GATEWAY_S: Final = 5.0

ENTRIES_SEARCHED: Final = 200
RECENT_MS: Final = 60_000
"""The newest entries of input, and no older ones, are searched for those of another producer."""

_ABOUT_CONNECTING: Final = ("NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN")
"""Refusals of everything."""

_Command = tuple[str | int, ...]


async def read_deployment(
    client: Redis, address: str, prefix: str, *, rejects_s: float, gateways: Sequence[str] = ()
) -> DeploymentState:
    """Read everything but the names of all keys; raises `RedisUnavailable` if there is no usable server.

    `rejects_s`: rejects of the last so many seconds are counted.
    """
    keys = DeploymentKeys.at(address, prefix)
    state = DeploymentState(without_credentials(address), prefix, keys, options=_options(address, prefix))
    reader = _Reader(client, state)
    await reader.server()
    await reader.deployment()
    for number in range(state.partitions_count or 0):
        state.partitions.append(await reader.partition(number, rejects_s))
    await reader.books()
    await reader.intruders()
    state.gateways = list(await asyncio.gather(*map(read_gateway, gateways)))
    return state


def _options(address: str, prefix: str) -> str:
    """The options for another command; credentials are in its environment, and so is their address."""
    options = "" if prefix == Settings.prefix else f" --prefix {shlex.quote(prefix)}"
    if address == Settings.redis_url or has_credentials(address):
        return options
    return f"{options} --redis-url {shlex.quote(address)}"


async def read_gateway(url: str) -> GatewayState:
    """Ask a gateway whether it is ready."""
    shown = without_credentials(url)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(GATEWAY_S)) as session,
            session.get(f"{url.rstrip('/')}/readyz") as answer,
        ):
            body = await answer.json()
        if not isinstance(body, dict) or not isinstance(body.get("ready"), bool):
            return GatewayState(shown, ready=False, body={}, problem="what answers is no gateway")
        return GatewayState(shown, ready=body.pop("ready"), body=body)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return GatewayState(shown, ready=False, body={}, problem=f"does not answer ({type(error).__name__})")


async def find_misplaced_keys(client: Redis, state: DeploymentState, keys_max: int) -> None:
    """Look at the names of up to `keys_max` keys, and add those that nobody reads to `state`."""
    reader = _Reader(client, state)
    names: list[bytes] = []
    cursor = 0
    async with redis.map_errors():
        servers = await each_server(client)
    for server in servers.values():
        while True:
            reply = await _Reader(server, state).ask("SCAN", cursor, "COUNT", SCANNED)
            if reply is None:
                return
            cursor, page = int(reply[0]), reply[1]
            state.keys_seen += len(page)
            names += page
            if cursor == 0 or state.keys_seen >= keys_max:
                break
        if cursor:
            break
    state.all_keys = cursor == 0
    texts = sorted({name.decode(errors="backslashreplace") for name in names})
    unsure = await _find_deployments(reader, [name for name in texts if name.endswith(":meta")])
    await _find_misplaced(reader, texts, unsure)


async def _find_deployments(reader: "_Reader", names: Sequence[str]) -> list[str]:
    """Find other deployments; returns the prefixes of what may be one, because nobody could read it.

    That somebody else's `meta` may not be read, or has another type, is no finding about this deployment.
    """
    state, unsure = reader.state, list[str]()
    commands = [("HGET", name, "partitions") for name in names if name != state.keys.meta]
    for command, reply in zip(commands, await reader.ask_all(commands, note=False), strict=True):
        prefix = command[1].removesuffix(":meta").strip("{}")
        if isinstance(reply, RedisRefused):
            unsure.append(prefix)
            if reply.code not in ("NOPERM", "WRONGTYPE"):
                reader.note(command, reply)
        elif reply is not None:
            state.deployments.append(prefix)
    return unsure


async def _find_misplaced(reader: "_Reader", names: Sequence[str], unsure: Sequence[str]) -> None:
    """Find keys that nobody reads; those of a deployment that may exist are not judged."""
    state = reader.state
    deployments = [*state.deployments, *unsure]
    uses = {
        name: use
        for name in names
        if (use := use_in(name, state.keys, state.partitions_count, deployments)) is not None
    }
    types = await reader.ask_all([("TYPE", name) for name in uses])
    lengths = dict.fromkeys(uses, None)
    for name, held in zip(uses, types, strict=True):
        use, kind = uses[name], held.decode() if isinstance(held, bytes) else str(held)
        if held is None or kind == "none":
            continue
        problem, remedy = use.problem, use.remedy
        if problem and use.if_type not in ("", kind):
            continue
        if not problem and use.type != kind:
            problem, remedy = (
                f"holds a {kind}, not a {use.type}",
                f"find out what wrote it, then DEL {quoted(name)}",
            )
        if problem:
            entries = await reader.ask("XLEN", name) if kind == "stream" else lengths[name]
            state.misplaced.append(MisplacedKey(name, problem, remedy, entries))


class _Reader:
    """Asks the server, and notes in `state` what it refuses."""

    def __init__(self, client: Redis, state: DeploymentState) -> None:
        self.client = client
        self.state = state

    @property
    def keys(self) -> DeploymentKeys:
        """The keys of the deployment, as far as they are known."""
        return self.state.keys

    async def ask(self, *command: str | int) -> Any:
        """The reply, None if it is refused."""
        return (await self.ask_all([command]))[0]

    async def ask_all(self, commands: Sequence[_Command], *, note: bool = True) -> list[Any]:
        """The replies in order, None for those that are refused or have nothing.

        Without `note`, a refusal is returned in place of its reply.
        """
        replies: list[Any] = []
        for start in range(0, len(commands), PIPELINE):
            page = commands[start : start + PIPELINE]
            async with redis.map_errors(), self.client.pipeline(transaction=False) as pipeline:
                for command in page:
                    pipeline.execute_command(*command)
                found = await pipeline.execute(raise_on_error=False)
            replies += [self._value(*pair, note=note) for pair in zip(page, found, strict=True)]
        return replies

    def _value(self, command: _Command, reply: Any, *, note: bool) -> Any:
        if not isinstance(reply, RedisError):
            return reply
        error = refusal(reply, key_of(command))
        if not isinstance(error, RedisRefused) or error.code in _ABOUT_CONNECTING:
            raise error
        if is_absent(error.problem):
            return None
        if not note:
            return error
        self.note(command, error)
        return None

    def note(self, command: _Command, error: RedisRefused) -> None:
        """Note that something could not be read; once for each key, or command without one."""
        what = error.key if isinstance(error, WrongKey) else key_of(command) or str(command[0])
        if command[0] in ("SCAN", "INFO", "TIME"):
            what = str(command[0])
        if all(probe.what != what for probe in self.state.refused):
            self.state.refused.append(RefusedProbe(what, error.problem, isinstance(error, WrongKey)))

    @asynccontextmanager
    async def noting(self, *command: str | int) -> AsyncIterator[None]:
        """Note a refusal of what is done in the block."""
        try:
            yield
        except RedisRefused as error:
            if error.code in _ABOUT_CONNECTING:
                raise
            self.note(command, error)

    async def server(self) -> None:
        """Read what the server tells of itself; raises `RedisUnavailable` if it cannot be reached."""
        state = self.state
        asked_us = time.time_ns() // 1000
        now, info = await self.ask("TIME"), None
        answered_us = time.time_ns() // 1000
        server_us = int(now[0]) * 1_000_000 + int(now[1]) if now is not None else answered_us
        state.now_ms = server_us // 1000
        async with self.noting("INFO"):
            info = await redis.execute(self.client, "INFO")
        if info is None:
            return
        behind_us = server_us - min(max(server_us, asked_us), answered_us)
        state.server = {name: text for name, text in problems_of(info, behind_us / 1e6).items() if text}
        await self._other_servers()
        product, version = (
            ("Valkey", "valkey_version") if "valkey_version" in info else ("Redis", "redis_version")
        )
        state.version = f"{product} {info.get(version, '')}".strip()
        state.databases = {
            name: int(value["keys"])
            for name, value in info.items()
            if name.startswith("db") and name[2:].isdigit() and isinstance(value, dict) and value.get("keys")
        }

    async def _other_servers(self) -> None:
        """Read what each master of a cluster tells of itself; its problems name it."""
        async with self.noting("INFO"), redis.map_errors():
            for address, server in (await each_server(self.client)).items():
                if address:
                    found = problems_of(await redis.execute(server, "INFO"), 0.0)
                    problems = {name: f"{address}: {text}" for name, text in found.items() if text}
                    self.state.server |= problems

    async def deployment(self) -> None:
        """Read the keys of the deployment as a whole."""
        await self._meta()
        await self._instruments()
        now_ms = self.state.now_ms
        for name, score in _pairs(await self.ask("ZRANGE", self.keys.ingestors, 0, -1, "WITHSCORES")):
            with suppress(ValueError):
                seen_ms = float(score)
                seen_s = (now_ms - seen_ms) / 1000 if seen_ms >= 0 else -1.0
                self.state.ingestors[_text(name)] = max(0.0, seen_s) if seen_ms >= 0 else seen_s
        for found in await self.ask_all([("HGETALL", key) for key in self.keys.all_sources()]):
            for name, raw in _pairs(found):
                self.state.sources[_text(name)] = _object(raw)
        await self._gateways()
        await self._consumers()
        await self._relays()

    async def _consumers(self) -> None:
        """Read how far consumers are that name themselves."""
        state = self.state
        for raw_name, raw in sorted(_pairs(await self.ask("HGETALL", self.keys.consumers))):
            name, entry = _text(raw_name), consumer_entry.decode_entry(raw)
            if entry is None or not consumer_entry.is_name(name):
                state.other_consumers.append(name)
            else:
                state.consumers.append(
                    NamedConsumer(name, entry, (state.now_ms - state.copy_offset_ms) * 1000)
                )

    async def _relays(self) -> None:
        """Read how far the relays of a copy are."""
        if self.state.copy_of is not None:
            for name, raw in sorted(_pairs(await self.ask("HGETALL", self.keys.relays))):
                if (relay := relay_entry.decode_entry(raw)) is not None:
                    self.state.relays[_text(name)] = relay

    async def _gateways(self) -> None:
        """Read what gateways say of themselves; an entry that was replaced may still be there."""
        found: dict[str, tuple[GatewayEntry, float]] = {}
        for member, score in _pairs(await self.ask("ZRANGE", self.keys.gateways, 0, -1, "WITHSCORES")):
            entry = decode_entry(member)
            if entry is not None:
                found[entry.id] = entry, float(score)  # the newest is last
        self.state.listed_gateways = [
            ListedGateway(entry, max(0, round(self.state.now_ms - seen_ms)))
            for entry, seen_ms in sorted(found.values(), key=lambda each: (each[0].address, each[0].id))
        ]

    async def _meta(self) -> None:
        state = self.state
        meta = {_text(name): _text(raw) for name, raw in _pairs(await self.ask("HGETALL", self.keys.meta))}
        if not meta:
            return
        protocol, partitions = meta.get("protocol", str(PROTOCOL)), meta.get("partitions", "")
        if not (partitions.isascii() and partitions.isdigit() and 1 <= int(partitions[:7]) <= 4096) or not (
            protocol.isascii() and protocol.isdigit()
        ):
            state.meta_problem = f"{self.keys.meta} holds {meta!r}, which no ingestor wrote"
            return
        state.protocol = int(protocol[:9])
        raw = {name.encode(): text.encode() for name, text in meta.items()}
        state.copy_of, state.copy_offset_ms = copy_of(raw), clock_offset_us(raw) // 1000
        if state.protocol != PROTOCOL:
            return
        try:
            tags = (
                parse_tags(meta["tags"].encode(), int(partitions))
                if "tags" in meta and state.keys.clustered
                else ()
            )
        except ValueError as error:
            state.meta_problem = f"{self.keys.meta} holds other tags than an ingestor writes: {error}"
            return
        state.partitions_count = int(partitions)
        state.keys = state.keys.deployed(state.partitions_count, tags)

    async def _instruments(self) -> None:
        state = self.state
        for name, raw in sorted(_pairs(await self.ask("HGETALL", self.keys.instruments))):
            symbol = _text(name)
            try:
                state.instruments[symbol] = from_json(symbol, raw)
            except InstrumentsError as error:
                state.malformed[symbol] = str(error)

    async def books(self) -> None:
        """Find symbols without a book. A new book is published together with its first snapshot."""
        state = self.state
        if not state.partitions_count:
            return
        keys = {
            symbol: self.keys.partition(partition_of(symbol, state.partitions_count)).snapshots(symbol)
            for symbol in state.instruments
        }
        there = await self.ask_all([("EXISTS", key) for key in keys.values()])
        state.bookless = [symbol for symbol, exists in zip(keys, there, strict=True) if exists == 0]

    async def partition(self, number: int, rejects_s: float) -> PartitionState:
        """Read one partition."""
        keys, found = self.keys.partition(number), PartitionState(number)
        leader, lease_ms, deltas, newest, events = await self.ask_all(
            [
                ("GET", keys.leader),
                ("PTTL", keys.leader),
                ("XINFO", "STREAM", keys.deltas),
                ("XREVRANGE", keys.deltas, "+", "-", "COUNT", 1),
                ("XINFO", "STREAM", keys.events),
            ]
        )
        if leader is not None:
            found.leader, found.lease_ms = _text(leader), lease_ms
        found.position = _position(deltas)
        found.input_end = _position(events)
        for _, fields in parse_entries(newest or ()):
            self._describe(found, dict(fields))
        await self._input(found, keys, events)
        await self._rejects(found, keys, rejects_s)
        await self._records(keys)
        return found

    async def _records(self, keys: PartitionKeys) -> None:
        """Read which listing each book is in, and which feeder may write its input."""
        listings, feeders = await self.ask_all([("HGETALL", keys.listings), ("HGETALL", keys.feeders)])
        for name, raw in _pairs(listings):
            symbol = _text(name)
            with suppress(ValueError, RecursionError, CodecError):
                if (listing := of_table(symbol, json.loads(raw))) is not None:
                    self.state.listings[symbol] = listing
        for name, raw in _pairs(feeders):
            self.state.claims[_text(name)] = _text(raw).rpartition(":")[0]

    async def intruders(self) -> None:
        """Find input of symbols with a running feeder that something else wrote."""
        state = self.state
        fed = {symbol for symbol in state.sources if state.is_fed(symbol)}
        for number in {
            partition_of(symbol, state.partitions_count) for symbol in fed if state.partitions_count
        }:
            key = self.keys.partition(number).events
            newest = parse_entries(
                await self.ask("XREVRANGE", key, "+", "-", "COUNT", ENTRIES_SEARCHED) or ()
            )
            for position, fields in reversed(newest):
                if not _of_feeder(fields):
                    named = fed & {_text(name) for name, _ in fields}
                    late = [symbol for symbol in named if position.epoch >= self._watched_from(symbol)]
                    state.intruders.update(dict.fromkeys(late, position))

    def _watched_from(self, symbol: str) -> int:
        """Since when (ms) no other producer should have written input of a symbol that is fed."""
        since = self.state.sources[symbol].get("since")
        return max(self.state.now_ms - RECENT_MS, since // 1000 if isinstance(since, int) else 0)

    def _describe(self, found: PartitionState, fields: dict[bytes, bytes]) -> None:
        """Take what the newest entry says."""
        with suppress(CodecError, PositionError, KeyError):
            found.info = decode_info(fields[INFO_FIELD])
        written_us = decode_written(fields.get(WRITTEN_FIELD, b""))
        if written_us is not None and found.info is not None:
            found.age_ms = max(0, self.state.now_ms - self.state.copy_offset_ms - written_us // 1000)
            found.clock_ms = (found.info.ts - written_us) // 1000

    async def _input(self, found: PartitionState, keys: PartitionKeys, events: Any) -> None:
        """How much input was not consumed, and for how long it has waited."""
        if self.state.unreadable(keys.events):
            return
        if found.input_end is None:
            found.lag_ms = found.unread = 0
            return
        src = ZERO
        if found.info is not None:
            with suppress(PositionError):
                src = Position.parse(found.info.src)
        first = parse_entries(await self.ask("XRANGE", keys.events, f"({src}", "+", "COUNT", 1) or ())
        if self.state.unreadable(keys.events):
            return
        found.lag_ms = max(0, self.state.now_ms - first[0][0].epoch) if first else 0
        added = dict(zip(events[::2], events[1::2], strict=True)).get(b"entries-added")
        if found.info is not None and found.info.entries is not None and isinstance(added, int):
            found.unread = max(0, added - found.info.entries)
        if not first:
            found.unread = 0

    async def _rejects(self, found: PartitionState, keys: PartitionKeys, rejects_s: float) -> None:
        async with self.noting("XRANGE", keys.rejects):
            since_ms = max(0, self.state.now_ms - int(rejects_s * 1000))
            async for record in all_rejects(self.client, keys.rejects, since_ms):
                found.rejects[record.reason] += record.events
                found.examples.setdefault(
                    record.reason,
                    f"{record.symbol} in {record.source}" + (record.detail and f": {record.detail}"),
                )


def _pairs(reply: Any) -> list[tuple[Any, Any]]:
    """A reply of names and values, as the library gives it for the command."""
    if reply is None:
        return []
    if isinstance(reply, dict):
        return list(reply.items())
    return (
        [tuple(pair) for pair in reply]
        if reply and isinstance(reply[0], tuple | list)
        else list(zip(reply[::2], reply[1::2], strict=False))
    )


def _text(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def _object(raw: Any) -> dict[str, Any]:
    value = json_object(raw)
    return {"problem": f"what its feeder wrote is no JSON object: {raw[:80]!r}"} if value is None else value


def _of_feeder(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a live feed wrote an entry: each says whether the book is right."""
    for name, raw in fields:
        if name == INFO_FIELD:
            with suppress(DepthcastError, ValueError, RecursionError):
                options = json.loads(raw) if raw.startswith(b"{") else unpack(raw, "options")
                return isinstance(options, dict) and ("live" in options or "stale" in options)
    return False


def _position(info: Any) -> Position | None:
    """The last ID of a stream from the reply of XINFO STREAM, None if there is none."""
    if info is None:
        return None
    found = dict(zip(info[::2], info[1::2], strict=False))
    with suppress(PositionError):
        return Position.parse(found.get(b"last-generated-id", b""))
    return None


async def check_partitions(state: DeploymentState, wanted: int | None) -> None:
    """Raise `DeploymentMismatch` if the deployment has another number of partitions than `wanted`."""
    if wanted is not None and state.partitions_count not in (None, wanted):
        raise DeploymentMismatch("DEPTHCAST_PARTITIONS", wanted, state.partitions_count)


__all__ = ["check_partitions", "find_misplaced_keys", "read_deployment", "read_gateway"]
