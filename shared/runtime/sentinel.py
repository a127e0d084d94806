"""Clients that connect to the master which sentinels name; every new connection asks them again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import RedisError

from depthcast.shared.errors import RedisRefused
from depthcast.shared.redis_url import parse_sentinel_url
from depthcast.shared.reply_remedies import DOWN, NO_MASTER, NOT_WATCHED
from depthcast.shared.runtime.connections import prepare_pool
from depthcast.shared.runtime.error_replies import refusal

ANSWER_S: Final = 1.0
"""Time to wait for a sentinel's answer before asking the next one."""

_MALFORMED: Final = (TypeError, ValueError, LookupError, AttributeError)
"""What the library raises for a reply of another shape than a sentinel's."""


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
                masters = await _ask(sentinel, "MASTERS")
                state = masters.get(service_name)
                if state is not None and self.check_master_state(state, service_name):
                    address = str(state["ip"]), int(state["port"])
                    self._ask_first(sentinel)
                    return address
                what = DOWN if state is not None else f"{NOT_WATCHED} (it watches: {', '.join(masters)})"
            except (RedisError, OSError) as error:
                what = _said(error)
            except _MALFORMED:
                what = "replied what names no masters"
            problems.append(f"{_place(sentinel)} {what}")
        raise MasterNotFoundError(f"{NO_MASTER} {service_name!r}: {'; '.join(problems)}")

    def _ask_first(self, sentinel: Redis) -> None:
        """Move one to the beginning, wherever other tasks have moved it to since it was asked."""
        self.sentinels.remove(sentinel)
        self.sentinels.insert(0, sentinel)

    async def discover_slaves(self, service_name: str) -> Sequence[tuple[Any, Any]]:
        """Ask one after the other until one names replicas that are there."""
        for sentinel in tuple(self.sentinels):
            try:
                slaves = self.filter_slaves(await _ask(sentinel, "SLAVES", service_name))
            except (RedisError, OSError, *_MALFORMED):
                continue
            if slaves:
                return slaves
        return []


async def _ask(sentinel: Redis, question: str, *words: str) -> Any:
    """Return what the library makes of the reply; raises its errors, and those of `_MALFORMED`."""
    connection = cast("Any", sentinel.connection_pool).make_connection()
    try:
        await connection.connect()
        await connection.send_command("SENTINEL", question, *words)
        return await cast("Any", sentinel).parse_response(connection, f"SENTINEL {question}")
    finally:
        await connection.disconnect(nowait=True)  # cannot be cancelled halfway


def _place(sentinel: Redis) -> str:
    where = sentinel.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def _said(error: RedisError | OSError) -> str:
    """How a sentinel answered, in one line."""
    found = refusal(error) if isinstance(error, RedisError) else error
    text = " ".join(str(getattr(found, "problem", found)).split()) or type(error).__name__
    return f"replied {text}" if isinstance(found, RedisRefused) else f"does not answer: {text}"
