"""Counts connections: how many a worker, an address, a token and an origin have, and may have."""

import logging
import sys
from collections.abc import Hashable
from typing import Final

from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

RESERVED_DESCRIPTORS: Final = 64
"""Descriptors of a process that are not for connections: Redis, logs, modules, the listening socket."""
HTTP_DESCRIPTORS: Final = 32
"""Connections that WebSockets never take, so that `/healthz` answers."""
NO_LIMIT: Final = 2**20


class Tally:
    """Connections by key; `most` for each key."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.counts: dict[Hashable, int] = {}

    def add(self, key: Hashable) -> int:
        """Count one more; returns by how many the key is over its limit now, 0 if it is not."""
        count = self.counts[key] = self.counts.get(key, 0) + 1
        return max(0, count - self.most)

    def remove(self, key: Hashable) -> None:
        """Count one less."""
        left = self.counts[key] - 1
        if left:
            self.counts[key] = left
        else:
            del self.counts[key]


class Admission:
    """The limits of one worker.

    A WebSocket takes two descriptors, because frames are also written past its transport.
    """

    def __init__(self, settings: GatewaySettings, descriptors: int) -> None:
        spare = max(descriptors - RESERVED_DESCRIPTORS, 2 * HTTP_DESCRIPTORS)
        self.descriptors = spare
        self.tcp_max = min(settings.tcp_connections_max, spare)
        self.websockets_max = min(settings.connections_max, (spare - HTTP_DESCRIPTORS) // 2)
        self.addresses = Tally(settings.connections_per_address_max)
        self.tokens = Tally(settings.connections_per_token_max)
        self.origins = Tally(settings.connections_per_origin_max)

    def is_full(self, connections: int, websockets: int) -> bool:
        """Whether one more TCP connection is too many."""
        return connections >= self.tcp_max or connections + websockets >= self.descriptors


def descriptors() -> int:
    """Raise the limit of open files as far as the system lets us; returns it."""
    if sys.platform == "win32":
        return NO_LIMIT
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = NO_LIMIT if hard == resource.RLIM_INFINITY else min(hard, NO_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            logger.info("the limit of open files stays", extra={"limit": soft, "error": str(error)})
            return soft
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
