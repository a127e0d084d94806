"""Follows the list of revoked tokens in Redis, which `depthcast token revoke` writes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.revocation import Revoked
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import Connect
from depthcast.shared.runtime.revoked_tokens import read_revoked
from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

PERIOD_S: Final = 1.0


class Revocations:
    """The list as last read: `revoked` is None until then. `on_change` is called with each other list.

    While Redis is away, the list stays as it was. `failing_since`: when it could first not be read
    (monotonic s); None while it can.
    """

    def __init__(
        self, connect: Connect, settings: GatewaySettings, on_change: Callable[[Revoked], None]
    ) -> None:
        self.revoked: Revoked | None = None
        self.failing_since: float | None = asyncio.get_running_loop().time()
        self._connect = connect
        self._url = settings.redis_url
        self._key = DeploymentKeys.at(settings.redis_url, settings.prefix).revoked
        self._on_change = on_change
        self._outage = Outage(logger, "tokens are refused, or not revoked, until the list can be read")

    async def run(self) -> None:
        """Read the list every second until cancelled."""
        client = self._connect(self._url)
        try:
            while True:
                try:
                    self._take(await read_revoked(client, self._key))
                    self._outage.over()
                    self.failing_since = None
                except RedisUnavailable as error:
                    self._outage.note(error)
                    self.failing_since = self.failing_since or asyncio.get_running_loop().time()
                await asyncio.sleep(PERIOD_S)
        finally:
            await client.aclose()

    def _take(self, revoked: Revoked) -> None:
        if revoked != self.revoked:
            self.revoked = revoked
            self._on_change(revoked)
