"""The WebSocket client: connection handling, one book per symbol, and the session that keeps them continuous.

Reading the streams without a gateway is `depthcast.consumer`.
"""

from depthcast.client.client import Client, connect
from depthcast.client.session import ClientCounters

__all__ = ["Client", "ClientCounters", "connect"]
