"""The WebSocket client: its connection, its books, and the session that keeps them continuous.

`depthcast.consumer` reads the streams without a gateway.
"""

from depthcast.client.client import Client, connect
from depthcast.client.session import ClientCounters

__all__ = ["Client", "ClientCounters", "connect"]
