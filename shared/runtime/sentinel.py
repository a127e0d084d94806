"""Clients that connect to the master which sentinels name; every new connection asks them again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import InvalidResponse, RedisError

from depthcast.shared.errors import RedisRefused
from depthcast.shared.redis_url import parse_sentinel_url
from depthcast.shared.reply_remedies import DOWN, NO_MASTER, NOT_WATCHED
from depthcast.shared.runtime.connections import prepare_pool
from depthcast.shared.runtime.error_replies import refusal

ANSWER_S: Final = 1.0
"""Time to wait for a sentinel's answer before asking the next one."""


def master_client(url: str, options: Mapping[str, Any]) -> Redis:
    """Make a client whose connections have these `options`. Raises the errors of `Redis.from_url`."""
    address = parse_sentinel_url(url)
    given = cast("dict[str, Any]", parse_url(address.server))
    given.pop("host")
    tls = given.pop("connection_class", None) is not None
    timeout_s = min(ANSWER_S, options["socket_timeout"])
    of_sentinels = {
        **{name: value for name, value in given.items() if name.startswith("ssl_")},
        "ssl": tls,
        "username": given.pop("sentinel_username", None),
        "password": given.pop("sentinel_password", None),
        "protocol": options["protocol"],
        "retry": options["retry"],
        "driver_info": options["driver_info"],
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }
    sentinels = _Sentinels(address.sentinels, sentinel_kwargs=of_sentinels)
    return cast("Redis", sentinels.master_for(address.service, ssl=tls, **{**options, **given}))


class _Sentinels(Sentinel):
    """Many tasks ask at once after a failover, and seldom otherwise: each has a connection of its own."""

    def __init__(self, sentinels: Any, *, sentinel_kwargs: Any) -> None:
        cast("Any", super()).__init__(sentinels, sentinel_kwargs=sentinel_kwargs)
        for client in self.sentinels:
            prepare_pool(client.connection_pool)

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask one after the other; one that refuses the question, or is none, is passed over."""
        problems = []
        for sentinel in tuple(self.sentinels):
            try:
                reply = await _ask(sentinel, "MASTERS")
                masters = _parsed(sentinel, "MASTERS", reply)
            except (RedisError, OSError) as error:
                problems.append(f"{_place(sentinel)} {_said(error)}")
                continue
            state = masters.get(service_name)
            if state is not None and self.check_master_state(state, service_name):
                self._ask_first(sentinel)
                return state["ip"], state["port"]
            what = DOWN if state is not None else f"{NOT_WATCHED} (it watches: {', '.join(masters)})"
            problems.append(f"{_place(sentinel)} {what}")
        raise MasterNotFoundError(f"{NO_MASTER} {service_name!r}: {'; '.join(problems)}")

    def _ask_first(self, sentinel: Redis) -> None:
        """Move one to the beginning, wherever other tasks have moved it to since it was asked."""
        self.sentinels.remove(sentinel)
        self.sentinels.insert(0, sentinel)

    async def discover_slaves(self, service_name: str) -> Sequence[tuple[Any, Any]]:
        """Ask one after the other until one names replicas that are there; an error if none answers."""
        problems = []
        for sentinel in tuple(self.sentinels):
            try:
                reply = await _ask(sentinel, "SLAVES", service_name)
                slaves = self.filter_slaves(_parsed(sentinel, "SLAVES", reply).values())
            except (RedisError, OSError) as error:
                problems.append(f"{_place(sentinel)} {_said(error)}")
                continue
            if slaves:
                return slaves
        if len(problems) == len(self.sentinels):
            raise MasterNotFoundError(f"{NO_MASTER} {service_name!r} and its replicas: {'; '.join(problems)}")
        return []


async def _ask(sentinel: Redis, question: str, *words: str) -> Any:
    """Return the reply as it came; raises the library's errors."""
    connection = cast("Any", sentinel.connection_pool).make_connection()
    try:
        await connection.connect()
        await connection.send_command("SENTINEL", question, *words)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)  # cannot be cancelled halfway


def _parsed(sentinel: Redis, question: str, reply: Any) -> dict[str, dict[str, Any]]:
    """Servers by name, as the library reads them; raises `InvalidResponse` if the reply names none."""
    try:
        found = cast("Any", sentinel).response_callbacks[f"SENTINEL {question}"](reply)
        servers = found if isinstance(found, dict) else {each["name"]: each for each in found}
        for state in servers.values():
            state["ip"], state["port"] = str(state["ip"]), int(state["port"])
            state["num-other-sentinels"] = int(state.get("num-other-sentinels", 0))
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        raise InvalidResponse("what names no servers") from None
    return servers


def _place(sentinel: Redis) -> str:
    where = sentinel.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def _said(error: RedisError | OSError) -> str:
    """How a sentinel answered, in one line."""
    found = refusal(error) if isinstance(error, RedisError) else error
    text = " ".join(str(getattr(found, "problem", found)).split()) or type(error).__name__
    replied = isinstance(found, RedisRefused) or isinstance(error, InvalidResponse)
    return f"replied {text}" if replied else f"does not answer: {text}"
