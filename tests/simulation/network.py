"""The network between the simulated processes and the server: delays and losses of commands and replies.

`connect` replaces `depthcast.shared.runtime.redis.connect`. Within a connection nothing is reordered or
repeated, as with TCP. A command whose reply was lost or late may still be executed, even after its resend,
which uses another connection.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random
from typing import Any, Final, cast

from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.lock import Lock
from redis.client import NEVER_DECODE
from redis.exceptions import AskError, WatchError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import str_if_bytes

from depthcast.shared.runtime.connections import _NO_MASTER
from depthcast.shared.runtime.redirects import may_follow
from depthcast.shared.runtime.redis import OnConnect
from tests.simulation.loop import PROCESS, Process, SimulatedLoop
from tests.simulation.nodes import Node, Nodes, keys_of, slot_name
from tests.simulation.replies import Reply, ReplyError
from tests.simulation.server import TRANSACTION, UNWATCH, Server, joined

TIMEOUT_S: Final = 0.6
"""A client waits this long for a reply, in addition to the time of a blocking read."""

SLOW_S: Final = (0.3, 1.2)
"""Extra delay of a slow message: some come after the time-out, and after the resend."""

LATE_STATE_S: Final = (TIMEOUT_S + 0.1, 2 * TIMEOUT_S + 0.3)
"""Late recovery state arrives after newer state that was sent after the time-out."""

DISTANCES: Final = (1, 1, 5, 30)
"""A process's distance to the server, in multiples of the shortest."""

NEXT_S: Final = 1e-7
"""Messages on one connection arrive at least this long after each other."""

WAYS: Final = ("up", "down")


@dataclass
class Weather:
    """How bad a link is. Probabilities are per command; delays in seconds.

    `late_state` is only for snapshots and checkpoints, so that the lease is kept.
    """

    delay_s: float = 0.0004
    cut_before: float = 0.0
    cut_after: float = 0.0
    late: float = 0.0
    slow_reply: float = 0.0
    late_state: float = 0.0


class Link:
    """One process's link to the server."""

    def __init__(self, network: "Network", process: Process) -> None:
        self.network = network
        self.process = process
        self.rng = Random(process.rng.random())
        self.weather = network.weather
        self.distance = self.rng.choice(DISTANCES)
        self.parted = False
        self.held: list[Callable[[], None]] = []
        self.connections: dict[Connection, None] = {}

    def draw(self, fault: str) -> bool:
        """Draw whether this fault strikes now."""
        chance: float = getattr(self.weather, fault)
        struck = chance > 0 and self.rng.random() < chance
        if struck:
            self.network.faults[fault] += 1
        return struck

    def travel(
        self, connection: "Connection", way: str, arrive: Callable[[], None], extra_s: float = 0.0
    ) -> None:
        """Deliver a message to one end: the server, or the process, which may be paused."""
        if self.parted:
            self.held.append(lambda: self.travel(connection, way, arrive))
            return
        loop = self.network.loop
        at = loop.time() + self.rng.expovariate(1 / (self.weather.delay_s * self.distance)) + extra_s
        at = connection.latest[way] = max(at, connection.latest[way] + NEXT_S)
        context = loop.world.context if way == "up" else self.process.context
        loop.call_at(at, arrive, context=context)

    def heal(self) -> None:
        """Deliver the messages that were in flight when the partition began."""
        self.parted = False
        held, self.held = self.held, []
        for travel in held:
            travel()

    def cut(self) -> None:
        """Break every connection."""
        for connection in list(self.connections):
            connection.reset()


class Connection:
    """One connection: replies come in the order of their commands."""

    numbers = count()

    def __init__(self, link: Link, node: Node | None = None) -> None:
        self.link = link
        self.network = link.network
        self.node = node
        self.slot: bytes | None = None
        self.asking = False
        self.number = next(self.numbers)
        self.latest = dict.fromkeys(WAYS, 0.0)
        self.generation = -1
        self.waiting: dict[asyncio.Future[Reply], None] = {}
        self.broken = False
        self.watched: dict[bytes, object] = {}
        link.connections[self] = None

    def __hash__(self) -> int:
        return self.number

    async def open(self) -> None:
        """The handshake; raises the library's errors."""
        if self.network.closed:
            raise RedisConnectionError("The network is gone.")
        accepted = self._expect(TIMEOUT_S)
        server = self.network.server

        def arrive() -> None:
            taken = server.accept(self)
            self.link.travel(self, "down", lambda: self._settle(accepted, taken))

        self.link.travel(self, "up", arrive)
        if not await accepted:
            self.close()
            raise RedisConnectionError("Connection refused")

    async def request(self, command: list[bytes], *, asking: bool = False) -> Reply:
        """One command; raises the library's errors."""
        if self.broken or self.network.closed:
            raise RedisConnectionError("Connection closed by server.")
        limit_s = TIMEOUT_S + (int(command[command.index(b"BLOCK") + 1]) / 1000 if b"BLOCK" in command else 0)
        reply = self._expect(limit_s)
        link, server = self.link, self.network.server

        def answer(found: Reply | ReplyError) -> None:
            self.network.trace("reply", self.link.process.name, found)
            if link.draw("cut_after"):
                self.network.sever(self)
                return
            extra_s = link.rng.uniform(*SLOW_S) if link.draw("slow_reply") else 0.0
            link.travel(self, "down", lambda: self._settle(reply, found), extra_s)

        def arrive() -> None:
            self.network.trace("execute", self.link.process.name, command)
            self.asking = asking
            server.receive(self, command, answer)

        if link.draw("cut_before"):
            self.network.sever(self)
        else:
            late_s = link.rng.uniform(*SLOW_S) if link.draw("late") else 0.0
            if _keeps_state(command) and link.draw("late_state"):
                late_s += link.rng.uniform(*LATE_STATE_S)
            link.travel(self, "up", arrive, late_s)
        found = await reply
        if isinstance(found, ReplyError):
            clustered = server.nodes is not None or server.redirects is not None
            if clustered and str(found).startswith(_NO_MASTER):
                self.close()
            raise _library_error(str(found))
        return found

    def _expect(self, limit_s: float) -> "asyncio.Future[Reply]":
        loop = self.network.loop
        future: asyncio.Future[Reply] = loop.create_future()
        timer = loop.call_later(limit_s, self._expire, future)
        future.add_done_callback(lambda _: timer.cancel())
        self.waiting[future] = None
        future.add_done_callback(lambda done: self.waiting.pop(done, None))
        return future

    def _expire(self, future: "asyncio.Future[Reply]") -> None:
        if not future.done():
            self.network.faults["time-out"] += 1
            self.close()
            future.set_exception(RedisTimeoutError("Timeout reading from server"))

    @staticmethod
    def _settle(future: "asyncio.Future[Reply]", reply: Reply | ReplyError) -> None:
        if not future.done():
            future.set_result(reply)

    def reset(self) -> None:
        """The other end is gone; the process notices after a while."""
        self.link.travel(self, "down", self.fail)

    def fail(self) -> None:
        """Tell the process that the connection is broken."""
        self.close()
        for future in list(self.waiting):
            if not future.done():
                future.set_exception(RedisConnectionError("Connection closed by server."))

    def close(self) -> None:
        """Close this end; messages sent before still arrive."""
        self.link.connections.pop(self, None)
        if not self.broken:
            self.broken = True
            self.link.travel(self, "up", lambda: self.network.server.forget(self))


class Network:
    """All links to one server. `faults` counts faults; `tracer` is called with every command and reply.

    `others`: networks to other servers, in which a process that is killed here is gone, too.
    """

    def __init__(self, loop: SimulatedLoop, server: Server, tracer: Callable[..., None]) -> None:
        self.loop = loop
        self.server = server
        self.trace = tracer
        self.weather = Weather()
        self.faults: Counter[str] = Counter()
        self.links: dict[Process, Link] = {}
        self.closed = False
        self.others: list[Network] = []
        Connection.numbers = count()

    def link(self, process: Process) -> Link:
        """The link of `process`, made at first use."""
        if process not in self.links:
            self.links[process] = Link(self, process)
        return self.links[process]

    def sever(self, connection: Connection) -> None:
        """Cut one connection; both ends notice."""
        self.server.forget(connection)
        connection.reset()

    def set_weather(self, weather: Weather) -> None:
        """Set the weather of all links, present and future."""
        self.weather = weather
        for link in self.links.values():
            link.weather = weather

    def killed(self, process: Process) -> None:
        """The process was killed; its system closes its connections. Messages already sent still arrive."""
        for network in (self, *self.others):
            for connection in list(network.link(process).connections if process in network.links else ()):
                connection.close()

    def connect(
        self,
        url: str,
        *,
        connections_max: int = 4,
        timeout_s: float = TIMEOUT_S,
        on_connect: OnConnect | None = None,
    ) -> Redis:
        """A client of the running process; it has as many connections as it needs."""
        return cast("Redis", SimulatedRedis(self.link(PROCESS.get()), on_connect))


class _Face:
    """The part of a connection that `OnConnect` functions use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._command: list[bytes] = []

    async def on_connect(self) -> None:
        """Nothing to send before the first command."""

    async def send_command(self, *arguments: Any) -> None:
        self._command = _command(arguments)

    async def read_response(self) -> Reply:
        return await self._connection.request(self._command)

    async def disconnect(self) -> None:
        self._connection.close()


class _SeededLock(Lock):
    """The library's lock, with a token drawn from the seed."""

    async def acquire(self, blocking: Any = None, blocking_timeout: Any = None, token: Any = None) -> bool:
        token = token or f"{PROCESS.get().rng.getrandbits(128):032x}"
        taken: bool = await super().acquire(blocking, blocking_timeout, token)
        return taken


class SimulatedRedis(Redis):
    """A client whose commands travel over a link."""

    def __init__(self, link: Link, on_connect: OnConnect | None) -> None:
        super().__init__(connection_pool=cast("Any", _Pool(self)))
        for command in ("XREAD", "XRANGE", "XREVRANGE"):
            self.set_response_callback(command, cast("Any", lambda reply, **_: reply))
        self._link = link
        self._on_connect = on_connect
        self._idle: list[Connection] = []
        self._home: bytes | None = None
        self._by_slot: dict[bytes, list[Connection]] = {}
        self._open: dict[Connection, None] = {}
        self._plain: SimulatedRedis | None = None
        self._follows = True

    def at(self, key: str | bytes) -> "SimulatedRedis":
        """What stands for the plain client of a slot: redirections in its pipelines are error replies.

        It goes to the owner of the slot with commands that have no key, too.
        """
        if self._plain is None:
            self._plain = SimulatedRedis(self._link, self._on_connect)
            self._plain._follows = False
        self._plain._home = slot_name(key)
        return self._plain

    def disconnect(self) -> None:
        """Break every connection, also under a command, as the library's pool does."""
        for connection in [*self._open]:
            connection.fail()
        self._open.clear()
        self._idle.clear()

    def lock(self, name: Any, *arguments: Any, **options: Any) -> Any:
        return super().lock(name, *arguments, **{**options, "lock_class": _SeededLock})

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        return SimulatedPipeline(self, transaction=transaction)

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        (reply,) = await self.request_all([_command(arguments)])
        return self.understood(str_if_bytes(arguments[0]), reply, options)

    def understood(self, name: str, reply: Reply, options: dict[str, Any]) -> Any:
        """The reply as the library would return it; raises an error reply."""
        if isinstance(reply, Exception):
            raise reply
        options.pop(NEVER_DECODE, None)
        options.pop("keys", None)
        callback = self.response_callbacks.get(name)
        return callback(reply, **options) if callback else reply

    async def request_all(
        self, commands: list[list[bytes]], connection: Connection | None = None
    ) -> list[Any]:
        """Send commands in a row over one connection; an error of one of them is its reply.

        In a cluster, over one connection for each slot; reads follow redirections, as in the program.
        """
        if self._nodes is None or connection is not None:
            return await self._request_all(commands, connection)
        places: dict[bytes, list[int]] = {}
        for number, command in enumerate(commands):
            places.setdefault(self._slot(command), []).append(number)
        replies: list[Any] = [None] * len(commands)
        for slot, numbers in places.items():
            some = [commands[number] for number in numbers]
            found = await self._request_all(some, await self.take_connection(slot))
            for number, reply in zip(numbers, found, strict=True):
                follows = self._follows or len(commands) == 1
                replies[number] = await self._followed(commands[number], reply) if follows else reply
        return replies

    @property
    def _nodes(self) -> Nodes | None:
        return self._link.network.server.nodes

    def _slot(self, command: list[bytes]) -> bytes:
        """Where a command goes; one without a key, where the last key was: scripts are loaded so."""
        keys = keys_of(command)
        if keys:
            self._home = slot_name(keys[0])
        return self._home or b""

    async def _followed(self, command: list[bytes], reply: Any) -> Any:
        if not isinstance(reply, AskError) or self._on_connect is not None or not may_follow(command):
            return reply
        assert self._nodes is not None
        if (node := self._nodes.at(reply.port)) is None:
            raise RedisConnectionError("Connection refused")
        self._link.network.faults["redirected reads"] += 1
        connection = Connection(self._link, node)
        try:
            await connection.open()
            return await _caught(connection.request(command, asking=True))
        finally:
            connection.close()

    async def _request_all(self, commands: list[list[bytes]], connection: Connection | None) -> list[Any]:
        connection = connection or await self.take_connection()
        try:
            requests = [asyncio.ensure_future(connection.request(command)) for command in commands[1:]]
            replies = [await _caught(connection.request(commands[0]))]
            replies += [await _caught(request) for request in requests]
        except BaseException:
            connection.close()
            raise
        self.give_back(connection)
        return replies

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next command, unless it is broken."""
        if not connection.broken:
            self._pool(connection.slot).append(connection)

    def _pool(self, slot: bytes | None) -> list[Connection]:
        return self._idle if slot is None else self._by_slot.setdefault(slot, [])

    async def take_connection(self, slot: bytes | None = None) -> Connection:
        """An idle connection or a new one; in a cluster, to the node that owns the slot now."""
        idle = self._pool(slot)
        while idle:
            connection = idle.pop()
            if not connection.broken:
                return connection
        node = None if self._nodes is None or slot is None else self._nodes.reached(slot, self._link)
        connection = Connection(self._link, node)
        connection.slot = slot
        try:
            await connection.open()
            if self._on_connect is not None:
                await self._on_connect(cast("Any", _Face(connection)))
        except BaseException:
            connection.close()
            raise
        self._open = {each: None for each in (*self._open, connection) if not each.broken}
        return connection

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._plain is not None:
            await self._plain.aclose()
        for idle in (self._idle, *self._by_slot.values()):
            for connection in idle:
                connection.close()
            idle.clear()


class _Pool:
    """What the library and a reader of replicas use of a client's pool."""

    def __init__(self, client: SimulatedRedis) -> None:
        self.connection_class = Connection
        self.connection_kwargs = _unused_pool().connection_kwargs
        self._client = client

    def get_encoder(self) -> Any:
        return cast("Any", _unused_pool()).get_encoder()

    def get_protocol(self) -> Any:
        return 2

    async def disconnect(self, inuse_connections: bool = True) -> None:
        del inuse_connections
        self._client.disconnect()


class SimulatedPipeline(Pipeline):
    """Commands sent in a row, or as one step (`transaction`)."""

    def __init__(self, client: SimulatedRedis, *, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._simulated = client
        self._watcher: Connection | None = None

    async def watch(self, *names: Any) -> Any:  # type: ignore[override] # nor does the library's own
        simulated = self._simulated
        slot = None if simulated._nodes is None else simulated._slot(_command(("WATCH", *names)))
        self._watcher = await simulated.take_connection(slot)
        try:
            return await self._watcher.request(_command(("WATCH", *names)))
        except BaseException:
            self._watcher.close()
            self._watcher = None
            raise

    def multi(self) -> None:
        """Commands are collected in any case."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack, self.command_stack = self.command_stack, []
        if not stack:
            return []
        commands = [_command(command) for command, _ in stack]
        if not self.is_transaction:
            replies = await self._simulated.request_all(commands)
        elif self._watcher is None:
            replies = await self._as_one(commands)
        else:
            replies = await self._as_one_if_unchanged(commands)
        return [
            reply
            if isinstance(reply, Exception) and not raise_on_error
            else self._simulated.understood(str_if_bytes(command[0]), reply, dict(options))
            for (command, options), reply in zip(stack, replies, strict=True)
        ]

    async def _as_one_if_unchanged(self, commands: list[list[bytes]]) -> list[Any]:
        """As `_as_one`, on the connection that watches; the library's errors, also if that is broken."""
        try:
            return await self._as_one(commands)
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise WatchError(str(error)) from error

    async def _as_one(self, commands: list[list[bytes]]) -> list[Any]:
        watcher, self._watcher = self._watcher, None
        (replies,) = await self._simulated.request_all([[TRANSACTION, *map(joined, commands)]], watcher)
        if replies is None:
            raise WatchError("Watched variable changed.")
        if isinstance(replies, Exception):
            raise replies
        return [_library_error(str(reply)) if isinstance(reply, ReplyError) else reply for reply in replies]

    async def reset(self) -> None:  # type: ignore[override] # the library's own does not fit either
        self.command_stack = []
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            (reply,) = await self._simulated.request_all([[UNWATCH]], watcher)
            if isinstance(reply, Exception):
                watcher.close()  # it watches still; nor does the library use such a connection again


@cache
def _unused_pool() -> ConnectionPool:
    """A pool that the library uses only for its encoding; it never connects."""
    return ConnectionPool(protocol=2)


async def _caught(request: Any) -> Any:
    """A reply, or the server's error as one; broken connections and time-outs are raised."""
    try:
        return await request
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except Exception as error:  # noqa: BLE001  # a reply of error
        return error


def _keeps_state(command: list[bytes]) -> bool:
    """Whether a script writes only snapshots and checkpoints."""
    script = command[0] in (b"EVAL", b"EVALSHA") and command[3].endswith(b":deltas")
    return script and len(command) > 4 and int(command[2]) > 1 and not command[4].endswith(b":events")


def _command(arguments: Sequence[Any]) -> list[bytes]:
    """As the library packs it: a name of two words is two arguments."""
    return [*_encoded(arguments[0]).split(), *map(_encoded, arguments[1:])]


def _encoded(argument: Any) -> bytes:
    if isinstance(argument, bytes):
        return argument
    return repr(argument).encode() if isinstance(argument, float) else str(argument).encode()


def _library_error(text: str) -> Exception:
    error: Exception = cast("Any", BaseParser).parse_error(text)
    return error
