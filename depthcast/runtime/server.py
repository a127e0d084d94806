"""The Redis server a command works with: the one that was named, else one of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from depthcast.runtime.embedded import EmbeddedServer


@contextmanager
def open_server(redis_url: str | None) -> Iterator[str]:
    """Yields the URL given; without one, starts an embedded server for the block and yields its URL.

    Raises:
        EmbeddedServerError: None was named, and none could be found or started.
    """
    if redis_url:
        yield redis_url
        return
    with EmbeddedServer() as server:
        yield server.url
