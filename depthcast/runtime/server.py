"""The Redis server that a command uses: the one at the given URL, else an embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager

from depthcast.runtime.embedded import EmbeddedServer


@contextmanager
def open_server(redis_url: str | None) -> Iterator[str]:
    """Yield the given URL; without one, run an embedded server during the block and yield its URL.

    Raises:
        EmbeddedServerError: No URL was given, and no server could be found or started.
    """
    if redis_url:
        yield redis_url
        return
    with EmbeddedServer() as server:
        yield server.url
