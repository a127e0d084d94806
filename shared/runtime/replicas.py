"""Reads a partition's streams from a replica: finds all, asks how far they are behind, and chooses one.

`ReadingClient` is a client for one partition's reader. Its commands go to a replica as long as one follows
the primary closely, otherwise to the primary; it must not be used to write. `watched` asks each second. The
rules are in `depthcast.shared.replica_choice`.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, Self, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.exceptions import RedisError

from depthcast.shared.errors import RedisRefused, RedisUnavailable
from depthcast.shared.redis_url import (
    SENTINEL,
    is_cluster,
    is_encrypted,
    parse_cluster_url,
    parse_sentinel_url,
)
from depthcast.shared.replica_choice import (
    AWAY,
    BEHIND,
    HISTORY,
    MOVING,
    Address,
    Compared,
    Lag,
    ReplicaChoice,
    Report,
    link_problem,
    missing_of,
)
from depthcast.shared.runtime.cluster import ClusterClient, plain_client
from depthcast.shared.runtime.connections import RoutingClient, close_together, prepare_pool
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import (
    SOCKET_TIMEOUT_S,
    Connect,
    connection_options,
    execute,
    map_errors,
    parse_entries,
    run_pipeline,
    with_raw_replies,
)
from depthcast.shared.slots import slot_of

logger = logging.getLogger(__name__)

CHECK_S: Final = 1.0
ANSWER_S: Final = 1.0
"""A replica that does not answer within this time is away."""

ASKED_AT_ONCE: Final = 2
"""So many questions are under way to the primary, however many replicas it has."""

FORGOTTEN_S: Final = 60.0
"""A replica that nobody names any more is closed again for so long: a command may have been on its way."""

REPLICAS_MAX: Final = 16
"""So many replicas of a primary are looked at."""

ON_ITS_WAY: Final = ("ASK", "TRYAGAIN")
"""What an owner of a slot replies for a key that it does not have while the slot is moved."""


PRIMARY: Final = "primary"


class ReadingPlace(NamedTuple):
    """`server`: `primary`, or `host:port` of a replica. `lag_ms`: how far it is behind, None: not known."""

    server: str = PRIMARY
    lag_ms: int | None = None


class _ReadsOnly:
    """Says READONLY first, because a replica in a cluster refuses to be read otherwise."""

    is_connected: bool

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        if self.is_connected:
            return
        connection = cast("Any", super())
        await connection.connect_check_health(*arguments, **options)
        try:
            await cast("Any", self).send_command("READONLY")
            await cast("Any", self).read_response()
        except BaseException:
            await cast("Any", self).disconnect(nowait=True)
            raise


class _ReadOnlyConnection(_ReadsOnly, Connection):
    pass


class _ReadOnlySSLConnection(_ReadsOnly, SSLConnection):
    pass


class ReplicaServers:
    """The replicas of the primary that a key is at. `primary`: a client that is asked for them."""

    def __init__(self, url: str, key: str, primary: Redis) -> None:
        self._url = url
        self._key = key
        self._primary = primary

    async def named(self) -> list[Address]:
        """The replicas that sentinels, the cluster, or else the primary itself name."""
        async with map_errors():
            if isinstance(self._primary, ClusterClient):
                found = await self._primary.nodes.replicas(slot_of(self._key))
            elif self._url.startswith(SENTINEL):
                pool = cast("Any", self._primary.connection_pool)
                slaves = await pool.sentinel_manager.discover_slaves(pool.service_name)
                found = [(str(host), int(port)) for host, port in slaves]
            else:
                found = _listed(await execute(self._primary, "INFO", "replication"))
        return sorted(set(found))[:REPLICAS_MAX]

    def client(self, address: Address, *, timeout_s: float, connections_max: int) -> Redis:
        """A plain client of one replica, with the credentials and options of the address."""
        options = connection_options(timeout_s=timeout_s, connections_max=connections_max)
        kind, given = _options_of(self._url)
        given = {**options, **given, "host": address[0], "port": address[1]}
        given["max_connections"] = int(given["max_connections"])
        pool = ConnectionPool(connection_class=kind, **given)
        prepare_pool(pool)
        return with_raw_replies(Redis.from_pool(pool))


def _listed(info: Mapping[str, Any]) -> list[Address]:
    """The replicas that a primary lists as online in its reply to INFO replication."""
    found = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict)]
    return [(str(each["ip"]), int(each["port"])) for each in found if each.get("state") == "online"]


def _options_of(url: str) -> tuple[type, dict[str, Any]]:
    """The kind of connection, and its options, to a server that the server at `url` names."""
    if url.startswith(SENTINEL):
        url = parse_sentinel_url(url).server
    clustered = is_cluster(url)
    if clustered:
        url = parse_cluster_url(url).server
    given, tls = cast("dict[str, Any]", parse_url(url)), is_encrypted(url)
    for name in ("connection_class", "host", "port", "path", "sentinel_username", "sentinel_password"):
        given.pop(name, None)
    if clustered:
        given.pop("db", None)
        return (_ReadOnlySSLConnection if tls else _ReadOnlyConnection), given
    return (SSLConnection if tls else Connection), given


class ReadingClient(RoutingClient):
    """A client for the reader of one partition, whose keys are where `key` is. Never write through it.

    - `place`: the server that is read: `host:port` of a replica, or `primary`.
    - `lag_ms`: how far the replica is behind; None at the primary, or while it is not known.
    - `fallbacks`: how often a replica was left, by reason.
    - `moves`: how often the server changed, so that what several commands say is known to be of one server.
    """

    def __init__(self, url: str, key: str, lag_max_ms: int, connect_redis: Connect) -> None:
        self.key = key
        self.lag_ms: int | None = None
        self.fallbacks: Counter[str] = Counter()
        self.moves = 0
        self._connected = connect_redis(url)
        self._primary = plain_client(self._connected, key)
        self._asked = connect_redis(url, connections_max=ASKED_AT_ONCE, timeout_s=ANSWER_S)
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._servers = ReplicaServers(url, key, self._asked)
        # Readers that have different numbers share several replicas; nothing depends on them.
        self._choice = ReplicaChoice(lag_max_ms, random.randrange(REPLICAS_MAX))  # noqa: S311
        self._lags: dict[Address, Lag] = {}
        self._replicas: dict[Address, tuple[Redis, Redis]] = {}
        self._forgotten: list[tuple[float, Redis]] = []
        self._outage = Outage(logger, "nobody says which replicas there are", key=key)
        self._said = False
        super().__init__(connection_pool=self._primary.connection_pool)

    @property
    def place(self) -> str:
        """The server that is read."""
        at = self._choice.at
        return PRIMARY if at is None else f"{at[0]}:{at[1]}"

    @property
    def at_replica(self) -> bool:
        """Whether it is a replica."""
        return self._choice.at is not None

    @property
    def current(self) -> Redis:
        """The plain client of the server that is read."""
        at = self._choice.at
        return self._primary if at is None else self._clients(at)[0]

    def at(self, key: str | bytes) -> Redis:
        """The plain client for a key of the partition: that of the server that is read now."""
        del key
        return self.current

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that is read."""
        return await cast("Any", self.current).execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline to the server that is read; in a cluster, at a primary, it follows moved keys."""
        client = self.current if self.at_replica else self._connected
        return client.pipeline(transaction, shard_hint)

    async def keep_choosing(self) -> None:
        """Look for the best place, and go there, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_S)

    async def check(self) -> None:
        """Ask the replica that is read, and if it will not do, all others; move if that is better."""
        at, now = self._choice.at, asyncio.get_running_loop().time()
        reports: dict[Address, Report] = {}
        try:
            if at is not None:
                reports[at] = await self._report(at)
            if at is None or reports[at].reason:
                others = [address for address in await self._servers.named() if address != at]
                reports |= dict(zip(others, await _all(map(self._report, others)), strict=True))
                await self._forget({*others, at})
            self._outage.over()
        except RedisUnavailable as error:
            # Without the primary nothing says which replica is better, so only one that is away is left.
            self._outage.note(error)
            if at is None or not reports.get(at, Report("")).reason:
                return
        if self._choice.at == at:  # else the reader left it while it was asked: the next check begins anew
            left = self._choice.observe(now, reports)
            await self._moved(at, left, reports)

    async def to_primary(self, problem: str) -> None:
        """Leave the replica because the reader needs what it does not have yet."""
        at = self._choice.at
        self._choice.leave(asyncio.get_running_loop().time())
        await self._moved(at, Report(BEHIND, problem), {})

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections, also if it is cancelled."""
        replicas = [each for pair in self._replicas.values() for each in pair]
        clients = (*replicas, *(each for _, each in self._forgotten), self._asked, self._connected)
        await close_together(client.aclose(close_connection_pool) for client in clients)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _moved(
        self, before: Address | None, left: Report | None, reports: Mapping[Address, Report]
    ) -> None:
        """Take note of where the choice is now, and end what waits at the server that was left."""
        after = self._choice.at
        self.moves += after != before
        report = None if after is None else reports.get(after)
        self.lag_ms = None if report is None else report.lag_ms
        extra: dict[str, Any] = {"key": self.key, "place": self.place}
        if before is not None and left is not None and after != before:
            self.fallbacks[left.reason] += 1
            why = {"replica": f"{before[0]}:{before[1]}", "reason": left.reason, "problem": left.problem}
            logger.warning("a replica is not read any more", extra={**extra, **why})
            with suppress(RedisError, OSError):
                await self._clients(before)[0].connection_pool.disconnect()
        elif after != before:
            logger.info("reading from a replica", extra={**extra, "lag_ms": self.lag_ms})
        elif after is None and not self._said:
            problems = {f"{host}:{port}": report.problem for (host, port), report in reports.items()}
            logger.warning("no replica can be read", extra={**extra, "replicas": problems})
        self._said = True

    async def _report(self, address: Address) -> Report:
        """Ask one replica, and then the primary; raises `RedisUnavailable` if the primary does not answer."""
        last_one = ("XREVRANGE", self.key, "+", "-", "COUNT", "1")
        try:
            info, raw = await self._ask(self._clients(address)[1], last_one)
            newest = next(iter(parse_entries(raw)), None)
        except RedisUnavailable as error:
            return Report(AWAY, error.problem)
        begin = "-" if newest is None else str(newest[0])
        compared = ("XRANGE", self.key, begin, "+", "COUNT", "2")
        try:
            async with self._asking:
                of_primary, following, last, *_ = await self._ask(
                    plain_client(self._asked, self.key), compared, last_one, *self._moving()
                )
        except RedisRefused as error:
            if error.code not in ON_ITS_WAY:
                raise
            return Report(MOVING, "the slot is being moved, and only its owner says where a key is")
        if of_primary.get("role") != "master":
            await _disconnect(plain_client(self._asked, self.key))  # the next connection finds the new one
            raise RedisUnavailable("the server that was the primary is a replica itself")
        if (wrong := link_problem(info, of_primary)) is not None:
            return self._choice.checked(wrong, address)
        ends = Compared(newest, parse_entries(following), next(iter(parse_entries(last)), None))
        if (missing := missing_of(ends)) is None:
            return Report(HISTORY, f"it ends at {begin}, which the primary does not hold")
        lag = self._lags.setdefault(address, Lag())
        lag_ms = lag.observe(missing, asyncio.get_running_loop().time())
        return self._choice.checked(Report("", lag_ms=lag_ms), address)

    @property
    def _clustered(self) -> bool:
        return isinstance(self._asked, ClusterClient)

    def _moving(self) -> Sequence[tuple[str, ...]]:
        """What tells whether the slot is being moved: a read of a key that no symbol has.

        A replica does not say that a key has moved: to whom reads there, it is as if it had never been.
        """
        if not self._clustered:
            return ()
        return [("XREVRANGE", f"{self.key.removesuffix('deltas')}snapshots:_", "+", "-", "COUNT", "1")]

    async def _ask(self, client: Redis, *commands: tuple[str, ...]) -> list[Any]:
        """What INFO says of replication, and the replies to the commands, in one round trip."""
        async with map_errors(), client.pipeline(transaction=False) as pipeline:
            for command in (("INFO", "replication"), *commands):
                pipeline.execute_command(*command)
            return await run_pipeline(pipeline)

    def _clients(self, address: Address) -> tuple[Redis, Redis]:
        """A client that reads at a replica, and one that asks it how it is."""
        if address not in self._replicas:
            self._replicas[address] = (
                self._servers.client(address, timeout_s=SOCKET_TIMEOUT_S, connections_max=4),
                self._servers.client(address, timeout_s=ANSWER_S, connections_max=1),
            )
        return self._replicas[address]

    async def _forget(self, known: Iterable[Address | None]) -> None:
        """Close what is open to replicas that nobody names any more."""
        now = asyncio.get_running_loop().time()
        for address in self._replicas.keys() - set(known):
            self._lags.pop(address, None)
            self._forgotten += ((now + FORGOTTEN_S, client) for client in self._replicas.pop(address))
        for _, client in self._forgotten:
            with suppress(RedisError, OSError):
                await client.aclose()
        self._forgotten = [(until, client) for until, client in self._forgotten if until > now]


async def _all(questions: Iterable[Awaitable[Report]]) -> list[Report]:
    """All answers; raises the first error when no question is under way any more."""
    found = await asyncio.gather(*questions, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return cast("list[Report]", found)


async def _disconnect(client: Redis) -> None:
    with suppress(RedisError, OSError):
        await client.connection_pool.disconnect(inuse_connections=False)


def reading_client(url: str, key: str, read_from: str, lag_max_ms: int, connect_redis: Connect) -> Redis:
    """A client for the reader of the partition with this key, as the setting `read_from` says.

    `connect_redis`: `depthcast.shared.runtime.redis.connect`, or a simulation's replacement.
    """
    if read_from == "primary":
        return connect_redis(url)
    return ReadingClient(url, key, lag_max_ms, connect_redis)


def place_of(client: Redis) -> ReadingPlace:
    """Where a client of `reading_client` reads now."""
    return ReadingPlace(client.place, client.lag_ms) if isinstance(client, ReadingClient) else ReadingPlace()


@asynccontextmanager
async def watched(client: Redis) -> AsyncIterator[None]:
    """Keep a client of `reading_client` where it should read, during the block."""
    if not isinstance(client, ReadingClient):
        yield
        return
    await client.check()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(client.keep_choosing(), name="choose replica")
        try:
            yield
        finally:
            watching.cancel()
