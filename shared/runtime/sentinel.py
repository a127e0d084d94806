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
    """Closes its connections after each question, because the next question follows a failover."""

    def __init__(self, sentinels: Any, *, sentinel_kwargs: Any) -> None:
        cast("Any", super()).__init__(sentinels, sentinel_kwargs=sentinel_kwargs)
        for client in self.sentinels:
            prepare_pool(client.connection_pool)

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask one after the other; one that refuses the question, or is none, is passed over."""
        problems = []
        try:
            for number, sentinel in enumerate(self.sentinels):
                try:
                    masters = cast("dict[str, dict[str, Any]]", await sentinel.sentinel_masters())
                except (RedisError, OSError) as error:
                    problems.append(f"{_place(sentinel)} {_said(error)}")
                    continue
                state = masters.get(service_name)
                if state is not None and self.check_master_state(state, service_name):
                    self.sentinels[0], self.sentinels[number] = sentinel, self.sentinels[0]
                    return state["ip"], state["port"]
                what = DOWN if state is not None else f"{NOT_WATCHED} (it watches: {', '.join(masters)})"
                problems.append(f"{_place(sentinel)} {what}")
        finally:
            await self.aclose()
        raise MasterNotFoundError(f"{NO_MASTER} {service_name!r}: {'; '.join(problems)}")

    async def discover_slaves(self, service_name: str) -> Sequence[tuple[Any, Any]]:
        try:
            return await super().discover_slaves(service_name)
        finally:
            await self.aclose()


def _place(sentinel: Redis) -> str:
    where = sentinel.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def _said(error: RedisError | OSError) -> str:
    """How a sentinel answered, in one line."""
    found = refusal(error) if isinstance(error, RedisError) else error
    text = " ".join(str(getattr(found, "problem", found)).split()) or type(error).__name__
    return f"replied {text}" if isinstance(found, RedisRefused) else f"does not answer: {text}"
