"""The same needs met by a Redis in a container, where a container engine answers."""

import gc
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from testcontainers.community.redis import RedisContainer

IMAGE = "redis:7-alpine"


@pytest.fixture(scope="module")
def container_url() -> Iterator[str]:
    started = start()
    if isinstance(started, str):
        pytest.skip(f"no container engine answers, or it has no {IMAGE}: {started}")
    try:
        yield f"redis://{started.get_container_host_ip()}:{started.get_exposed_port(started.port)}/0"
    finally:
        started.stop()


def start() -> "RedisContainer | str":
    """A running container, or why none can be started."""
    from docker.errors import DockerException
    from testcontainers.community.redis import RedisContainer

    with warnings.catch_warnings():
        # Where no engine answers, docker's client leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return RedisContainer(IMAGE).start()
        except DockerException as error:
            problem = str(error)
        gc.collect()
    return problem


@pytest.mark.container
def test_a_redis_in_a_container_fences_explicit_ids(container_url: str) -> None:
    with redis.Redis.from_url(container_url, protocol=2) as client:
        client.xadd("stream", {"d": "1"}, id="5-1")
        with pytest.raises(redis.ResponseError, match="equal or smaller"):
            client.xadd("stream", {"d": "2"}, id="5-1")
        assert client.xlen("stream") == 1
