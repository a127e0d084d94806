"""Reads whose key has moved to another server of the cluster before the rest of its slot (ASK).

While a slot is moved, its owner has some keys, and the server that takes it over has the others, complete.
So a read of one key may follow the redirection. A write never does, because the server that it would reach
does not own the slot yet: if the move is given up, or the owner fails over meanwhile, what was written there
is lost. It waits until the slot has arrived. `docs/decisions` has the reasons.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import AskError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from depthcast.shared.runtime.error_replies import counts

READS: Final = frozenset(
    (
        "EXISTS", "GET", "GETRANGE", "HGET", "HGETALL", "HMGET", "MGET", "PTTL", "TYPE", "XINFO", "XLEN",
        "XRANGE", "XREAD", "XREVRANGE", "ZCARD", "ZRANGE", "ZRANGEBYSCORE", "ZSCORE",
    )
)  # fmt: skip
"""Commands that may follow; of several keys the other server must have all, else it says TRYAGAIN."""

Command = tuple[Sequence[Any], Mapping[str, Any]]
"""Words of a command, and the library's options for its reply."""


class Elsewhere(Protocol):
    """Returns the client of the server that a redirection names."""

    def __call__(self, error: AskError) -> Redis: ...


def may_follow(words: Sequence[Any]) -> bool:
    """Return whether a command only reads."""
    name = words[0].decode() if isinstance(words[0], bytes) else str(words[0])
    return name.upper().partition(" ")[0] in READS


class SlotClient(Redis):
    """A plain client for the owner of one slot. Its reads follow redirections, if it knows `elsewhere`."""

    elsewhere: Elsewhere | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As the library's; a read whose key has moved is sent to the server that has it."""
        try:
            return await cast("Any", super()).execute_command(*args, **options)
        except AskError as error:
            [reply] = await self.followed([(args, options)], [error])
            if isinstance(reply, BaseException):
                raise reply from error
            return reply

    async def followed(self, commands: Sequence[Command], replies: Sequence[Any]) -> list[Any]:
        """Replace each redirection among the `replies` that may be followed; raises the library's errors."""
        found = list(replies)
        places: dict[Redis, list[int]] = {}
        for number, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, AskError) and may_follow(command[0]) and self.elsewhere is not None:
                places.setdefault(self.elsewhere(reply), []).append(number)
        for server, numbers in places.items():
            first = found[numbers[0]]
            code = "MOVED" if isinstance(first, MovedError) else "ASK"
            counts[code] += len(numbers)
            try:
                asked = await _asked(server, [commands[number] for number in numbers])
            except (RedisConnectionError, RedisTimeoutError) as error:
                if type(error) not in (RedisConnectionError, RedisTimeoutError):
                    raise  # some error replies are such errors, too, for instance NOAUTH and LOADING
                raise RedisConnectionError(f"{code} {first}: {error}") from error
            for number, reply in zip(numbers, asked, strict=True):
                found[number] = reply
        return found


async def _asked(server: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send reads to a server that does not own their slot yet; error replies are returned as such."""
    pool, replies = cast("Any", server.connection_pool), []
    connection = await pool.get_connection()
    try:
        words = chain.from_iterable((("ASKING",), command) for command, _ in commands)
        await connection.send_packed_command(connection.pack_commands(words))
        for command, options in commands:
            refusal = await _reply(server, connection, "ASKING", {})
            reply = await _reply(server, connection, command[0], options)
            replies.append(refusal if isinstance(refusal, ResponseError) else reply)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)
    return replies


async def _reply(server: Redis, connection: Any, name: Any, options: Mapping[str, Any]) -> Any:
    try:
        return await cast("Any", server).parse_response(connection, name, **options)
    except ResponseError as error:
        return error
