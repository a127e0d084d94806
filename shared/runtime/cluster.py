"""A client of a cluster: each command goes to the server that owns the slot of its key.

For every slot in use there is one plain client of the library, whose connections ask the cluster for the
owner whenever they connect. A reply that the slot is elsewhere (MOVED), that it has no owner (CLUSTERDOWN),
or that the server was demoted (READONLY) closes the connection, as a cut does; the next command asks again.
So everything that works with one server and its failovers works here too, for each partition by itself,
because its keys share a slot. While a slot is moved, reads follow its keys (ASK), and writes wait
(`depthcast.shared.runtime.redirects`). `docs/decisions` says why the library's own client for clusters is not
used.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.commands.core import AsyncScript
from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from depthcast.shared.redis_url import parse_cluster_url
from depthcast.shared.runtime.connections import RoutingClient, close_together, prepare_pool
from depthcast.shared.runtime.error_replies import refusal
from depthcast.shared.runtime.redirects import SlotClient
from depthcast.shared.slots import slot_of

ANSWER_S: Final = 1.0
"""Time to wait for a server's answer about slots before asking the next one."""

Address = tuple[str, int]


class SlotRange(NamedTuple):
    """A range of slots, both ends included, and the servers that have it."""

    first: int
    last: int
    master: Address
    replicas: tuple[Address, ...]


class Nodes:
    """The servers of one cluster, as far as they are known. `options`: of connections to any of them."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        address = parse_cluster_url(url)
        given = cast("dict[str, Any]", parse_url(address.server))
        given.pop("host")
        given.pop("db", None)
        self.connection_class = given.pop("connection_class", Connection)
        self.options = {**options, **given}
        self.options.pop("max_connections", None)
        self.max_connections = int(given.get("max_connections", options["max_connections"]))
        self._named = list(address.nodes)
        self._known: list[Address] = []
        self._asked = 0

    @property
    def first_host(self) -> str:
        """The host of the first server that the address names."""
        return self._named[0][0]

    async def owner(self, slot: int) -> Address:
        """The master of a slot, as the next server says that answers; raises the library's errors."""
        return (await self._range(slot)).master

    async def replicas(self, slot: int) -> list[Address]:
        """The replicas of a slot's master, likewise."""
        return list((await self._range(slot)).replicas)

    async def _range(self, slot: int) -> SlotRange:
        for found in await self.ranges():
            if found.first <= slot <= found.last:
                return found
        raise RedisConnectionError(f"no server of the cluster owns slot {slot}")

    async def masters(self) -> list[Address]:
        """All masters with slots; raises the library's errors."""
        return sorted({found.master for found in await self.ranges()})

    async def ranges(self) -> list[SlotRange]:
        """Ask one server after the other who owns what; another one first each time.

        A server that is cut off from the others still names itself.
        """
        places = list(dict.fromkeys((*self._known, *self._named)))
        self._asked += 1
        begin = self._asked % len(places)
        problem = ""
        for host, port in (*places[begin:], *places[:begin]):
            try:
                found = await self._ask(host, port)
            except RedisError as error:
                problem = f"{host}:{port}: {refusal(error).problem}"
                continue
            except OSError as error:
                problem = f"{host}:{port}: {error}"
                continue
            if found:
                self._known = sorted({each.master for each in found})
                return found
            problem = f"{host}:{port}: no slot has an owner"
        raise RedisConnectionError(f"no server of the cluster says who owns which slot; {problem}")

    async def _ask(self, host: str, port: int) -> list[SlotRange]:
        limit_s = min(ANSWER_S, self.options["socket_timeout"])
        client = self.client(
            host=host,
            port=port,
            redis_connect_func=None,
            socket_timeout=limit_s,
            socket_connect_timeout=limit_s,
        )
        # The connection itself: closing it without waiting cannot be cancelled halfway.
        connection = cast("Any", client.connection_pool).make_connection()
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            reply = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        return _parsed(reply, host)

    def client(self, connection_class: type | None = None, **more: Any) -> SlotClient:
        """A plain client of the library, with the options of this cluster and `more`."""
        pool = ConnectionPool(
            connection_class=connection_class or self.connection_class,
            max_connections=self.max_connections,
            **{**self.options, **more},
        )
        prepare_pool(pool)
        return cast("SlotClient", SlotClient.from_pool(pool))


def _parsed(reply: Any, asked: str) -> list[SlotRange]:
    """The reply of CLUSTER SLOTS; a server that does not know its own name is where we asked it."""
    try:
        return [
            SlotRange(int(first), int(last), _address(master, asked), _replicas(replicas, asked))
            for first, last, master, *replicas in reply
        ]
    except (TypeError, ValueError, LookupError) as error:
        raise RedisConnectionError("what it says of slots is none; is it a server of a cluster?") from error


def _replicas(servers: Sequence[Any], asked: str) -> tuple[Address, ...]:
    return tuple(_address(server, asked) for server in servers)


def _address(server: Sequence[Any], asked: str) -> Address:
    return _host(server[0]) or asked, int(server[1])


def _host(raw: bytes | None) -> str:
    host = "" if raw is None else raw.decode()
    return "" if host == "?" else host


class _ConnectsToOwner:
    """A connection of the library that asks for the owner of its slot whenever it connects."""

    is_connected: bool

    def __init__(self, *, nodes: Nodes, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self._nodes = nodes
        self._slot = slot

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        if not self.is_connected:
            self.host, self.port = await self._nodes.owner(self._slot)
        await cast("Any", super()).connect_check_health(*arguments, **options)


class _OwnerConnection(_ConnectsToOwner, Connection):
    pass


class _OwnerSSLConnection(_ConnectsToOwner, SSLConnection):
    pass


class ClusterClient(RoutingClient):
    """A client for one task, as `depthcast.shared.runtime.redis.connect` makes it.

    Commands on several keys, and transactions, must have all keys in one slot; other pipelines need not.
    Commands without a key go where the first key went. `prepare` is called with each plain client. Who has
    every new connection checked must know which server answers, so none of its reads is redirected.
    """

    def __init__(self, url: str, options: Mapping[str, Any], prepare: Callable[[Redis], Any]) -> None:
        self.nodes = Nodes(url, options)
        self._prepare = prepare
        self._follows = options.get("redis_connect_func") is None
        self._clients: dict[int, SlotClient] = {}
        self._servers: dict[Address, Redis] = {}
        self._home: int | None = None
        super().__init__(connection_pool=self._make(0).connection_pool)

    def at(self, key: str | bytes) -> SlotClient:
        """The plain client for the slot of a key; all keys of a partition have the same."""
        slot = slot_of(key)
        if self._home is None:
            self._home = slot
        return self._of(slot)

    async def servers(self) -> dict[str, Redis]:
        """A plain client for each master, by its address; raises the library's errors."""
        found = await self.nodes.masters()
        return {f"{host}:{port}": self._server((host, port)) for host, port in found}

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the owner of its key; load a script wherever anything was sent before."""
        if str(args[0]).upper() == "SCRIPT LOAD":
            return await self._everywhere(*args, **options)
        return await cast("Any", self._for(args)).execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline that sends each command to the owner of its key."""
        del shard_hint
        return _RoutedPipeline(self, transaction=transaction)

    def register_script(self, script: Any) -> AsyncScript:  # type: ignore[override] # as the library's
        """Return a script that runs, and is loaded, where its first key is."""
        return _RoutedScript(self, script)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections, also if it is cancelled."""
        clients = (*self._clients.values(), *self._servers.values())
        await close_together(client.aclose(close_connection_pool) for client in clients)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _server(self, address: Address) -> Redis:
        if address not in self._servers:
            host, port = address
            self._servers[address] = self._prepared(self.nodes.client(host=host, port=port))
        return self._servers[address]

    def _for(self, command: Sequence[Any]) -> SlotClient:
        key = first_key(command)
        return self._of(self._home or 0) if key is None else self.at(key)

    def _of(self, slot: int) -> SlotClient:
        if slot not in self._clients:
            self._clients[slot] = self._make(slot)
        return self._clients[slot]

    def _make(self, slot: int) -> SlotClient:
        tls = issubclass(self.nodes.connection_class, SSLConnection)
        kind = _OwnerSSLConnection if tls else _OwnerConnection
        client = self._prepared(self.nodes.client(kind, nodes=self.nodes, slot=slot))
        if self._follows:
            client.elsewhere = self._elsewhere
        return client

    def _elsewhere(self, error: AskError) -> Redis:
        """The server that a redirection names; one that does not know its own name has the first one's."""
        return self._server((error.host or self.nodes.first_host, error.port))

    def _prepared(self, client: SlotClient) -> SlotClient:
        self._prepare(client)
        return client

    async def _everywhere(self, *args: Any, **options: Any) -> Any:
        clients = list(self._clients.values()) or [self._of(0)]
        replies = await asyncio.gather(
            *(cast("Any", client).execute_command(*args, **options) for client in clients),
            return_exceptions=True,
        )
        for reply in replies:
            if not isinstance(reply, BaseException):
                return reply
        raise cast("BaseException", replies[0])


class _RoutedScript(AsyncScript):
    async def __call__(self, keys: Any = None, args: Any = None, client: Any = None) -> Any:
        client = self.registered_client if client is None else client
        if isinstance(client, ClusterClient) and keys:
            client = client.at(keys[0])
        return await super().__call__(keys, args, client)


class _RoutedPipeline(Pipeline):
    """Sends its commands in one pipeline for each slot; a transaction, whole to the slot of its first key."""

    def __init__(self, client: ClusterClient, *, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack: list[Any] = list(self.command_stack)
        await cast("Any", self).reset()
        places = self._places([command[0] for command in stack])
        replies: list[Any] = [None] * len(stack)
        sent = [self._send([stack[n] for n in numbers], key, raise_on_error) for key, numbers in places]
        for (_, numbers), found in zip(
            places, await asyncio.gather(*sent, return_exceptions=True), strict=True
        ):
            if isinstance(found, BaseException):
                raise found
            for number, reply in zip(numbers, found, strict=True):
                replies[number] = reply
        return replies

    def _places(self, commands: Sequence[Sequence[Any]]) -> list[tuple[Any, list[int]]]:
        """The first key of each part, and the numbers of the commands in it."""
        keys = [first_key(command) for command in commands]
        home = next((key for key in keys if key is not None), None)
        if self.is_transaction:
            return [(home, list(range(len(commands))))] if commands else []
        found: dict[int, tuple[Any, list[int]]] = {}
        for number, own in enumerate(keys):
            key = home if own is None else own
            found.setdefault(-1 if key is None else slot_of(key), (key, []))[1].append(number)
        return list(found.values())

    async def _send(self, commands: Sequence[Any], key: Any, raise_on_error: bool) -> list[Any]:
        client = self._client._for(("PING",)) if key is None else self._client.at(key)  # noqa: SLF001
        async with client.pipeline(transaction=self.is_transaction) as pipeline:
            cast("Any", pipeline).command_stack.extend(commands)
            if self.is_transaction:
                return await pipeline.execute(raise_on_error)
            replies = await client.followed(commands, await pipeline.execute(raise_on_error=False))
            if raise_on_error:
                cast("Any", pipeline).raise_first_error(commands, replies)
            return replies


_KEYLESS: Final = frozenset(
    ("ACL", "CLIENT", "CLUSTER", "CONFIG", "DBSIZE", "ECHO", "INFO", "PING", "ROLE", "SCAN", "SCRIPT", "TIME")
)
"""Commands of ours without a key; of all others that are not named below, it is the first word."""


def first_key(command: Sequence[Any]) -> str | bytes | None:
    """Return the first key of a command, None if it has none."""
    name, *rest = command
    words = _text(name).upper().split()
    rest = [*words[1:], *rest]
    if words[0] in _KEYLESS:
        return None
    if words[0] in ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"):
        return rest[2] if int(rest[1]) else None
    if words[0] == "XREAD":
        at = next(n for n, word in enumerate(rest) if _text(word).upper() == "STREAMS")
        return cast("str | bytes", rest[at + 1])
    if words[0] in ("XINFO", "OBJECT", "MEMORY"):
        return cast("str | bytes", rest[1])
    return cast("str | bytes", rest[0]) if rest else None


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


async def each_server(client: Redis) -> dict[str, Redis]:
    """A client for each server that has data, by its address; one without a name outside a cluster.

    Raises the library's errors.
    """
    return await client.servers() if isinstance(client, ClusterClient) else {"": client}


def by_slot(client: Redis, keys: Iterable[str]) -> list[list[str]]:
    """Keys in groups that one command may name; outside a cluster all are one."""
    if not isinstance(client, ClusterClient):
        return [list(keys)]
    found: dict[int, list[str]] = {}
    for key in keys:
        found.setdefault(slot_of(key), []).append(key)
    return list(found.values())


def plain_client(client: Redis, key: str) -> Redis:
    """The client whose connections go to the server with this key."""
    return client.at(key) if isinstance(client, RoutingClient) else client
