"""Counts connections: how many a worker, an address, a token and an origin have, and may have."""

import logging
import sys
from collections.abc import Hashable
from typing import Final

from depthcast.gateway.delivery.allowance import Allowance
from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

OFFENCES_MAX: Final = 20
"""So many connections of an address that were closed for their rate use up all new ones that it may have."""
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
        self.connects_per_s = settings.connects_per_address_per_s
        self.connects: dict[Hashable, Allowance] = {}
        self.tokens = Tally(settings.connections_per_token_max)
        self.origins = Tally(settings.connections_per_origin_max)

    def is_full(self, connections: int, websockets: int) -> bool:
        """Whether one more TCP connection is too many."""
        return connections >= self.tcp_max or connections + websockets >= self.descriptors

    def may_connect(self, address: Hashable, now: float) -> bool:
        """Count a new connection of an address; returns whether it may connect that often."""
        allowance = self.connects.get(address)
        if allowance is None:
            most = max(self.addresses.most, self.connects_per_s)
            allowance = self.connects[address] = Allowance(self.connects_per_s, most, now)
        return allowance.take(1, now)

    def offend(self, address: Hashable) -> None:
        """A connection of the address was closed for its rate, and a new one must not begin afresh."""
        allowance = self.connects.get(address)
        if allowance is not None:
            allowance.use(allowance.most / OFFENCES_MAX)

    def forget(self, now: float) -> None:
        """Forget addresses that have their whole allowance again."""
        for address, allowance in tuple(self.connects.items()):
            if allowance.take(0, now) and not allowance.wait_s(allowance.most):
                del self.connects[address]


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
