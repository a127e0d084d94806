"""Clients that connect to the master which sentinels name; every new connection asks them again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import ResponseError

from depthcast.shared.redis_url import parse_sentinel_url
from depthcast.shared.runtime.connections import prepare_pool

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
        try:
            host, port = await super().discover_master(service_name)
        except ResponseError as error:  # no sentinel listens there, or it refuses the question
            raise MasterNotFoundError(f"No master found for {service_name!r}: {error}") from error
        finally:
            await self.aclose()
        return host, port

    async def discover_slaves(self, service_name: str) -> Sequence[tuple[Any, Any]]:
        try:
            return await super().discover_slaves(service_name)
        finally:
            await self.aclose()
